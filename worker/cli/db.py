"""`stripe-sync db`: the database's life."""

import sys
from typing import Annotated

import typer

import migrations
from worker import config
from worker.cli import adopt, backup
from worker.cli.output import fail, say
from worker.cli.roles import roles
from worker.store import health
from worker.store.pool import connect, connect_as_owner, owner_conninfo

__all__ = ["app"]

app = typer.Typer(help="Migrate and look after the database.", no_args_is_help=True)
adopt.register(app)
backup.register(app)
app.command()(roles)


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="The revision to go to.")] = "head",
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead of running it.")] = False,
) -> None:
    """Bring the database to the newest revision. Two at once are harmless."""
    settings = config.load()
    with connect(settings, application="migrate") as conn:
        before = health.revision(conn)
    if sql:
        migrations.offline_sql(f"{before or 'base'}:{to}", output=sys.stdout)
        return
    with connect_as_owner(settings, application="migrate") as conn:
        is_done = adopt.before_migrating(settings, conn)
    if not is_done:
        migrations.migrate(owner_conninfo(settings), to)
    with connect(settings, application="migrate") as conn:
        after = health.revision(conn)
    say(
        f"The database ({settings.app_env}) is at {after}"
        + ("." if before == after else f", from {before or 'nothing'}.")
    )


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="The revision to go back to; `base` removes everything.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="How many revisions to go back.")] = 1,
) -> None:
    """Take the database back by one revision, or more."""
    settings = config.load()
    try:
        migrations.downgrade(owner_conninfo(settings), to or f"-{steps}")
    except migrations.Refused as error:
        fail(str(error))
    with connect(settings, application="migrate") as conn:
        say(f"The database ({settings.app_env}) is at {health.revision(conn) or 'nothing'}.")
