"""`stripe-sync events`: look at the inbox; replay or discard parked events."""

import json
from typing import Annotated

import typer

from worker.cli.options import Json
from worker.cli.output import fail, say, say_json, say_table

app = typer.Typer(name="events", help="List and show events; replay or discard parked ones.", no_args_is_help=True)

_COLUMNS = ("id", "type", "object_id", "status", "outcome", "attempts", "created", "last_error")


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="pending, done or parked.")] = None,
    object_id: Annotated[str | None, typer.Option("--object", help="Only events of this object.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: Json = False,
) -> None:
    """List the newest events, without their bodies."""
    from worker.cli import database
    from worker.inbox import browse

    with database.connect(application="events") as conn:
        rows = browse.newest(conn, status=status, object_id=object_id, limit=limit)
    if as_json:
        say_json(rows)
    else:
        say_table(_COLUMNS, rows)


@app.command()
def show(event_id: str) -> None:
    """Show one event as JSON: its row, and the body as Stripe sent it (which may hold personal data)."""
    from worker.cli import database
    from worker.inbox import browse

    with database.connect(application="events") as conn:
        row = browse.one(conn, event_id)
    if row is None:
        fail(f"there is no event {event_id} in the inbox")
    say_json({**row, "body": json.loads(row["body"])})


@app.command()
def replay(
    event_ids: Annotated[list[str] | None, typer.Argument()] = None,
    parked: Annotated[bool, typer.Option("--parked", help="Every parked event.")] = False,
) -> None:
    """Make events due again. Applying an event twice changes nothing. A worker starts within seconds."""
    from worker.cli import database
    from worker.inbox import store

    if not event_ids and not parked:
        fail("name the events, or use --parked")
    with database.connect(application="events") as conn:
        ids = list(event_ids or []) + (store.parked_ids(conn) if parked else [])
        say(f"{store.replay(conn, ids)} events are due again.")


@app.command()
def discard(event_ids: list[str]) -> None:
    """Discard parked events. They become done, with the outcome `discarded`, and can still be replayed."""
    from worker.cli import database
    from worker.inbox import store

    with database.connect(application="events") as conn:
        say(f"{store.discard(conn, event_ids)} events are discarded.")
