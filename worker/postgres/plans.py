"""Query plans: which plans are kept, and how prepared statements survive a migration.

psycopg prepares statements that it sends often. If a column's type changes, PostgreSQL refuses the prepared statement
every time ("cached plan must not change result type"). In a transaction, psycopg forgets the statement with the rollback.
In autocommit, only a new connection would help, so the cursors here prepare the statement again.
"""

from collections.abc import Callable, Mapping
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

# For statements that find rows by key. They are planned once, as nested loops over keys, so a plan made for small tables
# stays good. Other statements are planned each time (`pool.session_settings`). For our own account, these statements write
# `length(account) = 0` instead of `account = ''`: with the latter, Postgres could read all of an index that begins with
# the account.
KEPT = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "enable_hashjoin": "off",
    "jit": "off",
}
_FORMER = ", ".join(f"current_setting('{name}')" for name in KEPT)
# For writing pages of lists into tables that may have no statistics yet: nested loops over keys, planned each time.
BY_KEY = {"enable_seqscan": "off", "enable_mergejoin": "off", "enable_hashjoin": "off", "jit": "off"}


def keep(conn: psycopg.Connection) -> Callable[[], None]:
    """Keep the plans of statements until the transaction ends, or until the returned function is called.

    Measured: this halves the time to compute one user, because it saves the planning. It also halves the time to compute
    100,000 users in batches of 400: with a new plan each time, every batch read and hashed whole tables.
    """
    # The former values are read before they are set: a select computes its columns from left to right.
    before = conn.execute(f"select {_FORMER}, {_settings(KEPT)}")

    def restore() -> None:
        row = before.fetchone()
        assert row is not None
        _set(conn, dict(zip(KEPT, row, strict=False)))

    return restore


def by_key(conn: psycopg.Connection) -> None:
    """Find rows only by key until the transaction ends."""
    _set(conn, BY_KEY)


def _set(conn: psycopg.Connection, values: Mapping[str, str]) -> None:
    conn.execute(f"select {_settings(values)}")


def _settings(values: Mapping[str, str]) -> str:
    return ", ".join(f"set_config('{name}', '{value}', true)" for name, value in values.items())


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
