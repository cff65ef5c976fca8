"""Live events while all list passes and a backfill run: 60,000 subscriptions, and answers from Stripe after 200 ms."""

import os
import subprocess
import sys
import time
from typing import Any

from benchmarks import events, latency, stack, stripe
from benchmarks.stack import Stack

POPULATE = {"products": 50, "customers": 20_000, "subscriptions": 60_000}
OFTEN = {"PRODUCT_REFRESH_INTERVAL": "30", "RECONCILE_INTERVAL": "60", "AUDIT_INTERVAL": "30"}
# Events are later than any read of a list, so each is applied even if a list has already written its row.
AHEAD_SECONDS = 3600
TYPES = ("customer", "subscription", "invoice")


def measure(*, seconds: int) -> list[dict[str, Any]]:
    """Send one event each 20 ms for this many seconds, with slow answers from Stripe, and again while one list hangs.

    The events are updates of objects of the sandbox, so these objects are in the lists too.
    """
    each = seconds * latency.PER_SECOND // len(TYPES)
    with stripe.running(populate=POPULATE) as address:
        of_events = {"products": 1, "customers": each, "subscriptions": each, "invoices": True, "user_prefix": "live_"}
        stripe.tell(address, "populate", of_events)
        shown = [
            obj
            for of_each in zip(*(stripe.objects(address, type_, number=each) for type_ in TYPES), strict=True)
            for obj in of_each
        ]
        keys = {"STRIPE_SECRET_KEY": stripe.KEY, "STRIPE_API_BASE": address, "STRIPE_RATE": "100"}
        with stack.running(keys | OFTEN) as running:
            _forget_warm_up(running)
            made = []
            for hangs in (False, True):
                if hangs:
                    stripe.tell(address, "faults", {"operation": "GET /v1/invoices", "hang": True})
                _backfill(running, keys)
                created = int(time.time()) + AHEAD_SECONDS
                made.append(latency.measure_of(running, events.shown(shown, created=created)))
            return made


def _forget_warm_up(running: Stack) -> None:
    """Remove the warm-up's objects, which the lists would not show."""
    with running.connect() as conn:
        conn.execute("truncate mirror.products, mirror.prices, mirror.customers, mirror.subscriptions, mirror.invoices")


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
