"""Find or rename the schema of the views, and compare each view with schema/views.py.

Revisions call it `@{stripe}` (migrations/files.py), because STRIPE_SCHEMA may give it another name.
"""

from collections.abc import Iterator

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from migrations import Refused
from migrations.statement import Statement
from schema import FIND_VIEWS_SCHEMA, VIEWS_SCHEMA
from schema.views import VIEWS, foreign

_DEFINED = text(
    "select relname::text, pg_get_viewdef(oid) from pg_class where relnamespace = to_regnamespace(:schema) and relkind = 'v'"
)


def schema_of(connection: Connection) -> str | None:
    """The name of our views' schema in this database; None if there is none yet."""
    row = connection.exec_driver_sql(FIND_VIEWS_SCHEMA).scalar()
    return None if row is None else str(row)


def settle_schema(connection: Connection, wanted: str | None) -> str:
    """Rename the views' schema if STRIPE_SCHEMA has changed; returns its name.

    Raises Refused, and changes nothing, if another tool has a schema with this name.
    """
    current = schema_of(connection)
    name = wanted or current or VIEWS_SCHEMA
    if name != current:
        taken = "select exists (select from pg_class where relnamespace = to_regnamespace(:name))"
        if connection.execute(text(taken), {"name": name}).scalar_one():
            raise Refused(foreign(name))
        if current is not None:
            connection.exec_driver_sql(f"alter schema {current} rename to {name}")
            connection.commit()
    connection.rollback()
    return name


def setup(plugin: Plugin) -> None:
    plugin.add_autogenerate_comparator(_compare, "schema", priority=DispatchPriority.LAST)


def _compare(context: AutogenContext, upgrade: UpgradeOps, schemas: set[str | None]) -> PriorityDispatchResult:
    assert context.connection is not None
    compared = list(_compared(context.connection))
    # A view is dropped before the columns that it shows, and created after them.
    upgrade.ops[:0] = [drop for drop, _ in compared if drop is not None]
    upgrade.ops.extend(make for _, make in compared if make is not None)
    return PriorityDispatchResult.CONTINUE


def _compared(connection: Connection) -> Iterator[tuple[Statement | None, Statement | None]]:
    """The statements to run first and last for each view that differs from its declaration."""
    schema = schema_of(connection) or VIEWS_SCHEMA
    there: dict[str, str] = {row[0]: row[1] for row in connection.execute(_DEFINED, {"schema": schema})}
    wanted = _as_postgres_has_them(connection)
    for name in sorted(there.keys() | VIEWS.keys()):
        if there.get(name) == wanted.get(name, "") and name in there:
            continue
        drop = make = None
        words = f"the view {schema}.{name} differs from its declaration in schema/views.py"
        if name in VIEWS:
            words = words if name in there else f"the view {schema}.{name} is missing"
            create = f"create view @{{stripe}}.{name} as\n{VIEWS[name]}"
            make = Statement(create, f"drop view @{{stripe}}.{name}", words=words)
        if name in there:
            words = "" if name in VIEWS else f"the view {schema}.{name} is not in the catalogue"
            before = f"create view @{{stripe}}.{name} as\n{there[name].strip()}"
            drop = Statement(f"drop view @{{stripe}}.{name}", before.removesuffix(";"), words=words)
        yield drop, make


def _as_postgres_has_them(connection: Connection) -> dict[str, str]:
    """The declared views as Postgres prints them. A view that needs a missing column is left out."""
    with connection.begin_nested() as nothing_is_kept:
        for name, query in VIEWS.items():
            try:
                with connection.begin_nested():
                    connection.exec_driver_sql(f"create temporary view {name} as {query.replace('%', '%%')}")
            except ProgrammingError:
                continue
        made = {row[0]: row[1] for row in connection.execute(_DEFINED, {"schema": _temporary(connection)})}
        nothing_is_kept.rollback()
    return made


def _temporary(connection: Connection) -> str:
    return str(connection.exec_driver_sql("select pg_my_temp_schema()::regnamespace").scalar_one())
