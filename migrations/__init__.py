"""The database's history, revision by revision, and the ways along it.

The version table lives in `sync`. A release takes an advisory lock first, so that two at once are harmless; each revision
runs in a transaction of its own with lock and statement time-outs: one that can't have its locks soon gives up, and
leaves the database as it was.
"""

from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

__all__ = [
    "LOCK_KEY",
    "LOCK_TIMEOUT",
    "STATEMENT_TIMEOUT",
    "VERSIONS",
    "Refused",
    "configuration",
    "downgrade",
    "head",
    "migrate",
    "offline_sql",
    "revisions",
]

# Any constant: whoever changes the schema takes it, and the second one finds the work done.
LOCK_KEY = 7_390_412_285
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "5s", "15min"


class Refused(RuntimeError):
    """What was asked would destroy what is not ours."""


_HERE = Path(__file__).parent
VERSIONS = _HERE / "versions"


def configuration(database_url: str | None = None, *, versions: Path = VERSIONS, **attributes: Any) -> Config:
    """Alembic's configuration, without a file."""
    config = Config(attributes={"database_url": database_url, **attributes})
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def migrate(database_url: str, revision: str = "head", *, versions: Path = VERSIONS) -> None:
    """Bring the database to the revision; nothing happens where it is there."""
    command.upgrade(configuration(database_url, versions=versions), revision)


def downgrade(database_url: str, revision: str, *, versions: Path = VERSIONS) -> None:
    """Take the database back to the revision (`base`, `-1`, or an id)."""
    command.downgrade(configuration(database_url, versions=versions, to_nothing=revision == "base"), revision)


def offline_sql(span: str, *, down: bool = False, output: Any, versions: Path = VERSIONS) -> None:
    """Write the SQL that would run between `from:to`, without a database."""
    config = configuration(None, versions=versions)
    config.output_buffer = output
    (command.downgrade if down else command.upgrade)(config, span, sql=True)


def revisions(versions: Path = VERSIONS) -> list[Script]:
    """All revisions, the oldest first."""
    script = ScriptDirectory.from_config(configuration(versions=versions))
    return list(reversed(list(script.walk_revisions())))


@cache
def head() -> str | None:
    """The newest revision."""
    return ScriptDirectory.from_config(configuration()).get_current_head()
