"""Celery as it is safe on Redis: the broker carries wake-ups, never an event, so that nothing is lost with it.

The settings follow what was measured of Celery 5.7 on Redis: a message may be lost with the worker that popped it, and is
redelivered only after `visibility_timeout`; what matters is found again in Postgres by the beat's `wake`.
"""

from datetime import timedelta
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab

from worker.config.settings import Settings

EVENTS, PERIODIC, BACKFILL = "events", "periodic", "backfill"

DRAIN = "stripe_sync.drain"
WAKE = "stripe_sync.wake"
PRODUCT_REFRESH = "stripe_sync.product_refresh"
RECONCILE = "stripe_sync.reconcile"
RECONCILE_SHARD = "stripe_sync.reconcile_shard"
CATCH_UP = "stripe_sync.catch_up"
AUDIT = "stripe_sync.audit"
FETCH = "stripe_sync.fetch"
BACKUP = "stripe_sync.backup"
SYNC_USER = "stripe_sync.sync_user"
RETENTION = "stripe_sync.retention"

RETENTION_SECONDS = 900.0


def make(settings: Settings) -> Celery:
    """The Celery app of this process. Nothing is connected yet."""
    # Celery sets logging up by itself unless somebody says that they did.
    signals.setup_logging.connect(_logging_is_set_up, weak=False)
    app = Celery("stripe-sync", broker=settings.redis_url, set_as_current=True)
    app.conf.update(
        broker_transport_options={
            "visibility_timeout": 300,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 10,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 15,
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
        # A new child takes from 0.3 to 1.5 s to begin. Each delivery is a task where they come one by one: at 50 a second
        # 1,000 were gone in 20 s (POST to row, p99: 175 ms, and 50 without).
        worker_max_tasks_per_child=50_000,
        worker_soft_shutdown_timeout=30,
        worker_enable_soft_shutdown_on_idle=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
        beat_scheduler="celery.beat:Scheduler",
        beat_max_loop_interval=1,
        beat_schedule=schedule(settings),
    )
    return app


def _logging_is_set_up(**_: Any) -> None:
    """See worker.observe.log."""


def schedule(settings: Settings) -> dict[str, Any]:
    """What beat sends and how often. Every tick is idempotent and expires with its period: two beats do no harm."""

    def every(seconds: float, task: str, *, queue: str = PERIODIC) -> dict[str, Any]:
        options = {"queue": queue, "expires": seconds}
        return {"task": task, "schedule": timedelta(seconds=seconds), "options": options}

    entries = {
        "wake": every(settings.wake_interval, WAKE),
        "retention": every(RETENTION_SECONDS, RETENTION, queue=BACKFILL),
    }
    if settings.backup_schedule is not None:
        # One that gets lost is sent again by `wake`.
        options = {"queue": BACKFILL, "expires": 60}
        clock = crontab.from_string(settings.backup_schedule)
        entries["backup"] = {"task": BACKUP, "schedule": clock, "options": options}
    if settings.stripe_secret_key is not None:
        entries["product_refresh"] = every(settings.product_refresh_interval, PRODUCT_REFRESH)
        entries["catch_up"] = every(settings.catch_up_interval, CATCH_UP)
        entries["audit"] = every(settings.audit_interval, AUDIT, queue=BACKFILL)
        entries["reconcile"] = every(settings.reconcile_interval, RECONCILE)
    return entries
