"""Query plans: which plans are kept, and how prepared statements survive a migration.

psycopg prepares statements that it sends often. If a column's type changes, PostgreSQL refuses the prepared statement
every time ("cached plan must not change result type"). In a transaction, psycopg forgets the statement with the rollback.
In autocommit, only a new connection would help, so the cursors here prepare the statement again.
"""

from collections.abc import Mapping
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

# For statements that find rows by key. They are planned once, without sequential scans, so that a plan made for small
# tables stays good. Other statements are planned each time (`pool.session_settings`).
KEPT = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}
# For writing list pages into tables that may have no statistics yet: nested loops over keys, planned for the current size.
BY_KEY = {"enable_seqscan": "off", "enable_mergejoin": "off", "enable_hashjoin": "off", "jit": "off"}


def keep(conn: psycopg.Connection) -> None:
    """Keep the plans of statements until the transaction ends.

    Measured: this halves the time to compute one user, by the planning saved. It also halves the time to compute 100,000
    users in batches of 400: when planned each time, every batch read and hashed whole tables.
    """
    _set(conn, KEPT)


def by_key(conn: psycopg.Connection) -> None:
    """Find rows only by key until the transaction ends."""
    _set(conn, BY_KEY)


def _set(conn: psycopg.Connection, values: Mapping[str, str]) -> None:
    settings = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in values.items())
    conn.execute(f"select {settings}")


class Cursor(psycopg.Cursor[Row]):
    """A cursor that prepares and sends a statement again if its plan was stale. The first attempt has changed nothing."""

    def execute(self, *arguments: Any, **options: Any) -> Self:
        try:
            return super().execute(*arguments, **options)
        except psycopg.errors.FeatureNotSupported:
            if self.connection.info.transaction_status is not TransactionStatus.IDLE:
                raise
            self.connection.execute("deallocate all")
            return super().execute(*arguments, **options)


class AsyncCursor(psycopg.AsyncCursor[Row]):
    """The asynchronous form of `Cursor`."""

    async def execute(self, *arguments: Any, **options: Any) -> Self:
        try:
            return await super().execute(*arguments, **options)
        except psycopg.errors.FeatureNotSupported:
            if self.connection.info.transaction_status is not TransactionStatus.IDLE:
                raise
            await self.connection.execute("deallocate all")
            return await super().execute(*arguments, **options)
