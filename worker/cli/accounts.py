"""`stripe-sync accounts`: list the connected accounts, and how far each has been read."""

import typer

from worker.cli.options import Json

app = typer.Typer()


@app.command()
def accounts(as_json: Json = False) -> None:
    """List connected accounts (CONNECT=on), the least recently read first."""
    from worker.cli import database
    from worker.cli.output import say_json, say_table
    from worker.mirror import accounts as store

    with database.connect(application="accounts") as conn:
        rows = store.rows(conn)
    if as_json:
        say_json(rows)
    else:
        say_table(("id", "status", "last_event_at", "last_pass_at", "lag_seconds", "rounds", "error"), rows)
