"""What an operator asks of the database: is it at head, who is alive, how far behind are we."""

from typing import Any

import psycopg
from psycopg.rows import dict_row, scalar_row

from worker.inbox import store as inbox
from worker.jobs.periodic import JOBS
from worker.mirror import store as mirror
from worker.postgres import cursors

ALIVE_SECONDS = 90


def beat(conn: psycopg.Connection, name: str) -> None:
    """Say that this worker process is alive; forget those that have not been for a day."""
    conn.execute(
        """
        insert into sync.heartbeats (name, seen_at) values (%s, now())
        on conflict (name) do update set seen_at = excluded.seen_at
        """,
        (name,),
    )
    conn.execute("delete from sync.heartbeats where seen_at < now() - interval '1 day'")


def alive(conn: psycopg.Connection) -> int:
    """How many worker processes there are: each child says so by itself."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        found = cursor.execute(
            "select count(*) from sync.heartbeats where seen_at > now() - make_interval(secs => %s)", (ALIVE_SECONDS,)
        ).fetchone()
    return found or 0


def gauges(conn: psycopg.Connection) -> dict[str, float]:
    """The numbers of `status` that a graph is drawn of."""
    found = status(conn)
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def status(conn: psycopg.Connection) -> dict[str, Any]:
    """The numbers of `stripe-sync status` and `GET /v1/status`, as JSON takes them."""
    with conn.cursor(row_factory=dict_row) as cursor:
        runs = cursor.execute(
            """
            select distinct on (job) job, to_json(started_at) as started_at, to_json(finished_at) as finished_at,
                outcome, result, error
            from sync.runs
            order by job, slot desc
            """
        ).fetchall()
    with conn.cursor(row_factory=scalar_row) as cursor:
        unlinked = cursor.execute("select count(*) from sync.customer_links where user_id is null").fetchone()
    walked = cursors.read(conn, "retention") or {}
    last = {run.pop("job"): run for run in runs}
    return {
        **inbox.backlog(conn),
        "unsettled": mirror.count_unsettled(conn),
        "unlinked_customers": unlinked,
        "workers_alive": alive(conn),
        "oldest_event_kept": walked.get("oldest_kept"),
        **{f"last_{job}": last.get(job) for job in (*(job.name for job in JOBS), "backup")},
    }
