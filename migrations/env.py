"""Alembic's environment: how revisions are run, online under a lock and offline as SQL."""

from typing import Any

import psycopg
from alembic import context
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.pool import NullPool

import schema
from migrations import LOCK_KEY, LOCK_TIMEOUT, STATEMENT_TIMEOUT
from migrations.adopted import as_ours, stop_before_nothing

VERSION_SCHEMA = "sync"
SCHEMAS = {None, "public", "sync", "stripe"}


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


def run_online(database_url: str, *, to_nothing: bool) -> None:
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
        with as_ours(connection, to_nothing=to_nothing) as is_adopted:
            own: dict[str, Any] = {"on_version_apply": stop_before_nothing} if is_adopted else {}
            context.configure(connection=connection, **OPTIONS, **own)
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
    attributes = context.config.attributes
    run_online(attributes["database_url"], to_nothing=attributes.get("to_nothing", False))
