"""The Celery tasks: each is one call into a job, with the process's connection."""

import os
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import redis
from celery import Celery, signals

from worker import log
from worker.apply import Applier, compute_waiting
from worker.config import Settings, TokenPolicy
from worker.core.membership.access import Policy
from worker.store import health, inbox
from worker.store import membership as membership_store
from worker.store.pool import UNAVAILABLE, connect, outlive
from worker.wake import DRAIN, publish_drain, queue_client

__all__ = ["applier_of", "policy_of", "register"]

_log = log.get("worker")

WAKE = "stripe_sync.wake"
OUTAGE_SECONDS = 60


class _Process:
    """What one worker process holds: opened on first use, which is after the fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._conn: psycopg.Connection | None = None
        self._queue: redis.Redis | None = None

    @property
    def queue(self) -> redis.Redis:
        if self._queue is None:
            self._queue = queue_client(self._settings.redis_url)
        return self._queue

    def with_connection(self, work: Callable[[psycopg.Connection], Any]) -> Any:
        """`work` on this process's connection; where Postgres is away it waits and tries again for a while."""

        def attempt() -> Any:
            if self._conn is None or self._conn.closed:
                self._conn = connect(self._settings, application="worker")
            try:
                return work(self._conn)
            except UNAVAILABLE:
                self.close()
                raise

        return outlive(attempt, seconds=OUTAGE_SECONDS, waiting=_waiting)

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None


def _waiting(error: Exception, pause: float) -> None:
    _log.warning("postgres.unreachable", error=type(error).__name__, retry_in_seconds=pause)


def policy_of(settings: Settings) -> Policy:
    """What the settings say of membership."""
    grace = settings.past_due_grace_days
    return Policy(
        past_due_grace=None if grace is None else timedelta(days=grace),
        token_ttl=timedelta(days=settings.token_ttl_days),
        tokens_reset=settings.token_policy is TokenPolicy.RESET,
    )


def applier_of(settings: Settings) -> Applier:
    return Applier(
        livemode=settings.livemode,
        policy=policy_of(settings),
        batch_size=settings.event_batch_size,
        lease_seconds=settings.event_lease,
        max_attempts=settings.event_max_attempts,
    )


def register(app: Celery, settings: Settings) -> None:
    """Give the app its tasks."""
    process = _Process(settings)
    applier = applier_of(settings)
    name = f"{socket.gethostname()}:{os.getppid()}"

    def recruit() -> None:
        """Somebody else may help; who can't be reached is woken by beat."""
        try:
            publish_drain(app, process.queue)
        except (OSError, redis.RedisError) as error:
            _log.warning("broker.unreachable", error=type(error).__name__)

    @app.task(name=DRAIN)
    def drain() -> None:
        """Apply every event that is due, and compute the users that wait for it."""

        def work(conn: psycopg.Connection) -> None:
            applier.drain(conn, more=recruit)
            compute_waiting(conn, applier.policy)
            health.beat(conn, f"{name}:{os.getpid()}")

        process.with_connection(work)

    @app.task(name=WAKE)
    def wake() -> None:
        """Find what was forgotten: due events without a wake-up, and customers whose user may have appeared."""

        def work(conn: psycopg.Connection) -> None:
            with conn.transaction():
                customers = membership_store.unlinked_worth_a_look(conn, limit=1000)
                membership_store.ask_where_linkable(conn, customers)
            health.beat(conn, f"{name}:{os.getpid()}")
            if inbox.count_due(conn, limit=1) or membership_store.count_recompute(conn):
                recruit()

        process.with_connection(work)

    @signals.worker_ready.connect(weak=False)
    def ready(**_: Any) -> None:
        _log.info("worker.started", concurrency=settings.worker_concurrency)

    @signals.worker_shutdown.connect(weak=False)
    def stopped(**_: Any) -> None:
        _log.info("worker.stopped")
