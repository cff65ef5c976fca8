"""`stripe-sync changes`: read the changes of users, and send them to CHANGES_URL again."""

import time
from typing import Annotated, Any

import typer

from worker.cli.options import Json
from worker.cli.output import fail, say, say_json, say_table

app = typer.Typer(name="changes", help="Read the changes of users, or send them again.", no_args_is_help=True)

_LOOK_SECONDS = 1.0
_COLUMNS = ("id", "created_at", "user_id", "type", "reason", "sources")


@app.command()
def tail(
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Start after the change with this id; by default, with the newest changes."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Only changes of the user with this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many stored changes to print first.")] = 20,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for further changes.")] = True,
    as_json: Json = False,
) -> None:
    """Print changes as they happen, oldest first. With --json, each line is one object."""
    from worker.cli import database
    from worker.membership.delivery import store

    with database.connect(application="changes") as conn:
        place = max(store.last_id(conn) - limit, 0) if after is None else after
        changes = store.after(conn, place, limit=limit, user=user)
        while changes or follow:
            _print(changes, as_json=as_json)
            place = changes[-1].id if changes else place
            if not follow:
                break
            time.sleep(_LOOK_SECONDS)
            changes = store.after(conn, place, limit=limit, user=user)


@app.command()
def resend(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids of changes.")] = None,
    parked: Annotated[bool, typer.Option("--parked", help="Every parked change.")] = False,
    after: Annotated[int | None, typer.Option(min=0, help="Every change after this id.")] = None,
) -> None:
    """Send changes to CHANGES_URL again. A worker starts within a second. A repeated change has the same `webhook-id`."""
    from worker.cli import database
    from worker.config import settings as config
    from worker.membership.delivery import store

    if bool(ids) + parked + (after is not None) != 1:
        fail("name changes by their ids, or use --parked, or --after ID")
    settings = config.load()
    if settings.changes_url is None:
        fail("CHANGES_URL is not set, so there is no address to send changes to")
    with database.connect(settings, application="changes") as conn:
        number = store.resend(conn, ids or (), parked=parked, since=after)
    if ids and number < len(set(ids)):
        fail(
            f"{number} of {len(set(ids))} changes are sent again; the others do not exist, or are older than CHANGES_KEEP_DAYS"
        )
    say(f"{number} changes are sent again.")


@app.command("parked")
def list_parked(limit: Annotated[int, typer.Option(min=1)] = 50, as_json: Json = False) -> None:
    """List the changes that CHANGES_URL has not acknowledged after two days of attempts."""
    from worker.cli import database
    from worker.membership.delivery import store

    with database.connect(application="changes") as conn:
        rows = store.parked(conn, limit=limit)
    if as_json:
        say_json(rows)
    else:
        say_table(("id", "user_id", "type", "attempts", "error"), rows)


def _print(changes: Any, *, as_json: bool) -> None:
    import json
    import sys

    if as_json:
        for change in changes:
            sys.stdout.write(json.dumps(change.as_json) + "\n")
        sys.stdout.flush()
    elif changes:
        say_table(_COLUMNS, ({name: getattr(change, name) for name in _COLUMNS} for change in changes))
