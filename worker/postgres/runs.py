"""Runs of periodic work: one worker claims each slot, and the result is kept."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Jsonb

from worker.config.errors import SyncError
from worker.observe import log

_log = log.get("runs")

# A run that has not reported for this long counts as dead. Every job reports with each page.
LOST_SECONDS = 180

# Every job that has a run, except for the jobs of single accounts (`~`). Each is found by one lookup in the index, whereas
# `distinct` would read the whole table.
JOBS = """
    with recursive jobs as (
        (select job from sync.runs where left(job, 1) <> '~' order by job limit 1)
        union all
        select (select r.job from sync.runs as r where r.job > jobs.job and left(r.job, 1) <> '~' order by r.job limit 1)
        from jobs
        where jobs.job is not null
    )
    select job from jobs where job is not null
"""


def claim(conn: psycopg.Connection, job: str, slot: datetime, *, lost_seconds: float = LOST_SECONDS) -> int | None:
    """Claim the slot. Returns the run's id, or None if the slot is already claimed, or another run of the job is running."""
    conn.execute(
        """
        update sync.runs set finished_at = now(), outcome = 'lost', error = 'its worker stopped reporting'
        where job = %s and finished_at is null and seen_at < now() - make_interval(secs => %s)
        """,
        (job, lost_seconds),
    )
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            "insert into sync.runs (job, slot) values (%s, %s) on conflict do nothing returning id", (job, slot)
        ).fetchone()


@dataclass(slots=True)
class Run:
    """A run that this process has claimed. `result` is stored when the run finishes or fails."""

    conn: psycopg.Connection
    id: int
    result: dict[str, Any] = field(default_factory=dict)

    def seen(self, result: dict[str, Any]) -> None:
        """Report that the run is alive, with the result so far."""
        self.result = result
        seen(self.conn, self.id, result)


@contextlib.contextmanager
def slot(
    conn: psycopg.Connection, job: str, at: datetime, *, lost_seconds: float = LOST_SECONDS
) -> Iterator[Run | None]:
    """Claim the slot, and record how the block ends. Yields None if the slot can't be claimed.

    A known error (SyncError) is recorded and logged, but not raised, because the next slot tries again. Any other error is
    recorded and raised.
    """
    claimed = claim(conn, job, at, lost_seconds=lost_seconds)
    if claimed is None:
        yield None
        return
    run = Run(conn, claimed)
    try:
        yield run
    except SyncError as error:
        fail(conn, run.id, run.result, str(error))
        _log.warning("run.failed", job=job, error=str(error), **error.ids)
    except BaseException as error:  # a task's time limit is an exception too
        if not conn.closed:
            fail(conn, run.id, run.result, type(error).__name__)
        raise
    else:
        finish(conn, run.id, run.result)


def is_claimed(conn: psycopg.Connection, job: str, slot: datetime) -> bool:
    """Whether a worker has claimed this slot."""
    return conn.execute("select from sync.runs where job = %s and slot = %s", (job, slot)).fetchone() is not None


def is_cared_for(conn: psycopg.Connection, job: str, *, since: datetime) -> bool:
    """Whether a run for a slot at or after `since` is done, or is running and alive."""
    return (
        conn.execute(
            """
            select from sync.runs
            where job = %s and slot >= %s
                and (outcome = 'done' or finished_at is null and seen_at >= now() - make_interval(secs => %s))
            """,
            (job, since, LOST_SECONDS),
        ).fetchone()
        is not None
    )


def latest(conn: psycopg.Connection, job: str) -> tuple[datetime | None, str | None]:
    """When the job last succeeded, and the error of its newest run (None unless that run failed)."""
    row = conn.execute(
        """
        select
            (select max(finished_at) from sync.runs where job = %(job)s and outcome = 'done'),
            (select error from sync.runs where job = %(job)s order by id desc limit 1)
        """,
        {"job": job},
    ).fetchone()
    assert row is not None
    return row


def newest(conn: psycopg.Connection) -> dict[str, dict[str, Any]]:
    """The newest run of each job, ready for JSON: when it started and finished, its outcome, result and error."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            f"""
            select newest.*
            from ({JOBS}) as jobs
            cross join lateral (
                select job, to_json(started_at) as started_at, to_json(finished_at) as finished_at, outcome, result, error
                from sync.runs
                where job = jobs.job
                order by slot desc
                limit 1
            ) as newest
            """  # noqa: S608 - a constant
        ).fetchall()
    return {row.pop("job"): row for row in rows}


def seen(conn: psycopg.Connection, run: int, result: dict[str, Any]) -> None:
    """Report that the run is alive, with the result so far."""
    conn.execute("update sync.runs set seen_at = now(), result = %s where id = %s", (Jsonb(result), run))


def result(conn: psycopg.Connection, run: int) -> dict[str, Any] | None:
    """The run's result, which may not be final yet; None if the run failed, or does not exist."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            "select result from sync.runs where id = %s and outcome is distinct from 'failed'", (run,)
        ).fetchone()


def note(conn: psycopg.Connection, job: str, started_at: datetime, result: dict[str, Any]) -> None:
    """Record a finished run that a person started by hand."""
    conn.execute(
        """
        insert into sync.runs (job, slot, started_at, finished_at, outcome, result)
        values (%s, %s, %s, now(), 'done', %s)
        on conflict do nothing
        """,
        (job, started_at, started_at, Jsonb(result)),
    )


def finish(conn: psycopg.Connection, run: int, result: dict[str, Any]) -> None:
    """Mark the run as done."""
    _end(conn, run, "done", result, None)


def fail(conn: psycopg.Connection, run: int, result: dict[str, Any], error: str) -> None:
    """Mark the run as failed; the next slot tries again."""
    _end(conn, run, "failed", result, error)


def _end(conn: psycopg.Connection, run: int, outcome: str, result: dict[str, Any], error: str | None) -> None:
    conn.execute(
        """
        update sync.runs set finished_at = now(), seen_at = now(), outcome = %s, result = %s, error = %s
        where id = %s and finished_at is null
        """,
        (outcome, Jsonb(result), error, run),
    )
