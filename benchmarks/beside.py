"""Live events beside everything that reads Stripe: 60,000 subscriptions, answers after 200 ms, all passes and a backfill."""

import os
import subprocess
import sys
from typing import Any

from benchmarks import latency, stack, stripe
from benchmarks.stack import Stack

POPULATE = {"products": 50, "customers": 20_000, "subscriptions": 60_000}
# An account that no pass reads, because the lists of our own account lack these objects.
ACCOUNT = "acct_of_events"
FIRST = 30_000_000
OFTEN = {"PRODUCT_REFRESH_INTERVAL": "30", "RECONCILE_INTERVAL": "60", "AUDIT_INTERVAL": "30"}


def measure(*, seconds: int) -> list[dict[str, Any]]:
    """One event each 20 ms for this many seconds, with every answer late, and again with one list that hangs."""
    with stripe.running(populate=POPULATE) as address:
        keys = {"STRIPE_SECRET_KEY": stripe.KEY, "STRIPE_API_BASE": address, "STRIPE_RATE": "100", "CONNECT": "on"}
        with stack.running(keys | OFTEN) as running:
            made = []
            for first, hangs in ((FIRST, False), (2 * FIRST, True)):
                if hangs:
                    stripe.tell(address, "faults", {"operation": "GET /v1/invoices", "hang": True})
                _backfill(running, keys)
                made.append(latency.measure(running, first=first, seconds=seconds, account=ACCOUNT))
            return made


def _backfill(running: Stack, keys: dict[str, str]) -> None:
    env = {
        **os.environ,
        **keys,
        "DATABASE_URL": running.database_url,
        "REDIS_URL": running.redis_url,
        "APP_ENV": "test",
    }
    command = [sys.executable, "-m", "worker", "sync", "all", "--no-wait"]
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
