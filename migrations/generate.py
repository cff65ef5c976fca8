"""Write a new numbered revision as SQL: the changes that make a database at head equal to the metadata."""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alembic.autogenerate import produce_migrations
from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
import schema.tables
from migrations import drift, files
from migrations.engine import OPTIONS, connected
from migrations.statement import Statement

_NUMBER = re.compile(r"\d+")


class NothingToGenerate(Exception):
    """nothing to generate: the metadata and the database agree"""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


@dataclass(frozen=True)
class Generated:
    """A new revision: its file, its SQL, and its changes in words."""

    revision: Path
    sql: list[Path]
    brings: list[str]


def generate(database_url: str, message: str, *, versions: Path = migrations.VERSIONS) -> Generated:
    """Write the revision that makes a database at head equal to the metadata; raises NothingToGenerate if it is equal."""
    with connected(database_url) as connection:
        context = MigrationContext.configure(connection, opts=OPTIONS)
        made = produce_migrations(context, schema.tables.metadata)
    assert made.upgrade_ops is not None
    assert made.downgrade_ops is not None
    if made.upgrade_ops.is_empty():
        raise NothingToGenerate
    directory = ScriptDirectory.from_config(migrations.configuration(versions=versions))
    script = directory.generate_revision(_next_number(versions), message, version_path=str(versions))
    assert script is not None
    folder = files.folder_of(script.path)
    folder.mkdir(parents=True, exist_ok=True)
    sql = [folder / "up.sql", folder / "down.sql"]
    for file, operations in zip(sql, (made.upgrade_ops, made.downgrade_ops), strict=True):
        file.write_text(_sql(_each(operations.ops)))
    return Generated(Path(script.path), sql, list(drift.words(made.upgrade_ops.ops)))


def _next_number(versions: Path) -> str:
    numbers = [int(one.revision) for one in migrations.revisions(versions) if _NUMBER.fullmatch(one.revision)]
    return f"{max(numbers, default=0) + 1:04}"


def _each(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _each(operation.ops)
        else:
            yield operation


def _sql(operations: Iterable[ops.MigrateOperation]) -> str:
    """The statements of the operations, as Alembic's offline mode prints them."""
    output = io.StringIO()
    # With another style, each % would be doubled, which drivers need and psql does not understand.
    context = MigrationContext.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},
        opts={"as_sql": True, "output_buffer": output, "literal_binds": True},
    )
    for operation in operations:
        if isinstance(operation, Statement):
            output.write(operation.up.removesuffix(";") + ";\n\n")
        else:
            Operations(context).invoke(operation)
    lines = (line.rstrip().replace("\t", "    ") for line in output.getvalue().strip().splitlines())
    return "\n".join(lines) + "\n"
