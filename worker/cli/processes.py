"""`stripe-sync web`, `worker` and `beat`: the three processes of the daemon."""

import os
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def web() -> None:
    """Serve HTTP: the webhook endpoint, health, metrics and status."""
    from worker.config import settings
    from worker.observe import log
    from worker.web import server

    loaded = settings.load(needs_webhook_secret=True)
    log.configure(loaded)
    server.serve(loaded)


@app.command()
def worker(
    concurrency: Annotated[int | None, typer.Option(help="Processes; WORKER_CONCURRENCY by default.")] = None,
    queues: Annotated[str, typer.Option(help="Queues to serve, separated by commas.")] = "events,periodic,backfill",
) -> None:
    """Apply events and do periodic work. Start as many as you like, on as many machines as you like."""
    from worker.config import settings
    from worker.jobs import celery_app, tasks
    from worker.observe import log

    loaded = settings.load()
    log.configure(loaded)
    celery = celery_app.make(loaded)
    tasks.register(celery, loaded)
    celery.worker_main(
        [
            "--quiet",
            "worker",
            f"--concurrency={concurrency or loaded.worker_concurrency}",
            f"--queues={queues}",
            "--without-gossip",
            "--without-mingle",
            f"--hostname=stripe-sync-{os.getpid()}@%h",
            "--loglevel=WARNING",
        ]
    )


@app.command()
def beat() -> None:
    """Start the periodic work on time. One is enough; a second one does no harm."""
    from worker.config import settings
    from worker.jobs import celery_app
    from worker.observe import log

    loaded = settings.load()
    log.configure(loaded)
    log.get("beat").info("beat.started")
    celery_app.make(loaded).start(["--quiet", "beat", "--loglevel=WARNING"])
