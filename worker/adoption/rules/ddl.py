"""The statements that add what is missing, with the names of this database."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Index, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import (
    AddConstraint,
    CreateColumn,
    CreateIndex,
    CreateTable,
    ForeignKeyConstraint,
    SetColumnComment,
    SetTableComment,
    UniqueConstraint,
)

from schema.functions import WORDS
from schema.names import Names, quoted
from worker.adoption.rules.findings import Column
from worker.adoption.rules.types import NEEDED_LABELS, lacking_words

_dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped


def sorted_constraints(table: Table, *kinds: type[Any]) -> list[Any]:
    """The table's constraints of these kinds, in the order of their names."""
    return sorted((actual for actual in table.constraints if isinstance(actual, kinds)), key=name_of)


def sorted_references(table: Table) -> list[ForeignKeyConstraint]:
    return sorted_constraints(table, ForeignKeyConstraint)


def create_table(ours: Table, names: Names) -> Iterator[str]:
    """The statements that create the table as we declare it, with its indexes and comments."""
    table = names.metadata.tables[names.key(ours)]
    yield _as_sql(CreateTable(table))
    for index in sorted(table.indexes, key=lambda actual: str(actual.name)):
        yield _as_sql(CreateIndex(index))
    if table.comment:
        yield _as_sql(SetTableComment(table))
    for column in table.columns:
        if column.comment:
            yield _as_sql(SetColumnComment(column))


def create_enum(name: str, labels: tuple[str, ...], *, schema: str) -> str:
    listed = ", ".join(f"'{label}'" for label in labels)
    return f"create type {schema}.{name} as enum ({listed})"


def add_labels(ours: Any, column: Column, enums: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The statements that add missing labels to the enum of the application's column. `ours` is our column."""
    labels = enums[column.type]
    if (ours.table.name, ours.name) in WORDS:
        lacking = lacking_words(ours.table.name, ours.name, labels)
    else:
        lacking = [label for label in NEEDED_LABELS[ours.type.name] if label not in labels]
    for label in lacking:
        yield f"alter type {column.type} add value if not exists '{label}'"


def add_column(ours: Any, names: Names) -> tuple[str, str]:
    """The statement that adds the column, and the column's definition for a person."""
    table = names.metadata.tables[names.key(ours.table)]
    column = table.columns[names.column(ours.table.name, ours.name)]
    shown = _as_sql(CreateColumn(column))
    return f"alter table {names.relation(ours.table.name)} add column {shown}", shown


def add_unique(ours: Table, constraint: Any, names: Names) -> str:
    """Add one of our keys as a unique constraint, because the table may already have another primary key."""
    columns = ", ".join(quoted(names.column(ours.name, column.name)) for column in constraint.columns)
    name = name_of(constraint) if isinstance(constraint, UniqueConstraint) else f"uq_{ours.name}_id"
    return f"alter table {names.relation(ours.name)} add constraint {quoted(name)} unique ({columns})"


def add_reference(ours: Table, constraint: ForeignKeyConstraint, names: Names) -> str:
    table = names.metadata.tables[names.key(ours)]
    wanted = next(actual for actual in table.foreign_key_constraints if actual.name == name_of(constraint))
    return _as_sql(AddConstraint(wanted))


def create_index(ours: Table, index: Index, names: Names) -> str:
    table = names.metadata.tables[names.key(ours)]
    return _as_sql(CreateIndex(next(actual for actual in table.indexes if actual.name == index.name)))


def name_of(constraint: Any) -> str:
    return str(_dialect.identifier_preparer.format_constraint(constraint))


def _as_sql(statement: Any) -> str:
    # Without arguments, psycopg parses no placeholders, so percent signs must not be doubled.
    return str(statement.compile(dialect=_dialect)).strip().replace("%%", "%")
