"""Periodic jobs, one row each. The beat's schedule, the routing, the search for lost ticks and `status` follow from them.

To add a job, write a row here and its task in `worker/jobs/tasks.py`. This module is all that the beat imports of the jobs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.config.settings import Settings

# The queues. `lanes` says which child processes serve them.
EVENTS, ACCESS, PERIODIC, BACKFILL = "events", "access", "periodic", "backfill"
# No queue of Celery's: the lane of the process that calls CHANGES_URL.
CHANGES = "changes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work to do once in each slot of its interval. `interval` is in seconds."""

    name: str
    queue: str
    interval: "Callable[[Settings], float]"
    needs_key: bool = True
    is_wanted: "Callable[[Settings], bool]" = lambda _: True

    @property
    def task(self) -> str:
        return task_name(self.name)

    def slot(self, settings: "Settings") -> datetime:
        """The present slot of the clock."""
        return slot_of(self.interval(settings))


def task_name(name: str) -> str:
    """The name of one of our Celery tasks; other services send tasks by it."""
    return f"stripe_sync.{name}"


RETENTION_SECONDS, ENDPOINT_CHECK_SECONDS, REVENUE_SECONDS = 900.0, 300.0, 300.0

JOBS = (
    Job(name="product_refresh", queue=PERIODIC, interval=lambda settings: settings.product_refresh_interval),
    Job(name="catch_up", queue=PERIODIC, interval=lambda settings: settings.catch_up_interval),
    Job(name="reconcile", queue=PERIODIC, interval=lambda settings: settings.reconcile_interval),
    Job(name="audit", queue=BACKFILL, interval=lambda settings: settings.audit_interval),
    Job(
        name="accounts",
        queue=BACKFILL,
        interval=lambda settings: settings.catch_up_interval,
        is_wanted=lambda settings: settings.connect,
    ),
    Job(name="endpoint_check", queue=PERIODIC, interval=lambda _: ENDPOINT_CHECK_SECONDS),
    Job(name="revenue", queue=BACKFILL, interval=lambda _: REVENUE_SECONDS, needs_key=False),
    Job(name="retention", queue=BACKFILL, interval=lambda _: RETENTION_SECONDS, needs_key=False),
)
# No job of its own: it finds forgotten work, including lost ticks of the jobs above.
WAKE = Job(name="wake", queue=PERIODIC, interval=lambda settings: settings.wake_interval, needs_key=False)


def jobs(settings: "Settings") -> list[Job]:
    """The jobs under these settings: without a key, nothing can be read from Stripe."""
    has_key = settings.stripe_secret_key is not None
    return [job for job in JOBS if (has_key or not job.needs_key) and job.is_wanted(settings)]


def slot_of(seconds: float) -> datetime:
    """The present slot of the clock, for work that is done every `seconds`."""
    return datetime.fromtimestamp(time.time() // seconds * seconds, UTC)
