"""Compare the database's enum types with the metadata, and create, drop or change them. Alembic does none of this."""

from collections.abc import Iterator
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import CheckConstraint, Column, Connection, DefaultClause, Enum, MetaData, text

from migrations.statement import Statement

_FOUND = text(
    """
    select t.typname, array_agg(e.enumlabel::text order by e.enumsortorder)
    from pg_type as t
    join pg_enum as e on e.enumtypid = t.oid
    where t.typnamespace = 'public'::regnamespace
    group by t.typname
    """
)


def setup(plugin: Plugin) -> None:
    # Types are created before the tables that use them, and dropped after these tables.
    plugin.add_autogenerate_comparator(_make, "schema", priority=DispatchPriority.FIRST)


def declared(metadata: MetaData) -> dict[str, list[Column[Any]]]:
    """The columns of each enum type, by the type's name."""
    present: dict[str, list[Column[Any]]] = {}
    for table in metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, Enum) and column.type.name:
                present.setdefault(column.type.name, []).append(column)
    return present


def _make(context: AutogenContext, upgrade: UpgradeOps, schemas: set[str | None]) -> PriorityDispatchResult:
    assert context.connection is not None
    assert isinstance(context.metadata, MetaData)
    upgrade.ops.extend(_statements(context.connection, context.metadata))
    return PriorityDispatchResult.CONTINUE


def _statements(connection: Connection, metadata: MetaData) -> Iterator[Statement]:
    present: dict[str, list[str]] = {row[0]: row[1] for row in connection.execute(_FOUND)}
    for name, columns in declared(metadata).items():
        type_ = columns[0].type
        assert isinstance(type_, Enum)
        wanted, there = list(type_.enums), present.get(name)
        if there is None:
            made = f"create type public.{name} as enum ({_quoted(wanted)})"
            yield Statement(made, f"drop type public.{name}", words=f"the enum type {name} is missing")
        elif wanted != there:
            words = f"the enum type {name} has the values {', '.join(there)}, and should have {', '.join(wanted)}"
            yield Statement(_changed(name, columns, there, wanted), _made_anew(name, columns, there), words=words)


def _changed(name: str, columns: list[Column[Any]], there: list[str], wanted: list[str]) -> str:
    """Add new values in place, which blocks no other session.

    If values were removed or reordered, replace the type instead.
    """
    if [value for value in wanted if value in there] != there:
        return _made_anew(name, columns, wanted)
    # Each value is added before its successor, which must exist by then, so the last value is added first.
    placed, statements = list(there), list[str]()
    for position in reversed(range(len(wanted))):
        value = wanted[position]
        if value not in placed:
            before = f" before {_quoted([wanted[position + 1]])}" if position + 1 < len(wanted) else ""
            statements.append(f"alter type public.{name} add value {_quoted([value])}{before};")
            placed.append(value)
    return "\n".join(statements).removesuffix(";")


def _made_anew(name: str, columns: list[Column[Any]], values: list[str]) -> str:
    """Replace the type and rewrite its columns. This fails if a row holds a removed value."""
    lines = [f"alter type public.{name} rename to {name}_before;"]
    lines.append(f"create type public.{name} as enum ({_quoted(values)});")
    checks = [check for column in columns for check in _checks_of(column)]
    lines += [f"alter table {_of(column)} drop constraint {check.name};" for column, check in checks]
    for column in columns:
        alter = f"alter table {_of(column)} alter column {column.name}"
        default = column.server_default.arg if isinstance(column.server_default, DefaultClause) else None
        if default is not None:
            lines.append(f"{alter} drop default;")
        lines.append(f"{alter} type public.{name} using {column.name}::text::public.{name};")
        if default is not None:
            lines.append(f"{alter} set default {_quoted([str(default)])};")
    lines += [
        f"alter table {_of(column)} add constraint {check.name} check ({check.sqltext});" for column, check in checks
    ]
    lines.append(f"drop type public.{name}_before")
    return "\n".join(lines)


def _checks_of(column: Column[Any]) -> Iterator[tuple[Column[Any], CheckConstraint]]:
    for constraint in sorted(column.table.constraints, key=lambda one: str(one.name)):
        if isinstance(constraint, CheckConstraint) and column.name in str(constraint.sqltext).split():
            yield column, constraint


def _of(column: Column[Any]) -> str:
    return f"{column.table.schema or 'public'}.{column.table.name}"


def _quoted(values: list[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)
