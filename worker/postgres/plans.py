"""Query plans: which are kept, and how prepared statements survive a migration.

psycopg prepares statements that it sends often. After a column has changed its type, PostgreSQL refuses the prepared
statement every time ("cached plan must not change result type"). In a transaction psycopg forgets it with the rollback;
in autocommit only a new connection would help. So these cursors prepare it again.
"""

from collections.abc import Mapping
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

# For statements that find rows by key: planned once, without sequential scans, so that a plan made for small tables
# stays good. Other statements are planned each time (`pool.session_settings`).
KEPT = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}
# For writing pages of lists into tables that may have no statistics yet: nested loops over keys, planned for the
# present size.
BY_KEY = {"enable_seqscan": "off", "enable_mergejoin": "off", "enable_hashjoin": "off", "jit": "off"}


def keep(conn: psycopg.Connection) -> None:
    """Keep the plans of statements until the transaction ends.

    Measured: one user is computed in half the time (planning), and so are 100,000 in batches of 400 (planned each time,
    every batch read and hashed whole tables).
    """
    _set(conn, KEPT)


def by_key(conn: psycopg.Connection) -> None:
    """Find rows only by key until the transaction ends."""
    _set(conn, BY_KEY)


def _set(conn: psycopg.Connection, values: Mapping[str, str]) -> None:
    settings = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in values.items())
    conn.execute(f"select {settings}")


class Cursor(psycopg.Cursor[Row]):
    """Sends a statement again, prepared anew, if only its plan was stale; it had not done anything by then."""

    def execute(self, *arguments: Any, **options: Any) -> Self:
        try:
            return super().execute(*arguments, **options)
        except psycopg.errors.FeatureNotSupported:
            if self.connection.info.transaction_status is not TransactionStatus.IDLE:
                raise
            self.connection.execute("deallocate all")
            return super().execute(*arguments, **options)


class AsyncCursor(psycopg.AsyncCursor[Row]):
    """The same for an event loop."""

    async def execute(self, *arguments: Any, **options: Any) -> Self:
        try:
            return await super().execute(*arguments, **options)
        except psycopg.errors.FeatureNotSupported:
            if self.connection.info.transaction_status is not TransactionStatus.IDLE:
                raise
            await self.connection.execute("deallocate all")
            return await super().execute(*arguments, **options)
