"""The product refresh: read all products and prices every five minutes, and the features of some products.

Stripe sends no event when a feature is attached to a product or removed from it. Only this refresh finds such a change.
Features need one request for each product, so each refresh reads the features of the products that were read longest
ago.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg

from worker.membership.rules.access import Policy
from worker.membership.store import product_changes, save_rows
from worker.mirror import shards
from worker.observe import log
from worker.postgres import runs
from worker.stripe_api.lists import LISTS
from worker.writers.list_pass import Source
from worker.writers.passes import run as passes
from worker.writers.passes.parents import Parents
from worker.writers.passes.plan import Options, every_shape

_log = log.get("refresh")

JOB = "product_refresh"
# Without the parameter `active`, Stripe lists active and inactive objects. Products come first, because prices refer to
# them.
CATALOGUE = ("products", "prices", "product_features")
OPTIONS = Options(threads=8, threads_per_list=6, failures=1)
# A refresh reads the features of a twelfth of all products, so that each product is read once an hour, but of at least
# 50. Products whose features were never read are added.
FEATURES_SHARE, FEATURES_LEAST = 12, 50
# A time in the result of the run. The run skips products whose features were read after this time, so at its end all
# products have been read since then.
READ_SINCE = "features_read_since"


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

    Returns the result; None if another worker has the slot, or if the refresh failed or is not finished. The next slot
    continues an unfinished refresh.
    """
    run = shards.running(conn, JOB)
    begun = runs.result(conn, run) or {} if run is not None else {}
    due_before = (
        datetime.fromisoformat(begun[READ_SINCE])
        if READ_SINCE in begun
        else product_changes.features_due(conn, least=FEATURES_LEAST, share=FEATURES_SHARE)
    )
    shapes = every_shape()
    features = Parents(LISTS["product_features"], due_before=due_before)
    shapes["product_features"] = replace(shapes["product_features"], parents=features)
    result = passes.tick(
        conn,
        stripe,
        policy,
        JOB,
        slot,
        spans=[(name, None, None) for name in CATALOGUE],
        options=options,
        should_continue=should_continue,
        shapes=shapes,
        knows={READ_SINCE: due_before.isoformat()},
    )
    if result is not None:
        with conn.transaction():
            save_rows.retry_catalogue(conn)
        _log.info("products.refreshed", **result)
    return result
