"""Alembic's environment: how revisions are run, online under a lock and offline as SQL."""

from typing import Any

from alembic import context

from migrations import adopted_names, files, grants, refuse_prerelease, views
from migrations.engine import OPTIONS, SETTINGS, VERSION_SCHEMA, connected, held


def run_online(database_url: str, *, to_nothing: bool, views_schema: str | None) -> None:
    with held(database_url), connected(database_url) as connection:
        refuse_prerelease(connection)
        schema = views.settle_schema(connection, views_schema)
        connection.exec_driver_sql(f"create schema if not exists {VERSION_SCHEMA}")
        connection.commit()
        names = adopted_names.recorded(connection)
        options = OPTIONS | {"placeholders": files.placeholders(names, views_schema=schema)}
        kept = grants.keep(connection, schema)
        if names is None:
            _run(connection=connection, on_version_apply=kept, **options)
            return
        with adopted_names.away(connection, names, to_nothing=to_nothing):
            _run(connection=connection, on_version_apply=[adopted_names.stop_before_nothing, kept], **options)


def run_offline(views_schema: str) -> None:
    # With another style, each % would be doubled, which drivers need and psql does not understand.
    options = OPTIONS | {"placeholders": files.placeholders(views_schema=views_schema)}
    context.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, literal_binds=True, **options)
    with context.begin_transaction():
        for name, value in SETTINGS.items():
            context.execute(f"set {name} = '{value}'")
        context.execute(f"create schema if not exists {VERSION_SCHEMA}")
        context.run_migrations()


def _run(**options: Any) -> None:
    context.configure(**options)
    with context.begin_transaction():
        context.run_migrations()


attributes = context.config.attributes
if context.is_offline_mode():
    run_offline(attributes["views_schema"])
else:
    run_online(
        attributes["database_url"],
        to_nothing=attributes.get("to_nothing", False),
        views_schema=attributes.get("views_schema"),
    )
