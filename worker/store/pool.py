"""Connections to Postgres: how they are opened, and what every one of them promises."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from worker.config import Settings
from worker.store.plans import AsyncCursor, Cursor

__all__ = [
    "OTHER_SCHEMA",
    "UNAVAILABLE",
    "async_pool",
    "connect",
    "connection_arguments",
    "outlive",
    "pool",
    "snapshot",
]

T = TypeVar("T")

# The server is away, or gave up on us; the same statement may work later. Deadlocks and lock time-outs are among them.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError)
# The schema is another release's: a migration is due, or just under way. No data can cause one of these.
OTHER_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.FeatureNotSupported,
)


def connection_arguments(settings: Settings, *, application: str) -> dict[str, Any]:
    """libpq parameters for every connection: time-outs, keepalives, and a name that pg_stat_activity shows."""
    arguments: dict[str, Any] = {
        "application_name": f"stripe-sync {application}",
        "connect_timeout": settings.database_connect_timeout,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": (
            f"-c statement_timeout={int(settings.database_statement_timeout * 1000)}"
            f" -c lock_timeout={int(settings.database_lock_timeout * 1000)}"
            " -c idle_in_transaction_session_timeout=60000 -c timezone=UTC"
            # A plan made for nearly empty tables reads all of them, and is kept until they are analysed. Measured: POST to
            # row at 50/s, p99 120 ms with kept plans, 39 ms without.
            " -c plan_cache_mode=force_custom_plan"
        ),
    }
    if settings.database_sslmode is not None:
        arguments["sslmode"] = settings.database_sslmode
    return arguments


def connect(settings: Settings, *, application: str) -> psycopg.Connection:
    """One connection, in autocommit: a transaction begins where `conn.transaction()` says so."""
    arguments = connection_arguments(settings, application=application)
    return psycopg.connect(settings.database_url, autocommit=True, cursor_factory=Cursor, **arguments)


@contextlib.contextmanager
def snapshot(conn: psycopg.Connection) -> Iterator[None]:
    """Everything in the block is read as it stood at one moment, and nothing can be written or locked."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        yield


def pool(settings: Settings, *, application: str, size: int | None = None) -> ConnectionPool:
    """A pool that opens its connections when first asked; the caller opens and closes it."""
    return ConnectionPool(
        settings.database_url,
        kwargs={
            "autocommit": True,
            "cursor_factory": Cursor,
            **connection_arguments(settings, application=application),
        },
        min_size=0,
        max_size=size or settings.database_pool_size,
        timeout=settings.database_connect_timeout,
        check=ConnectionPool.check_connection,
        name=application,
        open=False,
    )


def async_pool(settings: Settings, *, application: str, size: int) -> AsyncConnectionPool:
    """The same for an event loop."""
    return AsyncConnectionPool(
        settings.database_url,
        kwargs={
            "autocommit": True,
            "cursor_factory": AsyncCursor,
            **connection_arguments(settings, application=application),
        },
        min_size=0,
        max_size=size,
        timeout=settings.database_connect_timeout,
        name=application,
        open=False,
    )


def outlive(
    work: Callable[[], T],
    *,
    seconds: float,
    waiting: Callable[[Exception, float], None],
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """The result of `work`, tried again with growing pauses while Postgres is away; after `seconds` its error."""
    deadline, pause = time.monotonic() + seconds, 0.1
    while True:
        try:
            return work()
        except UNAVAILABLE as error:
            if time.monotonic() + pause > deadline:
                raise
            waiting(error, pause)
            sleep(pause)
            pause = min(pause * 2, 5)
