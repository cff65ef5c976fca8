"""The SQL of the revisions.

The revision NNNN has a file `versions/NNNN_name.py`, which names its predecessor, and a folder `sql/NNNN/` with `up.sql` and
`down.sql`. Instead of `up.sql` it may have a folder `up/`, whose files run in order. A name that may differ between
databases is a placeholder: `@{stripe}` is the schema of the views, and `placeholders` lists the names of the application's
tables.
"""

import string
from collections.abc import Callable, Mapping
from pathlib import Path

from alembic import op
from sqlalchemy import Enum

from schema import VIEWS_SCHEMA
from schema.names import Names, public_tables, quoted


class _Sql(string.Template):
    """SQL with placeholders, and no other special syntax."""

    delimiter = "@"
    pattern = r"@\{(?P<braced>[a-z_. ]+)\}|(?P<named>(?!))|(?P<escaped>(?!))|(?P<invalid>(?!))"  # type: ignore[assignment]  # it is compiled by the base class


def placeholders(names: Names | None = None, *, views_schema: str = VIEWS_SCHEMA) -> dict[str, str]:
    """This database's SQL for each placeholder.

    `@{users}` is a table with its schema, `@{users.email}` a column, `@{user_role}` a type. `@{references users}` is
    the foreign key for a column of `sync` with the id of a user. It is empty if the application's ids are not text: a trigger
    replaces it.
    """
    names = names or Names()
    filled = {"stripe": views_schema}
    for table, made in public_tables().items():
        filled[table] = names.relation(table)
        filled |= {f"{table}.{column.name}": quoted(names.column(table, column.name)) for column in made.columns}
        enums = {str(column.type.name) for column in made.columns if isinstance(column.type, Enum)}
        filled |= {name: names.types.get(name, f"public.{name}") for name in enums}
    key = quoted(names.column("users", "id"))
    filled["references users"] = (
        "" if "users" in names.ids else f"references {names.relation('users')} ({key}) on delete cascade"
    )
    return filled


def fill(sql: str, values: Mapping[str, str]) -> str:
    """The SQL to run. Raises ValueError for an unknown placeholder."""
    try:
        return _Sql(sql).substitute(values)
    except KeyError as unknown:
        raise ValueError(f"@{{{unknown.args[0]}}}: there is no such placeholder (migrations/files.py)") from unknown


def execute(sql: str) -> None:
    """Run SQL in a revision: any number of statements, with placeholders. Offline it is printed."""
    context = op.get_context()
    sql = fill(sql, context.opts["placeholders"])
    if context.as_sql:
        context.impl.static_output(sql.rstrip() + "\n")
    else:
        # Without parameters, Postgres accepts many statements at once, and a % needs no escape.
        op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def folder_of(revision: str | Path) -> Path:
    """The folder of a revision's SQL; `revision` is the path of its file in `versions/`."""
    file = Path(revision)
    return file.parent.parent / "sql" / file.name.partition("_")[0]


def read(revision: str | Path, direction: str) -> str:
    """The SQL of a revision in this direction (`up` or `down`), with its placeholders."""
    folder = folder_of(revision)
    parts = sorted((folder / direction).glob("*.sql")) or [folder / f"{direction}.sql"]
    return "\n".join(part.read_text() for part in parts)


def steps(revision: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """The functions `upgrade` and `downgrade` of a revision, which run its SQL."""
    return lambda: execute(read(revision, "up")), lambda: execute(read(revision, "down"))
