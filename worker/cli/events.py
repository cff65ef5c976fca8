"""`stripe-sync events`: what lies in the inbox, and what a person does about what is parked."""

import json
from typing import Annotated

import typer
from psycopg.rows import dict_row

from worker.cli.output import fail, say, say_json, say_table
from worker.config import settings
from worker.inbox import store as inbox
from worker.postgres.pool import connect

__all__ = ["app"]

app = typer.Typer(help="Look at the inbox; replay or discard what is parked.", no_args_is_help=True)

_COLUMNS = ("id", "type", "object_id", "status", "outcome", "attempts", "created", "last_error")


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="pending, done or parked.")] = None,
    object_id: Annotated[str | None, typer.Option("--object", help="Events of this object alone.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The newest events, without their bodies."""
    with connect(settings.load(), application="events") as conn, conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select id, type, object_id, status, outcome, attempts, created, last_error
            from sync.events
            where (%(status)s::text is null or status = %(status)s)
                and (%(object_id)s::text is null or object_id = %(object_id)s)
            order by created desc, id
            limit %(limit)s
            """,
            {"status": status, "object_id": object_id, "limit": limit},
        ).fetchall()
    if as_json:
        say_json(rows)
    else:
        say_table(_COLUMNS, rows)


@app.command()
def show(event_id: str) -> None:
    """One event, whole, as JSON: its row and the body as Stripe sent it (which may hold personal data)."""
    with connect(settings.load(), application="events") as conn, conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("select * from sync.events where id = %s", (event_id,)).fetchone()
    if row is None:
        fail(f"there is no event {event_id} in the inbox")
    say_json({**row, "body": json.loads(row["body"])})


@app.command()
def replay(
    event_ids: Annotated[list[str] | None, typer.Argument()] = None,
    parked: Annotated[bool, typer.Option("--parked", help="All that is parked.")] = False,
) -> None:
    """Make events due again; to apply one twice changes nothing. The beat wakes a worker within seconds."""
    if not event_ids and not parked:
        fail("name the events, or say --parked")
    with connect(settings.load(), application="events") as conn:
        ids = list(event_ids or []) + (inbox.parked_ids(conn) if parked else [])
        say(f"{inbox.replay(conn, ids)} events are due again.")


@app.command()
def discard(event_ids: list[str]) -> None:
    """Give parked events up: they are done, with the outcome `discarded`, and can still be replayed."""
    with connect(settings.load(), application="events") as conn:
        say(f"{inbox.discard(conn, event_ids)} events are discarded.")
