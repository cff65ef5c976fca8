"""The application's tables where they are called otherwise: which is which, and the schema under those names.

In the schema `sync_names` lives, under our name, what `public` has not under that name: a view of the real table, or an
empty stand-in of one that is left out. Every connection of the daemon looks there first, so its SQL knows one set of names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Enum,
    ForeignKeyConstraint,
    Identity,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.types import UserDefinedType

from schema import NAMES_SCHEMA
from schema.tables import metadata

_preparer = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped


def quoted(name: str) -> str:
    """The identifier as SQL wants it."""
    return str(_preparer.quote(name))


def public_tables() -> dict[str, Table]:
    """The application's tables, by our name."""
    return {table.name: table for table in metadata.sorted_tables if table.schema is None}


class _Called(UserDefinedType[Any]):
    """A type by its name in the database, whatever it is."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


@dataclass(frozen=True)
class Names:
    """What the tables and columns that we know are called in this database, where it is not what we call them.

    `types` are the types that stand for our enums, as SQL spells them. `left_out` are tables that `public` does not get.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    def table(self, ours: str) -> str:
        return self.tables.get(ours, ours)

    def column(self, table: str, ours: str) -> str:
        return self.columns.get(table, {}).get(ours, ours)

    def is_mapped(self, table: str) -> bool:
        """Whether `sync_names` has a view for it."""
        renamed = any(real != ours for ours, real in self.columns.get(table, {}).items())
        return table not in self.left_out and (self.table(table) != table or renamed)

    @property
    def mapped(self) -> list[str]:
        return [table for table in public_tables() if self.is_mapped(table)]

    @property
    def needs_schema(self) -> bool:
        """Whether `sync_names` holds anything."""
        return bool(self.mapped or self.left_out or self.types)

    def relation(self, ours: str) -> str:
        """Where the rows are: schema and name, as SQL spells them."""
        schema = NAMES_SCHEMA if ours in self.left_out else "public"
        return f"{schema}.{quoted(self.table(ours))}"

    @classmethod
    def recorded(cls, said: Mapping[str, Any]) -> Names:
        """As `record` wrote it."""
        return cls(said["tables"], said["columns"], said["types"], frozenset(said["left_out"]))

    @property
    def record(self) -> dict[str, Any]:
        """As JSON keeps it, in `sync.adoption`."""
        columns = {table: dict(names) for table, names in self.columns.items()}
        return {
            "tables": dict(self.tables),
            "columns": columns,
            "types": dict(self.types),
            "left_out": sorted(self.left_out),
        }

    def view(self, ours: str, there: Collection[str] | None = None) -> str:
        """The statement that makes our name of a table that has another; of its columns those that are `there`."""
        pairs = [(self.column(ours, column.name), column.name) for column in public_tables()[ours].columns]
        columns = ", ".join(
            f"{quoted(real)} as {quoted(name)}" for real, name in pairs if there is None or real in there
        )
        return f"create view {NAMES_SCHEMA}.{quoted(ours)} as select {columns} from {self.relation(ours)}"  # noqa: S608 - quoted

    def spoken(self, table: str, said: str) -> str:
        """An expression over our columns of the table, in the database's words."""
        for ours, real in self.columns.get(table, {}).items():
            said = re.sub(rf"\b{re.escape(ours)}\b", quoted(real).replace("\\", r"\\"), said)
        return said

    def function(self, said: str) -> str:
        """A function of ours that reads or writes `public.users as u`, in the database's words."""
        said = said.replace("public.users as u", f"{self.relation('users')} as u")
        if "users" in self.left_out:
            said = said.replace("create or replace function public.", f"create or replace function {NAMES_SCHEMA}.")
        for ours, real in self.columns.get("users", {}).items():
            said = re.sub(rf"\bu\.{ours}\b", lambda _, real=real: f"u.{quoted(real)}", said)  # type: ignore[misc]
            said = re.sub(rf"\bset {ours} =", lambda _, real=real: f"set {quoted(real)} =", said)  # type: ignore[misc]
        return said

    @cached_property
    def metadata(self) -> MetaData:
        """Everything that we store, under the names of this database; constraints and indexes keep theirs."""
        made = MetaData()
        for table in metadata.sorted_tables:
            self._copy(table, made)
        return made

    def key(self, table: Table) -> str:
        """Where the copy of a table of ours is found in `metadata`."""
        if table.schema is not None:
            return f"{table.schema}.{table.name}"
        return f"{NAMES_SCHEMA}.{table.name}" if table.name in self.left_out else self.table(table.name)

    def _copy(self, table: Table, into: MetaData) -> None:
        ours = table.name if table.schema is None else ""
        kept_apart = ours in self.left_out
        Table(
            self.table(ours) if ours and not kept_apart else table.name,
            into,
            *(self._column(ours, column) for column in table.columns),
            *self._constraints(ours, table),
            *self._indexes(ours, table),
            schema=NAMES_SCHEMA if kept_apart else table.schema,
            comment=table.comment,
        )

    def _column(self, ours: str, column: Column[Any]) -> Column[Any]:
        default: Any = column.server_default
        return Column(
            self.column(ours, column.name),
            _Called(self.types.get(column.type.name or "", column.type.name or ""))
            if isinstance(column.type, Enum)
            else column.type,
            *([Identity(always=True)] if column.identity is not None else []),
            nullable=column.nullable,
            server_default=None if default is None or column.identity is not None else default.arg,
            comment=column.comment,
            autoincrement="auto" if column.identity is not None else False,
        )

    def _constraints(self, ours: str, table: Table) -> Iterator[Any]:
        for constraint in sorted(table.constraints, key=lambda found: str(_preparer.format_constraint(found))):
            name = str(_preparer.format_constraint(constraint))
            if isinstance(constraint, CheckConstraint):
                yield CheckConstraint(str(constraint.sqltext), name=name)
                continue
            columns = [self.column(ours, column.name) for column in getattr(constraint, "columns", ())]
            if isinstance(constraint, PrimaryKeyConstraint):
                yield PrimaryKeyConstraint(*columns, name=name)
            elif isinstance(constraint, UniqueConstraint):
                yield UniqueConstraint(*columns, name=name)
            elif isinstance(constraint, ForeignKeyConstraint):
                target = constraint.referred_table
                named = target.name if target.schema is None else ""
                refers = [
                    f"{self.key(target)}.{self.column(named, element.column.name)}" for element in constraint.elements
                ]
                yield ForeignKeyConstraint(columns, refers, name=name, ondelete=constraint.ondelete)

    def _indexes(self, ours: str, table: Table) -> Iterator[Index]:
        for index in sorted(table.indexes, key=lambda found: str(found.name)):
            where = index.dialect_options["postgresql"]["where"]
            expressions: Any = index.expressions
            parts: list[Any] = [
                text(self.spoken(ours, part.text)) if isinstance(part, TextClause) else self.column(ours, part.name)
                for part in expressions
            ]
            options: Any = {} if where is None else {"postgresql_where": text(self.spoken(ours, where.text))}
            yield Index(str(index.name), *parts, unique=index.unique, **options)
