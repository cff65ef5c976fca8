"""Scheduled backups: one is taken at each due time, and a failed one is retried after an hour."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from worker.backup import scheduled, take
from worker.backup.folder import Backup
from worker.backup.policy import last_due
from worker.backup.tools import ToolFailed
from worker.config import settings as config
from worker.config.settings import Settings
from worker.jobs import celery_app, periodic
from worker.postgres import runs

DUE = datetime(2026, 11, 23, 3, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def clocked(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"backup_dir": tmp_path / "backups", "backup_schedule": "0 3 * * *"})


def failing(settings: Settings, **_: Any) -> Backup:
    raise ToolFailed("pg_dump failed: no space left on device")


def dying(settings: Settings, **_: Any) -> Backup:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("schedule", "now", "due"),
    [
        ("0 3 * * *", "2026-11-23T12:00:00", "2026-11-23T03:00:00"),
        ("0 3 * * *", "2026-11-23T03:00:00", "2026-11-23T03:00:00"),
        ("0 3 * * *", "2026-11-23T02:59:59", "2026-11-22T03:00:00"),
        ("*/15 * * * *", "2026-11-23T12:44:59", "2026-11-23T12:30:00"),
        (
            "30 1 * * 0",
            "2026-11-23T12:00:00",
            "2026-11-22T01:30:00",
        ),  # now is a Monday, and backups are due on Sundays
        ("30 1 * * 0", "2026-11-22T01:00:00", "2026-11-15T01:30:00"),
        ("0 0 1 * *", "2026-11-23T12:00:00", "2026-11-01T00:00:00"),
        ("5 0 1 1 *", "2026-01-01T00:04:00", "2025-01-01T00:05:00"),
        ("0 0 29 2 *", "2026-11-23T12:00:00", "2024-02-29T00:00:00"),
    ],
)
def test_the_last_due_time_of_a_schedule(schedule: str, now: str, due: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert last_due(scheduled.times(schedule), moment) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_one_backup_is_taken_for_each_due_time(conn: psycopg.Connection, clocked: Settings) -> None:
    taken = [scheduled.tick(conn, clocked, DUE + number * MINUTE) for number in range(3)]

    assert taken == [True, False, False]
    row = conn.execute("select outcome, slot, result ->> 'name' like 'test-%' from sync.runs").fetchall()
    assert row == [("done", DUE, True)]


def test_two_workers_take_a_due_backup_once(conn: psycopg.Connection, clocked: Settings) -> None:
    def meanwhile(settings: Settings, **_: Any) -> Backup:
        assert not scheduled.tick(conn, clocked, DUE + MINUTE)
        return take.logical(settings)

    assert scheduled.tick(conn, clocked, DUE, kinds={"logical": meanwhile})


def test_a_failed_backup_is_retried_every_hour_until_it_succeeds(conn: psycopg.Connection, clocked: Settings) -> None:
    assert not scheduled.tick(conn, clocked, DUE, kinds={"logical": failing})
    assert scheduled.wanted(conn, clocked, DUE + 59 * MINUTE) is None
    assert scheduled.wanted(conn, clocked, DUE + HOUR + MINUTE) == DUE + HOUR
    assert not scheduled.tick(conn, clocked, DUE + HOUR, kinds={"logical": failing})
    assert scheduled.tick(conn, clocked, DUE + 2 * HOUR)
    assert scheduled.wanted(conn, clocked, DUE + 3 * HOUR) is None

    errors = conn.execute("select outcome, error from sync.runs order by slot").fetchall()
    assert errors == [("failed", "pg_dump failed: no space left on device")] * 2 + [("done", None)]


def test_a_time_limit_ends_the_run_as_failed(conn: psycopg.Connection, clocked: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        scheduled.tick(conn, clocked, DUE, kinds={"logical": dying})

    assert conn.execute("select outcome from sync.runs").fetchall() == [("failed",)]


def test_a_backup_whose_worker_died_is_repeated_in_the_next_hour(conn: psycopg.Connection, clocked: Settings) -> None:
    assert runs.claim(conn, scheduled.JOB, DUE) is not None
    assert scheduled.wanted(conn, clocked, DUE + 2 * HOUR) is None
    conn.execute("update sync.runs set seen_at = now() - interval '4 minutes'")

    assert scheduled.tick(conn, clocked, DUE + 2 * HOUR)
    assert conn.execute("select outcome from sync.runs order by slot").fetchall() == [("lost",), ("done",)]


def test_without_a_schedule_nothing_is_due(conn: psycopg.Connection, settings: Settings) -> None:
    assert scheduled.wanted(conn, settings, DUE) is None
    assert "backup" not in {tick.name for tick in celery_app.ticks(settings)}


def test_the_scheduler_sends_backups_to_the_queue_of_long_tasks(clocked: Settings) -> None:
    (tick,) = [tick for tick in celery_app.ticks(clocked) if tick.name == "backup"]

    assert (tick.task, tick.queue, tick.clock) == (
        periodic.task_name("backup"),
        periodic.BACKFILL,
        clocked.backup_schedule,
    )


@pytest.mark.parametrize(("expected", "line"), [("03:15", "15 3 * * *"), ("0  3 * * 1-5", "0 3 * * 1-5")])
def test_a_schedule_is_a_cron_line_or_a_time(
    settings: Settings, expected: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _environment(settings).items():
        monkeypatch.setenv(name, value)

    assert config.load(backup_schedule=expected, backup_dir="/backups").backup_schedule == line


@pytest.mark.parametrize("expected", ["daily", "25:00", "0 3 * *", "0 0 31 2 *"])
def test_an_invalid_schedule_stops_the_process_and_names_the_setting(
    settings: Settings, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _environment(settings).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(config.ConfigError, match="BACKUP_SCHEDULE: is neither a cron line"):
        config.load(backup_schedule=expected, backup_dir="/backups")
    with pytest.raises(config.ConfigError, match="BACKUP_DIR: is not set"):
        config.load(backup_schedule="03:00")


def _environment(settings: Settings) -> dict[str, str]:
    return {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}


def test_a_scheduled_backup_counts_as_missed_after_an_hour(conn: psycopg.Connection, clocked: Settings) -> None:
    late = DUE + timedelta(days=1)
    runs.note(conn, scheduled.JOB, DUE, {})
    in_time = scheduled.missed(conn, clocked, late + HOUR - MINUTE)
    scheduled.tick(conn, clocked, late, kinds={"logical": failing})

    assert in_time is None
    assert scheduled.missed(conn, clocked, late + HOUR) == late
    assert runs.latest(conn, scheduled.JOB)[1] == "pg_dump failed: no space left on device"

    scheduled.tick(conn, clocked, late + HOUR)

    assert scheduled.missed(conn, clocked, late + HOUR) is None
