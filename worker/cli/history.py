"""`stripe-sync history` and `replay`: the versions of an object, and what an event would change."""

from dataclasses import asdict
from typing import Annotated

import typer

from worker.cli.options import Json
from worker.cli.output import fail, say, say_json

app = typer.Typer()


@app.command()
def history(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of any Stripe object.")],
    limit: Annotated[int, typer.Option(min=1, help="How many versions to show, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """Show the versions of an object: when it changed, what changed, and by which event or read."""
    from worker.cli import database
    from worker.cli.differences import say_differences
    from worker.mirror import history as versions_of

    with database.connect(application="history") as conn:
        rows = versions_of.find(conn, id_)
        versions = versions_of.versions(conn, id_, limit=limit)
        repairs = versions_of.drift(conn, id_)
    if not rows and not versions:
        fail(f"{id_} is in neither the mirror nor the inbox; `stripe-sync sync object {id_}` reads it from Stripe")
    if as_json:
        listed = [
            {
                **asdict(each),
                "differences": None if each.differences is None else [d._asdict() for d in each.differences],
            }
            for each in versions
        ]
        say_json({"id": id_, "rows": rows, "versions": listed, "repairs": repairs})
        return
    for row in rows:
        state = "deleted" if row["deleted"] else "unsettled" if row["unsettled"] else "settled"
        account = f" of {row['account']}" if row["account"] else ""
        say(
            f"{row['object']} {id_}{account}: {state}, as of {row['observed_at']:%Y-%m-%d %H:%M:%S %Z}, by {row['observed_in']}"
        )
    for each in versions:
        say(
            f"\n{each.at:%Y-%m-%d %H:%M:%S %Z}  {each.type}  {each.source}"
            + (f"  ({each.outcome})" if each.outcome else "")
        )
        if each.differences is None:
            say("  the oldest version that is kept")
        elif not each.differences:
            say("  nothing changed")
        else:
            say_differences(each.differences)
    for repair in repairs:
        say(
            f"\n{repair['found_at']:%Y-%m-%d %H:%M:%S %Z}  repaired by {repair['found_by']}: {', '.join(repair['fields'])}"
        )


@app.command()
def replay(
    event_ids: Annotated[list[str], typer.Argument(metavar="EVENT...")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Apply, print what changes, and roll back.")] = False,
    as_json: Json = False,
) -> None:
    """Apply events of the inbox again. Applying an event twice changes nothing. A worker starts within seconds."""
    from worker.cli import database
    from worker.inbox import store

    if not dry_run:
        with database.connect(application="replay") as conn:
            say(f"{store.replay(conn, event_ids)} events are due again.")
        return
    from worker.cli.differences import say_differences
    from worker.config import settings as config
    from worker.membership.compute import policy_of
    from worker.observe import log
    from worker.writers import dry_run as trial

    settings = config.load()
    log.configure(settings.model_copy(update={"log_level": "warning"}))
    with database.connect(settings, application="replay") as conn:
        tried = [
            trial.replay(conn, event_id, policy=policy_of(settings), livemode=settings.livemode)
            for event_id in event_ids
        ]
    if as_json:
        say_json([each.as_dict() for each in tried])
        return
    for each in tried:
        say(f"{each.event} ({each.type}): {each.outcome}. Nothing was kept.")
        for row, changed in each.changes.items():
            say(f"  {row}")
            say_differences(changed, indent="    ")
        if not each.changes:
            say("  nothing would change")
