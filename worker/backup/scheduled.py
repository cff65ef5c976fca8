"""Scheduled backups: one worker takes a backup for each time of BACKUP_SCHEDULE, and retries every hour after a failure."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg
from celery.schedules import crontab

from worker.backup import take
from worker.backup.folder import Backup
from worker.backup.policy import Times, last_due
from worker.config.settings import Settings
from worker.postgres import runs

JOB = "backup"
RETRY = timedelta(hours=1)
_SIGN_OF_LIFE_SECONDS = 15

Take = Callable[..., Backup]


def times(schedule: str) -> Times:
    """Parse the schedule in the same way as Celery's beat."""
    line = crontab.from_string(schedule)
    sets = (line.minute, line.hour, line.day_of_month, line.month_of_year, line.day_of_week)
    return Times(*(frozenset(each) for each in sets))


def wanted(conn: psycopg.Connection, settings: Settings, now: datetime) -> datetime | None:
    """The slot of the backup to take now; None if the last due time has a backup, or a worker is taking it.

    After a failure, or if the worker died, every hour after the due time is a slot.
    """
    if settings.backup_schedule is None:
        return None
    due = last_due(times(settings.backup_schedule), now)
    if not runs.is_claimed(conn, JOB, due):
        return due
    if runs.is_cared_for(conn, JOB, since=due):
        return None
    again = due + (now - due) // RETRY * RETRY
    return None if runs.is_claimed(conn, JOB, again) else again


def missed(conn: psycopg.Connection, settings: Settings, now: datetime) -> datetime | None:
    """The last due time that is more than an hour ago, if it has no backup; else None. None without a schedule."""
    if settings.backup_schedule is None:
        return None
    due = last_due(times(settings.backup_schedule), now - RETRY)
    return None if runs.is_cared_for(conn, JOB, since=due) else due


def tick(conn: psycopg.Connection, settings: Settings, now: datetime, *, kinds: dict[str, Take] | None = None) -> bool:
    """Take the due backup, and remove old ones. Returns whether a backup was taken."""
    due = wanted(conn, settings, now)
    if due is None:
        return False
    backup: Backup | None = None
    kinds = kinds or {"logical": take.logical, "physical": take.physical}
    with runs.slot(conn, JOB, due) as run:
        if run is None:
            return False
        seen_at = time.monotonic()

        def alive() -> None:
            nonlocal seen_at
            if time.monotonic() - seen_at > _SIGN_OF_LIFE_SECONDS:
                seen_at = time.monotonic()
                run.seen({})

        backup = kinds[settings.backup_kind](settings, alive=alive)
        removed = take.thin_out(settings)
        run.result = {"name": str(backup.name), "bytes": backup.size, "removed": len(removed.backups)}
    return backup is not None
