"""`stripe-sync web`, `worker` and `beat`: the three processes of the daemon."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worker.config.settings import Settings

app = typer.Typer()


@app.command()
def web() -> None:
    """Serve HTTP: the webhook endpoint, health, metrics and status."""
    from worker.config import settings
    from worker.observe import log, trace
    from worker.web import server

    loaded = settings.load(needs_webhook_secret=True)
    trace.require(loaded)
    log.configure(loaded)
    # Without tables the server answers 503, and GET /readyz gives the reason. A load balancer and Stripe retry until the
    # migration has run.
    _check_schema(loaded, needs_tables=False)
    server.serve(loaded)


@app.command()
def worker(
    concurrency: Annotated[
        int | None, typer.Option(help="Child processes of the first lane; WORKER_CONCURRENCY by default.")
    ] = None,
    queues: Annotated[str, typer.Option(help="Queues to serve, separated by commas.")] = "",
) -> None:
    """Apply events and do periodic work. Start any number of workers, on any number of machines.

    Live events, access requests and periodic work have separate child processes (lanes), so none waits for the others.
    """
    from worker.config import settings
    from worker.jobs import lanes, process_group
    from worker.observe import log, trace

    loaded = settings.load()
    chosen = [queue.strip() for queue in queues.split(",")] if queues else lanes.QUEUES
    served = lanes.lanes(loaded, queues=chosen, concurrency=concurrency)
    trace.require(loaded)
    log.configure(loaded)
    _check_schema(loaded, needs_tables=True)
    raise typer.Exit(process_group.run(loaded, served))


@app.command()
def beat() -> None:
    """Start periodic work on time. One beat is enough; a second one is harmless."""
    from worker.config import settings
    from worker.jobs import beat as process
    from worker.observe import log

    loaded = settings.load()
    log.configure(loaded)
    _check_schema(loaded, needs_tables=True)
    process.serve(loaded)


def _check_schema(settings: "Settings", *, needs_tables: bool) -> None:
    """Warn if the tables are missing or of another release; raise SchemaNotReady if they are missing but needed.

    The process starts even if the tables are of another release, because a migration may be running, and events wait for
    it. The process also starts if the database is unreachable, and waits for it.
    """
    from worker.observe import log
    from worker.postgres import schema_state
    from worker.postgres.pool import UNAVAILABLE, connect
    from worker.postgres.schema_state import SchemaState

    try:
        with connect(settings, application="start") as conn:
            state, advice = schema_state.look(conn)
    except UNAVAILABLE:
        return
    missing = state in (SchemaState.EMPTY, SchemaState.FOREIGN, SchemaState.PRERELEASE)
    if missing and needs_tables:
        raise schema_state.SchemaNotReady(advice, state)
    if advice:
        log.get("start").warning("schema.not_current", state=state.value, advice=advice)
