"""The job that recomputes all users after a change of products or settings: `plan` shows the changes, `apply` writes
them.

Both read the users in the order of their ids, one batch in each transaction, so that memory stays constant and no lock
is held for long. `apply` computes users as a worker does for an event, and takes locks in the same order.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from worker.config.errors import Permanent
from worker.membership import compute
from worker.membership.rules import outcome
from worker.membership.rules.access import Policy, is_concerned
from worker.membership.rules.outcome import Outcome
from worker.membership.store import computed_users, load_facts, product_changes
from worker.observe import log
from worker.postgres import cursors, plans, runs
from worker.postgres.pool import outlive, snapshot

_log = log.get("membership")

JOB, CURSOR = "membership_apply", "membership apply"
BATCH = 400
OUTAGE_SECONDS = 60


class StartedElsewhere(Permanent):
    """another `stripe-sync membership apply` was started and continues from here; all users computed so far are
    complete"""


@dataclass(frozen=True, slots=True)
class Planned:
    """A part of the plan: the number of users computed, and the outcome for each user who would change.

    `last` is the last user of the part, or None if this is the last part.
    """

    users: int
    changing: Mapping[str, Outcome]
    last: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of `apply`.

    `of` is the number of all users, `resumed` the number of users that an interrupted run had computed. `outdated` is
    true at the end if the policy or the catalogue has changed since the start, so that `apply` should run again.
    """

    users: int
    changed: int
    of: int
    resumed: int
    outdated: bool = False


def plan(
    conn: psycopg.Connection,
    policy: Policy,
    *,
    only: Collection[str] | None = None,
    after: str = "",
    batch: int = BATCH,
) -> Iterator[Planned]:
    """Yield the changes that `apply` would make now, one batch at a time, after the user `after`. Writes and locks
    nothing."""
    place: str | None = after
    while place is not None:
        with snapshot(conn):
            plans.keep(conn)
            ids = computed_users.after(conn, place, limit=batch) if only is None else sorted(only)
            users, products = load_facts.load(conn, load_facts.read_users(conn, ids))
        now = datetime.now(UTC)
        made = {
            id_: outcome.compute(users[id_], products, policy, now) for id_ in sorted(users) if is_concerned(users[id_])
        }
        place = ids[-1] if only is None and len(ids) == batch else None
        yield Planned(len(users), {id_: each for id_, each in made.items() if each.changes or each.grants}, place)


def concerned(conn: psycopg.Connection, users: Collection[str]) -> set[str]:
    """The users among these with data from Stripe or an override. Other users are never written."""
    with snapshot(conn):
        facts, _ = load_facts.load(conn, load_facts.read_users(conn, users))
    return {id_ for id_, user in facts.items() if is_concerned(user)}


def apply(
    connect: Callable[[], psycopg.Connection], policy: Policy, *, restart: bool = False, batch: int = BATCH
) -> Iterator[Progress]:
    """Compute all users, one batch in each transaction. The first progress is the state before the first batch.

    The position is saved with each batch, and a run after an interruption continues there. All users are computed again
    if `restart` is true, or if the policy or the catalogue has changed. Raises StartedElsewhere if another `apply` has
    started.
    """
    walk = _Walk(connect, policy, batch)
    try:
        yield walk.begin(restart=restart)
        while (done := walk.step()) is not None:
            yield done
        yield walk.finish()
    finally:
        walk.close()


class _Walk:
    """One `apply` with its connection, which is opened again if it breaks. The position is only in the database."""

    def __init__(self, connect: Callable[[], psycopg.Connection], policy: Policy, batch: int) -> None:
        self._connect, self._conn = connect, connect()
        self._policy, self._batch = policy, batch
        self._began = datetime.now(UTC)
        self._resumed = self._of = 0

    def begin(self, *, restart: bool) -> Progress:
        conn, stamp = self._conn, self._stamp()
        place = cursors.read(conn, CURSOR)
        if place is None or restart or place["stamp"] != stamp:
            place = {"stamp": stamp, "after": "", "users": 0, "changed": 0}
        # A run that began earlier finds that the cursor is ours, and ends.
        place["started_at"] = self._began.isoformat()
        cursors.save(conn, CURSOR, place)
        self._resumed = place["users"]
        self._of = self._resumed + computed_users.count(conn, behind=place["after"])
        return self._progress(place)

    def step(self) -> Progress | None:
        """Compute one batch; returns None if no user is left. Waits and retries after a deadlock or while Postgres is
        away."""
        place = outlive(self._batch_done, seconds=OUTAGE_SECONDS, waiting=_waiting)
        return None if place is None else self._progress(place)

    def finish(self) -> Progress:
        conn = self._conn
        with conn.transaction():
            place = self._place()
            cursors.drop(conn, CURSOR)
            is_outdated = self._stamp() != place["stamp"]
            if not is_outdated:
                product_changes.forget(conn)
            runs.note(conn, JOB, self._began, {"users": place["users"], "changed": place["changed"]})
        return replace(self._progress(place), outdated=is_outdated)

    def close(self) -> None:
        self._conn.close()

    def _batch_done(self) -> dict[str, Any] | None:
        if self._conn.closed:
            self._conn = self._connect()
        conn = self._conn
        with conn.transaction():
            place = self._place()
            ids = computed_users.after(conn, place["after"], limit=self._batch)
            if not ids:
                return None
            changed = len(compute.compute(conn, ids, self._policy, concerned_only=True))
            moved = {
                **place,
                "after": ids[-1],
                "users": place["users"] + len(ids),
                "changed": place["changed"] + changed,
            }
            if not cursors.move(conn, CURSOR, place, moved):
                raise StartedElsewhere
        return moved

    def _place(self) -> dict[str, Any]:
        place: dict[str, Any] | None = cursors.read(self._conn, CURSOR)
        if place is None or place["started_at"] != self._began.isoformat():
            raise StartedElsewhere
        return place

    def _progress(self, place: Mapping[str, Any]) -> Progress:
        users = place["users"]
        return Progress(users=users, changed=place["changed"], of=max(self._of, users), resumed=self._resumed)

    def _stamp(self) -> str:
        """A digest of the policy and the catalogue."""
        return hashlib.sha256(f"{self._policy} {computed_users.catalogue_stamp(self._conn)}".encode()).hexdigest()


def _waiting(error: Exception, pause: float) -> None:
    _log.warning("postgres.unreachable", error=type(error).__name__, retry_in_seconds=pause)
