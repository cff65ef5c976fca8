"""The Celery tasks: each is one call into a job, with what its process holds."""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import redis
from celery import Celery, signals
from kombu.exceptions import OperationalError

from worker.backup import scheduled
from worker.config.errors import Permanent, Temporary
from worker.config.settings import Settings
from worker.inbox import store as inbox
from worker.jobs import celery_app, status
from worker.jobs.wake import publish_drain, queue_client
from worker.membership import compute, organizations
from worker.membership.compute import policy_of
from worker.membership.store import links, organization_queue, rechecks, recompute_queue
from worker.mirror import refetch_queue, shards
from worker.observe import log, metrics
from worker.postgres import counters, runs
from worker.postgres.pool import UNAVAILABLE, connect, outlive
from worker.privacy import erase
from worker.stripe_api.client import Stripe
from worker.writers import audit, catch_up, reconcile, refetch, refresh_catalogue, retention
from worker.writers.apply import Applier, compute_waiting

_log = log.get("worker")

OUTAGE_SECONDS = 60
# A slice of long work ends well before the soft time limit of a task.
SLICE_SECONDS = 45
FETCH_SECONDS = 10
ON_ACCESS_SECONDS = 30
COUNTS_SAVED_SECONDS = 5
# Most transactions that were open a moment ago have ended by then.
SECOND_LOOK_SECONDS = 1
# Events that come meanwhile wait no longer than this where there is no other process.
ORGANIZATIONS_SECONDS = 1


def register(app: Celery, settings: Settings) -> None:
    """Give the app its tasks."""
    process = _Process(app, settings)
    applier = applier_of(settings)
    policy = applier.policy

    @app.task(name=celery_app.DRAIN)
    def drain() -> None:
        """Apply every event that is due, and compute the users that wait for it; of large organizations a slice at a time."""

        def work(conn: psycopg.Connection) -> None:
            applier.drain(conn, more=process.recruit)
            if not compute_waiting(conn, policy):
                process.soon(celery_app.DRAIN, seconds=SECOND_LOOK_SECONDS)
            ends = time.monotonic() + ORGANIZATIONS_SECONDS
            if not policy.off and not organizations.compute_waiting(
                conn, policy, go_on=lambda: time.monotonic() < ends
            ):
                process.recruit()
            status.beat(conn, process.name)
            if applier.has_key and refetch_queue.any_wanted(conn):
                process.soon(celery_app.FETCH, seconds=refetch_queue.PAUSE_SECONDS + 1)

        process.with_connection(work)

    @app.task(name=celery_app.WAKE)
    def wake() -> None:
        """Find what was forgotten: due events, late users, ticks that got lost, shards whose worker died; and let time
        pass for users: tokens are renewed and expire, a grace or an override ends."""

        def work(conn: psycopg.Connection) -> None:
            status.beat(conn, process.name)
            if not policy.off:
                # Not in one transaction: requests are locked before links are.
                customers = links.unlinked_worth_a_look(conn, limit=1000)
                recompute_queue.request(conn, links.linkable(conn, customers))
            late = recompute_queue.count(conn) or rechecks.any_waiting(conn) or organization_queue.any_waiting(conn)
            if (late and not policy.off) or inbox.count_due(conn, limit=1):
                process.recruit()
            if applier.has_key and (refetch_queue.want_forgotten(conn, limit=1000) or refetch_queue.count_due(conn)):
                process.send(celery_app.FETCH, queue=celery_app.PERIODIC, expires=settings.wake_interval)
            if applier.has_key and audit.is_hurried(conn):
                process.send(celery_app.AUDIT, queue=celery_app.BACKFILL, expires=settings.wake_interval)
            for task, job, seconds in _ticks(settings):
                if not runs.is_claimed(conn, job, slot_of(seconds)):
                    process.send(task, queue=_queue_of(task), expires=seconds)
            if scheduled.wanted(conn, settings, datetime.now(UTC)) is not None:
                process.send(celery_app.BACKUP, queue=celery_app.BACKFILL, expires=settings.wake_interval)
            ends = time.monotonic() + settings.wake_interval
            compute.compute_due(conn, policy, go_on=lambda: time.monotonic() < ends)
            erase.sweep(conn, go_on=lambda: time.monotonic() < ends)
            if not policy.off:
                compute.sweep_expired(conn, go_on=lambda: time.monotonic() < ends)
            for shard in shards.abandoned(conn):
                process.send(
                    celery_app.RECONCILE_SHARD, shard, queue=celery_app.BACKFILL, expires=settings.wake_interval
                )

        process.with_connection(work)

    @app.task(name=celery_app.PRODUCT_REFRESH)
    def product_refresh() -> None:
        """Refresh the catalogue, once for this slot of the clock."""
        slot = slot_of(settings.product_refresh_interval)
        process.with_connection(lambda conn: refresh_catalogue.tick(conn, process.stripe, policy, slot))

    @app.task(name=celery_app.FETCH)
    def fetch_unsettled() -> None:
        """Ask Stripe for what events left uncertain."""
        ends = time.monotonic() + FETCH_SECONDS

        def work(conn: psycopg.Connection) -> None:
            refetch.drain(conn, process.stripe(), policy, go_on=lambda: time.monotonic() < ends)
            if refetch_queue.any_wanted(conn):
                process.soon(
                    celery_app.FETCH, seconds=refetch_queue.PAUSE_SECONDS if not refetch_queue.count_due(conn) else 0
                )

        try:
            process.with_connection(work)
        except Permanent as error:
            _log.error("objects.not_fetched", error=str(error), **error.ids)

    @app.task(name=celery_app.SYNC_USER)
    def sync_user(user: str, checkout_session: str | None = None) -> None:
        """Ask Stripe for one user now. Other services send this by name, to the queue `periodic`."""

        def work(conn: psycopg.Connection) -> None:
            sync_user.force(
                lambda: contextlib.nullcontext(conn),
                process.stripe,
                policy,
                user,
                seconds=ON_ACCESS_SECONDS,
                checkout_session=checkout_session,
            )

        try:
            process.with_connection(work)
        except (Temporary, Permanent) as error:
            _log.warning("user.not_synced", error=str(error), **{"user_id": user, **error.ids})

    @app.task(name=celery_app.CATCH_UP)
    def catch_up_tick() -> None:
        """Find the events that no delivery brought, once for this slot of the clock."""
        slot, ends = slot_of(settings.catch_up_interval), time.monotonic() + SLICE_SECONDS

        def work(conn: psycopg.Connection) -> catch_up.Caught | None:
            return catch_up.tick(
                conn, process.stripe, slot, now=int(time.time()), go_on=lambda: time.monotonic() < ends
            )

        caught = process.with_connection(work)
        if caught is not None and caught.found:
            process.recruit()
        if caught is not None and caught.gap:
            process.with_connection(audit.begin_anew)
            process.send(celery_app.AUDIT, queue=celery_app.BACKFILL)

    @app.task(name=celery_app.AUDIT)
    def audit_tick() -> None:
        """Read a few pages more of all that is mirrored, once for this slot of the clock."""
        ends = time.monotonic() + SLICE_SECONDS

        def work(conn: psycopg.Connection) -> None:
            # A round that is hurried goes on at once: each of its slices is a slot of its own.
            slot = datetime.now(UTC) if audit.is_hurried(conn) else slot_of(settings.audit_interval)
            audit.tick(conn, process.stripe, policy, slot, go_on=lambda: time.monotonic() < ends)

        process.with_connection(work)

    # A dump takes as long as it takes. It is acknowledged at once: a message that waits for its end would be delivered again
    # after the visibility time-out, and the dump stopped where the broker goes away; its claimed slot is what counts.
    @app.task(
        name=celery_app.BACKUP,
        acks_late=False,
        soft_time_limit=settings.backup_timeout,
        time_limit=settings.backup_timeout + 60,
    )
    def backup() -> None:
        """Take the backup that is due, once for its slot of the clock."""
        process.with_connection(lambda conn: scheduled.tick(conn, settings, datetime.now(UTC)))

    @app.task(name=celery_app.RETENTION)
    def retention_tick() -> None:
        """Remove what is kept no longer, once for this slot of the clock."""
        slot, ends = slot_of(celery_app.RETENTION_SECONDS), time.monotonic() + SLICE_SECONDS

        def work(conn: psycopg.Connection) -> None:
            keep = timedelta(days=settings.events_keep_days)
            retention.tick(conn, slot, keep=keep, go_on=lambda: time.monotonic() < ends)

        process.with_connection(work)

    @app.task(name=celery_app.RECONCILE)
    def reconcile_tick() -> None:
        """Begin to reconcile the subscriptions, once for this slot of the clock."""
        planned = process.with_connection(lambda conn: reconcile.plan(conn, slot_of(settings.reconcile_interval)))
        for shard in planned:
            process.send(celery_app.RECONCILE_SHARD, shard, queue=celery_app.BACKFILL)

    @app.task(name=celery_app.RECONCILE_SHARD)
    def reconcile_shard(shard: int) -> None:
        """A slice of a shard; the next one is another task, so that nothing else waits for long."""
        ends = time.monotonic() + SLICE_SECONDS

        def work(conn: psycopg.Connection) -> reconcile.Slice | None:
            return reconcile.work(conn, process.stripe(), policy, shard, go_on=lambda: time.monotonic() < ends)

        try:
            done = process.with_connection(work)
        except Temporary as error:
            # The lease runs out, and `wake` sends somebody to go on from the last page.
            _log.warning("reconcile.interrupted", shard=shard, error=str(error), **error.ids)
            return
        if done is not None and not done.shard_done:
            process.send(celery_app.RECONCILE_SHARD, shard, queue=celery_app.BACKFILL)

    @signals.worker_ready.connect(weak=False)
    def ready(**_: Any) -> None:
        _log.info("worker.started", concurrency=settings.worker_concurrency)

    @signals.worker_shutdown.connect(weak=False)
    def stopped(**_: Any) -> None:
        _log.info("worker.stopped")


def slot_of(seconds: float) -> datetime:
    """The slot of the clock that now is in, for work that is done every so many seconds."""
    return datetime.fromtimestamp(time.time() // seconds * seconds, UTC)


def applier_of(settings: Settings) -> Applier:
    """The job that drains the inbox, as the settings want it."""
    return Applier(
        livemode=settings.livemode,
        has_key=settings.stripe_secret_key is not None,
        policy=policy_of(settings),
        batch_size=settings.event_batch_size,
        lease_seconds=settings.event_lease,
        max_attempts=settings.event_max_attempts,
    )


def _ticks(settings: Settings) -> list[tuple[str, str, float]]:
    """The work that every slot of its period wants done: task, job, period. Without a key nobody can be asked."""
    always = [(celery_app.RETENTION, retention.JOB, celery_app.RETENTION_SECONDS)]
    if settings.stripe_secret_key is None:
        return always
    return [
        *always,
        (celery_app.PRODUCT_REFRESH, refresh_catalogue.JOB, settings.product_refresh_interval),
        (celery_app.CATCH_UP, catch_up.JOB, settings.catch_up_interval),
        (celery_app.RECONCILE, reconcile.JOB, settings.reconcile_interval),
        (celery_app.AUDIT, audit.JOB, settings.audit_interval),
    ]


def _queue_of(task: str) -> str:
    return celery_app.BACKFILL if task in (celery_app.AUDIT, celery_app.RETENTION) else celery_app.PERIODIC


class _Process:
    """What one worker process holds: opened on first use, which is after the fork."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._conn: psycopg.Connection | None = None
        self._queue: redis.Redis | None = None
        self._stripe: Stripe | None = None
        self._soon_again: dict[str, float] = {}
        self._unsaved, self._saved_at = metrics.Unsaved(), float("-inf")

    @property
    def name(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}"

    def stripe(self) -> Stripe:
        """Raises BadKey where STRIPE_SECRET_KEY is not set."""
        if self._stripe is None:
            self._stripe = Stripe.from_settings(self._settings)
        return self._stripe

    def with_connection(self, work: Callable[[psycopg.Connection], Any]) -> Any:
        """`work` on this process's connection; where Postgres is away it waits and tries again for a while."""

        def attempt() -> Any:
            if self._conn is None or self._conn.closed:
                self._conn = connect(self._settings, application="worker")
            try:
                done = work(self._conn)
                self._save_counts(self._conn)
            except UNAVAILABLE:
                self._conn.close()
                raise
            return done

        return outlive(attempt, seconds=OUTAGE_SECONDS, waiting=_waiting)

    def _save_counts(self, conn: psycopg.Connection) -> None:
        """Leave what was counted in the database, now and then; what a killed process had not saved is not counted."""
        if time.monotonic() - self._saved_at > COUNTS_SAVED_SECONDS:
            self._saved_at = time.monotonic()
            counters.add_all(conn, self._unsaved.take())

    def recruit(self) -> None:
        """Others may help with the inbox."""
        self._reaching(lambda: publish_drain(self._app, self._clients_queue()))

    def soon(self, task: str, *, seconds: float) -> None:
        """Send the task after a while, unless this process did so a moment ago: many events want one look."""
        if time.monotonic() >= self._soon_again.get(task, float("-inf")):
            self._soon_again[task] = time.monotonic() + seconds
            self._reaching(
                lambda: self._app.send_task(task, queue=celery_app.PERIODIC, countdown=seconds, expires=60, retry=False)
            )

    def send(self, task: str, *arguments: int, queue: str, expires: float | None = None) -> None:
        self._reaching(
            lambda: self._app.send_task(task, args=arguments, queue=queue, expires=expires, retry=False),
        )

    def _reaching(self, publish: Callable[[], object]) -> None:
        """A broker that is away costs time, no work: `wake` finds what it was to be told."""
        try:
            publish()
        except (OSError, redis.RedisError, OperationalError) as error:
            _log.warning("broker.unreachable", error=type(error).__name__)

    def _clients_queue(self) -> redis.Redis:
        if self._queue is None:
            self._queue = queue_client(self._settings.redis_url)
        return self._queue


def _waiting(error: Exception, pause: float) -> None:
    _log.warning("postgres.unreachable", error=type(error).__name__, retry_in_seconds=pause)
