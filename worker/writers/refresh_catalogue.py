"""The product refresh: all products and all prices, in all states, every five minutes."""

from collections.abc import Callable
from datetime import datetime

import psycopg

from worker.config.errors import Permanent, Temporary
from worker.membership.rules.access import Policy
from worker.observe import log
from worker.postgres import runs
from worker.writers.list_pass import Listing, Source, Tally, read_whole

_log = log.get("refresh")

JOB = "product_refresh"
# Without `active` Stripe lists both states. Products first: prices refer to them.
CATALOGUE = (Listing(object="product", path="/v1/products"), Listing(object="price", path="/v1/prices"))


def tick(conn: psycopg.Connection, stripe: Callable[[], Source], policy: Policy, slot: datetime) -> Tally | None:
    """The refresh of one slot of the clock; None where somebody else has it. What fails is tried again by the next slot."""
    run = runs.claim(conn, JOB, slot)
    if run is None:
        return None
    tally = Tally()
    try:
        read_whole(conn, stripe(), CATALOGUE, policy, tally, seen=lambda: runs.seen(conn, run, tally.as_dict()))
    except (Temporary, Permanent) as error:
        runs.fail(conn, run, tally.as_dict(), str(error))
        _log.warning("products.not_refreshed", error=str(error), **error.ids)
        return None
    except Exception as error:
        # The run is given up at once, not when it is found dead: the next slot need not wait for that.
        runs.fail(conn, run, tally.as_dict(), type(error).__name__)
        raise
    runs.finish(conn, run, tally.as_dict())
    _log.info("products.refreshed", **tally.as_dict())
    return tally
