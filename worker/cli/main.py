"""The commands' root, and the long-running processes."""

import os
import sys
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from worker.cli import db, erase, events, everyone, membership, sync, why
from worker.cli.output import fail, say_json, say_table
from worker.config import settings as config
from worker.config.errors import SyncError
from worker.config.settings import Settings
from worker.jobs import status as status_
from worker.jobs.celery_app import BACKFILL, EVENTS, PERIODIC
from worker.observe import log
from worker.postgres import inventory
from worker.postgres.pool import READ_ONLY, connect, hint

__all__ = ["main"]

app = typer.Typer(
    name="stripe-sync",
    help="Keeps a PostgreSQL database, and a SaaS application's users, equal to what Stripe knows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(db.app, name="db")
app.add_typer(events.app, name="events")
app.add_typer(sync.app, name="sync")
app.add_typer(everyone.app, name="membership")
membership.register(app)
why.register(app)
erase.register(app)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command line; what the daemon knows to be wrong is said in one line, not in a traceback."""
    try:
        app()
    except SyncError as error:
        sys.stderr.write(f"stripe-sync: {error}\n")
        sys.exit(1)
    except (psycopg.OperationalError, READ_ONLY) as error:
        said = f"{str(error).strip()}{hint(error)}"
        sys.stderr.write(f"stripe-sync: the database can't be used (DATABASE_URL): {said}\n")
        sys.exit(1)


def _settings(*, needs_webhook_secret: bool = False) -> Settings:
    settings = config.load(needs_webhook_secret=needs_webhook_secret)
    log.configure(settings)
    return settings


@app.command()
def web() -> None:
    """Serve the door: POST /webhooks/stripe, health, metrics and status."""
    from worker.web import app as web_app

    web_app.serve(_settings(needs_webhook_secret=True))


@app.command()
def worker(
    concurrency: Annotated[int | None, typer.Option(help="Processes; WORKER_CONCURRENCY otherwise.")] = None,
    queues: Annotated[str, typer.Option(help="Which queues to serve.")] = f"{EVENTS},{PERIODIC},{BACKFILL}",
) -> None:
    """Apply events and do periodic work. As many as wanted, on as many machines as wanted."""
    from worker.jobs import celery_app, tasks

    settings = _settings()
    celery = celery_app.make(settings)
    tasks.register(celery, settings)
    celery.worker_main(
        [
            "--quiet",
            "worker",
            f"--concurrency={concurrency or settings.worker_concurrency}",
            f"--queues={queues}",
            "--without-gossip",
            "--without-mingle",
            f"--hostname=stripe-sync-{os.getpid()}@%h",
            "--loglevel=WARNING",
        ]
    )


@app.command()
def beat() -> None:
    """Send the ticks of periodic work. One is enough; two do no harm."""
    from worker.jobs import celery_app

    settings = _settings()
    log.get("beat").info("beat.started")
    celery_app.make(settings).start(["--quiet", "beat", "--loglevel=WARNING"])


@app.command()
def dev(
    home: Annotated[Path, typer.Option(help="Where the embedded servers and the sandbox keep their state.")] = Path(
        ".dev"
    ),
    port: Annotated[int, typer.Option(help="The door's port.")] = 8000,
) -> None:
    """Start everything for development; what the environment does not give is embedded."""
    try:
        from worker.dev import servers, supervisor
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'stripe-sync[dev]'")
    try:
        raise typer.Exit(supervisor.run(home=home, port=port))
    except servers.ServerError as error:
        fail(str(error))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Start the stand-in for Stripe by itself; `stripe-sync sandbox --help` lists its options."""
    os.execv(sys.executable, [sys.executable, "-m", "sandbox", *context.args])  # noqa: S606


@app.command()
def status(as_json: Json = False) -> None:
    """How far behind, what is parked or unsettled, what ran last, who is alive."""
    with connect(_settings(), application="status") as conn:
        if inventory.revision(conn) is None:
            fail("the database has no tables of ours yet: run `stripe-sync db migrate`")
        found = status_.status(conn)
    if as_json:
        say_json(found)
    else:
        say_table(("what", "value"), ({"what": key, "value": _brief(value)} for key, value in found.items()))


@app.command()
def doctor(
    as_json: Json = False,
    webs: Annotated[int | None, typer.Option(min=0, help="How many `web` you start; 1 otherwise.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="How many `worker`; those alive otherwise.")] = None,
) -> None:
    """Try everything that the daemon needs; each fault is said with what mends it."""
    from worker.cli import doctor as doctor_

    settings = _settings().model_copy(update={"log_level": "error"})
    if not doctor_.run(settings, as_json=as_json, webs=webs, workers=workers):
        raise typer.Exit(1)


def _brief(value: object) -> object:
    if isinstance(value, dict):
        return f"{value.get('outcome') or 'running'} at {value.get('finished_at') or value.get('started_at')}"
    return "never" if value is None else round(value, 1) if isinstance(value, float) else value
