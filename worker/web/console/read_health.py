"""Queries of the health and settings pages."""

from typing import Any

import psycopg
from psycopg.rows import dict_row
from pydantic import SecretStr

from worker.config.settings import Settings
from worker.jobs.status import ALIVE_SECONDS

Row = dict[str, Any]
# Percentiles are computed from this many of the newest applied events.
SAMPLED = 2000


def minutes(conn: psycopg.Connection) -> list[Row]:
    """Events received and applied, and requests to Stripe, per minute of the last 24 hours.

    Each number is the difference between the totals of two minutes, so the first recorded minute has no numbers.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select minute, received, applied, requests
            from (
                select minute, received - lag(received) over before as received, applied - lag(applied) over before as applied,
                    requests - lag(requests) over before as requests
                from sync.minutes
                where minute > now() - interval '1 day'
                window before as (order by minute)
            ) as differences
            where received is not null
            order by minute
            """
        ).fetchall()


def latency(conn: psycopg.Connection) -> Row | None:
    """Seconds from an event's delivery to the commit of its rows: p50, p90 and p99 of the newest events. None without events."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            select count(*) as number,
                percentile_cont(0.5) within group (order by seconds) as p50,
                percentile_cont(0.9) within group (order by seconds) as p90,
                percentile_cont(0.99) within group (order by seconds) as p99
            from (
                select extract(epoch from done_at - received_at)::float8 as seconds
                from sync.events
                where status = 'done' and done_at is not null
                order by created desc, id desc
                limit %s
            ) as newest
            """,
            (SAMPLED,),
        ).fetchone()
    return row if row and row["number"] else None


def workers(conn: psycopg.Connection) -> list[Row]:
    """Worker processes, live processes first. `is_alive` is whether a process has reported lately."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select name, lane, task, since, seen_at, seen_at > now() - make_interval(secs => %s) as is_alive
            from sync.heartbeats order by is_alive desc, lane, name limit 100
            """,
            (ALIVE_SECONDS,),
        ).fetchall()


def runs(conn: psycopg.Connection) -> list[Row]:
    """The newest run of each periodic job."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            with recursive jobs as (
                (select job from sync.runs where left(job, 1) <> '~' order by job limit 1)
                union all
                select (select r.job from sync.runs as r where r.job > jobs.job and left(r.job, 1) <> '~' order by r.job limit 1)
                from jobs where jobs.job is not null
            )
            select r.job, r.started_at, r.finished_at, r.outcome, r.error,
                extract(epoch from coalesce(r.finished_at, now()) - r.started_at)::float8 as seconds
            from jobs
            cross join lateral (select * from sync.runs where job = jobs.job order by slot desc limit 1) as r
            order by r.job
            """
        ).fetchall()


def drift(conn: psycopg.Connection) -> list[Row]:
    """How many objects were repaired by reading Stripe in the last week, by day and type."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select found_at::date as day, object, count(*) as number, max(behind) as behind
            from (select * from sync.drift order by id desc limit 10000) as newest
            where found_at > now() - interval '7 days'
            group by day, object
            order by day desc, number desc
            limit 50
            """
        ).fetchall()


def settings(of: Settings) -> list[tuple[str, str, bool]]:
    """Each setting's name in the environment, its value with secrets masked, and whether it was set."""
    return [
        (name.upper(), _masked(getattr(of, name)), name in of.model_fields_set)
        for name in sorted(type(of).model_fields)
    ]


def _masked(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, SecretStr):
        return _mask(value.get_secret_value())
    if isinstance(value, tuple):
        return ", ".join(_masked(each) for each in value) or "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value.value if hasattr(value, "value") else value)
    return _without_password(text) if "://" in text or "password=" in text else text


def _mask(secret: str) -> str:
    """The prefix of the secret, which shows its kind, without any part of the secret itself."""
    kind = "_".join(secret.split("_")[:-1])
    return f"{kind}_…" if kind else "…"


def _without_password(address: str) -> str:
    """The address of a server, without user, password and parameters."""
    scheme, _, rest = address.partition("://")
    if not rest:
        return "…"
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
