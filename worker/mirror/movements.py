"""Recompute the MRR movements of customers whose subscriptions have changed."""

from collections.abc import Callable

import psycopg

from schema.movements import COMPUTE
from worker.mirror import subscription_history

BATCH = 2000
# One process at a time, because two could both write the movements of a customer.
_LOCK = "select pg_try_advisory_xact_lock(hashtext('stripe-sync movements'))"
_TAKE = """
    with due as (
        delete from mirror.movements_due where ctid in (select ctid from mirror.movements_due limit %s) returning customer
    )
    select array_agg(distinct customer) from due
"""


def compute_due(conn: psycopg.Connection, *, should_continue: Callable[[], bool] = lambda: True) -> int:
    """Compute the movements of customers that are due; returns their number. Each batch is one transaction."""
    number = 0
    while should_continue():
        with conn.transaction():
            # A writer that commits after we took the row of its customer has inserted a new row, which a later batch
            # takes.
            customers = _taken(conn)
            subscription_history.compute_inheriting(conn, customers)
            conn.execute("delete from mirror.customer_movements where customer = any(%s)", (customers,))
            conn.execute(COMPUTE, (customers,))
        if not customers:
            break
        number += len(customers)
    return number


def _taken(conn: psycopg.Connection) -> list[str]:
    if conn.execute(_LOCK).fetchone() != (True,):
        return []
    row = conn.execute(_TAKE, (BATCH,)).fetchone()
    return row[0] or [] if row else []
