"""`stripe-sync status`: show how far behind the daemon is."""

import typer

from worker.cli.options import Json

app = typer.Typer()


@app.command()
def status(as_json: Json = False) -> None:
    """Show how far behind the daemon is: pending, parked and unsettled work, last runs, live workers."""
    from worker.cli import database
    from worker.cli.output import say_json, say_table
    from worker.jobs import status as numbers

    with database.connect(application="status") as conn:
        values = numbers.status(conn)
    if as_json:
        say_json(values)
    else:
        workers, problems, connected = values.pop("workers"), values.pop("endpoint"), values.pop("accounts")
        progress = values.pop("backfill")
        say_table(("what", "value"), ({"what": key, "value": _brief(value)} for key, value in values.items()))
        say_table(("endpoint", "problem", "fix"), [each | {"problem": each["detail"]} for each in problems])
        if connected:
            say_table(
                ("account", "status", "lag_seconds", "error"), [each | {"account": each["id"]} for each in connected]
            )
        if progress is not None:
            columns = ("backfill", "state", "listed", "remaining", "written", "error")
            begun = [each for each in progress["lists"] if each["state"] != "waiting"]
            say_table(columns, [each | {"backfill": each["list"]} for each in begun])
        say_table(("worker", "lane", "task", "since"), [worker | {"worker": worker["name"]} for worker in workers])


def _brief(value: object) -> object:
    if isinstance(value, dict):
        return f"{value.get('outcome') or 'running'} at {value.get('finished_at') or value.get('started_at')}"
    return "never" if value is None else round(value, 1) if isinstance(value, float) else value
