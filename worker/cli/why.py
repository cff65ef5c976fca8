"""`stripe-sync why USER`: an explanation, printed."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from worker.cli.output import fail, say, say_json
from worker.cli.people import find, quiet_settings
from worker.jobs.tasks import policy_of
from worker.membership.rules import wording
from worker.membership.rules.evidence import Customer, Schedule, Source
from worker.membership.rules.explain import Balance, Column, Explanation, Standing
from worker.membership.rules.outcome import Change
from worker.membership.why import why
from worker.postgres.pool import connect, snapshot

__all__ = ["register"]

# Of paid lines that gave nothing, the newest.
_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Give the root its command."""
    app.command("why")(_why)


def _why(
    user: Annotated[str, typer.Argument(help="A user's id or e-mail.")],
    entries: Annotated[int, typer.Option("--ledger", min=1, help="How many rows of the ledger to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say why a user is what they are, what stands behind it, and what will change next. Nothing is written or locked."""
    settings = quiet_settings()
    with connect(settings, application="why") as conn, snapshot(conn):
        found = why(conn, find(conn, user)["id"], policy_of(settings), entries=entries)
    if found is None:
        fail(f"there is no user {user}")
    if as_json:
        say_json(_said(found))
        return
    for line in _lines(found):
        say(line)


def _said(found: Explanation) -> dict[str, Any]:
    """As JSON says it; changes as `membership plan` says them."""
    told = [asdict(each) | {"changes": _told(each.changes)} for each in found.next]
    return asdict(found) | {"differs": _told(found.differs), "next": told}


def _told(changes: Mapping[str, Change]) -> dict[str, dict[str, object]]:
    return {column: change._asdict() for column, change in changes.items()}


def _lines(found: Explanation) -> Iterator[str]:
    named = f"{found.user} ({found.email})" if found.email else found.user
    named += f" of organization {found.organization}" if found.organization else ""
    yield f"{named}, as of {wording.moment(found.as_of)}"
    yield ""
    for name in ("role", "membership_status", "stripe_product_id"):
        column: Column = getattr(found, name)
        yield f"{name} {_word(column.stored)}: {column.because}"
    yield from _tokens(found.tokens)
    if found.subscriptions:
        yield from ("", "Subscriptions, those that give service first:")
        for each in found.subscriptions:
            yield from _subscription(each)
    sold = sorted({product for each in found.subscriptions for product in each.products})
    if sold:
        yield from ("", "Products, by their metadata:")
        for id_ in sold:
            policy = wording.policy(found.products.get(id_))
            yield f"  {id_} {policy}; {wording.source(found.sources.get(id_))}"
    if found.customers:
        yield from ("", "Customers:")
        yield from (_customer(customer, found.sources.get(customer.id)) for customer in found.customers)
    yield from _ledger(found)
    yield from ("", "Next:" if found.next else "Next: nothing that is known.")
    for happening in found.next:
        yield f"  {wording.moment(happening.at)} {happening.because}{_changes(happening.changes, start=': ')}"
    yield from _mend(found)


def _tokens(balance: Balance) -> Iterator[str]:
    until = f" until {wording.moment(balance.expires_at)}" if balance.expires_at and balance.stored else ""
    yield f"tokens {balance.stored:,}{until}: {balance.because}"
    for lot in balance.lots:
        what = "a pack" if lot.pack else lot.owner or "no subscription"
        yield f"  {lot.left:,} left of {lot.granted:,} of {lot.source} ({what}), until {wording.moment(lot.until)}"
    if (older := len(balance.ungranted) - _SHOWN) > 0:
        yield f"  {older:,} older paid lines gave none (--json lists them)"
    yield from (f"  {passed.because}" for passed in balance.ungranted[-_SHOWN:])


def _customer(of: Customer, seen: Source | None) -> str:
    how = f"linked by {of.source} on {wording.moment(of.linked_at)}" if of.linked_at else "not linked yet"
    return f"  {of.id}{', deleted,' if of.deleted else ''} {how}; {wording.source(seen)}"


def _subscription(of: Standing) -> Iterator[str]:
    period = (
        f", {wording.moment(of.period_start)} to {wording.moment(of.period_end)}"
        if of.period_start and of.period_end
        else ""
    )
    yield f"  {of.id} {of.status}{period}: {of.because}"
    sold = f"{', '.join(of.products) or 'no product'}{_whose(of.schedule)}"
    yield f"    {sold}; {wording.source(of.source)}"


def _whose(schedule: Schedule) -> str:
    said = f", of {schedule.customer}" if schedule.customer else ""
    said += f", for organization {schedule.organization}" if schedule.organization else ""
    return said + (f", collection is paused ({schedule.collection_paused})" if schedule.collection_paused else "")


def _ledger(found: Explanation) -> Iterator[str]:
    if found.tokens.ledger:
        yield from ("", "Ledger, the newest first:")
    for row in found.tokens.ledger:
        balance = f"{row.balance_before:,} -> {row.balance_after:,}"
        yield f"  {wording.moment(row.created_at)} {row.amount:+,} ({balance}) {wording.entry(row)}"
        for id_ in dict.fromkeys((row.invoice or "", *row.source_key.split(":"))):
            if id_ in found.sources:
                yield f"    {id_}: {wording.source(found.sources[id_])}"


def _mend(found: Explanation) -> Iterator[str]:
    if found.differs or found.mend:
        yield ""
        yield f"The row is not what the facts give{_changes(found.differs, start=': ')}"
        yield from (f"  to be granted: {grant.amount:+,} {grant.kind} {grant.source_key}" for grant in found.tokens.due)
        yield "Somebody edited it, or products or settings have changed since it was computed."
        yield f"  {found.mend}"
    if found.is_waiting:
        yield from ("", "A computation is due already: a worker does it within seconds.")


def _changes(changes: Mapping[str, Change], *, start: str) -> str:
    said = ", ".join(f"{name} {_word(old)} -> {_word(new)}" for name, (old, new) in changes.items())
    return f"{start}{said}" if said else ""


def _word(value: object) -> str:
    if isinstance(value, datetime):
        return wording.moment(value)
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
