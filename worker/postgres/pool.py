"""Open connections to Postgres, with the settings that all of them share."""

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

# The server has become a replica in a failover: it answers, but will accept no write.
READ_ONLY = errors.ReadOnlySqlTransaction

# The server is away, or ended the statement; the same statement may work later, on a new connection. Deadlocks and lock
# time-outs are among them.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, READ_ONLY)
# The schema is of another release: a migration is due, or under way. Data can't cause these errors.
OTHER_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.FeatureNotSupported,
)


def session_settings(settings: Settings) -> dict[str, str]:
    """The settings of each of our sessions, as Postgres spells them; times are in milliseconds."""
    return {
        "statement_timeout": str(int(settings.database_statement_timeout * 1000)),
        "lock_timeout": str(int(settings.database_lock_timeout * 1000)),
        "idle_in_transaction_session_timeout": str(int(settings.database_idle_in_transaction_timeout * 1000)),
        "timezone": "UTC",
        # If an adopted database has other names for our tables, our names are in the first schema (`db adopt`).
        "search_path": f"{NAMES_SCHEMA},public",
        # A plan made for nearly empty tables reads all of them, and is kept until they are analysed. Measured: POST to
        # row at 50/s, p99 120 ms with kept plans, 39 ms without.
        "plan_cache_mode": "force_custom_plan",
    }


def connection_arguments(settings: Settings, *, application: str) -> dict[str, Any]:
    """The arguments of every connection: time-outs, keepalives, and a name that pg_stat_activity shows.

    A pooler in transaction mode drops session settings, so there the role has them (`stripe-sync db roles` prints them,
    and `doctor` checks them). Nor is any statement prepared there, because the next one may run in another session.
    """
    arguments: dict[str, Any] = _network(settings, settings.database_url, application=application)
    if settings.database_pooler is Pooler.TRANSACTION:
        return arguments | {"prepare_threshold": None}
    options = session_settings(settings)
    return arguments | {"options": " ".join(f"-c {name}={value}" for name, value in options.items())}


def owner_conninfo(settings: Settings) -> str:
    """The address for migrations, with the network settings of all our connections."""
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
        # Of several hosts use the one that accepts writes. A single host is used only if it is no replica.
        arguments["target_session_attrs"] = "read-write"
    if settings.database_sslmode is not None:
        arguments["sslmode"] = settings.database_sslmode
    return arguments


def hint(error: psycopg.Error) -> str:
    """The setting to change after this error, as ` (...)`; empty if the error itself says enough."""
    message = str(error)
    if "unsupported startup parameter" in message:
        return " (a pooler stands there: set DATABASE_POOLER=transaction)"
    if "session is read-only" in message:
        return " (a replica: name the primary, or all of its hosts with commas, in DATABASE_URL)"
    if "root certificate file" in message:
        return " (name the authority's certificate with sslrootcert=FILE in DATABASE_URL)"
    return ""


def connect(settings: Settings, *, application: str) -> psycopg.Connection:
    """One connection, in autocommit: `conn.transaction()` begins a transaction."""
    arguments = connection_arguments(settings, application=application)
    return psycopg.connect(settings.database_url, autocommit=True, cursor_factory=Cursor, **arguments)


def connect_as_owner(settings: Settings, *, application: str) -> psycopg.Connection:
    """The same as the owner of the tables; with DATABASE_OWNER_URL it avoids a pooler."""
    if settings.database_owner_url is not None:
        owners = {"database_url": settings.database_owner_url, "database_pooler": Pooler.NONE}
        settings = settings.model_copy(update=owners)
    return connect(settings, application=application)


@contextlib.contextmanager
def snapshot(conn: psycopg.Connection) -> Iterator[None]:
    """Read everything in the block as of one moment; writes and locks are refused."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        yield


def pool(settings: Settings, *, application: str, size: int | None = None, lookups: bool = False) -> ConnectionPool:
    """A pool that opens its connections on first use; the caller opens and closes it.

    `lookups`: only for statements that find a few rows by key. Their plans are kept, which saves most of their time,
    and stay good because they contain no sequential scan.
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
        # The pool's pauses double. It gives up this early, and the next request starts again, so that no pause is
        # longer than a few seconds.
        reconnect_timeout=settings.database_connect_timeout,
        check=_takes_writes,
        name=application,
        open=False,
    )


def _takes_writes(conn: psycopg.Connection) -> None:
    """The pool's check of a connection before it is lent: raises if it is broken, or leads to a replica by now."""
    if conn.execute("show transaction_read_only").fetchone() != ("off",):
        conn.close()  # otherwise the pool would lend it again
        raise READ_ONLY("the server is a replica by now")


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
    """The result of `work`, retried with growing pauses while Postgres is away; after `seconds` its error is raised."""
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
