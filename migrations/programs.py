"""Compare functions and triggers with schema/functions.py.

Each declared function or trigger is created in the temporary schema and read back, so that Postgres decides whether two
definitions are equal, whatever their spelling. This is rolled back, and locks no table in use.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Connection, text

from migrations.statement import Statement
from schema.functions import FUNCTIONS, TRIGGERS

_SQL = Path(__file__).parent / "sql"
_FUNCTION = re.compile(r"(create\s+(?:or\s+replace\s+)?function\s+)([\w.]+)", re.IGNORECASE)
_TRIGGER = re.compile(r"(create\s+(?:constraint\s+)?trigger\s+(\w+)\s.*?\son\s+)([\w.]+)", re.IGNORECASE | re.DOTALL)

_FUNCTIONS_FOUND = text(
    """
    select n.nspname || '.' || p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid),
        pg_get_functiondef(p.oid)
    from pg_proc as p
    join pg_namespace as n on n.oid = p.pronamespace
    where p.prokind = 'f'
        and (n.nspname in ('sync', 'stripe', 'mirror') or n.nspname = 'public' and p.proname = any(:ours))
        and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')
    order by 1, 2
    """
)
_TRIGGERS_FOUND = text(
    """
    select t.tgname, n.nspname || '.' || c.relname, pg_get_triggerdef(t.oid)
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    join pg_namespace as n on n.oid = c.relnamespace
    join pg_proc as p on p.oid = t.tgfoid
    where not t.tgisinternal
        and (n.nspname in ('sync', 'stripe', 'mirror') or p.pronamespace = to_regnamespace('sync') or (c.relname, t.tgname) in
            (select * from unnest(cast(:tables as text[]), cast(:names as text[]))))
    order by 2, 1
    """
)


@dataclass(frozen=True)
class _Function:
    """A function by its signature, its result, and its definition as Postgres prints it, without its schema."""

    name: str
    arguments: str
    result: str
    definition: str

    @property
    def signature(self) -> str:
        return f"{self.name}({self.arguments})"


def setup(plugin: Plugin) -> None:
    # Functions and triggers are created after the tables that they use, and dropped before them. A downgrade runs in the
    # reverse order.
    plugin.add_autogenerate_comparator(_drop, "schema", priority=DispatchPriority.FIRST)
    plugin.add_autogenerate_comparator(_make, "schema", priority=DispatchPriority.LAST)


def _drop(context: AutogenContext, upgrade: UpgradeOps, schemas: set[str | None]) -> PriorityDispatchResult:
    assert context.connection is not None
    if not _is_adopted(context.connection):
        upgrade.ops.extend(statements(context.connection)[0])
    return PriorityDispatchResult.CONTINUE


def _make(context: AutogenContext, upgrade: UpgradeOps, schemas: set[str | None]) -> PriorityDispatchResult:
    assert context.connection is not None
    if not _is_adopted(context.connection):
        upgrade.ops.extend(statements(context.connection)[1])
    return PriorityDispatchResult.CONTINUE


def _is_adopted(connection: Connection) -> bool:
    """Whether the database was adopted. Its functions and triggers use the application's names, and `db adopt` compares
    them."""
    if connection.execute(text("select to_regclass('sync.adoption')")).scalar_one() is None:
        return False
    return connection.execute(text("select 1 from sync.adoption")).first() is not None


def statements(
    connection: Connection, functions: Mapping[str, str] = FUNCTIONS, triggers: Iterable[str] = TRIGGERS
) -> tuple[list[Statement], list[Statement]]:
    """The statements to run first (drop) and last (create)."""
    wanted = {_named(statement): statement for statement in triggers}
    trigger_drops, trigger_makes = _compared_triggers(connection, wanted)
    function_drops, function_makes = _compared_functions(connection, functions)
    return [*trigger_drops, *function_drops], [*function_makes, *trigger_makes]


def _compared_functions(connection: Connection, declared: Mapping[str, str]) -> tuple[list[Statement], list[Statement]]:
    ours = sorted({name.rpartition(".")[2] for name in declared} | set(_once_made()))
    rows = connection.execute(_FUNCTIONS_FOUND, {"ours": ours})
    present = [_Function(name, arguments, result, _bare(definition)) for name, arguments, result, definition in rows]
    there = {one.name for one in present}
    drops, makes, kept = list[Statement](), list[Statement](), set[str]()
    for name, statement in declared.items():
        if name not in there:
            # The drop needs no arguments, because this will be the only function with the name.
            makes.append(Statement(statement, f"drop function {name}", words=f"the function {name} is missing"))
            continue
        wanted = _as_postgres_has_it(connection, name, statement)
        before = next((one for one in present if one.signature == wanted.signature), None)
        if before is None:
            makes.append(
                Statement(statement, f"drop function {wanted.signature}", words=f"{wanted.signature} is missing")
            )
            continue
        kept.add(before.signature)
        if before.definition != wanted.definition:
            makes.append(_replaced(before, wanted, statement))
    for one in present:
        if one.signature not in kept:
            words = f"the function {one.signature} is not declared in schema/functions.py"
            drops.append(Statement(f"drop function {one.signature}", _whole(one), words=words))
    return drops, makes


def _replaced(before: _Function, wanted: _Function, statement: str) -> Statement:
    words = f"the function {wanted.signature} differs from its declaration in schema/functions.py"
    drop = "" if before.result == wanted.result else f"drop function {wanted.signature};\n"
    return Statement(drop + statement.strip(), drop + _whole(before), words=words)


def _as_postgres_has_it(connection: Connection, name: str, statement: str) -> _Function:
    bare = name.rpartition(".")[2]
    with connection.begin_nested() as nothing_is_kept:
        connection.exec_driver_sql("set local check_function_bodies = off")
        connection.execute(text(_FUNCTION.sub(rf"\1pg_temp.{bare}", statement, count=1)))
        row = connection.execute(
            text(
                "select pg_get_function_identity_arguments(oid), pg_get_function_result(oid), pg_get_functiondef(oid) "
                "from pg_proc where pronamespace = pg_my_temp_schema() and proname = :name"
            ),
            {"name": bare},
        ).one()
        nothing_is_kept.rollback()
    return _Function(name, row[0], row[1], _bare(row[2]))


def _compared_triggers(
    connection: Connection, wanted: Mapping[tuple[str, str], str]
) -> tuple[list[Statement], list[Statement]]:
    parameters = {
        "tables": [table.rpartition(".")[2] for table, _ in wanted],
        "names": [name for _, name in wanted],
    }
    rows = connection.execute(_TRIGGERS_FOUND, parameters)
    present = {(table, name): definition for name, table, definition in rows}
    drops, makes = list[Statement](), list[Statement]()
    for (table, name), statement in wanted.items():
        drop = f"drop trigger {name} on {table}"
        before = present.get((table, name))
        if before is None:
            makes.append(Statement(statement, drop, words=f"the trigger {name} on {table} is missing"))
        elif _trigger_as_postgres_has_it(connection, table, name, statement) != _without_table(before):
            words = f"the trigger {name} on {table} differs from its declaration in schema/functions.py"
            makes.append(Statement(f"{drop};\n{statement}", f"{drop};\n{before}", words=words))
    for (table, name), definition in present.items():
        if (table, name) not in wanted:
            words = f"the trigger {name} on {table} is not declared in schema/functions.py"
            drops.append(Statement(f"drop trigger {name} on {table}", definition, words=words))
    return drops, makes


def _trigger_as_postgres_has_it(connection: Connection, table: str, name: str, statement: str) -> str:
    bare = table.rpartition(".")[2]
    with connection.begin_nested() as nothing_is_kept:
        connection.exec_driver_sql(f"create temporary table {bare} (like {table})")
        connection.execute(text(_TRIGGER.sub(rf"\1pg_temp.{bare}", statement, count=1)))
        definition: str = connection.execute(
            text(
                "select pg_get_triggerdef(t.oid) from pg_trigger as t join pg_class as c on c.oid = t.tgrelid "
                "where c.relnamespace = pg_my_temp_schema() and c.relname = :table and t.tgname = :name"
            ),
            {"table": bare, "name": name},
        ).scalar_one()
        nothing_is_kept.rollback()
    return _without_table(definition)


def _named(statement: str) -> tuple[str, str]:
    """The table and the name of a declared trigger."""
    match = _TRIGGER.search(statement)
    assert match is not None, f"not a trigger: {statement}"
    return match[3] if "." in match[3] else f"public.{match[3]}", match[2]


def _once_made() -> Iterator[str]:
    """The functions that any revision created in `public`. They are ours even if they are no longer declared."""
    for file in sorted(_SQL.rglob("*.sql")):
        for match in _FUNCTION.finditer(file.read_text()):
            if match[2].startswith("public."):
                yield match[2].removeprefix("public.")


def _bare(definition: str) -> str:
    """A definition without the schema that its function is in."""
    return re.sub(r"FUNCTION [\w]+\.", "FUNCTION ", definition, count=1).strip()


def _whole(function: _Function) -> str:
    schema = function.name.partition(".")[0]
    return function.definition.replace("FUNCTION ", f"FUNCTION {schema}.", 1)


def _without_table(definition: str) -> str:
    return re.sub(r" ON [\w.]+ ", " ON it ", definition, count=1)
