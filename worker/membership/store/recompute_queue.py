"""Requests to compute users again, `sync.recompute_queue`: by customer, because something that they refer to came late.

Requests are locked before users are, by who asks and by who takes them.
"""

from collections.abc import Collection

import psycopg
from psycopg.rows import scalar_row

Connection = psycopg.Connection


def request(conn: Connection, customers: Collection[str]) -> None:
    """Ask for the users of these customers to be computed again.

    Until we commit nobody begins: a request that is there already is locked, for who took it now would not see what we
    wrote.
    """
    if customers:
        conn.execute(
            """
            insert into sync.recompute_queue as r (stripe_customer_id)
            select id from unnest(%b::text[]) as wanted (id) order by id
            on conflict (stripe_customer_id) do update set requested_at = r.requested_at
            """,
            (sorted(customers),),
        )


def take(conn: Connection, *, limit: int) -> list[str]:
    """Customers whose users were asked to be computed again; the requests are gone once the transaction commits."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            delete from sync.recompute_queue
            where stripe_customer_id in (
                select stripe_customer_id from sync.recompute_queue order by requested_at limit %s for update skip locked
            )
            returning stripe_customer_id
            """,
            (limit,),
        ).fetchall()


def any_waiting(conn: Connection) -> bool:
    """Whether a customer waits for its users to be computed again."""
    return conn.execute("select from sync.recompute_queue limit 1").fetchone() is not None
