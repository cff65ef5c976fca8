"""Alembic's environment: how revisions are run, online under a lock and offline as SQL."""

from typing import Any

import psycopg
from alembic import context
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import NullPool

import schema

VERSION_SCHEMA = "sync"
SCHEMAS = {None, "public", "sync", "stripe"}
# Any constant: whoever migrates takes it, and the second one finds the work done.
LOCK_KEY = 7_390_412_285
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "5s", "15min"


def include_name(name: str | None, type_: str, parents: Any) -> bool:
    """Compare what is ours; an application's other tables in `public` are its own affair."""
    if type_ == "schema":
        return name in SCHEMAS
    if type_ == "table" and parents["schema_qualified_table_name"] not in schema.metadata.tables:
        return parents["schema_name"] not in (None, "public") and name != "alembic_version"
    return True


OPTIONS: dict[str, Any] = {
    "target_metadata": schema.metadata,
    "version_table_schema": VERSION_SCHEMA,
    "include_schemas": True,
    "include_name": include_name,
    "transaction_per_migration": True,
    "compare_type": True,
    "compare_server_default": True,
}


# Whoever waits for another's migration, or holds the lock meanwhile, is not to be timed out.
PATIENCE = {"lock_timeout": "0", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
HASTE = {"lock_timeout": LOCK_TIMEOUT, "statement_timeout": STATEMENT_TIMEOUT, "timezone": "UTC"}


def run_online(database_url: str) -> None:
    """Lock and settings are the transactions', not the sessions': a pooler hands those to others, locks and all."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(database_url, prepare_threshold=None),
        poolclass=NullPool,
    )
    with engine.connect() as lock, engine.connect() as connection:
        _settings_of_each_transaction(lock, PATIENCE)
        _settings_of_each_transaction(connection, HASTE)
        lock.execute(text("select pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        connection.execute(text(f"create schema if not exists {VERSION_SCHEMA}"))
        connection.commit()
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


def _settings_of_each_transaction(connection: Connection, settings: dict[str, str]) -> None:
    @event.listens_for(connection, "begin")
    def begin(begun: Connection) -> None:
        for name, value in settings.items():
            begun.exec_driver_sql(f"set local {name} = '{value}'")


def run_offline() -> None:
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.execute(f"create schema if not exists {VERSION_SCHEMA}")
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online(context.config.attributes["database_url"])
