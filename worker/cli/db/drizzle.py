"""The application's tables as Drizzle definitions in TypeScript, generated from the ORM classes.

Property names are camelCase, as the Drizzle adapter of Auth.js expects, except for the token columns of `accounts`, which
keep OAuth's names. The definitions are for queries only: drizzle-kit must not use them, because stripe-sync migrates these
tables.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Enum, Index, Integer, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.orm import DeclarativeBase, Mapper, RelationshipDirection
from sqlalchemy.schema import DefaultClause

_AS_OAUTH_NAMES_THEM = frozenset(
    {"refresh_token", "access_token", "expires_at", "token_type", "id_token", "session_state"}
)
_HEAD = """\
// The application's tables that stripe-sync migrates. Generated, do not edit. To generate this file again:
//   stripe-sync db generate --types typescript --output THIS_FILE
// Use the definitions for queries only. Do not let drizzle-kit migrate these tables.
import { relations, sql } from "drizzle-orm";
import { bigint, boolean, index, integer, jsonb, pgEnum, pgTable, primaryKey, text, timestamp, unique } from \
"drizzle-orm/pg-core";
"""
_AUTH = """\
/**
 * The tables for Auth.js: DrizzleAdapter(db, authTables). The adapter finds a session by its unique token, and expects the
 * token to be declared as the primary key.
 */
export const authTables = {
  usersTable: users,
  accountsTable: accounts,
  sessionsTable: %s,
  verificationTokensTable: verificationTokens,
};
"""


def render(base: type[DeclarativeBase]) -> str:
    """The definitions: enums, tables with defaults, keys and indexes, relations, and the tables for Auth.js."""
    mappers = {mapper.local_table: mapper for mapper in base.registry.mappers}
    tables = [table for table in base.metadata.sorted_tables if table in mappers]
    parts = [_HEAD, *_enums(tables)]
    parts += [f"export const {_camel(table.name)} = {_table(table)};\n" for table in tables]
    parts += [relations for table in tables if (relations := _relations(mappers[table]))]
    sessions = next(table for table in tables if table.name == "sessions")
    parts.append(_AUTH % _table(sessions, key="session_token").replace("\n", "\n  "))
    return "\n".join(parts)


def _enums(tables: list[Table]) -> Iterator[str]:
    types = [column.type for table in tables for column in table.columns if isinstance(column.type, Enum)]
    lines = [
        f"export const {_camel(name)} = pgEnum({_quoted(name)}, [{', '.join(map(_quoted, type_.enums))}]);\n"
        for name, type_ in {str(type_.name): type_ for type_ in types}.items()
    ]
    yield "".join(lines)


def _table(table: Table, *, key: str | None = None) -> str:
    keys = [column.name for column in table.primary_key.columns] if key is None else [key]
    lines = [f"  {line}" for column in table.columns for line in _column(column, is_key=keys == [column.name])]
    more = list(_constraints(table, keys)) if key is None else []
    tail = "}" if not more else "}, (table) => [\n" + "".join(f"  {line},\n" for line in more) + "]"
    return f"pgTable({_quoted(table.name)}, {{\n" + "\n".join(lines) + f"\n{tail})"


def _column(column: Column[Any], *, is_key: bool) -> Iterator[str]:
    if column.comment:
        yield f"/** {column.comment} */"
    made = _type(column)
    if is_key:
        made += ".primaryKey()"
    elif not column.nullable:
        made += ".notNull()"
    for constraint in sorted(column.table.constraints, key=lambda one: str(one.name)):
        if isinstance(constraint, UniqueConstraint) and list(constraint.columns) == [column]:
            made += f".unique({_quoted(str(constraint.name))})"
    if isinstance(column.server_default, DefaultClause):
        made += _default(column, str(column.server_default.arg))
    for foreign in column.foreign_keys:
        action = f', {{ onDelete: "{foreign.ondelete.lower()}" }}' if foreign.ondelete else ""
        target = foreign.column
        made += f".references(() => {_camel(target.table.name)}.{_property(target)}{action})"
    yield f"{_property(column)}: {made},"


def _type(column: Column[Any]) -> str:
    name, type_ = _quoted(column.name), column.type
    if isinstance(type_, Enum):
        return f"{_camel(str(type_.name))}({name})"
    if isinstance(type_, DateTime):
        return f'timestamp({name}, {{ withTimezone: true, mode: "date" }})'
    if isinstance(type_, BigInteger):
        return f'bigint({name}, {{ mode: "number" }})'
    if isinstance(type_, JSONB):
        return f"jsonb({name}).$type<Record<string, string>>()"
    for known, spelled in ((Integer, "integer"), (Boolean, "boolean"), (Text, "text")):
        if isinstance(type_, known):
            return f"{spelled}({name})"
    raise TypeError(f"{column.table.name}.{column.name}: no TypeScript is known for the type {type_}")


def _default(column: Column[Any], default: str) -> str:
    if default == "now()":
        return ".defaultNow()"
    if default in ("true", "false") or isinstance(column.type, Integer):
        return f".default({default})"
    if isinstance(column.type, Enum):
        return f".default({_quoted(default)})"
    cast = "::jsonb" if isinstance(column.type, JSONB) else ""
    return f".default(sql`{default}{cast}`)"


def _constraints(table: Table, keys: list[str]) -> Iterator[str]:
    if len(keys) > 1:
        columns = ", ".join(_on(table.c[key]) for key in keys)
        yield f"primaryKey({{ name: {_quoted(str(table.primary_key.name))}, columns: [{columns}] }})"
    for constraint in sorted(table.constraints, key=lambda one: str(one.name)):
        if isinstance(constraint, UniqueConstraint) and len(constraint.columns) > 1:
            yield f"unique({_quoted(str(constraint.name))}).on({', '.join(map(_on, constraint.columns))})"
    for made in sorted(table.indexes, key=lambda one: str(one.name)):
        yield _index(made)


def _index(made: Index) -> str:
    on = ", ".join(_on(each) if isinstance(each, Column) else f"sql`{_sql(each)}`" for each in made.expressions)
    where = made.dialect_options["postgresql"]["where"]
    return f"index({_quoted(str(made.name))}).on({on})" + (f".where(sql`{_sql(where)}`)" if where is not None else "")


def _relations(mapper: Mapper[Any]) -> str:
    table, lines, kinds = mapper.local_table, list[str](), set[str]()
    assert isinstance(table, Table)
    for relation in mapper.relationships:
        other = relation.mapper.local_table
        assert isinstance(other, Table)
        kind = "many" if relation.uselist else "one"
        kinds.add(kind)
        ends = ""
        if relation.direction is RelationshipDirection.MANYTOONE:
            ((here, there),) = relation.local_remote_pairs or ()
            assert isinstance(here, Column)
            assert isinstance(there, Column)
            fields = f"{_camel(table.name)}.{_property(here)}"
            ends = f", {{ fields: [{fields}], references: [{_camel(other.name)}.{_property(there)}] }}"
        lines.append(f"  {_camel(relation.key)}: {kind}({_camel(other.name)}{ends}),\n")
    if not lines:
        return ""
    name = _camel(table.name)
    return (
        f"export const {name}Relations = relations({name}, ({{ {', '.join(sorted(kinds, reverse=True))} }}) => ({{\n"
        + "".join(lines)
        + "}));\n"
    )


def _on(column: Column[Any]) -> str:
    return f"table.{_property(column)}"


def _property(column: Column[Any]) -> str:
    if column.table.name == "accounts" and column.name in _AS_OAUTH_NAMES_THEM:
        return str(column.name)
    return _camel(column.name)


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def _sql(expression: Any) -> str:
    return str(expression.compile(dialect=PGDialect(), compile_kwargs={"include_table": False, "literal_binds": True}))  # type: ignore[no-untyped-call]  # SQLAlchemy has none


def _quoted(text: str) -> str:
    return json.dumps(text)
