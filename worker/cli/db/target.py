"""The target database of a command: print it, and in production ask for confirmation."""

import sys
from collections.abc import Iterable

import psycopg
import typer
from alembic.script import Script

import migrations
from worker.cli.output import fail, say
from worker.config.settings import AppEnv, Settings
from worker.postgres import inventory
from worker.postgres.pool import owner_conninfo


def owner(settings: Settings) -> psycopg.Connection:
    """Connect as the owner of the tables, as migrations do."""
    return psycopg.connect(owner_conninfo(settings), autocommit=True)


def announce(settings: Settings, conn: psycopg.Connection) -> None:
    """Print the environment and the target, without the password."""
    info = conn.info
    port = "" if info.host.startswith("/") else f":{info.port}"
    say(f"APP_ENV {settings.app_env}: database {info.dbname} on {info.host}{port} as {info.user}.")


def confirm(settings: Settings, question: str, *, yes: bool, always: bool = False) -> None:
    """In production, or everywhere with `always`: end the command unless a person confirms."""
    if yes or not (always or settings.app_env is AppEnv.PRODUCTION):
        return
    if not sys.stdin.isatty():
        reason = "this removes data" if always else f"APP_ENV is {settings.app_env}"
        fail(f"{reason}, and there is no terminal to confirm at: use --yes to confirm. Nothing was changed.")
    if not typer.confirm(question):
        fail("nothing was changed.")


def refuse_production(settings: Settings, command: str) -> None:
    if settings.app_env is AppEnv.PRODUCTION:
        fail(f"db {command} is refused if APP_ENV is production, which is the default. Nothing was changed.")


def known_revision(conn: psycopg.Connection) -> str | None:
    """The database's revision; ends the command if this release does not know it."""
    at = inventory.revision(conn)
    if inventory.is_prerelease(conn):
        fail(migrations.PRERELEASE)
    if at is not None and at not in {one.revision for one in migrations.revisions()}:
        fail(
            f"the database is at revision {at}, which this release does not know (its newest is {migrations.head()}): "
            "a newer release has migrated it. Run that release, or use it to undo its revisions: "
            f"`stripe-sync db rollback --to {migrations.head()}`. Nothing was changed."
        )
    return at


def title(revision: Script) -> str:
    """A revision's number and the first line of its message."""
    return f"{revision.revision}: {(revision.doc or '').strip().splitlines()[0].rstrip('.')}"


def list_revisions(revisions: Iterable[Script]) -> None:
    for one in revisions:
        say(f"  {title(one)}")
