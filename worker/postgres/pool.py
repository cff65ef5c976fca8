"""Connections to Postgres: how they are opened, and what every one of them promises."""

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

# The server that we were connected to is a replica since a failover: it answers, and will never take a write.
READ_ONLY = errors.ReadOnlySqlTransaction

# The server is away, or gave up on us; the same statement may work later, on a new connection. Deadlocks and lock
# time-outs are among them.
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, TimeoutError, READ_ONLY)
# The schema is another release's: a migration is due, or just under way. No data can cause one of these.
OTHER_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.FeatureNotSupported,
)


def session_settings(settings: Settings) -> dict[str, str]:
    """The settings of every session of ours, as Postgres spells them; times are in milliseconds."""
    return {
        "statement_timeout": str(int(settings.database_statement_timeout * 1000)),
        "lock_timeout": str(int(settings.database_lock_timeout * 1000)),
        "idle_in_transaction_session_timeout": str(int(settings.database_idle_in_transaction_timeout * 1000)),
        "timezone": "UTC",
        # Where an adopted database calls our tables otherwise, our names for them are in the first (`db adopt`).
        "search_path": f"{NAMES_SCHEMA},public",
        # A plan made for nearly empty tables reads all of them, and is kept until they are analysed. Measured: POST to
        # row at 50/s, p99 120 ms with kept plans, 39 ms without.
        "plan_cache_mode": "force_custom_plan",
    }


def connection_arguments(settings: Settings, *, application: str) -> dict[str, Any]:
    """The arguments of every connection: time-outs, keepalives, and a name that pg_stat_activity shows.

    A pooler in transaction mode drops session settings, so there the role has them (`stripe-sync db roles` prints them, and
    `doctor` checks them). No statement is prepared there, because the next one may run in another session.
    """
    arguments: dict[str, Any] = _network(settings, settings.database_url, application=application)
    if settings.database_pooler is Pooler.TRANSACTION:
        return arguments | {"prepare_threshold": None}
    options = session_settings(settings)
    return arguments | {"options": " ".join(f"-c {name}={value}" for name, value in options.items())}


def owner_conninfo(settings: Settings) -> str:
    """The address at which migrations run, with what every connection of ours keeps to on the network."""
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
        # Of several hosts the one that takes writes; where it is one, a replica is as good as nobody.
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
    """One connection, in autocommit: a transaction begins where `conn.transaction()` says so."""
    arguments = connection_arguments(settings, application=application)
    return psycopg.connect(settings.database_url, autocommit=True, cursor_factory=Cursor, **arguments)


def connect_as_owner(settings: Settings, *, application: str) -> psycopg.Connection:
    """The same as whoever migrates; where DATABASE_OWNER_URL says where that is, past any pooler."""
    if settings.database_owner_url is not None:
        owners = {"database_url": settings.database_owner_url, "database_pooler": Pooler.NONE}
        settings = settings.model_copy(update=owners)
    return connect(settings, application=application)


@contextlib.contextmanager
def snapshot(conn: psycopg.Connection) -> Iterator[None]:
    """Everything in the block is read as it stood at one moment, and nothing can be written or locked."""
    with conn.transaction():
        conn.execute("set transaction isolation level repeatable read, read only")
        yield


def pool(settings: Settings, *, application: str, size: int | None = None, lookups: bool = False) -> ConnectionPool:
    """A pool that opens its connections when first asked; the caller opens and closes it.

    `lookups`: for statements that find a few rows by their keys, and nothing else. Their plans are kept, which saves most
    of their time, and can't be bad ones: no table is read whole.
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
        # Its pauses double. Given up this early, the next request begins anew, so that none is longer than a few seconds.
        reconnect_timeout=settings.database_connect_timeout,
        check=_takes_writes,
        name=application,
        open=False,
    )


def _takes_writes(conn: psycopg.Connection) -> None:
    """The pool's look at a connection before it is lent: raises where it is broken, or leads to a replica by now."""
    if conn.execute("show transaction_read_only").fetchone() != ("off",):
        conn.close()  # the pool would take it for a good one, and lend it again
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
    """The result of `work`, tried again with growing pauses while Postgres is away; after `seconds` its error."""
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
