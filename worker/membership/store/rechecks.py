"""Rechecks (`sync.rechecks`): work to repeat because a concurrent transaction was invisible.

For example, one transaction writes a refund and finds no user for it, while another writes the charge and sees no
refund. Each decides correctly by what it sees, but after both commits the refund would have no user. So a transaction
that does not find a named object records it here. The object is rechecked soon. It is rechecked once more after all
transactions that were open at the first recheck have ended. Later transactions see our writes.
"""

from collections.abc import Collection
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from worker.stripe_api.event import ObjectRef

Connection = psycopg.Connection

USER = "user"
# Only one process rechecks at a time. A second one would wait for the first at each user, and do the same work.
_LOCK = 0x6C6F6F6B


@dataclass(frozen=True, slots=True)
class Look:
    """A user to recheck, or an object that names no customer. `horizon` is None before the first recheck."""

    object: str
    id: str
    horizon: int | None


def note(conn: Connection, missed: Collection[ObjectRef]) -> None:
    """Request a recheck of these objects, or users (type `user`).

    Call this after locking users. The recheck locks in the same order.
    """
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
    """Some objects due for a recheck, all of one type, because a transaction locks users only once.

    Empty if another process rechecks now. Until the transaction ends, other processes get an empty list.
    """
    if conn.execute("select pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone() != (True,):
        return []
    with conn.cursor(row_factory=class_row(Look)) as cursor:
        # A horizon in the future comes from another cluster, from which this database was restored.
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
    """Record that these objects were rechecked, for the first or the last time. If an object was requested again in the
    meantime, it starts over."""
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
    """Whether a recheck is due or scheduled."""
    return conn.execute("select from sync.rechecks limit 1").fetchone() is not None
