"""Reconcile: every RECONCILE_INTERVAL, read all subscriptions that have not ended.

The list is divided into spans of `created` while it is read, so that several workers, each with several threads, can
share it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg

from worker.membership.rules.access import Policy
from worker.mirror.registry import TYPES
from worker.observe import log
from worker.writers.list_pass import Listing, Source
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options, Shape

_log = log.get("reconcile")

JOB = "reconcile"
# Without the parameter `status`, Stripe leaves out subscriptions that have ended.
LIVING = Shape(
    Listing(object="subscription", path="/v1/subscriptions", final=tuple(sorted(TYPES["subscription"].final)))
)
OPTIONS = Options(threads=16, threads_per_list=16)


def tick(
    conn: psycopg.Connection,
    stripe: Callable[[], Source],
    policy: Policy,
    slot: datetime,
    *,
    options: Options = OPTIONS,
    should_continue: Callable[[], bool],
) -> dict[str, Any] | None:
    """Reconcile the subscriptions for one slot of the clock, or help with a running pass.

    Returns the result if the pass is finished; None if it failed, or if another worker or the next tick continues it.
    """
    result = passes.tick(
        conn,
        stripe,
        policy,
        JOB,
        slot,
        spans=[("subscriptions", None, None)],
        shapes={"subscriptions": LIVING},
        options=options,
        should_continue=should_continue,
    )
    if result is not None:
        _log.info("subscriptions.reconciled", **result)
    return result
