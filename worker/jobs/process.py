"""One worker process: its connections, which are opened on first use (after the fork), and the tasks that it sends."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import psycopg
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from worker.config.settings import Settings
from worker.jobs import periodic
from worker.jobs.reporter import Reporter
from worker.jobs.wake import publish_drain, queue_client
from worker.membership.compute import policy_of
from worker.membership.rules.access import Policy
from worker.observe import log
from worker.postgres.pool import UNAVAILABLE, connect, outlive
from worker.stripe_api.client import Stripe
from worker.writers.apply import Applier
from worker.writers.passes.plan import Options

T = TypeVar("T")

_log = log.get("worker")

OUTAGE_SECONDS = 60


class Process:
    """State that the tasks of one process share."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app, self.settings = app, settings
        self._conn: psycopg.Connection | None = None
        self._stripe: Stripe | None = None
        self._soon_again: dict[str, float] = {}
        self.lane = ""

    @property
    def name(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}"

    @cached_property
    def reporter(self) -> Reporter:
        return Reporter(self.settings, name=self.name, lane=self.lane)

    @cached_property
    def applier(self) -> Applier:
        return applier_of(self.settings)

    @property
    def policy(self) -> Policy:
        return self.applier.policy

    def stripe(self) -> Stripe:
        """The client of Stripe. Raises BadKey if STRIPE_SECRET_KEY is not set."""
        if self._stripe is None:
            self._stripe = Stripe.from_settings(self.settings)
        return self._stripe

    def connect(self) -> psycopg.Connection:
        """Open another connection, for work that writes one page while it decodes the next. The caller closes it."""
        return connect(self.settings, application="worker backfill")

    def options(self, options: Options) -> Options:
        """The options of a pass, limited by the settings."""
        most = self.settings.stripe_concurrency
        return replace(
            options,
            threads=min(options.threads, most),
            threads_per_list=min(options.threads_per_list, most),
            max_deleted_share=self.settings.max_deleted_share,
        )

    def with_connection(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Run `work` on this process's connection. While Postgres is away, retry for up to a minute."""

        def attempt() -> T:
            if self._conn is None or self._conn.closed:
                self._conn = connect(self.settings, application="worker")
            try:
                return work(self._conn)
            except UNAVAILABLE:
                self._conn.close()
                raise

        return outlive(attempt, seconds=OUTAGE_SECONDS, waiting=_waiting)

    def recruit(self) -> None:
        """Wake other processes to help with the inbox."""
        self._publish(lambda: publish_drain(self._app, self._queue))

    def soon(self, name: str, *, seconds: float, queue: str = periodic.PERIODIC) -> None:
        """Send the task with this delay, unless this process has already sent it within that many seconds.

        Many events may want the same task, so it is sent only once.
        """
        if time.monotonic() >= self._soon_again.get(name, float("-inf")):
            self._soon_again[name] = time.monotonic() + seconds
            self.send(name, queue=queue, expires=60, countdown=seconds)

    def send(
        self, name: str, *arguments: int | str, queue: str, expires: float | None = None, countdown: float | None = None
    ) -> None:
        """Send a task.

        While the broker is away, this call is slow and the task is lost, but the chores of `wake` find the work again.
        """
        self._publish(
            lambda: self._app.send_task(
                periodic.task_name(name),
                args=arguments,
                queue=queue,
                expires=expires,
                countdown=countdown,
                retry=False,
            )
        )

    def _publish(self, publish: Callable[[], object]) -> None:
        try:
            publish()
        except (OSError, redis.RedisError, OperationalError) as error:
            _log.warning("broker.unreachable", error=type(error).__name__)

    @cached_property
    def _queue(self) -> redis.Redis:
        return queue_client(self.settings.redis_url)


def applier_of(settings: Settings) -> Applier:
    """The Applier, which drains the inbox, with these settings."""
    return Applier(
        livemode=settings.livemode,
        has_key=settings.stripe_secret_key is not None,
        connect=settings.connect,
        policy=policy_of(settings),
        batch_size=settings.event_batch_size,
        lease_seconds=settings.event_lease,
        max_attempts=settings.event_max_attempts,
    )


def _waiting(error: Exception, pause: float) -> None:
    _log.warning("postgres.unreachable", error=type(error).__name__, retry_in_seconds=pause)
