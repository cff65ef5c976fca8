"""Requests to recompute the users of customers (`sync.recompute_queue`), because an object that their subscriptions or
payments refer to arrived late.

Writers and workers lock requests before users.
"""

from collections.abc import Collection

import psycopg
from psycopg.rows import scalar_row

Connection = psycopg.Connection


def request(conn: Connection, customers: Collection[str], *, deferred: bool = False) -> None:
    """Request that the users of these customers be computed again.

    Waits for a worker that has taken the same request, because that worker may not have seen our writes. No worker
    begins before our commit. A `deferred` request is only taken at the end of a backfill, unless there is also a
    request for the customer that is not deferred.
    """
    if customers:
        conn.execute(
            """
            insert into sync.recompute_queue as r (stripe_customer_id, deferred)
            select id, %s from unnest(%b::text[]) as wanted (id) order by id
            on conflict (stripe_customer_id) do update
            set requested_at = r.requested_at, deferred = r.deferred and excluded.deferred
            """,
            (deferred, sorted(customers)),
        )


def take(conn: Connection, *, limit: int, deferred: bool = False) -> list[str]:
    """Take requests, and return their customers. The requests are removed when the transaction commits."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            f"""
            delete from sync.recompute_queue
            where stripe_customer_id in (
                select stripe_customer_id from sync.recompute_queue where {"deferred" if deferred else "not deferred"}
                order by {"stripe_customer_id" if deferred else "requested_at"} limit %s for update skip locked
            )
            returning stripe_customer_id
            """,  # noqa: S608 - words of ours
            (limit,),
        ).fetchall()


def any_waiting(conn: Connection) -> bool:
    """Whether there is a request that is not deferred."""
    return (
        conn.execute("select from sync.recompute_queue where not deferred order by requested_at limit 1").fetchone()
        is not None
    )


def count_deferred(conn: Connection) -> int:
    """The number of deferred requests: customers that wait until a backfill has read their objects."""
    row = conn.execute("select count(*) from sync.recompute_queue where deferred").fetchone()
    return int(row[0]) if row else 0


def any_deferred(conn: Connection) -> bool:
    """Whether there is a deferred request."""
    return (
        conn.execute("select from sync.recompute_queue where deferred order by stripe_customer_id limit 1").fetchone()
        is not None
    )
