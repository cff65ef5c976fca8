"""The chores of `wake`: each finds one kind of forgotten work, or updates users whose access changes with time.

An error in one chore is logged, and the others still run. Every chore that loops has its own time budget.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg

from worker.backup import scheduled
from worker.config.settings import ProductChanges
from worker.inbox import secrets
from worker.inbox import store as inbox
from worker.jobs import periodic
from worker.jobs.periodic import ACCESS, BACKFILL, PERIODIC
from worker.jobs.process import Process
from worker.membership import compute
from worker.membership.delivery import store as changes
from worker.membership.store import links, organization_queue, product_changes, rechecks, recompute_queue, save_changes
from worker.mirror import refetch_queue, shards, subscription_history
from worker.observe import log
from worker.postgres import runs
from worker.privacy import erase
from worker.writers import audit, backfill, reconcile

_log = log.get("worker")

# A chore with a backlog stops after this time, and continues with the next tick.
BUDGET_SECONDS = 5

Chore = Callable[[psycopg.Connection, Process], None]


def run(conn: psycopg.Connection, process: Process) -> None:
    """Run every chore. An error ends only its chore; a lost connection ends all of them."""
    for chore in CHORES:
        try:
            chore(conn, process)
        except Exception as error:  # a fault in one chore must not stop ticks, backups and expiry
            if conn.closed or conn.broken:
                raise
            _log.error("chore.failed", chore=chore.__name__, error=f"{type(error).__name__}: {error}", exc_info=True)


def _until() -> Callable[[], bool]:
    ends = time.monotonic() + BUDGET_SECONDS
    return lambda: time.monotonic() < ends


def late_links(conn: psycopg.Connection, process: Process) -> None:
    """Try again to link customers without a user: the user may have signed up since."""
    if process.policy.off:
        return
    # Two transactions, because requests are locked before links.
    customers = links.unlinked_to_check(conn, limit=1000)
    recompute_queue.request(conn, links.linkable(conn, customers))


def forgotten_work(conn: psycopg.Connection, process: Process) -> None:
    """Wake workers for due events and for users waiting to be computed."""
    late = recompute_queue.any_waiting(conn) or rechecks.any_waiting(conn) or organization_queue.any_waiting(conn)
    if (late and not process.policy.off) or inbox.count_due(conn, limit=1):
        process.recruit()


def forgotten_reads(conn: psycopg.Connection, process: Process) -> None:
    """Send the tasks that read queued objects, judge secrets with held events, and continue a hurried audit."""
    if not process.applier.has_key:
        return
    wait = process.settings.wake_interval
    if secrets.any_held(conn):
        process.send("prove", queue=ACCESS, expires=wait)
    if refetch_queue.want_forgotten(conn, limit=1000) or refetch_queue.count_due(conn):
        process.send("fetch", queue=PERIODIC, expires=wait)
    if audit.is_hurried(conn):
        process.send("audit", queue=BACKFILL, expires=wait)


def changed_products(conn: psycopg.Connection, process: Process) -> None:
    """Start computing the users of changed products, unless an operator must apply the plan first."""
    if process.policy.off:
        return
    is_automatic = process.settings.product_changes is ProductChanges.APPLY
    if product_changes.users_left(conn) or (is_automatic and product_changes.waiting(conn)):
        process.send("product_changes", queue=BACKFILL, expires=process.settings.wake_interval)


def settings_of_changes(conn: psycopg.Connection, process: Process) -> None:
    """Store the threshold of `tokens.low` in the database. Without CHANGES_URL, skip all changes."""
    save_changes.keep_threshold(conn, process.settings.tokens_low)
    if process.settings.changes_url is None:
        changes.skip_all(conn)


def late_discounts(conn: psycopg.Connection, process: Process) -> None:
    """Recompute the MRR of subscriptions whose discount was written by a concurrent transaction."""
    subscription_history.compute_waiting(conn)


def lost_ticks(conn: psycopg.Connection, process: Process) -> None:
    """Send the tick of every job whose current slot is unclaimed."""
    for job in periodic.jobs(process.settings):
        if not runs.is_claimed(conn, job.name, job.slot(process.settings)):
            process.send(job.name, queue=job.queue, expires=job.interval(process.settings))


def due_backup(conn: psycopg.Connection, process: Process) -> None:
    """Start a backup that is due."""
    if scheduled.wanted(conn, process.settings, datetime.now(UTC)) is not None:
        process.send("backup", queue=BACKFILL, expires=process.settings.wake_interval)


def forgotten_passes(conn: psycopg.Connection, process: Process) -> None:
    """Continue a running reconcile and backfill: their last task may have died."""
    if not process.applier.has_key:
        return
    wait = process.settings.wake_interval
    if shards.is_idle(conn, reconcile.JOB):
        process.send("reconcile", queue=PERIODIC, expires=wait)
    if shards.is_idle(conn, backfill.JOB) or recompute_queue.any_deferred(conn):
        process.send("backfill", queue=BACKFILL, expires=wait)


def passing_time(conn: psycopg.Connection, process: Process) -> None:
    """Compute users whose next change is due: tokens are renewed, or a grace period or an override ends."""
    compute.compute_due(conn, process.policy, should_continue=_until())


def expired_tokens(conn: psycopg.Connection, process: Process) -> None:
    """Clear balances that have expired."""
    if not process.policy.off:
        compute.sweep_expired(conn, should_continue=_until())


def erasure(conn: psycopg.Connection, process: Process) -> None:
    """Continue to blank the data of erased people."""
    erase.sweep(conn, should_continue=_until())


def totals_of_the_minute(conn: psycopg.Connection, _: Process) -> None:
    """Record the counts of received and applied events and of requests to Stripe, once a minute, for the console's charts."""
    conn.execute(
        """
        insert into sync.minutes (minute, received, applied, requests)
        select date_trunc('minute', now()),
            coalesce(sum(value) filter (where name like 'events_received %'), 0),
            coalesce(sum(value) filter (where name like 'events_applied %'), 0),
            coalesce(sum(value) filter (where name like 'stripe_requests %'), 0)
        from sync.counters
        on conflict (minute) do nothing
        """
    )
    conn.execute("delete from sync.minutes where minute < now() - interval '2 days'")


CHORES: tuple[Chore, ...] = (
    totals_of_the_minute,
    forgotten_work,
    changed_products,
    settings_of_changes,
    lost_ticks,
    forgotten_reads,
    due_backup,
    forgotten_passes,
    late_links,
    late_discounts,
    passing_time,
    expired_tokens,
    erasure,
)
