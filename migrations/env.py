"""Alembic's environment: how revisions are run, online under a lock and offline as SQL."""

from typing import Any

from alembic import context

from migrations import refuse_prerelease, views
from migrations.adopted import as_ours, stop_before_nothing
from migrations.engine import OPTIONS, SETTINGS, VERSION_SCHEMA, connected, held
from schema import VIEWS_SCHEMA


def run_online(database_url: str, *, to_nothing: bool, views_schema: str | None) -> None:
    with held(database_url), connected(database_url) as connection:
        refuse_prerelease(connection)
        views_schema = views.settle_schema(connection, views_schema)
        if views_schema != VIEWS_SCHEMA:
            views.rename_in(connection, views_schema)
        connection.exec_driver_sql(f"create schema if not exists {VERSION_SCHEMA}")
        connection.commit()
        with as_ours(connection, to_nothing=to_nothing) as is_adopted:
            look = context.config.attributes.get("process_revision_directives")
            own: dict[str, Any] = {"on_version_apply": stop_before_nothing} if is_adopted else {}
            context.configure(connection=connection, process_revision_directives=look, **OPTIONS, **own)
            with context.begin_transaction():
                context.run_migrations()


def run_offline() -> None:
    # Another style would write a % twice, as drivers want it and psql does not.
    context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        for name, value in SETTINGS.items():
            context.execute(f"set {name} = '{value}'")
        context.execute(f"create schema if not exists {VERSION_SCHEMA}")
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    attributes = context.config.attributes
    run_online(
        attributes["database_url"],
        to_nothing=attributes.get("to_nothing", False),
        views_schema=attributes.get("views_schema"),
    )
