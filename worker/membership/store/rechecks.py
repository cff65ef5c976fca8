"""Rechecks (`sync.rechecks`): work to repeat because a concurrent transaction was invisible.

One writes a refund, and finds nobody behind it; the other writes the charge that it takes back, and sees no refund. Each
is right by what it sees, and once both have committed nobody looks. So whoever misses something that is named notes it
here. It is looked at again soon, and for the last time when every transaction has ended that was open at the first look:
whoever brings what was missed later sees what we wrote.
"""

from collections.abc import Collection
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from worker.stripe_api.event import ObjectRef

Connection = psycopg.Connection

USER = "user"
# One process looks at a time: the others would wait for it, user by user, and find the same.
_LOCK = 0x6C6F6F6B


@dataclass(frozen=True, slots=True)
class Look:
    """The subject of a recheck: a user, or an object that names no customer itself. `horizon` is None the first time."""

    object: str
    id: str
    horizon: int | None


def note(conn: Connection, missed: Collection[ObjectRef]) -> None:
    """Look at these objects, or users (type `user`), once more. Comes after users are locked: who looks does so, too."""
    if missed:
        conn.execute(
            """
            insert into sync.rechecks (object, id)
            select object, id from unnest(%b::text[], %b::text[]) as m (object, id) order by object, id
            on conflict (object, id) do update set noted_at = now(), horizon = null
            """,
            ([ref.object for ref in missed], [ref.id for ref in missed]),
        )


def due(conn: Connection, *, limit: int) -> list[Look]:
    """Some of what is to be looked at now, all of one kind: users are locked once in a transaction.

    Nothing where somebody else looks just now; until the transaction ends nobody else does.
    """
    if conn.execute("select pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone() != (True,):
        return []
    with conn.cursor(row_factory=class_row(Look)) as cursor:
        # A horizon that lies ahead of us was another cluster's, that this database was dumped from.
        rows = cursor.execute(
            """
            select object, id, horizon
            from sync.rechecks, pg_current_snapshot() as now
            where horizon is null
                or horizon <= pg_snapshot_xmin(now)::text::bigint or horizon > pg_snapshot_xmax(now)::text::bigint
            order by noted_at, object, id
            limit %s
            """,
            (limit,),
        ).fetchall()
    return [look for look in rows if look.object == rows[0].object]


def done(conn: Connection, looks: Collection[Look]) -> None:
    """These were looked at: for the first time, or for the last. A recheck noted again meanwhile starts over."""
    first = [look for look in looks if look.horizon is None]
    conn.execute(
        """
        update sync.rechecks as s
        set horizon = pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        from unnest(%b::text[], %b::text[]) as l (object, id)
        where s.object = l.object and s.id = l.id and s.horizon is null
        """,
        ([look.object for look in first], [look.id for look in first]),
    )
    last = [look for look in looks if look.horizon is not None]
    conn.execute(
        """
        delete from sync.rechecks as s
        using unnest(%b::text[], %b::text[], %b::bigint[]) as l (object, id, horizon)
        where s.object = l.object and s.id = l.id and s.horizon = l.horizon
        """,
        ([look.object for look in last], [look.id for look in last], [look.horizon for look in last]),
    )


def any_waiting(conn: Connection) -> bool:
    """Whether anything is still to be looked at."""
    return conn.execute("select from sync.rechecks limit 1").fetchone() is not None
