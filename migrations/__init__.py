"""Run the database's revisions. The version table is in `sync`.

A migration takes an advisory lock first, so two migrations at once are harmless. Each revision runs in its own transaction
with lock and statement time-outs. If a revision can't get its locks in time, it fails and leaves the database unchanged.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schema import SYNC_MARK, VIEWS_SCHEMA

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script
    from sqlalchemy import Connection


# Any constant. Every migration takes this lock. A migration that had to wait finds the work done.
LOCK_KEY = 7_390_412_285
LOCK_TIMEOUT, STATEMENT_TIMEOUT = "5s", "15min"


class Refused(RuntimeError):
    """The change would destroy an application's data, or the database is not ours to change."""


# No released version made such a database, so no revision leads from it to this release.
PRERELEASE = (
    "this database was made by a version before the first release, whose tables had other names. Nothing was changed. "
    "Start with an empty database and run `stripe-sync sync all`; `stripe-sync db reset` empties this one, except in production"
)
_HERE = Path(__file__).parent
VERSIONS = _HERE / "versions"


def configuration(database_url: str | None = None, *, versions: Path = VERSIONS, **attributes: Any) -> Config:
    """Alembic's configuration, without a file."""
    from alembic.config import Config  # `head` is all that most processes need, and Alembic is large

    config = Config(attributes={"database_url": database_url, **attributes})
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def migrate(
    database_url: str, revision: str = "head", *, versions: Path = VERSIONS, views_schema: str | None = None
) -> None:
    """Migrate the database to the revision, if it is not there yet. Raises Refused.

    `views_schema` is the wanted name of the views' schema (STRIPE_SCHEMA). With None the schema keeps its name; in a new
    database it is `stripe`.
    """
    from alembic import command

    command.upgrade(configuration(database_url, versions=versions, views_schema=views_schema), revision)


def downgrade(database_url: str, revision: str, *, versions: Path = VERSIONS) -> None:
    """Undo revisions until the database is at this one (`base`, `-1`, or an id)."""
    from alembic import command

    command.downgrade(configuration(database_url, versions=versions, to_nothing=revision == "base"), revision)


def offline_sql(
    span: str, *, down: bool = False, output: Any, versions: Path = VERSIONS, views_schema: str | None = None
) -> None:
    """Write the SQL that would run between `from:to`, without a database."""
    from alembic import command

    config = configuration(None, versions=versions, views_schema=views_schema or VIEWS_SCHEMA)
    config.output_buffer = output
    (command.downgrade if down else command.upgrade)(config, span, sql=True)


def revisions(versions: Path = VERSIONS) -> list[Script]:
    """All revisions, the oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(configuration(versions=versions))
    return list(reversed(list(script.walk_revisions())))


def refuse_prerelease(connection: Connection) -> None:
    """Raise Refused if a version before the first release created the tables."""
    is_old = (
        "select to_regclass('sync.alembic_version') is not null "
        "and obj_description(to_regnamespace('sync'), 'pg_namespace') is distinct from %s"
    )
    if connection.exec_driver_sql(is_old, (SYNC_MARK,)).scalar_one() and _versions(connection):
        raise Refused(PRERELEASE)
    connection.rollback()


def _versions(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql("select exists (select from sync.alembic_version)").scalar_one())


@cache
def known() -> tuple[str, ...]:
    """The ids of all revisions of this release, oldest first: the number that each file's name begins with."""
    return tuple(sorted(file.name.partition("_")[0] for file in VERSIONS.glob("[0-9]*_*.py")))


def head() -> str:
    """The newest revision of this release."""
    return known()[-1]
