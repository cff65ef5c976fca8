"""The numbers of `stripe-sync status`: how far behind the daemon is, and what each worker is doing."""

from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row, scalar_row

from worker.inbox import store as inbox
from worker.inbox.endpoint import sentinel
from worker.jobs.periodic import JOBS
from worker.membership.delivery import store as changes
from worker.membership.store import held_rows, product_changes
from worker.mirror import accounts, shards
from worker.mirror import store as mirror
from worker.postgres import cursors, runs
from worker.writers import backfill

ALIVE_SECONDS = 90
# At most this many connected accounts are shown: the least recently read ones.
ACCOUNTS_SHOWN = 20


def beat(conn: psycopg.Connection, name: str, *, lane: str, task: tuple[str, datetime] | None) -> None:
    """Record that a child process of a worker is alive, with its current task and the time at which the task started."""
    conn.execute(
        """
        insert into sync.heartbeats (name, lane, task, since, seen_at) values (%s, %s, %s, %s, now())
        on conflict (name) do update
        set lane = excluded.lane, task = excluded.task, since = excluded.since, seen_at = excluded.seen_at
        """,
        (name, lane, *(task or (None, None))),
    )


def leave(conn: psycopg.Connection, name: str) -> None:
    """Remove a child process that has stopped."""
    conn.execute("delete from sync.heartbeats where name = %s", (name,))


def workers(conn: psycopg.Connection) -> list[dict[str, Any]]:
    """The live child processes, ready for JSON: name, lane, current task (None while waiting) and the task's start."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select name, lane, task, to_json(since) as since
            from sync.heartbeats
            where seen_at > now() - make_interval(secs => %s)
            order by lane, name
            """,
            (ALIVE_SECONDS,),
        ).fetchall()


def gauges(conn: psycopg.Connection) -> dict[str, float]:
    """The numeric values of `status`, for metrics."""
    return {name: float(value) for name, value in status(conn).items() if isinstance(value, int | float)}


def status(conn: psycopg.Connection) -> dict[str, Any]:
    """The values of `stripe-sync status` and `GET /v1/status`, ready for JSON."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        unlinked = cursor.execute("select count(*) from sync.customer_links where user_id is null").fetchone()
    retention = cursors.read(conn, "retention") or {}
    alive, held = workers(conn), held_rows.counts(conn)
    last = runs.newest(conn)
    problems = sentinel.problems(conn)
    return {
        **inbox.backlog(conn),
        "unsettled": mirror.count_unsettled(conn),
        "unlinked_customers": unlinked,
        **changes.backlog(conn),
        "products_changed": len(product_changes.waiting(conn)),
        "product_change_users_left": product_changes.users_left(conn),
        "held_rows": sum(held.values()),
        **{f"held_{table}": rows for table, rows in held.items()},
        "workers_alive": len(alive),
        **{f"accounts_{name}": number for name, number in accounts.summary(conn).items()},
        "accounts": accounts.rows(conn, limit=ACCOUNTS_SHOWN),
        "endpoint_problems": len(problems),
        "endpoint": problems,
        "oldest_event_kept": retention.get("oldest_kept"),
        **{f"last_{job}": last.get(job) for job in (*(job.name for job in JOBS), backfill.JOB, "backup")},
        "backfill": backfill.progress(conn) if shards.running(conn, backfill.JOB) is not None else None,
        "workers": alive,
    }
