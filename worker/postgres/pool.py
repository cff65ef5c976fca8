"""Open connections to Postgres, all with the same settings."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from schema import NAMES_SCHEMA
from worker.config.backoff import Backoff
from worker.config.settings import Pooler, Settings
from worker.postgres.plans import KEPT, AsyncCursor, Cursor

T = TypeVar("T")

RECONNECTS = Backoff(first=0.1, longest=5)

# After a failover, the server may be a replica, which answers but accepts no writes.
READ_ONLY = errors.ReadOnlySqlTransaction

# The server is away, or ended the statement. The same statement may work later, on a new connection. This includes
# deadlocks and lock time-outs.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, READ_ONLY)
# The schema is of another release: a migration is due or running. Data can't cause these errors.
OTHER_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.FeatureNotSupported,
)


def session_settings(settings: Settings) -> dict[str, str]:
    """The Postgres settings of our sessions. Times are in milliseconds."""
    return {
        "statement_timeout": str(int(settings.database_statement_timeout * 1000)),
        "lock_timeout": str(int(settings.database_lock_timeout * 1000)),
        "idle_in_transaction_session_timeout": str(int(settings.database_idle_in_transaction_timeout * 1000)),
        "timezone": "UTC",
        # If an adopted database has other names for our tables, the first schema has views with our names (`db adopt`).
        "search_path": f"{NAMES_SCHEMA},public",
        # A plan made for nearly empty tables reads them completely, and is kept until they are analyzed. Measured from POST
        # to row at 50 events/s: p99 120 ms with kept plans, 39 ms without.
        "plan_cache_mode": "force_custom_plan",
    }


def connection_arguments(settings: Settings, *, application: str) -> dict[str, Any]:
    """The arguments of every connection: time-outs, keepalives, and a name for pg_stat_activity.

    A pooler in transaction mode drops session settings, so the role must have them: `stripe-sync db roles` prints them, and
    `doctor` checks them. Behind such a pooler no statement is prepared, because the next one may run in another session.
    """
    arguments: dict[str, Any] = _network(settings, settings.database_url, application=application)
    if settings.database_pooler is Pooler.TRANSACTION:
        return arguments | {"prepare_threshold": None}
    options = session_settings(settings)
    return arguments | {"options": " ".join(f"-c {name}={value}" for name, value in options.items())}


def owner_conninfo(settings: Settings) -> str:
    """The address for migrations, with the same network settings as our other connections."""
    return make_conninfo(settings.owner_url, **_network(settings, settings.owner_url, application="migrate"))


def _network(settings: Settings, url: str, *, application: str) -> dict[str, Any]:
    silent = settings.database_tcp_timeout
    arguments: dict[str, Any] = {
        "application_name": f"stripe-sync {application}",
        "connect_timeout": settings.database_connect_timeout,
        "keepalives_idle": silent // 2,
        "keepalives_interval": silent // 6,
        "keepalives_count": 3,
        "tcp_user_timeout": silent * 1000,
    }
    if "target_session_attrs" not in conninfo_to_dict(url):
        # Among several hosts, use the one that accepts writes. A single host is refused if it is a replica.
        arguments["target_session_attrs"] = "read-write"
    if settings.database_sslmode is not None:
        arguments["sslmode"] = settings.database_sslmode
    return arguments


def hint(error: psycopg.Error) -> str:
    """How to fix the cause of this error, as ` (...)`; empty if the error needs no explanation."""
    message = str(error)
    if "unsupported startup parameter" in message:
        return " (this is a pooler: set DATABASE_POOLER=transaction)"
    if "session is read-only" in message:
        return " (this is a replica: in DATABASE_URL name the primary, or all hosts, separated by commas)"
    if "root certificate file" in message:
        return " (set sslrootcert=FILE in DATABASE_URL to the certificate of the authority)"
    return ""


def connect(settings: Settings, *, application: str) -> psycopg.Connection:
    """Open one connection in autocommit mode; `conn.transaction()` begins a transaction."""
    arguments = connection_arguments(settings, application=application)
    return psycopg.connect(settings.database_url, autocommit=True, cursor_factory=Cursor, **arguments)


def connect_as_owner(settings: Settings, *, application: str) -> psycopg.Connection:
    """Open one connection as the owner of the tables. If DATABASE_OWNER_URL is set, the connection uses no pooler."""
    if settings.database_owner_url is not None:
        owners = {"database_url": settings.database_owner_url, "database_pooler": Pooler.NONE}
        settings = settings.model_copy(update=owners)
    return connect(settings, application=application)


@contextlib.contextmanager
def snapshot(conn: psycopg.Connection) -> Iterator[None]:
    """Read everything in the block from one snapshot. Writes and locks are refused."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        yield


def pool(settings: Settings, *, application: str, size: int | None = None, lookups: bool = False) -> ConnectionPool:
    """A pool that opens its connections on first use. The caller opens and closes the pool.

    Set `lookups` only if all statements find a few rows by key. Their plans are then kept, which saves most of their time.
    The plans stay good, because they contain no sequential scans.
    """
    arguments = connection_arguments(settings, application=application)
    if lookups and "options" in arguments:
        arguments["options"] += " " + " ".join(f"-c {name}={value}" for name, value in KEPT.items())
    return ConnectionPool(
        settings.database_url,
        kwargs={"autocommit": True, "cursor_factory": Cursor, **arguments},
        min_size=0,
        max_size=size or settings.database_pool_size,
        timeout=settings.database_connect_timeout,
        # The pool's pauses double with each attempt to reconnect. It gives up early, and the next request starts again, so
        # no pause is longer than a few seconds.
        reconnect_timeout=settings.database_connect_timeout,
        check=_takes_writes,
        name=application,
        open=False,
    )


def _takes_writes(conn: psycopg.Connection) -> None:
    """Check a connection before the pool lends it. Raises an error if it is broken, or if its server is now a replica."""
    if conn.execute("show transaction_read_only").fetchone() != ("off",):
        conn.close()  # otherwise the pool would lend it again
        raise READ_ONLY("the server is a replica now")


def async_pool(settings: Settings, *, application: str, size: int) -> AsyncConnectionPool:
    """A pool for an event loop, like `pool`."""
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
        reconnect_timeout=settings.database_connect_timeout,
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
    """Return the result of `work`. While Postgres is away, retry with growing pauses; after `seconds`, raise the error."""
    deadline, attempt = time.monotonic() + seconds, 0
    while True:
        try:
            return work()
        except UNAVAILABLE as error:
            attempt += 1
            pause = RECONNECTS.pause(attempt)
            if time.monotonic() + pause > deadline:
                raise
            waiting(error, pause)
            sleep(pause)
