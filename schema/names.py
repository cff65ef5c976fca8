"""The application's names for our tables, and our tables with those names.

If a table has another name in `public`, the schema `sync_names` has a view of it with our name. If a table is missing in
`public`, `sync_names` has an empty table. The daemon's connections search `sync_names` first, so its SQL always uses our names.
"""

from __future__ import annotations

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
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import visitors
from sqlalchemy.types import UserDefinedType

from schema import NAMES_SCHEMA, functions
from schema.tables import metadata

_preparer = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped


def quoted(name: str) -> str:
    """The identifier, quoted for SQL if necessary."""
    return str(_preparer.quote(name))


def literal(words: str) -> str:
    """The text, escaped for use between the quotes of an SQL literal."""
    return words.replace("'", "''")


def public_tables() -> dict[str, Table]:
    """The application's tables, by our names."""
    return {table.name: table for table in metadata.sorted_tables if table.schema is None}


class _Called(UserDefinedType[Any]):
    """A type in the database that is known only by its name."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


@dataclass(frozen=True)
class Names:
    """The names of tables and columns in this database that differ from ours.

    The name of a table in another schema includes the schema: `auth.users`.

    - `types`: the types that replace our enums, as SQL spells them
    - `ids`: the types of the ids that are not text, by table
    - `words`: the application's enums for columns with Stripe's words, by table and column (`user_subscriptions.status`)
    - `left_out`: the tables that are not created in `public`
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    def table(self, ours: str) -> str:
        return self.tables.get(ours, ours)

    def column(self, table: str, ours: str) -> str:
        return self.columns.get(table, {}).get(ours, ours)

    def is_mapped(self, table: str) -> bool:
        """Whether `sync_names` has a view for the table."""
        renamed = any(real != ours for ours, real in self.columns.get(table, {}).items())
        return table not in self.left_out and (self.table(table) != table or renamed)

    @property
    def mapped(self) -> list[str]:
        return [table for table in public_tables() if self.is_mapped(table)]

    @property
    def needs_schema(self) -> bool:
        """Whether `sync_names` must exist, because it has at least one object."""
        return bool(self.mapped or self.left_out or self.types)

    def id_type(self, column: Column[Any]) -> str | None:
        """Return the type of a column that has ids of users or organizations. None means text, or a column without such ids."""
        for key in column.foreign_keys:
            if key.column.table.name in ("users", "organizations"):
                return self.ids.get(key.column.table.name)
        return self.ids.get(column.table.name) if column.name == "id" else None

    def relation(self, ours: str) -> str:
        """Return the quoted schema and name of the table that has the rows."""
        if ours in self.left_out:
            return f"{NAMES_SCHEMA}.{quoted(ours)}"
        schema, _, name = self.table(ours).rpartition(".")
        return f"{quoted(schema or 'public')}.{quoted(name)}"

    @classmethod
    def recorded(cls, stored: Mapping[str, Any]) -> Names:
        """Read the value that `record` returned."""
        return cls(
            stored["tables"],
            stored["columns"],
            stored["types"],
            stored.get("ids", {}),
            stored.get("words", {}),
            frozenset(stored["left_out"]),
        )

    @property
    def record(self) -> dict[str, Any]:
        """The value that is stored in `sync.adoption`."""
        columns = {table: dict(names) for table, names in self.columns.items()}
        return {
            "tables": dict(self.tables),
            "columns": columns,
            "types": dict(self.types),
            "ids": dict(self.ids),
            "words": dict(self.words),
            "left_out": sorted(self.left_out),
        }

    def view(self, ours: str, there: Collection[str] | None = None) -> str:
        """Return the statement that creates a view with our names for a table with other names.

        If `there` is given, the view has only these columns of the table.
        """
        pairs = [(self.column(ours, column.name), column.name) for column in public_tables()[ours].columns]
        columns = ", ".join(
            f"{quoted(real)} as {quoted(name)}" for real, name in pairs if there is None or real in there
        )
        return f"create view {NAMES_SCHEMA}.{quoted(ours)} as select {columns} from {self.relation(ours)}"  # noqa: S608 - quoted

    @cached_property
    def functions(self) -> dict[str, str]:
        """The statements that create the functions in this database, by the names in `schema.functions`."""
        fields = self._fields
        row_ids = {
            table: functions.row_id(
                table,
                self.ids.get(table),
                {
                    "table": self.relation(table),
                    "id": quoted(self.column(table, "id")),
                    "key": quoted(self.column(table, key)),
                    "table_literal": literal(self.relation(table)),
                    "id_literal": literal(self.column(table, "id")),
                },
            )
            for table, (_, key) in functions.ROW_IDS.items()
        }
        words = {
            function: functions.word(table, column, self.words.get(f"{table}.{column}"))
            for (table, column), function in functions.WORDS.items()
        }
        forgets = [
            f"    delete from sync.{table.name} where {column.name} = old.{fields['id']}::text;"  # noqa: S608 - ours, quoted
            for table, column in self._references_to_users()
        ]
        return functions.made(fields, row_ids, words, forgets="\n".join(forgets) if "users" in self.ids else "")

    @property
    def user_triggers(self) -> dict[str, str]:
        """The statements for the triggers of the users' table, except the trigger that every table has."""
        made = {name: template.format(**self._fields) for name, template in functions.USERS_TRIGGER_TEMPLATES.items()}
        return made | ({"user_deleted": functions.USER_DELETED.format(**self._fields)} if "users" in self.ids else {})

    @property
    def _fields(self) -> dict[str, str]:
        columns = ("id", "role", "tokens", "tokens_expires_at", "organization_id")
        features = {
            f"features_{name}": quoted(self.column("user_features", name)) for name in ("user_id", "feature", "until")
        }
        user, organization = self.ids.get("users"), self.ids.get("organizations")
        return (
            {name: quoted(self.column("users", name)) for name in columns}
            | features
            | {
                "user_features": self.relation("user_features"),
                "reported_columns": ", ".join(
                    f"'{literal(self.column('users', name))}'" for name in functions.REPORTED_COLUMNS
                ),
                "public": NAMES_SCHEMA if "users" in self.left_out else "public",
                "users": self.relation("users"),
                "user_type": user or "text",
                "user_key": functions.key_of(user),
                "user_keys": "array(select sync.user_key(id) from unnest($1) as id)" if user else "$1",
                "organization_type": organization or "text",
                "organization_key": functions.key_of(organization),
            }
        )

    def _references_to_users(self) -> Iterator[tuple[Table, Column[Any]]]:
        for table in metadata.sorted_tables:
            for column in table.columns if table.schema == "sync" else ():
                if any(key.column.table.name == "users" for key in column.foreign_keys):
                    yield table, column

    @cached_property
    def metadata(self) -> MetaData:
        """All of our tables, with the names of this database. Constraints and indexes keep their names."""
        made = MetaData()
        for table in metadata.sorted_tables:
            self._copy(table, made)
        return made

    def key(self, table: Table) -> str:
        """Return the key of the copy of this table in `metadata`."""
        if table.schema is not None:
            return f"{table.schema}.{table.name}"
        return f"{NAMES_SCHEMA}.{table.name}" if table.name in self.left_out else self.table(table.name)

    def _copy(self, table: Table, into: MetaData) -> None:
        ours = table.name if table.schema is None else ""
        kept_apart = ours in self.left_out
        schema, _, name = self.table(ours).rpartition(".") if ours and not kept_apart else ("", "", table.name)
        made = Table(
            name,
            into,
            *(self._column(ours, column) for column in table.columns),
            *self._constraints(ours, table),
            schema=NAMES_SCHEMA if kept_apart else schema or table.schema,
            comment=table.comment,
        )
        self._index(ours, table, made)

    def _column(self, ours: str, column: Column[Any]) -> Column[Any]:
        default: Any = column.server_default
        return Column(
            self.column(ours, column.name),
            _Called(self.types.get(column.type.name or "", column.type.name or ""))
            if isinstance(column.type, Enum)
            else self._id_type(ours, column),
            *([Identity(always=True)] if column.identity is not None else []),
            nullable=column.nullable,
            server_default=None if default is None or column.identity is not None else default.arg,
            comment=column.comment,
            autoincrement="auto" if column.identity is not None else False,
        )

    def _id_type(self, ours: str, column: Column[Any]) -> Any:
        """The type of a column in a table that we create. The table's own id stays text."""
        called = self.id_type(column) if ours and column.name != "id" else None
        return column.type if called is None else _Called(called)

    def _constraints(self, ours: str, table: Table) -> Iterator[Any]:
        for constraint in sorted(table.constraints, key=lambda each: str(_preparer.format_constraint(each))):
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
                if not ours and target.schema is None and target.name in self.ids:
                    continue  # our column is text, so a trigger replaces the foreign key
                named = target.name if target.schema is None else ""
                refers = [
                    f"{self.key(target)}.{self.column(named, element.column.name)}" for element in constraint.elements
                ]
                yield ForeignKeyConstraint(columns, refers, name=name, ondelete=constraint.ondelete)

    def _index(self, ours: str, table: Table, made: Table) -> None:
        def real(each: Any) -> Any:
            return made.columns[self.column(ours, each.name)] if isinstance(each, Column) else None

        def replaced(expression: Any) -> Any:
            traverse: Any = visitors.replacement_traverse
            return traverse(expression, {}, real)

        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            own: Any = index.dialect_options["postgresql"]
            expressions: Any = index.expressions
            options: dict[str, Any] = {"postgresql_using": own["using"]} if own["using"] else {}
            if own["where"] is not None:
                options["postgresql_where"] = replaced(own["where"])
            if own["ops"]:
                options["postgresql_ops"] = {self.column(ours, name): kind for name, kind in own["ops"].items()}
            Index(str(index.name), *(replaced(part) for part in expressions), unique=index.unique, **options)
