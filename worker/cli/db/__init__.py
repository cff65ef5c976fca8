"""`stripe-sync db`: the database's life."""

import typer

from worker.cli import adopt, backup
from worker.cli.db import generating, moving, resetting, reviewing, seeding
from worker.cli.roles import roles

__all__ = ["app"]

app = typer.Typer(help="Migrate and look after the database.", no_args_is_help=True)
app.command()(moving.migrate)
app.command()(moving.rollback)
app.command()(reviewing.check)
app.command()(reviewing.sql)
app.command()(generating.generate)
app.command()(resetting.reset)
app.command()(seeding.seed)
app.command()(roles)
adopt.register(app)
backup.register(app)
