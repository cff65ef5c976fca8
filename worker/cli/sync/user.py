"""The work of `stripe-sync sync user`."""

import contextlib
from collections.abc import Sequence

import psycopg

from worker.cli import database
from worker.cli.output import fail, say, say_json
from worker.cli.users.find import find
from worker.membership.compute import policy_of
from worker.on_access import store as access_store
from worker.on_access import sync_user
from worker.on_access.freshness import Answer
from worker.stripe_api.client import Stripe
from worker.writers.list_pass import Tally

# An operator can wait longer than a request of the application.
USER_SECONDS = 30.0


def run(user: str, *, checkout_session: str | None, as_json: bool) -> None:
    """Read the subscriptions of all of the user's customers, and print the resulting access."""
    if checkout_session is not None and not sync_user.is_session_id(checkout_session):
        fail(f"--checkout-session: {checkout_session} is not the id of a Checkout session, cs_...")
    settings = database.load_with_membership()
    policy = policy_of(settings)
    with database.connect(settings, application="sync") as conn:

        def connections() -> contextlib.AbstractContextManager[psycopg.Connection]:
            return contextlib.nullcontext(conn)

        id_ = find(conn, user)["id"]
        before = access_store.customers(conn, id_)[1]
        if not as_json:
            say(f"Reading from Stripe for {id_}: the subscriptions of {', '.join(before) or 'no customer yet'}.")
        tally = sync_user.force(
            connections,
            lambda: Stripe.from_settings(settings),
            policy,
            id_,
            seconds=USER_SECONDS,
            checkout_session=checkout_session,
        )
        stored, customers = sync_user.stored(connections, id_, policy), access_store.customers(conn, id_)[1]
    answer = Answer(stored, stale=not stored.is_fresh(stored.since(USER_SECONDS)))
    if as_json:
        say_json({"user": id_, "customers": list(customers), **answer.as_dict(), **(tally or Tally()).as_dict()})
        return
    say(_access_of(answer, list(customers)))
    numbers = (tally or Tally()).as_dict()
    say(", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items()) + ".")


def _access_of(answer: Answer, customers: Sequence[str]) -> str:
    """The access of a user in one sentence."""
    stored = answer.stored
    if not customers:
        return (
            f"No customer is linked to {stored.id}, so there is nothing to read: name a Checkout session of the user "
            f"(--checkout-session cs_...), or link a customer (stripe-sync link CUSTOMER {stored.id})."
        )
    product = f", through {stored.product['name']} ({stored.product['id']})" if stored.product else ""
    subscription = (
        f", subscription {stored.subscription['id']} is {stored.subscription['status']}" if stored.subscription else ""
    )
    until = f" until {stored.tokens_expires_at:%Y-%m-%d %H:%M %Z}" if stored.tokens and stored.tokens_expires_at else ""
    return (
        f"{stored.id} is {stored.role} and {stored.membership_status}{product}{subscription}; "
        f"{stored.tokens:,} tokens{until}."
        + (" An event that just arrived may change this: Stripe is read again shortly." if answer.stale else "")
    )
