"""The job that computes the users of an organization in batches, after its subscription has changed.

An organization may have ten thousand users, too many for the transaction that writes the change. That transaction
inserts a request. After its commit a worker computes the users in order, one batch in each transaction.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import psycopg
from psycopg import errors

from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.membership.store import organization_queue
from worker.membership.store.organization_queue import Offer
from worker.mirror.fold import Key, Outcome
from worker.mirror.registry import TYPES
from worker.observe import log

_log = log.get("organizations")

# How long to wait for a user whom the application has locked. Events may wait for this job meanwhile, so it is short.
# It is less than deadlock_timeout (1 s): if the application locks users in another order, this job fails before
# Postgres ends the application's transaction.
LOCK_MILLISECONDS = 500

_organization_of = next(
    column.read for column in TYPES["subscription"].columns if column.name == "metadata_organization_id"
)


def offered_before(conn: psycopg.Connection, keys: Collection[Key]) -> dict[str, Offer]:
    """The offers of the subscriptions among these locked rows, before they are written."""
    return organization_queue.offers(
        conn, {key.id for key in keys if key.object == "subscription" and key.account == ""}
    )


def request(
    conn: psycopg.Connection,
    written: Sequence[Outcome],
    before: Mapping[str, Offer],
    *,
    fresh_products: Collection[str],
) -> None:
    """Request that users be computed again, for every organization whose access the written rows may have changed.

    `written` are the rows of our own account with new content. Such an organization is named by a changed subscription
    (before or after the change), by a subscription of a customer who was deleted now, or by a subscription to one of
    `fresh_products`. Call this before locking users, because `compute_waiting` locks in this order too.
    """
    subscriptions = {outcome.key.id for outcome in written if _is_offered(outcome, before)}
    after = organization_queue.offers(conn, subscriptions)
    changed = {id_ for id_ in subscriptions if before.get(id_) != after.get(id_)}
    named = {offers[id_].organization for offers in (before, after) for id_ in changed if id_ in offers}
    gone = {outcome.key.id for outcome in written if outcome.key.object == "customer" and _is_deleted_now(outcome)}
    named |= organization_queue.offered_to(conn, gone)
    named |= organization_queue.offered_for_products(conn, fresh_products)
    organization_queue.request(conn, named)


def compute_waiting(
    conn: psycopg.Connection, policy: Policy, *, should_continue: Callable[[], bool], batch: int = 100
) -> bool:
    """Compute the users of requested organizations; returns False if time ran out and some are left.

    Several workers share the organizations, but one organization has one worker at a time. An organization with a
    locked user is left for the next call.
    """
    busy = set[str]()
    while should_continue():
        organization = None
        try:
            with conn.transaction():
                organization_queue.keep_lock_waits_short(conn, milliseconds=LOCK_MILLISECONDS)
                step = organization_queue.take(conn, limit=batch, but=busy)
                if step is None:
                    return True
                organization = step.organization
                compute.compute_each(conn, step.users, policy, concerned_only=True)
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            if organization is None:
                raise
            busy.add(organization)
            _log.warning("organization.busy", object_id=organization, error=type(error).__name__)
            organization_queue.put_back(conn, organization)
    return bool(busy) or not organization_queue.any_waiting(conn)


def _is_offered(outcome: Outcome, before: Mapping[str, Offer]) -> bool:
    """Whether the subscription names an organization, or did so before."""
    if outcome.key.object != "subscription":
        return False
    return outcome.key.id in before or (outcome.object is not None and _organization_of(outcome.object) is not None)


def _is_deleted_now(outcome: Outcome) -> bool:
    was = outcome.before is not None and outcome.before.deleted
    return outcome.version is not None and outcome.version.deleted and not was
