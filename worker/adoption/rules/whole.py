"""Compare the whole database with our schema. Findings are in the order in which missing parts are added."""

from collections.abc import Iterator

from sqlalchemy import Enum

from schema import NAMES_SCHEMA, SYNC_MARK, VIEWS_SCHEMA, revenue, views
from schema.base import metadata
from schema.functions import COMPRESS_BODIES, KEEP_TO_THE_TRIGGERS, PUBLISH_TRIGGER
from schema.names import Names, public_tables, quoted
from worker.adoption.rules import ddl
from worker.adoption.rules.compare import compare_table
from worker.adoption.rules.findings import Finding, Found, Verdict
from worker.adoption.rules.types import NEEDED_LABELS

_BEFORE = "__before"
# Functions that triggers and views of the tables call; they are created first.
_FIRST = (
    "sync.touch_updated_at",
    "sync.follow_organization",
    "sync.publish_change",
    "sync.notice_low_tokens",
    "sync.forget_user",
)

ENUMS: dict[str, tuple[str, ...]] = {
    name: tuple(column.type.enums)
    for name in NEEDED_LABELS
    for column in public_tables()["users"].columns
    if isinstance(column.type, Enum) and column.type.name == name
}


def compare(actual: Found, names: Names, *, head: str, views_schema: str = VIEWS_SCHEMA) -> list[Finding]:
    """All findings on the database. `names` is the result of `names_of` for the settings."""
    return [*_schemas(actual, names, head, views_schema), *_apart(actual, names), *_types(actual, names), *_tables(actual, names),
            *_own_tables(actual, names, views_schema), *_functions(actual, names), *_views(actual, names),
            *_stamp(actual, head)]  # fmt: skip


def _schemas(actual: Found, names: Names, head: str, views_schema: str) -> Iterator[Finding]:
    for schema in sorted(actual.foreign_schemas):
        finding = f"there is a schema {schema} that is not ours, but ours needs this name: rename the existing schema"
        finding = views.foreign(schema) if schema == views_schema else finding
        yield Finding(table="", what=f"schema {schema}", verdict=Verdict.CONFLICT, reason=finding)
    if actual.revision not in (None, head):
        finding = f"is at revision {actual.revision}, not {head}: run `stripe-sync db migrate` first"
        yield Finding(table="", what="schema sync", verdict=Verdict.CONFLICT, reason=finding)
    elif actual.revision == head:
        yield Finding(
            table="", what="schemas mirror, stripe and sync", verdict=Verdict.FITS, reason=f"are at revision {head}"
        )
    else:
        statements = [f"create schema if not exists {schema}" for schema in ("sync", "mirror")]
        statements.append(f"comment on schema sync is '{SYNC_MARK}'")
        finding = "are created, with inbox and mirror"
        own = [statement for name, statement in names.functions.items() if _is_first(name)]
        yield _missing("schemas mirror, stripe and sync", finding, *statements, *own, KEEP_TO_THE_TRIGGERS)


def _types(actual: Found, names: Names) -> Iterator[Finding]:
    """Findings on our enums, or on the domains in `sync_names` that give the application's types our names."""
    if names.needs_schema:
        if NAMES_SCHEMA in actual.aside:
            yield Finding(table="", what=f"schema {NAMES_SCHEMA}", verdict=Verdict.FITS, reason="")
        else:
            yield _missing(
                f"schema {NAMES_SCHEMA}",
                "is created: it maps our names to the tables and types with other names",
                f"create schema {NAMES_SCHEMA}",
            )
    for name, labels in ENUMS.items():
        what, real = f"type {name}", names.types.get(name)
        apart = actual.aside.get(name) == "type"
        if real is None and not apart and name in actual.enums:
            lacking = [label for label in NEEDED_LABELS[name] if label not in actual.enums[name]]
            statements = [f"alter type public.{name} add value if not exists '{label}'" for label in lacking]
            finding = f"the labels {', '.join(lacking)} are added" if lacking else ""
            verdict = Verdict.MISSING if lacking else Verdict.FITS
            yield Finding(
                table="", what=what, verdict=verdict, reason=finding, statements=tuple(statements), early=True
            )
        elif real is None:
            # A type of ours left in `sync_names` would hide the application's type, which is used from now on.
            statements = [ddl.create_enum(name, labels, schema="public")] if name not in actual.enums else []
            yield _missing(what, "is created", *statements)
        elif apart and actual.names is not None and actual.names.types.get(name) == real:
            yield Finding(table="", what=what, verdict=Verdict.FITS, reason=f"is {real}")
        elif real == f"{NAMES_SCHEMA}.{name}":
            yield _missing(what, f"is created in {NAMES_SCHEMA}", ddl.create_enum(name, labels, schema=NAMES_SCHEMA))
        else:
            yield _missing(what, f"is {real}", f"create domain {NAMES_SCHEMA}.{name} as {real}")


def _apart(actual: Found, names: Names) -> Iterator[Finding]:
    """Drop the objects in `sync_names` that are no longer needed. None has rows. Types are renamed here and dropped later."""
    before = actual.names or Names()
    if actual.revision is None or before == names:
        return
    views = [name for name, kind in actual.aside.items() if kind == "v"]
    tables = [name for name, kind in actual.aside.items() if kind == "r" and name not in names.left_out]
    statements = [
        *(f"drop view {NAMES_SCHEMA}.{quoted(name)}" for name in sorted(views)),
        *(f"drop table {NAMES_SCHEMA}.{quoted(name)} cascade" for name in sorted(tables)),
        *(f"alter {kind} {NAMES_SCHEMA}.{name} rename to {name}{_BEFORE}" for kind, name in _old_types(before, names)),
    ]
    if statements:
        yield _missing(
            "names of an earlier adoption",
            f"are removed ({', '.join(sorted([*views, *tables]))})",
            *statements,
        )


def _tables(actual: Found, names: Names) -> Iterator[Finding]:
    for table in metadata.sorted_tables:
        if table.schema is None:
            yield from compare_table(table, names, actual)
            if table.name in names.left_out and table.name not in actual.aside:
                finding = f"an empty table is created in {NAMES_SCHEMA} instead"
                yield Finding(
                    table=table.name,
                    what="stand-in",
                    verdict=Verdict.MISSING,
                    reason=finding,
                    statements=tuple(ddl.create_table(table, names)),
                )


def _own_tables(actual: Found, names: Names, views_schema: str) -> Iterator[Finding]:
    """Findings on our own tables and views. If they exist, only their references to the users' tables are compared."""
    if actual.revision is None:
        for schema in ("sync", "mirror"):
            tables = [table for table in metadata.sorted_tables if table.schema == schema]
            statements = [statement for table in tables for statement in ddl.create_table(table, names)]
            if schema == "sync":
                statements += [COMPRESS_BODIES, PUBLISH_TRIGGER]
            yield _missing(f"tables of {schema}", f"{len(tables)} are created", *statements)
        yield _missing(f"views of {views_schema}", f"{len(views.VIEWS)} are created", *views.statements(views_schema))
        yield _missing(f"views of {revenue.SCHEMA}", f"{len(revenue.VIEWS)} are created", *revenue.statements())
        return
    before = actual.names or Names()
    statements = list(_retyped(before, names))
    for table in metadata.sorted_tables:
        for constraint in ddl.sorted_references(table) if table.schema == "sync" else ():
            target = constraint.referred_table
            if target.schema is None and _place(before, target.name) != _place(names, target.name):
                name = ddl.name_of(constraint)
                statements.append(f"alter table sync.{table.name} drop constraint if exists {name}")
                if target.name not in names.ids:
                    statements.append(ddl.add_reference(table, constraint, names))
    if statements:
        yield _missing("references of sync", "are changed to other tables", *statements)


def _place(names: Names, table: str) -> tuple[str, str | None]:
    return names.relation(table), names.ids.get(table)


def _old_types(before: Names, names: Names) -> Iterator[tuple[str, str]]:
    """The kind and name of each type in `sync_names` that is replaced."""
    for name, type_ in before.types.items():
        if names.types.get(name) != type_:
            yield ("type" if type_ == f"{NAMES_SCHEMA}.{name}" else "domain"), name


def _retyped(before: Names, names: Names) -> Iterator[str]:
    """The statements that change the column `role` of `sync.overrides` to the type that replaces our enum."""
    old, new = before.types.get("user_role", "user_role"), names.types.get("user_role", "user_role")
    if old != new:
        check = "ck_overrides_role_is_grantable"
        yield f"alter table sync.overrides drop constraint {check}"
        yield f"alter table sync.overrides alter column role type {new} using role::text::{new}"
        yield f"alter table sync.overrides add constraint {check} check (role in ('USER', 'PREMIUM'))"
    for kind, name in _old_types(before, names):
        yield f"drop {kind} {NAMES_SCHEMA}.{name}{_BEFORE}"


def _functions(actual: Found, names: Names) -> Iterator[Finding]:
    before = actual.names or Names()
    same_types = (before.ids, before.words) == (names.ids, names.words)
    for name, statement in names.functions.items():
        own, there = name.startswith(("sync.", "mirror.")), actual.functions.get(name)
        if _is_first(name) and actual.revision is None:
            continue  # created with the schema
        what = f"function {name.partition('.')[2]}"
        if actual.revision is None and there is not None and "users" not in names.left_out:
            finding = f"there is a function {name} that is not ours: rename it"
            yield Finding(table="", what=what, verdict=Verdict.CONFLICT, reason=finding)
        elif actual.revision is not None and "users" in names.left_out and not own:
            yield Finding(table="", what=what, verdict=Verdict.LEFT, reason="there are no users here")
        elif there is not None and there.body == _body(statement) and (_is_first(name) or same_types):
            yield Finding(table="", what=what, verdict=Verdict.FITS, reason="")
        else:
            is_typed = there is not None and not _is_first(name) and not same_types
            drops = [f"drop function {there.signature}"] if there is not None and is_typed else []
            yield _missing(what, "is created", *drops, statement)


def _is_first(name: str) -> bool:
    return name.startswith("mirror.") or name in _FIRST


def _body(statement: str) -> str:
    """The body as in `pg_proc.prosrc`; empty for an SQL expression, which Postgres stores parsed."""
    return statement.split("$$")[1] if "$$" in statement else ""


def _views(actual: Found, names: Names) -> Iterator[Finding]:
    same = actual.revision is not None and (actual.names or Names()) == names
    for table in names.mapped:
        what, finding = f"view {NAMES_SCHEMA}.{table}", f"is our name of {names.relation(table)}"
        if same and actual.aside.get(table) == "v":
            yield Finding(table=table, what=what, verdict=Verdict.FITS, reason=finding)
        else:
            yield Finding(
                table=table, what=what, verdict=Verdict.MISSING, reason=finding, statements=(names.view(table),)
            )


def _stamp(actual: Found, head: str) -> Iterator[Finding]:
    if actual.revision is None:
        yield _missing(
            "revision",
            f"the database is stamped with {head}: `db migrate` continues from there",
            "create table sync.alembic_version (version_num varchar(32) not null, "
            "constraint alembic_version_pkc primary key (version_num))",
            f"insert into sync.alembic_version (version_num) values ('{head}')",
        )


def _missing(what: str, finding: str, *statements: str) -> Finding:
    return Finding(table="", what=what, verdict=Verdict.MISSING, reason=finding, statements=statements)
