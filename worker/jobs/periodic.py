"""The table of periodic jobs. The beat's schedule, the queues, the search for lost ticks and `status` use it.

To add a job, add a row here and its task in `worker/jobs/tasks.py`. The beat imports only this module, not the tasks.
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
# Not a Celery queue, but the lane of the process that calls CHANGES_URL.
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
        """The start of the current slot."""
        return slot_of(self.interval(settings))


def task_name(name: str) -> str:
    """The full name of one of our Celery tasks. Other services send tasks by this name."""
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
# Not in JOBS, because `wake` itself finds forgotten work, including lost ticks of these jobs.
WAKE = Job(name="wake", queue=PERIODIC, interval=lambda settings: settings.wake_interval, needs_key=False)


def jobs(settings: "Settings") -> list[Job]:
    """The jobs to run with these settings. Without a key, jobs that read from Stripe are left out."""
    has_key = settings.stripe_secret_key is not None
    return [job for job in JOBS if (has_key or not job.needs_key) and job.is_wanted(settings)]


def slot_of(seconds: float) -> datetime:
    """The start of the current slot, for work that is done every `seconds`."""
    return datetime.fromtimestamp(time.time() // seconds * seconds, UTC)
