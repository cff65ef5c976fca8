"""The work of `stripe-sync sync`. It is safe beside the daemon: every page goes through the guarded write."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from worker.cli import database
from worker.cli.output import say, say_json
from worker.cli.users.find import find
from worker.membership.compute import policy_of
from worker.on_access import store as access_store
from worker.on_access import sync_user
from worker.on_access.freshness import Answer
from worker.postgres import runs
from worker.stripe_api.client import Stripe
from worker.writers import audit, reconcile, refresh_catalogue
from worker.writers.list_pass import Listing, Tally, read_whole

# A person waits longer than a page does.
USER_SECONDS = 30.0


def products(*, as_json: bool) -> None:
    """The catalogue: all products and prices, in all states."""
    _run({refresh_catalogue.JOB: refresh_catalogue.CATALOGUE}, as_json=as_json)


def subscriptions(*, as_json: bool) -> None:
    """All subscriptions, those that have ended too."""
    _run({reconcile.JOB: [listing for listing in audit.LISTS if listing.object == "subscription"]}, as_json=as_json)


def user(user: str, *, checkout_session: str | None, as_json: bool) -> None:
    """One user: all subscriptions of all their customers, and what they may do then."""
    settings = database.load_with_membership()
    policy = policy_of(settings)
    with database.connect(settings, application="sync") as conn:

        def connections() -> contextlib.AbstractContextManager[psycopg.Connection]:
            return contextlib.nullcontext(conn)

        found = find(conn, user)["id"]
        before = access_store.customers(conn, found)[1]
        if not as_json:
            say(f"Asking Stripe for {found}: the subscriptions of {', '.join(before) or 'no customer yet'}.")
        tally = sync_user.force(
            connections,
            lambda: Stripe.from_settings(settings),
            policy,
            found,
            seconds=USER_SECONDS,
            checkout_session=checkout_session,
        )
        stored, customers = sync_user.stored(connections, found, policy), access_store.customers(conn, found)[1]
    answer = Answer(stored, stale=not stored.is_fresh(stored.since(USER_SECONDS)))
    if as_json:
        say_json({"user": found, "customers": list(customers), **answer.as_dict(), **(tally or Tally()).as_dict()})
        return
    say(_said_of(answer, list(customers)))
    said = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in (tally or Tally()).as_dict().items())
    say(f"{said}.")


def everything(*, as_json: bool) -> None:
    """Everything that is mirrored and that Stripe lists."""
    _run({listing.object: [listing] for listing in audit.LISTS}, as_json=as_json)


def _said_of(answer: Answer, customers: Sequence[str]) -> str:
    """What a user may do, in a person's words."""
    stored = answer.stored
    if not customers:
        return (
            f"No customer is linked to {stored.id}, so there is nothing to ask for: name a Checkout session of theirs "
            f"(--checkout-session cs_...), or link a customer by hand (stripe-sync link CUSTOMER {stored.id})."
        )
    product = f", by {stored.product['name']} ({stored.product['id']})" if stored.product else ""
    subscription = (
        f", subscription {stored.subscription['id']} is {stored.subscription['status']}" if stored.subscription else ""
    )
    until = f" until {stored.tokens_expires_at:%Y-%m-%d %H:%M %Z}" if stored.tokens and stored.tokens_expires_at else ""
    return (
        f"{stored.id} is {stored.role} and {stored.membership_status}{product}{subscription}; "
        f"{stored.tokens:,} tokens{until}."
        + (" An event of these seconds says otherwise: Stripe is asked again shortly." if answer.stale else "")
    )


def _run(jobs: Mapping[str, Sequence[Listing]], *, as_json: bool) -> None:
    """Each job with its progress and its summary. Ctrl-C leaves whole pages written."""
    settings = database.load()
    stripe, summary = Stripe.from_settings(settings), dict[str, Any]()
    with database.connect(settings, application="sync") as conn:
        for name, listings in jobs.items():
            began, tally = datetime.now(UTC), Tally()
            interrupted = False
            with _progress(quiet=as_json) as progress:
                task = progress.add_task(name.replace("_", " "), total=None, detail="")
                started = time.monotonic()

                def seen(task: Any = task, tally: Tally = tally, progress: Progress = progress) -> None:
                    progress.update(task, detail=f"{tally.listed:,} listed")

                try:
                    read_whole(conn, stripe, listings, policy_of(settings), tally, seen=seen)
                except KeyboardInterrupt:
                    interrupted = True
            summary[name] = tally.as_dict() | {"seconds": round(time.monotonic() - started, 1)}
            if not interrupted:
                runs.note(conn, name, began, tally.as_dict())
            if not as_json:
                said = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in tally.as_dict().items())
                say(
                    f"{name.replace('_', ' ')}: {said}{' (interrupted: what is written is whole)' if interrupted else ''}"
                )
            if interrupted:
                raise typer.Exit(130)
    if as_json:
        say_json(summary)


def _progress(*, quiet: bool) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, transient=True, disable=quiet)
