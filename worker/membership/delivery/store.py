"""Changes in the database: pages of them, and the deliveries that CHANGES_URL has not acknowledged."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row

from worker.postgres import cursors

Connection = psycopg.Connection

# The cursor: deliveries exist for changes up to this id.
CURSOR = "changes sent"
# Backlogs are counted up to this number, so that a long outage of the receiver does not make the count slow.
COUNTED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of a user."""

    id: int
    user_id: str
    type: str
    before: dict[str, Any]
    after: dict[str, Any]
    reason: str
    sources: list[str]
    created_at: datetime
    traceparent: str | None = None

    @property
    def timestamp(self) -> str:
        """When the change was made (ISO 8601, UTC)."""
        return self.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z")

    @property
    def details(self) -> dict[str, Any]:
        """The states before and after, and the reason, as pages and calls contain them."""
        return {"before": self.before, "after": self.after, "reason": self.reason}

    @property
    def as_json(self) -> dict[str, Any]:
        """The change as `GET /v1/changes` shows it."""
        return {
            "id": self.id,
            "type": self.type,
            "timestamp": self.timestamp,
            "user_id": self.user_id,
            "data": self.details,
        }


_CHANGE = "c.id, c.user_id, c.type, c.before, c.after, c.reason, c.sources, c.created_at, c.traceparent"


def after(conn: Connection, id_: int, *, limit: int, user: str | None = None) -> list[Change]:
    """The changes after this id, in the order of ids. That is the order of commits, so no smaller id appears later."""
    of_user = "and c.user_id = %(user)s" if user is not None else ""
    with conn.cursor(row_factory=class_row(Change)) as cursor:
        return cursor.execute(
            f"select {_CHANGE} from sync.changes as c where c.id > %(id)s {of_user} order by c.id limit %(limit)s",  # noqa: S608
            {"id": id_, "limit": limit, "user": user},
        ).fetchall()


def newest(conn: Connection, user: str, *, limit: int) -> list[Change]:
    """The newest changes of a user, the newest first."""
    with conn.cursor(row_factory=class_row(Change)) as cursor:
        return cursor.execute(
            f"select {_CHANGE} from sync.changes as c where c.user_id = %s order by c.id desc limit %s",  # noqa: S608
            (user, limit),
        ).fetchall()


def last_id(conn: Connection) -> int:
    """The id of the newest change, or 0 if there is none."""
    row = conn.execute("select coalesce(max(id), 0) from sync.changes").fetchone()
    return int(row[0]) if row else 0


def skip_all(conn: Connection) -> None:
    """Skip all changes up to now: they are never sent. Writes nothing if there is no new change."""
    conn.execute(
        """
        insert into sync.cursors as c (name, value)
        select %s, jsonb_build_object('upto', coalesce(max(id), 0)) from sync.changes
        on conflict (name) do update set value = excluded.value, updated_at = now() where c.value <> excluded.value
        """,
        (CURSOR,),
    )


def enqueue(conn: Connection, *, limit: int = 1000) -> int:
    """Insert deliveries for changes that have none; returns their number.

    Runs in the caller's transaction. Only one process does this at a time. Ids follow the order of commits, so the
    cursor skips no change.
    """
    conn.execute(
        "insert into sync.cursors (name, value) values (%s, '{\"upto\": 0}') on conflict (name) do nothing", (CURSOR,)
    )
    row = conn.execute(
        "select (value ->> 'upto')::bigint from sync.cursors where name = %s for update skip locked", (CURSOR,)
    ).fetchone()
    if row is None:
        return 0
    made = conn.execute(
        """
        with fresh as (
            select id, user_id from sync.changes where id > %s order by id limit %s
        ), queued as (
            insert into sync.change_deliveries (change_id, user_id) select id, user_id from fresh on conflict do nothing
        )
        select count(*), max(id) from fresh
        """,
        (row[0], limit),
    ).fetchone()
    assert made is not None
    if made[0]:
        cursors.save(conn, CURSOR, {"upto": made[1]})
    return int(made[0])


def lease(conn: Connection, *, users: int, each: int, seconds: float) -> dict[str, list[Change]]:
    """Lease the next changes of some users whose first unacknowledged change is due.

    At most `each` changes of a user are leased, in order. Users whose changes another process has leased are left out,
    because their first change is not due.
    """
    with conn.cursor(row_factory=class_row(Change)) as cursor:
        leased = cursor.execute(
            f"""
            with heads as materialized (
                select d.user_id
                from sync.change_deliveries as d
                where not d.parked and d.due_at <= clock_timestamp() and not exists (
                    select from sync.change_deliveries as e
                    where e.user_id = d.user_id and e.change_id < d.change_id and not e.parked
                )
                order by d.due_at
                limit %(users)s
                for update skip locked
            ), taken as (
                update sync.change_deliveries as d
                set due_at = clock_timestamp() + make_interval(secs => %(seconds)s)
                from heads as h
                cross join lateral (
                    select change_id from sync.change_deliveries
                    where user_id = h.user_id and not parked order by change_id limit %(each)s
                ) as n
                where d.change_id = n.change_id
                returning d.change_id
            )
            select {_CHANGE} from taken join sync.changes as c on c.id = taken.change_id order by c.id
            """,  # noqa: S608 - our own words
            {"users": users, "each": each, "seconds": seconds},
        ).fetchall()
    by_user: dict[str, list[Change]] = {}
    for change in leased:
        by_user.setdefault(change.user_id, []).append(change)
    return by_user


def acknowledge(conn: Connection, ids: Collection[int]) -> None:
    """Mark these changes as delivered. A change that `resend` has requested again, or whose lease has ended, stays."""
    if ids:
        conn.execute(
            "delete from sync.change_deliveries where change_id = any(%b::bigint[]) and due_at > clock_timestamp()",
            (list(ids),),
        )


def fail(conn: Connection, change: Change, error: str, *, pause: timedelta | None) -> None:
    """Record a failed call. This change and later changes of the user wait for `pause`.

    If `pause` is None, this change is parked, and later changes of the user continue.
    """
    conn.execute(
        """
        update sync.change_deliveries
        set attempts = attempts + 1, error = %(error)s, parked = %(parked)s
        where change_id = %(change)s
        """,
        {"error": error[:500], "parked": pause is None, "change": change.id},
    )
    release(conn, [change.user_id], pause=pause or timedelta())


def release(conn: Connection, users: Collection[str], *, pause: timedelta = timedelta()) -> None:
    """Release the leased changes of these users, so that they are due after the pause."""
    conn.execute(
        "update sync.change_deliveries set due_at = clock_timestamp() + %s where user_id = any(%s) and not parked",
        (pause, list(users)),
    )


def attempts(conn: Connection, change: int) -> int:
    """How often the call for this change has failed."""
    row = conn.execute("select attempts from sync.change_deliveries where change_id = %s", (change,)).fetchone()
    return int(row[0]) if row else 0


def receiver_is_back(conn: Connection) -> None:
    """Make all changes due that wait after a failed attempt."""
    conn.execute(
        "update sync.change_deliveries set due_at = clock_timestamp() where not parked and attempts > 0 "
        "and due_at > clock_timestamp()"
    )


def resend(conn: Connection, ids: Collection[int] = (), *, parked: bool = False, since: int | None = None) -> int:
    """Send changes again: these, the parked changes, or all after an id; returns their number."""
    which = "d.parked" if parked else "c.id > %(since)s" if since is not None else "c.id = any(%(ids)s)"
    return conn.execute(
        f"""
        insert into sync.change_deliveries as t (change_id, user_id)
        select c.id, c.user_id from sync.changes as c left join sync.change_deliveries as d on d.change_id = c.id
        where {which}
        order by c.id
        on conflict (change_id) do update set parked = false, attempts = 0, due_at = now(), error = null
        """,  # noqa: S608 - one of three literals
        {"ids": list(ids), "since": since},
    ).rowcount


def parked(conn: Connection, *, limit: int) -> list[dict[str, Any]]:
    """Parked deliveries, the oldest first: id, user, type, attempts and error."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select c.id, c.user_id, c.type, d.attempts, d.error
            from sync.change_deliveries as d join sync.changes as c on c.id = d.change_id
            where d.parked order by d.change_id limit %s
            """,
            (limit,),
        ).fetchall()


def backlog(conn: Connection) -> dict[str, Any]:
    """The number of changes that wait, the number of parked changes, and the age of the oldest waiting change in
    seconds.

    Changes without a delivery also wait, because only a running sender inserts deliveries. No number is larger than
    `COUNTED`.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            with fresh as (
                select count(*) as number, min(c.id) as id
                from (
                    select id from sync.changes
                    where id > coalesce((select (value ->> 'upto')::bigint from sync.cursors where name = %(cursor)s), 0)
                    order by id limit %(most)s
                ) as c
            ), queued as (
                select count(*) as number, min(change_id) as id
                from (
                    select change_id from sync.change_deliveries where not parked order by change_id limit %(most)s
                ) as d
            )
            select least(q.number + f.number, %(most)s) as changes_pending,
                (select count(*) from (select from sync.change_deliveries where parked limit %(most)s) as p) as changes_parked,
                coalesce((
                    select extract(epoch from clock_timestamp() - c.created_at)::float8
                    from sync.changes as c where c.id = least(q.id, f.id)
                ), 0) as oldest_pending_change_seconds
            from fresh as f cross join queued as q
            """,
            {"cursor": CURSOR, "most": COUNTED},
        ).fetchone()
    assert row is not None
    return row
