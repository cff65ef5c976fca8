"""The bytes on disk of a mirrored object, by column and index. The objects come from benchmark events, applied by the daemon."""

from typing import Any

import psycopg

from benchmarks import events, stack
from worker.config.settings import AppEnv, Settings
from worker.inbox import store as inbox
from worker.jobs.process import applier_of
from worker.postgres.pool import connect
from worker.stripe_api.envelope import read_envelope

EVENTS, STORED_AT_ONCE = 60_000, 500
_TABLES = ("mirror.customers", "mirror.subscriptions", "mirror.subscription_items", "mirror.invoices", "sync.events")
# `pg_table_size` includes large values that are stored outside the heap (TOAST).
_TABLE = "select count(*), pg_table_size(%(table)s::regclass), pg_total_relation_size(%(table)s::regclass) from {}"
_COLUMNS = """
    select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum
"""
_INDEXES = """
    select i.indexrelid::regclass::text, pg_relation_size(i.indexrelid) from pg_index as i
    where i.indrelid = %s::regclass order by 2 desc, 1
"""


def measure(running: stack.Stack, *, count: int = EVENTS) -> dict[str, dict[str, Any]]:
    """For each table: the number of rows, and the bytes per row in total, per column (largest first; columns below 8 bytes
    are one sum) and per index."""
    settings = Settings(
        database_url=running.database_url, redis_url=running.redis_url, app_env=AppEnv.TEST, stripe_livemode=False
    )
    with connect(settings, application="sizes") as conn:
        # The running worker drains the inbox as well.
        for first in range(0, count, STORED_AT_ONCE):
            made = events.mixed(STORED_AT_ONCE, first=first)
            inbox.store(conn, [read_envelope(each.body.decode()) for each in made])
            applier_of(settings).drain(conn)
        running.drained(conn, seconds=60)
        conn.execute("vacuum analyze")
        return {table: _of(conn, table) for table in _TABLES}


def _of(conn: psycopg.Connection[Any], table: str) -> dict[str, Any]:
    row = conn.execute(_TABLE.format(table).encode(), {"table": table}).fetchone()
    assert row is not None
    rows, in_table, in_all = row
    names = [name for (name,) in conn.execute(_COLUMNS, (table,))]
    sums = ", ".join(f'coalesce(sum(pg_column_size("{name}")), 0)' for name in names)
    sizes = conn.execute(f"select {sums} from {table}".encode()).fetchone()
    assert sizes is not None
    columns = {name: size / rows for name, size in zip(names, sizes, strict=True)}
    shown = dict(sorted((item for item in columns.items() if item[1] >= 8), key=lambda item: -item[1]))
    shown["other columns"] = sum(columns.values()) - sum(shown.values())
    return {
        "rows": rows,
        "bytes": in_all / rows,
        "columns": shown,
        "headers and free space": in_table / rows - sum(columns.values()),
        "indexes": {name: size / rows for name, size in conn.execute(_INDEXES, (table,))},
    }
