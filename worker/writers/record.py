"""The guarded write to the mirror, and the computation of affected users. Every writer uses it: events, lists, single
reads."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psycopg

from worker.membership import compute, organizations
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import product_of
from worker.membership.store import catalogue, links, product_changes, rechecks, recompute_queue, save_rows
from worker.membership.store.organization_queue import Offer
from worker.mirror import refetch_queue, subscription_history
from worker.mirror import store as mirror
from worker.mirror.fold import Key, Observation, Outcome, fold, traits_of, with_members
from worker.mirror.refetch_queue import Wanted
from worker.mirror.version import Version, settle
from worker.observe import log, metrics
from worker.privacy import guard
from worker.stripe_api.event import ObjectRef
from worker.stripe_api.json_paths import Json, embedded, reference
from worker.writers import settle_by_events

_log = log.get("record")

# If another worker inserts a row between our lock and our insert, the write is planned again, at most this many times.
_ROUNDS = 10


def record(
    conn: psycopg.Connection,
    observations: Sequence[Observation],
    policy: Policy,
    *,
    events_of: bool | None = None,
    users_later: bool = False,
) -> list[Outcome]:
    """Write the observations as the version rule decides, and compute the affected users.

    Runs in the caller's transaction; returns the outcome of each object. Data of erased people is blanked first. If
    `events_of` is given, the observations are events of this mode (live or test). Then other events in the inbox may
    settle the objects that the version rule leaves unsettled. With `users_later`, users are not computed now: deferred
    requests are stored, and a backfill computes each user once, after all objects of the user were read.
    """
    if not observations:
        return []
    observations = guard.honour(conn, with_members(observations))
    written, offered = _write(conn, observations, events_of)
    changed = {outcome.key for outcome in written if outcome.object is not None}
    # A list that shows the known state adds nothing to the history. An event is evidence for its second even if a newer
    # state wins.
    subscription_history.note(
        conn,
        (seen for seen in observations if not seen.snapshot.listed or seen.key in changed),
        new={outcome.key.id for outcome in written if outcome.before is None and outcome.key.account == ""},
    )
    on_test_clock = {seen.key for seen in observations if seen.object.get("test_clock")}
    refetch_queue.want(
        conn,
        (
            _wanted(outcome, on_test_clock=outcome.key in on_test_clock)
            for outcome in written
            if outcome.touched and _is_uncertain(outcome)
        ),
    )
    _follow(conn, written, policy, offered, users_later=users_later)
    return written


@dataclass(frozen=True, slots=True)
class Answered:
    """The result of reading one object, while its row had the revision `rev`.

    `event_at` is the time of the object's newest event, in unix seconds.
    """

    seen: Observation
    rev: int
    event_at: int | None = None


def record_answers(conn: psycopg.Connection, answers: Sequence[Answered], policy: Policy) -> list[Outcome | None]:
    """Write the results of reading single objects, each object at most once; see `mirror.version.settle`.

    Runs in the caller's transaction. Returns the outcomes in the order of the answers. If the row has changed since the
    read, nothing is written and the outcome is None: the object must be read again.
    """
    shown = guard.honour(conn, [answer.seen for answer in answers])
    rows = mirror.lock(conn, [seen.key for seen in shown])
    offered = organizations.offered_before(conn, rows)
    outcomes: dict[Key, Outcome] = {}
    for answer, seen in zip(answers, shown, strict=True):
        before = rows.get(seen.key)
        version = settle(before, seen.snapshot, rev=answer.rev, traits=traits_of(seen.key), event_at=answer.event_at)
        if version is not None:
            same = before is not None and not seen.completed and _is_same(before, version)
            written = None if same else _kept(seen)
            outcomes[seen.key] = Outcome(seen.key, before, version, written, completed=seen.completed)
    for lost in mirror.write(conn, list(outcomes.values())):
        del outcomes[lost]
    taken = [seen for seen in shown if seen.key in outcomes]
    subscription_history.note(conn, taken)
    _follow(conn, list(outcomes.values()), policy, offered)
    record(conn, with_members(taken)[len(taken) :], policy)
    for payout in (seen for seen in taken if seen.key.object == "payout"):
        settled = [("balance_transaction", each["id"]) for each in embedded(payout.object, "balance_transactions")[0]]
        mirror.file_under(conn, settled, account=payout.key.account, parent=payout.key.id)
    return [outcomes.get(seen.key) for seen in shown]


def _kept(seen: Observation) -> Json:
    """The object as it is stored. The transactions of a payout are left out: there may be thousands, with rows of their
    own."""
    if seen.key.object != "payout":
        return seen.object
    return {name: value for name, value in seen.object.items() if name != "balance_transactions"}


def _is_uncertain(outcome: Outcome) -> bool:
    return outcome.version is not None and outcome.version.unsettled


def _wanted(outcome: Outcome, *, on_test_clock: bool) -> Wanted:
    """The read to queue for an uncertain object.

    The time of an object on a test clock may be years in the future, so it does not limit when the object can be read.
    """
    assert outcome.version is not None
    assert outcome.type.url is not None
    path = outcome.type.url.format(id=outcome.key.id)
    return Wanted(outcome.key, path, None if on_test_clock else outcome.version.observed_at)


def _is_same(before: Version, after: Version) -> bool:
    return before.content_hash == after.content_hash and (before.deleted or before.shape == after.shape)


def _write(
    conn: psycopg.Connection,
    observations: Sequence[Observation],
    events_of: bool | None,
) -> tuple[list[Outcome], dict[str, Offer]]:
    """Lock, fold, settle and write. If another worker inserted an object in the meantime, it is locked and folded
    again.

    Returns the outcomes, and the previous offers to organizations of the subscriptions among them.
    """
    done: dict[Key, Outcome] = {}
    offered: dict[str, Offer] = {}
    waiting = list(observations)
    for _ in range(_ROUNDS):
        rows = mirror.lock(conn, (seen.key for seen in waiting))
        offered |= organizations.offered_before(conn, rows)
        outcomes = fold(waiting, rows)
        if events_of is not None:
            outcomes = settle_by_events.settle(conn, outcomes, livemode=events_of)
        lost = mirror.write(conn, outcomes)
        done |= {outcome.key: outcome for outcome in outcomes if outcome.key not in lost}
        waiting = [seen for seen in waiting if seen.key in lost]
        if not waiting:
            return list(done.values()), offered
    raise psycopg.errors.SerializationFailure(f"{len(waiting)} rows were inserted and deleted again and again")


def _follow(
    conn: psycopg.Connection,
    written: Sequence[Outcome],
    policy: Policy,
    offered: Mapping[str, Offer],
    *,
    users_later: bool = False,
) -> None:
    """Update the application's tables after writes of our own account. Connected accounts have no users.

    The order of locks is: requests, links, users, catalogue.
    """
    if policy.off:
        return
    ours = [outcome for outcome in written if outcome.object is not None and outcome.key.account == ""]
    by_type: dict[str, list[Outcome]] = {}
    for outcome in ours:
        by_type.setdefault(outcome.key.object, []).append(outcome)
    changed = _changed_products(conn, by_type)
    guests = _request_for_catalogue(conn, ours, by_type, offered, changed.arrived, users_later=users_later)
    product_changes.note(conn, changed.known)
    missed = guests | _compute_users(conn, written, ours, policy, users_later=users_later)
    # The catalogue is copied last, because a computation too locks the user before it inserts placeholders for
    # products.
    for outcome in by_type.get("product", []):
        _warn_of_unclear_metadata(outcome)
    save_rows.of_catalogue(
        conn,
        products=[outcome.key.id for outcome in by_type.get("product", [])],
        prices=[outcome.key.id for outcome in by_type.get("price", [])],
    )
    rechecks.note(conn, missed)


class _Changed(NamedTuple):
    """Changed products: `arrived` are new, and users were already computed with `known`."""

    arrived: set[str]
    known: set[str]


def _changed_products(conn: psycopg.Connection, by_type: Mapping[str, Sequence[Outcome]]) -> _Changed:
    """The written products that are new or whose policy has changed. A product whose features are read for the first
    time counts as new."""
    products, features = by_type.get("product", []), by_type.get("product_feature", [])
    new = {outcome.key.id for outcome in products if outcome.before is None}
    featured = _named(features, "product")
    unread = product_changes.unread(conn, featured) if featured else set()
    differing = product_changes.differing(conn, {outcome.key.id for outcome in products} - new)
    return _Changed(new | unread, (featured | differing) - new - unread)


def _request_for_catalogue(
    conn: psycopg.Connection,
    ours: Sequence[Outcome],
    by_type: Mapping[str, Sequence[Outcome]],
    offered: Mapping[str, Offer],
    products: Collection[str],
    *,
    users_later: bool,
) -> set[ObjectRef]:
    """Request that users be computed again: those who waited for a new product or price, and the users of
    organizations.

    Returns the users to recheck: guests, who have no customer.
    """
    organizations.request(conn, ours, offered, fresh_products=products)
    prices = [
        outcome.key.id for type_ in ("price", "plan") for outcome in by_type.get(type_, []) if outcome.before is None
    ]
    if products or prices:
        waiting = catalogue.waiting_customers(conn, products=products, prices=prices)
        recompute_queue.request(conn, waiting, deferred=users_later)
    return {ObjectRef(rechecks.USER, user) for user in catalogue.waiting_guests(conn, products)} if products else set()


def _compute_users(
    conn: psycopg.Connection,
    written: Sequence[Outcome],
    ours: Sequence[Outcome],
    policy: Policy,
    *,
    users_later: bool,
) -> set[ObjectRef]:
    """Compute the users of these objects; returns the objects that name something not mirrored yet.

    An object affects its user if a value that users are computed from has changed, or if its customer is linked now.
    With `users_later`, deferred requests are stored instead. Guests are always computed at once, because requests name
    customers.
    """
    moved = [outcome for outcome in ours if outcome.moves_users]
    customers = _customers(moved)
    # Tokens are taken back only for settled objects. So an object that becomes settled matters even if its content
    # stays the same.
    news = [
        outcome.key
        for outcome in written
        if outcome.key.account == ""
        and outcome.moves_users
        and (outcome.object is not None or _is_settled_now(outcome))
    ]
    returns = {key.ref for key in news if key.object in links.SHOW_MONEY_BACK}
    paid = [outcome for outcome in moved if outcome.key.object == "invoice_payment"]
    invoices = {ObjectRef("invoice", id_) for id_ in _named(paid, "invoice")}
    behind, missed = links.customers_of(conn, invoices | returns)
    guests = links.guests(conn, [key.id for key in news if key.object == "checkout.session"], returns)
    if users_later:
        recompute_queue.request(conn, customers | behind, deferred=True)
        compute.compute(conn, sorted(guests), policy)
        return missed
    linked = compute.linked(conn, customers | behind | _customers(ours))
    users = guests | {user for customer, user in linked.fresh.items()}
    users |= {user for customer, user in linked.known.items() if customer in customers or customer in behind}
    compute.compute(conn, sorted(users), policy)
    metrics.USERS.labels("computed").inc(len(users))
    metrics.USERS.labels("unchanged").inc(len(set(linked.known.values()) - users))
    return missed


def _customers(outcomes: Iterable[Outcome]) -> set[str]:
    return {customer for outcome in outcomes if (customer := _customer(outcome)) is not None}


def _warn_of_unclear_metadata(outcome: Outcome) -> None:
    assert outcome.object is not None
    product = product_of(outcome.key.id, outcome.object.get("metadata"))
    if product.unclear:
        _log.warning("product.metadata_unclear", object_id=product.id, keys=list(product.unclear))


def _is_settled_now(outcome: Outcome) -> bool:
    before, after = outcome.before, outcome.version
    return before is not None and before.unsettled and after is not None and not after.unsettled


def _customer(outcome: Outcome) -> str | None:
    if outcome.key.object == "customer":
        return outcome.key.id
    assert outcome.object is not None
    return reference(outcome.type.customer(outcome.object))


def _named(outcomes: Sequence[Outcome], field_: str) -> set[str]:
    ids = (reference(outcome.object.get(field_)) for outcome in outcomes if outcome.object is not None)
    return {id_ for id_ in ids if id_}
