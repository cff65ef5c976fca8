"""Remove old events that are done, and old bookkeeping of the daemon."""

from datetime import timedelta

import psycopg

from worker.postgres import runs

BLOCKS = 1000  # of 8 KiB; large bodies are stored elsewhere (TOAST)
RUNS_KEPT_DAYS = 90
DRIFT_KEPT_DAYS = 90
HEARTBEATS_KEPT_DAYS = 1
BATCH = 5000


def blocks(conn: psycopg.Connection) -> int:
    """The size of the inbox in blocks."""
    row = conn.execute("select pg_relation_size('sync.events') / current_setting('block_size')::int").fetchone()
    return int(row[0]) if row else 0


def events(conn: psycopg.Connection, *, block: int, keep: timedelta, limit: int) -> tuple[int, str | None]:
    """Remove up to `limit` events of this range of blocks that arrived and were done longer ago than `keep`.

    Returns how many were removed, and the arrival of the oldest remaining event. Rows locked by another session stay.
    """
    stretch = (f"({block},0)", f"({block + BLOCKS},0)")
    # For a replayed event, `keep` counts from its new `done_at`, so that its result can still be read.
    gone = conn.execute(
        """
        with old as materialized (
            select id
            from sync.events
            where ctid >= %s::tid and ctid < %s::tid
                and status = 'done' and received_at < now() - %s and done_at < now() - %s
            limit %s
            for update skip locked
        )
        delete from sync.events as e using old where e.id = old.id and e.status = 'done'
        """,
        (*stretch, keep, keep, limit),
    ).rowcount
    row = conn.execute(
        """
        select to_char(min(received_at) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        from sync.events where ctid >= %s::tid and ctid < %s::tid
        """,
        stretch,
    ).fetchone()
    return gone, row[0] if row else None


def bookkeeping(conn: psycopg.Connection, *, changes_kept_days: int = 35) -> dict[str, int]:
    """Remove old bookkeeping: runs with their shards (except the newest run of each job), drift, heartbeats and changes.

    Returns the number of removed rows by table. Each statement reads only the BATCH oldest rows, which the table's key
    finds (for runs, the BATCH oldest of each job).
    """
    removed = {
        "runs": f"""
            delete from sync.runs as r
            where r.id in (
                select o.id
                from ({runs.JOBS}) as jobs
                cross join lateral (select id from sync.runs where job = jobs.job order by slot limit {BATCH}) as o
            )
                and finished_at < now() - make_interval(days => %s)
                and exists (select from sync.runs as n where n.job = r.job and n.slot > r.slot)
        """,  # noqa: S608 - constants
        "drift": f"""
            delete from sync.drift
            where id in (select id from sync.drift order by id limit {BATCH})
                and found_at < now() - make_interval(days => %s)
        """,  # noqa: S608
        "changes": f"""
            delete from sync.changes
            where id in (select id from sync.changes order by id limit {BATCH})
                and created_at < now() - make_interval(days => %s)
        """,  # noqa: S608
        "heartbeats": "delete from sync.heartbeats where seen_at < now() - make_interval(days => %s)",
    }
    days = {
        "runs": RUNS_KEPT_DAYS,
        "drift": DRIFT_KEPT_DAYS,
        "heartbeats": HEARTBEATS_KEPT_DAYS,
        "changes": changes_kept_days,
    }
    return {name: conn.execute(statement, (days[name],)).rowcount for name, statement in removed.items()}
