"""The work of `stripe-sync why`: print an explanation as lines of text, or as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from worker.cli import database
from worker.cli.output import fail, say, say_json
from worker.cli.users.find import find
from worker.membership import why
from worker.membership.compute import policy_of
from worker.membership.rules import wording
from worker.membership.rules.evidence import Customer, Schedule, Source
from worker.membership.rules.explain import Balance, Column, Explanation, Standing
from worker.membership.rules.outcome import Change
from worker.postgres.pool import snapshot

# How many of the newest paid lines without a grant are shown.
_SHOWN = 5


def run(user: str, *, entries: int, as_json: bool) -> None:
    """Print the explanation of a user, with the newest `entries` rows of the ledger."""
    settings = database.load_with_membership()
    with database.connect(settings, application="why") as conn, snapshot(conn):
        explanation = why.why(conn, find(conn, user)["id"], policy_of(settings), entries=entries)
    if explanation is None:
        fail(f"there is no user {user}")
    if as_json:
        say_json(_as_json(explanation))
        return
    for line in _lines(explanation):
        say(line)


def _as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON, with changes in the form that `membership plan` prints."""
    upcoming = [asdict(each) | {"changes": _old_and_new(each.changes)} for each in explanation.next]
    return asdict(explanation) | {"differs": _old_and_new(explanation.differs), "next": upcoming}


def _old_and_new(changes: Mapping[str, Change]) -> dict[str, dict[str, object]]:
    return {column: change._asdict() for column, change in changes.items()}


def _lines(explanation: Explanation) -> Iterator[str]:
    named = f"{explanation.user} ({explanation.email})" if explanation.email else explanation.user
    named += f" of organization {explanation.organization}" if explanation.organization else ""
    yield f"{named}, as of {wording.moment(explanation.as_of)}"
    yield ""
    for name in ("role", "membership_status", "stripe_product_id"):
        column: Column = getattr(explanation, name)
        yield f"{name} {wording.value(column.stored)}: {column.because}"
    if explanation.features:
        yield "features:"
        yield from (f"  {held.feature}: {held.because}" for held in explanation.features)
    yield from _tokens(explanation.tokens)
    if explanation.subscriptions:
        yield from ("", "Subscriptions (those that give access come first):")
        for each in explanation.subscriptions:
            yield from _subscription(each)
    products = sorted(
        {product for each in explanation.subscriptions for product in each.products} | {*explanation.products}
    )
    if products:
        yield from ("", "Products, and what their metadata gives:")
        for id_ in products:
            policy = wording.policy(explanation.products.get(id_))
            yield f"  {id_} {policy}; {wording.source(explanation.sources.get(id_))}"
    if explanation.customers:
        yield from ("", "Customers:")
        yield from (_customer(customer, explanation.sources.get(customer.id)) for customer in explanation.customers)
    if explanation.unlinked:
        yield from ("", "Customers without a user:")
        for customer in explanation.unlinked:
            yield f"  {customer.id} {wording.unlinked(customer, explanation.user)}"
    if explanation.elsewhere:
        yield from ("", "Customers of connected accounts:")
        for other in explanation.elsewhere:
            yield f"  {other.id} {wording.elsewhere(other)}"
    if explanation.held:
        yield from ("", "Held back, because the application's table refuses the row:")
        for row in explanation.held:
            yield f"  {row.relation} {row.id} since {wording.moment(row.since)}: {row.reason}"
    yield from _ledger(explanation)
    yield from ("", "Next:" if explanation.next else "Next: nothing is known to change.")
    for change in explanation.next:
        yield f"  {wording.moment(change.at)} {change.because}{_changes(change.changes, start=': ')}"
    yield from _fix(explanation)


def _tokens(balance: Balance) -> Iterator[str]:
    until = f" until {wording.moment(balance.expires_at)}" if balance.expires_at and balance.stored else ""
    yield f"tokens {balance.stored:,}{until}: {balance.because}"
    for lot in balance.lots:
        what = "a pack" if lot.pack else lot.owner or "no subscription"
        yield f"  {lot.left:,} of {lot.granted:,} tokens left from {lot.source} ({what}), until {wording.moment(lot.until)}"
    if (older := len(balance.ungranted) - _SHOWN) > 0:
        yield f"  {older:,} older paid lines gave no tokens (--json lists them)"
    yield from (f"  {passed.because}" for passed in balance.ungranted[-_SHOWN:])


def _customer(customer: Customer, source: Source | None) -> str:
    how = (
        f"linked by {customer.source} on {wording.moment(customer.linked_at)}"
        if customer.linked_at
        else "not linked yet"
    )
    return f"  {customer.id}{', deleted,' if customer.deleted else ''} {how}; {wording.source(source)}"


def _subscription(standing: Standing) -> Iterator[str]:
    period = (
        f", {wording.moment(standing.period_start)} to {wording.moment(standing.period_end)}"
        if standing.period_start and standing.period_end
        else ""
    )
    yield f"  {standing.id} {standing.status}{period}: {standing.because}"
    products = f"{', '.join(standing.products) or 'no product'}{_payer(standing.schedule)}"
    yield f"    {products}; {wording.source(standing.source)}"


def _payer(schedule: Schedule) -> str:
    text = f", of {schedule.customer}" if schedule.customer else ""
    text += f", for organization {schedule.organization}" if schedule.organization else ""
    return text + (f", collection is paused ({schedule.collection_paused})" if schedule.collection_paused else "")


def _ledger(explanation: Explanation) -> Iterator[str]:
    if explanation.tokens.ledger:
        yield from ("", "Ledger, newest first:")
    for row in explanation.tokens.ledger:
        balance = f"{row.balance_before:,} -> {row.balance_after:,}"
        line = f" ({row.row})" if row.row else ""
        yield f"  {wording.moment(row.created_at)} {row.amount:+,} ({balance}) {wording.entry(row)}{line}"
        for id_ in dict.fromkeys((row.invoice or "", *row.source_key.split(":"))):
            if id_ in explanation.sources:
                yield f"    {id_}: {wording.source(explanation.sources[id_])}"


def _fix(explanation: Explanation) -> Iterator[str]:
    if explanation.differs or explanation.fix:
        yield ""
        yield f"The stored row differs from the computed one{_changes(explanation.differs, start=': ')}"
        for grant in explanation.tokens.due:
            yield f"  not granted yet: {grant.amount:+,} {grant.kind} {grant.source_key}"
        yield "Either the row was edited, or products or settings have changed since it was computed."
        yield f"  {explanation.fix}"
    if explanation.is_waiting:
        yield from ("", "The user is waiting to be recomputed. A worker does this within seconds.")


def _changes(changes: Mapping[str, Change], *, start: str) -> str:
    text = ", ".join(wording.change(name, change) for name, change in changes.items())
    return f"{start}{text}" if text else ""
