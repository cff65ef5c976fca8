"""Upkeep of the movements of MRR: recompute customers whose subscriptions changed."""

from collections.abc import Callable

import psycopg

from schema.movements import COMPUTE
from worker.mirror import subscription_history

BATCH = 2000
# One process at a time: two could write the same customer's movements twice.
_LOCK = "select pg_try_advisory_xact_lock(hashtext('stripe-sync movements'))"
_TAKE = """
    with due as (
        delete from mirror.movements_due where ctid in (select ctid from mirror.movements_due limit %s) returning customer
    )
    select array_agg(distinct customer) from due
"""


def compute_due(conn: psycopg.Connection, *, should_continue: Callable[[], bool] = lambda: True) -> int:
    """Compute the movements of due customers; returns how many. Each batch is one transaction."""
    number = 0
    while should_continue():
        with conn.transaction():
            # A writer that commits after this row was taken has added a row of its own.
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
