"""Compare CHECK constraints and partial indexes by content, because Alembic compares only their names.

As with functions, the declared constraint or index is created on a temporary table and read back, so that Postgres decides
whether it equals the existing one.
"""

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import CheckConstraint, Connection, Index, MetaData, Table, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.schema import CreateIndex

from migrations.statement import Statement

_CHECKS = text(
    "select conname::text, pg_get_constraintdef(oid) from pg_constraint where conrelid = to_regclass(:table) and contype = 'c'"
)
_INDEXES = text(
    """
    select c.relname::text, pg_get_expr(i.indpred, i.indrelid), pg_get_indexdef(i.indexrelid)
    from pg_index as i
    join pg_class as c on c.oid = i.indexrelid
    where i.indrelid = to_regclass(:table) and i.indpred is not null
    """
)
_TWIN = "pg_temp.compared"


def setup(plugin: Plugin) -> None:
    plugin.add_autogenerate_comparator(_compare, "schema", priority=DispatchPriority.LAST)


def _compare(context: AutogenContext, upgrade: UpgradeOps, schemas: set[str | None]) -> PriorityDispatchResult:
    assert context.connection is not None
    assert isinstance(context.metadata, MetaData)
    for table in context.metadata.sorted_tables:
        upgrade.ops.extend(_statements(context.connection, table))
    return PriorityDispatchResult.CONTINUE


def _statements(connection: Connection, table: Table) -> Iterator[Statement]:
    name = f"{table.schema or 'public'}.{table.name}"
    checks = {str(one.name): one for one in table.constraints if isinstance(one, CheckConstraint) and one.name}
    indexes = {str(one.name): one for one in table.indexes if _where(one) is not None}
    if not checks and not indexes:
        return
    there = {row[0]: row[1] for row in connection.execute(_CHECKS, {"table": name})}
    for check, wanted in _read_back(connection, name, _CHECKS, _checks(checks)).items():
        if check in there and there[check] != wanted:
            drop = f"alter table {name} drop constraint {check};\nalter table {name} add constraint {check}\n    "
            words = f"the constraint {check} of {name} is {there[check]}, and should be {wanted}"
            yield Statement(drop + wanted, drop + there[check], words=words)
    partial = {row[0]: (row[1], row[2]) for row in connection.execute(_INDEXES, {"table": name})}
    for index, wanted in _read_back(connection, name, _INDEXES, _indexes(indexes)).items():
        if index in partial and partial[index][0] != wanted:
            drop = f"drop index {table.schema or 'public'}.{index};\n"
            create = str(CreateIndex(indexes[index]).compile(dialect=_dialect()))
            words = f"the index {index} of {name} has the condition {partial[index][0]}, and should have {wanted}"
            yield Statement(drop + create, drop + partial[index][1], words=words)


def _checks(checks: dict[str, CheckConstraint]) -> list[str]:
    return [f"alter table {_TWIN} add constraint {name} check ({one.sqltext})" for name, one in checks.items()]


def _indexes(indexes: dict[str, Index]) -> list[str]:
    return [f"create index {name} on {_TWIN} ((1)) where {_where(one)}" for name, one in indexes.items()]


def _read_back(connection: Connection, table: str, query: TextClause, statements: list[str]) -> dict[str, str]:
    """Run the statements on a temporary copy of the table; returns the definitions as Postgres prints them, by name.

    The result is empty if the table is missing.
    """
    if connection.execute(text("select to_regclass(:table)"), {"table": table}).scalar_one() is None:
        return {}
    with connection.begin_nested() as nothing_is_kept:
        connection.execute(text(f"create temporary table compared (like {table})"))
        for statement in statements:
            try:
                with connection.begin_nested():
                    connection.execute(text(statement))
            except ProgrammingError:
                # The statement names a missing column, which is reported as another difference.
                continue
        made = {row[0]: row[1] for row in connection.execute(query, {"table": _TWIN})}
        nothing_is_kept.rollback()
    return made


def _where(index: Index) -> str | None:
    """The index's condition as `create index` spells it."""
    where: Any = index.dialect_options["postgresql"]["where"]
    if where is None:
        return None
    return str(where.compile(dialect=_dialect(), compile_kwargs={"include_table": False, "literal_binds": True}))


def _dialect() -> postgresql.base.PGDialect:
    return postgresql.base.PGDialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has none
