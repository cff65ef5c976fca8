"""A new revision: what the metadata says and a database at head lacks, numbered, formatted, with its SQL."""

import contextlib
import importlib.util
import io
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.operations.ops import MigrationScript

import migrations
from migrations import drift, files

_NUMBER = re.compile(r"\d+")


class NothingToGenerate(Exception):
    """nothing to generate: the metadata and the database agree"""

    def __init__(self) -> None:
        super().__init__(type(self).__doc__)


@dataclass(frozen=True)
class Generated:
    """A revision that was written: its file, the SQL beside it, and what it brings, in words."""

    revision: Path
    sql: list[Path]
    brings: list[str]


def generate(
    database_url: str, message: str, *, versions: Path = migrations.VERSIONS, sql: Path = files.SQL
) -> Generated:
    """Write the revision that makes the metadata of a database at head; raises NothingToGenerate where that is so."""
    brings: list[str] = []

    def look(context: object, revision: object, directives: list[MigrationScript]) -> None:
        upgrade = directives[0].upgrade_ops
        assert upgrade is not None
        brings.extend(drift.words(upgrade.ops))
        if upgrade.is_empty():
            directives.clear()

    config = migrations.configuration(database_url, versions=versions, process_revision_directives=look)
    number = _next_number(versions)
    with contextlib.redirect_stdout(io.StringIO()):  # Alembic talks
        made: Any = command.revision(config, message, autogenerate=True, rev_id=number, version_path=str(versions))
    if not made:
        raise NothingToGenerate
    file = Path(made.path)
    _format(file)
    return Generated(file, files.write(versions=versions, sql=sql), brings)


def _next_number(versions: Path) -> str:
    numbers = [int(one.revision) for one in migrations.revisions(versions) if _NUMBER.fullmatch(one.revision)]
    return f"{max(numbers, default=0) + 1:04}"


def _format(file: Path) -> None:
    """As the others look: without Alembic's remarks, and formatted where ruff is installed (with the tests' requirements)."""
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.strip().startswith("# ###")))
    if importlib.util.find_spec("ruff") is None:
        return
    for words in (("check", "--fix", "--exit-zero"), ("format",)):
        subprocess.run([sys.executable, "-m", "ruff", *words, "--quiet", str(file)], check=True, cwd=file.parent)
