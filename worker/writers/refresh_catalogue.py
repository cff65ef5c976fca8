"""The product refresh: all products, in all states, with their prices and features, every five minutes.

Stripe sends no event when a feature is attached to a product or removed from it: this finds it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg

from worker.membership.rules.access import Policy
from worker.membership.store import save_rows
from worker.observe import log
from worker.writers.list_pass import Source
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options

_log = log.get("refresh")

JOB = "product_refresh"
# Without `active` Stripe lists both states. Products first: prices refer to them.
CATALOGUE = ("products", "prices", "product_features")
OPTIONS = Options(threads=8, threads_per_list=6, failures=1)


def tick(
    conn: psycopg.Connection,
    stripe: Callable[[], Source],
    policy: Policy,
    slot: datetime,
    *,
    options: Options = OPTIONS,
    should_continue: Callable[[], bool] = lambda: True,
) -> dict[str, Any] | None:
    """Refresh the catalogue for one slot of the clock, or continue an interrupted refresh.

    Returns the result; None if another worker has the slot, or if it failed or is not finished: the next slot
    continues.
    """
    result = passes.tick(
        conn,
        stripe,
        policy,
        JOB,
        slot,
        spans=[(name, None, None) for name in CATALOGUE],
        options=options,
        should_continue=should_continue,
    )
    if result is not None:
        with conn.transaction():
            save_rows.retry_catalogue(conn)
        _log.info("products.refreshed", **result)
    return result
