"""The job that computes users: link their customers, lock the users, load all facts, decide, write."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg
from celery.exceptions import SoftTimeLimitExceeded

from worker.config.settings import Settings, TokenPolicy
from worker.membership.rules import access, balance, changes, link, outcome
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import User, misses_facts
from worker.membership.store import links, load_facts, organization_queue, rechecks, save, save_changes, save_rows
from worker.observe import log, trace
from worker.postgres import plans
from worker.postgres.pool import OTHER_SCHEMA, UNAVAILABLE
from worker.stripe_api.event import ObjectRef

_log = log.get("membership")


class Linked(NamedTuple):
    """The user of each customer: `known` were linked before, `fresh` are linked now."""

    known: dict[str, str]
    fresh: dict[str, str]


# The span of a trace names at most this many users.
MOST_IDS = 20
NOT_COMPUTED_PAUSE = timedelta(hours=1)


def recompute(conn: psycopg.Connection, customers: Collection[str], policy: Policy) -> list[str]:
    """Compute the users of these customers from the mirror; returns the users whose row changed.

    Runs in the caller's transaction. Another transaction that computes the same user waits for the lock on the user. A
    transaction that links the same customer waits for the lock on the link. So the last of them sees everything that
    the others wrote.
    """
    return [] if policy.off else compute(conn, users_of(conn, customers), policy)


def users_of(conn: psycopg.Connection, customers: Collection[str]) -> list[str]:
    """The users of these customers. Unlinked customers are linked first if a rule matches."""
    known, fresh = linked(conn, customers)
    return sorted({*known.values(), *fresh.values()})


def compute(
    conn: psycopg.Connection,
    ids: Collection[str],
    policy: Policy,
    *,
    concerned_only: bool = False,
    is_recheck: bool = False,
) -> list[str]:
    """Compute these users; returns the users whose row changed. Runs in the caller's transaction.

    With `concerned_only`, users with neither data from Stripe nor an override are skipped. `is_recheck` is true for a
    recheck of users whose facts lacked an object. Then no further recheck is requested.
    """
    if policy.off or not ids:
        return []
    with trace.span("users.compute", attributes={"users": len(ids), "user.ids": list(ids)[:MOST_IDS]}):
        restore = plans.keep(conn)
        changed = _compute(conn, ids, policy, concerned_only=concerned_only, is_recheck=is_recheck)
        # Later statements, such as the one that marks events done, need plans for the present size of their table.
        restore()
        return changed


def _compute(
    conn: psycopg.Connection, ids: Collection[str], policy: Policy, *, concerned_only: bool, is_recheck: bool
) -> list[str]:
    locked = load_facts.lock_users(conn, ids)
    if not locked:
        return []
    loaded, products = load_facts.load(conn, locked)
    users = {id_: user for id_, user in loaded.items() if not concerned_only or access.is_concerned(user)}
    now = datetime.now(UTC)
    made = {id_: outcome.compute(user, products, policy, now) for id_, user in users.items()}
    for id_, each in made.items():
        most = users[id_].most_tokens
        if any(grant.balance_after == most for grant in each.grants):
            _log.warning("user.tokens_capped", object_id=id_, tokens=most)
    statuses = {each.id: each.status for user in users.values() for each in user.every_subscription}
    for id_, status in statuses.items():
        if status not in access.KNOWN_STATUSES:
            _log.warning("subscription.unknown_status", object_id=id_, status=status)
    saved = save_rows.of_users(conn, users)
    if saved.products:
        made = {id_: outcome.without_products(users[id_], each, saved.products) for id_, each in made.items()}
    save.save_access(conn, {id_: each.access for id_, each in made.items() if each.changes_access})
    save.save_features(conn, {id_: each.features for id_, each in made.items() if "features" in each.changes})
    save.save_grants(conn, {id_: each.grants for id_, each in made.items() if each.grants})
    organization_queue.remember_members(conn, _new_members(users))
    looks = {id_: made[id_].next_look if id_ in made else None for id_ in loaded}
    again = now + NOT_COMPUTED_PAUSE
    save.save_alarms(conn, looks | {id_: min(looks[id_] or again, again) for id_ in saved.users & looks.keys()})
    save_changes.save(conn, {id_: changes.changes(users[id_], made[id_], saved.turns.get(id_, ())) for id_ in users})
    if not is_recheck:
        missing = [id_ for id_, user in users.items() if misses_facts(user, products)]
        rechecks.note(conn, [ObjectRef(rechecks.USER, id_) for id_ in missing])
    return [id_ for id_, each in made.items() if each.changes]


def compute_each(
    conn: psycopg.Connection,
    ids: Sequence[str],
    policy: Policy,
    *,
    concerned_only: bool = False,
    is_recheck: bool = False,
) -> None:
    """Compute these users together. If that fails, compute each alone, so that one failure does not affect the others.

    A user who fails is computed again in an hour. Use this for work that nothing else retries; events have their own
    retries. If Postgres is unreachable or has the schema of another release, the error is raised, because no user
    causes it.
    """
    try:
        with conn.transaction():
            compute(conn, ids, policy, concerned_only=concerned_only, is_recheck=is_recheck)
    except (*UNAVAILABLE, *OTHER_SCHEMA, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # noqa: BLE001 - an error caused by one user must not stop the others
        if len(ids) > 1:
            for id_ in ids:
                compute_each(conn, [id_], policy, concerned_only=concerned_only, is_recheck=is_recheck)
            return
        _log.error("user.not_computed", object_id=ids[0], error=f"{type(error).__name__}: {error}".strip())
        save.save_alarms(conn, {ids[0]: datetime.now(UTC) + NOT_COMPUTED_PAUSE})


def policy_of(settings: Settings) -> Policy:
    """The membership policy of the settings."""
    grace = settings.past_due_grace_days
    return Policy(
        past_due_grace=None if grace is None else timedelta(days=grace),
        token_ttl=timedelta(days=settings.token_ttl_days),
        tokens_reset=settings.token_policy is TokenPolicy.RESET,
        trial_tokens=settings.trial_tokens,
        off=not settings.membership,
    )


def sweep_expired(conn: psycopg.Connection, *, should_continue: Callable[[], bool], batch: int = 500) -> int:
    """Set expired balances to 0, one batch in each transaction; returns the number of users.

    An expired balance already reads as 0 (`token_balance`), so this is not urgent.
    """
    swept = 0
    while should_continue():
        with conn.transaction():
            now = datetime.now(UTC)
            users = load_facts.lock_expired(conn, now, limit=batch)
            ended = {id_: made for id_, user in users.items() if (made := balance.expire(user, now)) is not None}
            save.save_grants(conn, {id_: [made] for id_, made in ended.items()})
        swept += len(ended)
        if len(users) < batch:
            break
    return swept


def compute_due(
    conn: psycopg.Connection, policy: Policy, *, should_continue: Callable[[], bool], batch: int = 200
) -> int:
    """Compute the users whose next change is due or whose organization has changed; returns their number.

    Each batch is one transaction. Afterwards each user is due at a later time or not at all.
    """
    computed = 0
    while not policy.off and should_continue():
        with conn.transaction():
            due = save.due_alarms(conn, datetime.now(UTC), limit=batch)
            compute_each(conn, due, policy, concerned_only=True)
        computed += len(due)
        if len(due) < batch:
            break
    return computed


def _new_members(users: Mapping[str, User]) -> dict[str, str]:
    """The users who have become members of their organization, with the organization."""
    return {
        id_: user.organization_id
        for id_, user in users.items()
        if user.organization_id is not None and user.organization_id != user.member_of and access.is_member(user)
    }


def linked(conn: psycopg.Connection, customers: Collection[str]) -> Linked:
    """The users of these customers, after linking the unlinked customers for which a rule matches."""
    if not customers:
        return Linked({}, {})
    stored = links.stored_links(conn, customers)
    known = {customer: user for customer, user in stored.items() if user is not None}
    if known.keys() >= set(customers):
        return Linked(known, {})
    fresh = links.hold_links(conn, set(customers) - known.keys())
    unlinked = set(customers) - known.keys() - fresh.keys()
    chosen = [choice for each in links.candidates(conn, unlinked) if (choice := link.choose(each)) is not None]
    if chosen:
        made, ours = links.save_links(conn, chosen)
        save_rows.of_links(conn, ours)
        fresh |= made
    return Linked(known, fresh)
