"""The Celery tasks. Each task is a function that takes the process that runs it, and calls the module that does the work."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from celery import Celery

from worker.backup import scheduled
from worker.config.errors import Permanent, Temporary
from worker.config.settings import Settings
from worker.inbox import secrets
from worker.inbox.endpoint import proof, sentinel
from worker.jobs import chores, periodic
from worker.jobs.periodic import ACCESS, BACKFILL
from worker.jobs.process import Process
from worker.membership import catalogue_changes, organizations, recompute_all
from worker.mirror import movements, refetch_queue, revenue_summary, shards
from worker.observe import log, trace
from worker.on_access import sync_user as on_access
from worker.postgres.pool import connect
from worker.writers import (
    audit,
    backfill,
    catch_up,
    connected,
    reconcile,
    refetch,
    refresh_catalogue,
    retention,
    sync_object,
)
from worker.writers.apply import compute_waiting

_log = log.get("worker")

# A slice of long work ends well before the soft time limit of a task.
SLICE_SECONDS = 45
FETCH_SECONDS = 10
# The pause between two slices of a pass.
AGAIN_SECONDS = 0.1
ON_ACCESS_SECONDS = 30
# The pause before users are rechecked. Most transactions that were open before have ended by then.
RECHECK_SECONDS = 1
# The time for large organizations in one drain. If there is no other process, new events wait up to this long.
ORGANIZATIONS_SECONDS = 1


@dataclass(frozen=True, slots=True)
class _Task:
    """A function that becomes a Celery task; `options` depend on the settings."""

    name: str
    run: Callable[..., None]
    options: Callable[[Settings], dict[str, Any]] = field(default=lambda _: {})


_TASKS: list[_Task] = []


def _task(
    name: str, options: Callable[[Settings], dict[str, Any]] = lambda _: {}
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function, whose first argument is the process, as a task of this name."""

    def add(run: Callable[..., None]) -> Callable[..., None]:
        _TASKS.append(_Task(name, run, options))
        return run

    return add


def register(app: Celery, settings: Settings) -> Process:
    """Register the tasks with the app. Every log line of a task has the task's name and id."""
    process = Process(app, settings)
    for task in _TASKS:
        app.task(
            _body(task, process), name=periodic.task_name(task.name), bind=True, shared=False, **task.options(settings)
        )

    return process


def _body(task: _Task, process: Process) -> Callable[..., None]:
    def body(celery_task: Any, *arguments: Any, **options: Any) -> None:
        bound = log.bound(task=task.name, task_id=celery_task.request.id)
        traced = trace.span(f"task {task.name}", kind=trace.CONSUMER)
        with traced, bound, process.reporter.doing(task.name):
            task.run(process, *arguments, **options)

    return body


def _until(seconds: float) -> Callable[[], bool]:
    ends = time.monotonic() + seconds
    return lambda: time.monotonic() < ends


@_task("drain")
def drain(process: Process) -> None:
    """Apply all due events, and compute the users that are waiting. Large organizations are computed in slices."""

    def work(conn: psycopg.Connection) -> None:
        process.applier.drain(conn, more=process.recruit)
        if not compute_waiting(conn, process.policy):
            process.soon("drain", seconds=RECHECK_SECONDS)
        in_time = _until(ORGANIZATIONS_SECONDS)
        if not process.policy.off and not organizations.compute_waiting(conn, process.policy, should_continue=in_time):
            process.recruit()
        if process.applier.has_key and refetch_queue.any_wanted(conn):
            process.soon("fetch", seconds=refetch_queue.PAUSE_SECONDS + 1)
        if process.applier.has_key and secrets.any_held(conn):
            process.soon("prove", seconds=0, queue=ACCESS)

    process.with_connection(work)


@_task("wake")
def wake(process: Process) -> None:
    """Run the chores: find forgotten work, and update users whose access changes with time."""
    process.with_connection(lambda conn: chores.run(conn, process))


@_task("fetch")
def fetch(process: Process) -> None:
    """Read from Stripe the objects whose latest state is uncertain."""
    in_time = _until(FETCH_SECONDS)

    def work(conn: psycopg.Connection) -> None:
        threads = min(refetch.THREADS, process.settings.stripe_concurrency)
        refetch.drain(conn, process.stripe(), process.policy, should_continue=in_time, threads=threads)
        if refetch_queue.any_wanted(conn):
            process.soon("fetch", seconds=refetch_queue.PAUSE_SECONDS if not refetch_queue.count_due(conn) else 0)

    try:
        process.with_connection(work)
    except Permanent as error:
        _log.error("objects.not_fetched", error=str(error), **error.ids)


@_task("sync_user")
def sync_user(process: Process, user: str, checkout_session: str | None = None) -> None:
    """Read one user's subscriptions from Stripe now. Other services send this task by name to the queue `access`."""

    def work(conn: psycopg.Connection) -> None:
        on_access.force(
            lambda: contextlib.nullcontext(conn),
            process.stripe,
            process.policy,
            user,
            seconds=ON_ACCESS_SECONDS,
            checkout_session=checkout_session,
        )

    try:
        process.with_connection(work)
    except (Temporary, Permanent) as error:
        _log.warning("user.not_synced", error=str(error), **{"user_id": user, **error.ids})


@_task("sync_object")
def sync_one_object(process: Process, id: str, type: str | None = None, account: str = "") -> None:
    """Read one object from Stripe now. Other services send this task by name to the queue `access`."""

    def work(conn: psycopg.Connection) -> None:
        sync_object.sync_object(conn, process.stripe(), process.policy, id, type, account=account)

    try:
        process.with_connection(work)
    except (Temporary, Permanent) as error:
        _log.warning("object.not_synced", error=str(error), **{"object_id": id, **error.ids})


@_task("membership_apply")
def apply_membership(process: Process) -> None:
    """Compute all users in slices. Each next slice is another task, which continues at the stored position."""
    in_time = _until(SLICE_SECONDS)
    try:
        for _ in recompute_all.apply(lambda: connect(process.settings, application="apply"), process.policy):
            if not in_time():
                process.send("membership_apply", queue=BACKFILL)
                return
    except recompute_all.StartedElsewhere:
        _log.info("membership.applied_elsewhere")


@_task("product_changes")
def apply_product_changes(process: Process) -> None:
    """Compute the users of products that now give something different. The next slice is another task."""
    in_time = _until(SLICE_SECONDS)
    if not process.with_connection(
        lambda conn: catalogue_changes.compute_waiting(conn, process.policy, should_continue=in_time)
    ):
        process.soon("product_changes", seconds=RECHECK_SECONDS, queue=BACKFILL)


@_task("product_refresh")
def product_refresh(process: Process) -> None:
    """Refresh the catalogue, once for this slot of the clock."""
    slot, in_time = periodic.slot_of(process.settings.product_refresh_interval), _until(SLICE_SECONDS)
    options = process.options(refresh_catalogue.OPTIONS)
    process.with_connection(
        lambda conn: refresh_catalogue.tick(
            conn, process.stripe, process.policy, slot, options=options, should_continue=in_time
        )
    )


@_task("catch_up")
def find_missed_events(process: Process) -> None:
    """Store events that were not delivered, once for this slot of the clock."""
    slot, in_time = periodic.slot_of(process.settings.catch_up_interval), _until(SLICE_SECONDS)

    def work(conn: psycopg.Connection) -> catch_up.Caught | None:
        options = process.options(catch_up.OPTIONS)
        return catch_up.tick(conn, process.stripe, slot, now=int(time.time()), options=options, should_continue=in_time)

    caught = process.with_connection(work)
    if caught is not None and caught.lost:
        process.recruit()
    if caught is not None and caught.gap:
        process.with_connection(audit.restart)
        process.send("audit", queue=BACKFILL)


@_task("audit")
def audit_tick(process: Process) -> None:
    """Read a few more pages of each mirrored list, once for this slot of the clock."""
    in_time = _until(SLICE_SECONDS)

    def work(conn: psycopg.Connection) -> None:
        # A hurried round runs without pauses, so each of its slices gets its own slot.
        hurried = audit.is_hurried(conn)
        slot = datetime.now(UTC) if hurried else periodic.slot_of(process.settings.audit_interval)
        options = process.options(audit.OPTIONS)
        audit.tick(conn, process.stripe, process.policy, slot, options=options, should_continue=in_time)

    process.with_connection(work)


@_task("accounts")
def read_accounts(process: Process) -> None:
    """Give connected accounts their turns, once for this slot of the clock."""
    interval = process.settings.catch_up_interval
    slot, in_time = periodic.slot_of(interval), _until(SLICE_SECONDS)
    options = process.options(connected.OPTIONS)

    def work(conn: psycopg.Connection) -> dict[str, int] | None:
        return connected.tick(
            conn,
            process.stripe,
            process.policy,
            slot,
            now=int(time.time()),
            pause=interval,
            options=options,
            should_continue=in_time,
        )

    result = process.with_connection(work)
    if result is not None and result["events"]:
        process.recruit()


@_task("prove")
def prove_secrets(process: Process) -> None:
    """Find out which accounts the webhook secrets with held events belong to."""

    def work(conn: psycopg.Connection) -> bool:
        released = proof.judge_all(conn, process.stripe)
        if secrets.any_held(conn):
            process.soon("prove", seconds=proof.LAG_SECONDS / 2, queue=ACCESS)
        return released

    try:
        if process.with_connection(work):
            process.recruit()
    except (Temporary, Permanent) as error:
        _log.warning("secret.not_judged", error=str(error), **error.ids)


@_task("endpoint_check")
def check_endpoint(process: Process) -> None:
    """Check our webhook endpoint at Stripe, once for this slot of the clock."""
    prove_secrets(process)
    slot = periodic.slot_of(periodic.ENDPOINT_CHECK_SECONDS)
    process.with_connection(lambda conn: sentinel.tick(conn, process.stripe, process.settings, slot))


@_task("reconcile")
def reconcile_tick(process: Process) -> None:
    """Reconcile the subscriptions, once for this slot of the clock. A longer pass continues in another task."""
    slot, in_time = periodic.slot_of(process.settings.reconcile_interval), _until(SLICE_SECONDS)
    options = process.options(reconcile.OPTIONS)

    def work(conn: psycopg.Connection) -> bool:
        reconcile.tick(conn, process.stripe, process.policy, slot, options=options, should_continue=in_time)
        return shards.running(conn, reconcile.JOB) is not None

    if process.with_connection(work):
        process.soon("reconcile", seconds=AGAIN_SECONDS)


@_task("backfill")
def backfill_slice(process: Process) -> None:
    """Continue the running backfill for one slice. The next slice is another task."""
    in_time = _until(SLICE_SECONDS)

    def work(conn: psycopg.Connection) -> bool:
        return backfill.carry_on(
            conn,
            process.stripe,
            process.policy,
            options=replace(process.options(backfill.OPTIONS), threads=process.settings.stripe_concurrency),
            should_continue=in_time,
            connect=process.connect,
        )

    if process.with_connection(work):
        process.soon("backfill", seconds=AGAIN_SECONDS, queue=BACKFILL)


# A dump may take hours. Its message is acknowledged at the start. Otherwise the broker would deliver it again after the
# visibility time-out, and an absent broker would stop the dump. The claimed slot prevents a second dump.
@_task(
    "backup",
    lambda settings: {
        "acks_late": False,
        "soft_time_limit": settings.backup_timeout,
        "time_limit": settings.backup_timeout + 60,
    },
)
def backup(process: Process) -> None:
    """Take the due backup, once for its slot of the clock."""
    process.with_connection(lambda conn: scheduled.tick(conn, process.settings, datetime.now(UTC)))


@_task("revenue")
def sum_revenue_up(process: Process) -> None:
    """Compute due MRR movements, and refresh the console's revenue summary."""
    slot = periodic.slot_of(periodic.REVENUE_SECONDS)
    process.with_connection(lambda conn: movements.compute_due(conn, should_continue=_until(SLICE_SECONDS)))
    process.with_connection(lambda conn: revenue_summary.refresh(conn, slot))


@_task("retention")
def remove_old_rows(process: Process) -> None:
    """Remove rows that are older than their retention time, once for this slot of the clock."""
    slot, in_time = periodic.slot_of(periodic.RETENTION_SECONDS), _until(SLICE_SECONDS)
    keep = timedelta(days=process.settings.events_keep_days)
    keep_changes = timedelta(days=process.settings.changes_keep_days)
    process.with_connection(
        lambda conn: retention.tick(conn, slot, keep=keep, keep_changes=keep_changes, should_continue=in_time)
    )
