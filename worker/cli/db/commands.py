"""The commands of `stripe-sync db`: migrate, inspect, back up and restore the database."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.options import Json, Yes

app = typer.Typer(name="db", help="Migrate, inspect, back up and restore the database.", no_args_is_help=True)


class Language(enum.StrEnum):
    TYPESCRIPT = "typescript"


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="The revision to migrate to.")] = "head",
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of running it.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Migrate nothing: exit code 1 unless the database is at the newest revision."),
    ] = False,
    wait: Annotated[int, typer.Option(min=0, help="With --check: how many seconds to wait for a migration.")] = 0,
    yes: Yes = False,
) -> None:
    """Migrate the database to the newest revision. Two migrations at once do no harm."""
    from worker.cli.db import migrate

    if check:
        migrate.check(wait_seconds=wait)
        return
    migrate.up(to, sql=sql, yes=yes)


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="The revision to go back to; `base` removes everything.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many revisions to undo; 1 by default.")] = None,
    yes: Yes = False,
) -> None:
    """Undo one or more revisions. The tables and columns they added are dropped, with their data."""
    from worker.cli.db import migrate

    migrate.down(to, steps=steps, yes=yes)


@app.command()
def check(as_json: Json = False) -> None:
    """Compare the database with the schema of this release. Exit code 1 if it is not at head, or differs."""
    from worker.cli.db import check

    check.check(as_json=as_json)


@app.command()
def sql(
    span: Annotated[str, typer.Argument(metavar="[REVISION|FROM:TO]", help="One revision, or a range.")] = "base:head",
    down: Annotated[bool, typer.Option("--down", help="Print the SQL of the rollback, newest revision first.")] = False,
) -> None:
    """Print the SQL of revisions without a database."""
    from worker.cli.db import check

    check.sql(span, down=down)


@app.command()
def generate(
    message: Annotated[str | None, typer.Option("-m", "--message", help="The purpose of the revision.")] = None,
    types: Annotated[
        Language | None, typer.Option(help="Print Drizzle definitions of the application's tables instead.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File for the definitions; printed by default.")] = None,
) -> None:
    """Write a revision for the changes in schema/ since the newest revision, or print table definitions."""
    from worker.cli.db import generate

    generate.run(message=message, types=types, output=output)


@app.command()
def reset(yes: Yes = False) -> None:
    """Drop our tables with everything in them, and create them again. Refused in production; other tables stay."""
    from worker.cli.db import reset

    reset.run(yes=yes)


@app.command()
def seed() -> None:
    """Fill a development database: organizations, users in every state, products, subscriptions, payments."""
    from worker.cli.db import seed

    seed.run()


@app.command()
def roles(
    owner: Annotated[str, typer.Option(help="The role that migrates, and owns the tables.")] = "stripe_sync_owner",
    worker: Annotated[str, typer.Option(help="The role of web, worker and beat.")] = "stripe_sync_worker",
    application: Annotated[str, typer.Option(help="The role of your application.")] = "application",
    reader: Annotated[str | None, typer.Option(help="A role that only reads, for reports; none by default.")] = None,
    rls: Annotated[
        bool, typer.Option("--rls", help="Print row-level security instead: a user reads their own rows of public.")
    ] = False,
    user: Annotated[str, typer.Option(help="With --rls: the role of signed-in users.")] = "authenticated",
    anonymous: Annotated[str, typer.Option(help="With --rls: the role of other visitors.")] = "anon",
) -> None:
    """Print SQL that creates roles of least privilege. Run it in psql as a role that may create roles; safe to repeat."""
    from worker.cli.db import roles

    if rls:
        roles.row_level_security(worker=worker, application=application, reader=reader, user=user, anonymous=anonymous)
    else:
        roles.run(owner=owner, worker=worker, application=application, reader=reader)


@app.command()
def adopt(
    apply: Annotated[bool, typer.Option("--apply", help="Add what is missing.")] = False,
    relax: Annotated[
        bool,
        typer.Option("--relax", help="With --apply: drop NOT NULL from columns for which Stripe may have no value."),
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL of --apply, and run nothing.")] = False,
    settle: Annotated[
        bool, typer.Option("--settle", help="After `sync all`: lift overrides that a subscription makes unnecessary.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Compare an application's database with our schema. --apply adds what is missing, and changes nothing else."""
    from worker.cli.db import adopt

    adopt.run(apply=apply, relax=relax, sql=sql, settle=settle, yes=yes, as_json=as_json)


@app.command()
def backup(
    physical: Annotated[
        bool, typer.Option("--physical", help="Copy the whole server with its WAL, for `restore --at`.")
    ] = False,
    setup_archiving: Annotated[
        bool, typer.Option("--setup-archiving", help="First make the server archive its WAL (ALTER SYSTEM).")
    ] = False,
    thin_out: Annotated[
        bool, typer.Option("--thin-out/--keep-all", help="Remove the backups that BACKUP_KEEP_* no longer keeps.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Back up the database into a folder named by environment and time, and remove old backups."""
    from worker.cli.db import backup

    backup.take_one(physical=physical, setup_archiving=setup_archiving, thin_out=thin_out, as_json=as_json)


@app.command()
def backups(
    verify: Annotated[bool, typer.Option("--verify", help="Read each backup and its WAL completely.")] = False,
    as_json: Json = False,
) -> None:
    """List the backups, newest first. With --verify, the exit code is 1 if a backup is damaged."""
    from worker.cli.db import backup

    backup.list_all(verify=verify, as_json=as_json)


@app.command()
def restore(
    name: Annotated[str | None, typer.Argument(help="The backup; the newest of this environment by default.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="A point in time, such as 2026-11-23T14:05:00Z, or `latest`; needs --to.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="The new data folder that --at creates.")] = None,
    owner: Annotated[
        str | None, typer.Option(help="The system account of PostgreSQL, which owns that folder; required as root.")
    ] = None,
    wal_from: Annotated[
        Path | None,
        typer.Option(help="The data folder of the lost server, to read its last WAL, which was not archived yet."),
    ] = None,
    no_owner: Annotated[
        bool, typer.Option("--no-owner", help="Make the restoring role own everything, and grant no rights.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Restore a dump into the empty database of DATABASE_URL; with --at, the whole server as of a point in time."""
    from worker.cli.db import backup

    backup.restore(name, at=at, to=to, owner=owner, wal_from=wal_from, no_owner=no_owner, yes=yes)
