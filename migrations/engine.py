"""Connect to the database for migrations, and select what is compared with the metadata."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from alembic.runtime.plugins import Plugin
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

import schema.tables
from migrations import LOCK_KEY, LOCK_TIMEOUT, STATEMENT_TIMEOUT, conditions, enums, programs, views

VERSION_SCHEMA = "sync"
SCHEMAS = {None, "public", "sync", "mirror"}
# The settings of every revision.
SETTINGS = {"lock_timeout": LOCK_TIMEOUT, "statement_timeout": STATEMENT_TIMEOUT, "timezone": "UTC"}
# No time-outs apply while this process waits for another process's migration.
_PATIENCE = {"lock_timeout": "0", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
_LOCK_PAUSE_SECONDS = 0.2

Plugin.setup_plugin_from_module(enums, "stripe_sync.enums")
Plugin.setup_plugin_from_module(conditions, "stripe_sync.conditions")
Plugin.setup_plugin_from_module(programs, "stripe_sync.programs")
Plugin.setup_plugin_from_module(views, "stripe_sync.views")


def include_name(name: str | None, type_: str, parents: Any) -> bool:
    """Compare our objects only; an application's other tables in `public` are left out."""
    if type_ == "schema":
        return name in SCHEMAS
    if type_ == "table" and parents["schema_qualified_table_name"] not in schema.tables.metadata.tables:
        return parents["schema_name"] not in (None, "public") and name != "alembic_version"
    return True


OPTIONS: dict[str, Any] = {
    "target_metadata": schema.tables.metadata,
    "version_table_schema": VERSION_SCHEMA,
    "include_schemas": True,
    "include_name": include_name,
    "transaction_per_migration": True,
    "compare_type": True,
    "compare_server_default": True,
    "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname", "stripe_sync.*"],
}


@contextmanager
def connected(database_url: str, settings: Mapping[str, str] = SETTINGS) -> Iterator[Connection]:
    """A connection with the settings for revisions.

    They are set for each transaction, not for the session, because a pooler may give the session to other clients.
    """
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(database_url, prepare_threshold=None),
        poolclass=NullPool,
    )
    with engine.connect() as connection:

        @event.listens_for(connection, "begin")
        def begin(begun: Connection) -> None:
            for name, value in settings.items():
                begun.exec_driver_sql(f"set local {name} = '{value}'")

        yield connection
    engine.dispose()


@contextmanager
def held(database_url: str) -> Iterator[None]:
    """Hold the lock against other migrations during the block. Waits until a running migration has ended.

    The lock belongs to a transaction, for the same reason as the settings. It is requested repeatedly, because a statement
    that waits in Postgres holds a snapshot: a running CREATE INDEX CONCURRENTLY would wait for that snapshot, and neither
    would ever end. The statement has no parameters, because otherwise its snapshot would stay until the transaction ends.
    """
    with connected(database_url, _PATIENCE) as lock:
        while not lock.exec_driver_sql(f"select pg_try_advisory_xact_lock({LOCK_KEY})").scalar_one():
            time.sleep(_LOCK_PAUSE_SECONDS)
        yield
