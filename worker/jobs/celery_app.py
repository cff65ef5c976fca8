"""Celery, configured to be safe on Redis. The broker carries only wake-ups, never events, so losing it loses no event.

The settings follow measurements of Celery 5.7 on Redis. If a worker dies, the message that it had popped may be lost, or
is redelivered only after `visibility_timeout`. The task `wake` finds all work again in Postgres.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery import Celery, signals
from celery.schedules import crontab
from kombu.transport import TRANSPORT_ALIASES

from worker.jobs.periodic import BACKFILL, EVENTS, WAKE, jobs, task_name

if TYPE_CHECKING:
    from worker.config.settings import Settings

# The header with the time of sending, in unix seconds.
SENT_AT = "stripe_sync_sent_at"
_TRANSPORTS = {
    "redis": "worker.jobs.broker:Transport",
    "rediss": "worker.jobs.broker:Transport",
    "sentinel": "worker.jobs.broker:SentinelTransport",
}


@dataclass(frozen=True, slots=True)
class Tick:
    """A task that the beat sends every `seconds`, or at the times of the cron expression `clock`.

    Each message expires after `seconds`, so two beats do no harm.
    """

    name: str
    task: str
    queue: str
    seconds: float
    clock: str | None = None


def make(redis_url: str, ticks: Iterable[Tick] = ()) -> Celery:
    """The Celery app of this process. Opens no connection."""
    # Celery configures logging unless this signal has a receiver.
    signals.setup_logging.connect(_logging_is_set_up, weak=False)
    signals.before_task_publish.connect(_stamp, weak=False)
    TRANSPORT_ALIASES.update(_TRANSPORTS)
    app = Celery("stripe-sync", broker=redis_url, set_as_current=True, amqp="worker.jobs.broker:Amqp")
    app.conf.update(
        broker_transport_options={
            "visibility_timeout": 300,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 10,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 15,
            "queue_order_strategy": "worker.jobs.lanes:QueueOrder",
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_time_limit=120,
        task_soft_time_limit=90,
        task_default_queue=EVENTS,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        # A new child takes from 0.3 to 1.5 s to start. At 50 deliveries a second, each with a task, a child reaches a
        # limit of 1,000 tasks in 20 s. With that limit, the p99 from POST to row was 175 ms instead of 50 ms.
        worker_max_tasks_per_child=50_000,
        worker_soft_shutdown_timeout=30,
        worker_enable_soft_shutdown_on_idle=False,
        # Tasks continue without the broker. If a task's message is delivered again, no work is left for it. Cancelling a
        # task would end its child, and a consumer that connects while a child ends fails (docs/decisions/0017).
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # While the broker is away, a new child can't report that it has started. Celery's default of four seconds would
        # kill every new child.
        worker_proc_alive_timeout=3600.0,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
        beat_max_loop_interval=1,
        beat_schedule={tick.name: _entry(tick) for tick in ticks},
    )
    return app


def _stamp(headers: dict[str, Any], **_: Any) -> None:
    headers[SENT_AT] = time.time()


def _logging_is_set_up(**_: Any) -> None:
    """See worker.observe.log."""


def ticks(settings: "Settings") -> list[Tick]:
    """The tasks that the beat sends with these settings."""
    made = [Tick(job.name, job.task, job.queue, job.interval(settings)) for job in (WAKE, *jobs(settings))]
    if settings.backup_schedule is not None:
        # `wake` sends a lost tick again.
        made.append(Tick("backup", task_name("backup"), BACKFILL, seconds=60, clock=settings.backup_schedule))
    return made


def _entry(tick: Tick) -> dict[str, Any]:
    """The tick as an entry of Celery's schedule."""
    clock = crontab.from_string(tick.clock) if tick.clock is not None else timedelta(seconds=tick.seconds)
    return {"task": tick.task, "schedule": clock, "options": {"queue": tick.queue, "expires": tick.seconds}}
