"""`stripe-sync sync`: read from Stripe now, by hand. Safe beside the beat: every page goes through the guarded write."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from worker import audit, config, log, reconcile, refresh
from worker.cli.output import say, say_json
from worker.listing import Listing, Tally, read_whole
from worker.store import runs
from worker.store.pool import connect
from worker.stripe_api import Stripe
from worker.tasks import policy_of

__all__ = ["app"]

app = typer.Typer(help="Read from Stripe now, and write what differs.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def products(as_json: Json = False) -> None:
    """The catalogue: all products and prices, in all states."""
    _run({refresh.JOB: refresh.CATALOGUE}, as_json=as_json)


@app.command()
def subscriptions(as_json: Json = False) -> None:
    """All subscriptions, those that have ended too."""
    _run({reconcile.JOB: [listing for listing in audit.LISTS if listing.object == "subscription"]}, as_json=as_json)


@app.command("all")
def all_(as_json: Json = False) -> None:
    """Everything that is mirrored and that Stripe lists."""
    _run({listing.object: [listing] for listing in audit.LISTS}, as_json=as_json)


def _run(jobs: Mapping[str, Sequence[Listing]], *, as_json: bool) -> None:
    """Each job with its progress and its summary. Ctrl-C leaves whole pages written."""
    settings = config.load()
    log.configure(settings.model_copy(update={"log_level": "warning"}))
    stripe, summary = Stripe.from_settings(settings), dict[str, Any]()
    with connect(settings, application="sync") as conn:
        for name, listings in jobs.items():
            began, tally = datetime.now(UTC), Tally()
            interrupted = False
            with _progress(quiet=as_json) as progress:
                task = progress.add_task(name.replace("_", " "), total=None, detail="")
                started = time.monotonic()

                def seen(task: Any = task, tally: Tally = tally, progress: Progress = progress) -> None:
                    progress.update(task, detail=f"{tally.listed:,} listed")

                try:
                    read_whole(conn, stripe, listings, policy_of(settings), tally, seen=seen)
                except KeyboardInterrupt:
                    interrupted = True
            summary[name] = tally.as_dict() | {"seconds": round(time.monotonic() - started, 1)}
            if not interrupted:
                runs.note(conn, name, began, tally.as_dict())
            if not as_json:
                said = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in tally.as_dict().items())
                say(
                    f"{name.replace('_', ' ')}: {said}{' (interrupted: what is written is whole)' if interrupted else ''}"
                )
            if interrupted:
                raise typer.Exit(130)
    if as_json:
        say_json(summary)


def _progress(*, quiet: bool) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, transient=True, disable=quiet)
