"""Cursors that outlive a migration: what was prepared before a column changed its type is prepared anew.

psycopg prepares what it sends often. After such a change PostgreSQL refuses the prepared statement, again and again
("cached plan must not change result type"). Inside a transaction psycopg forgets it with the rollback; in autocommit nothing
would ever end that but a new connection.
"""

from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import Row

__all__ = ["AsyncCursor", "Cursor"]


class Cursor(psycopg.Cursor[Row]):
    """Sends a statement again, prepared anew, where only its plan was stale; nothing had been done by then."""

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
