"""The web process: the webhook endpoint, health, metrics and the operators' routes on one port."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import psycopg
import redis
from celery import Celery
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from psycopg.rows import scalar_row
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.config import settings as config
from worker.config.settings import Settings
from worker.inbox import store as inbox
from worker.jobs import celery_app, status
from worker.jobs.wake import Waker, publish_drain, queue_client
from worker.observe import log, metrics, trace
from worker.on_access.answer import Desk
from worker.postgres import counters, schema_state
from worker.postgres.pool import OTHER_SCHEMA, READ_ONLY, UNAVAILABLE, async_pool, pool
from worker.postgres.schema_state import SchemaState
from worker.stripe_api.envelope import Envelope
from worker.web import openapi, shared_metrics
from worker.web.access_routes import AccessRoutes
from worker.web.authorization import Authorization
from worker.web.changes_routes import ChangesRoutes
from worker.web.object_routes import ObjectRoutes
from worker.web.verdicts import Verdicts
from worker.web.webhook import WebhookEndpoint, Writer

if TYPE_CHECKING:
    from worker.web.console.app import Console

_log = log.get("web")

WEBHOOK_PATH = "/webhooks/stripe"
# Two concurrent inserts: while one waits for the disk, the other collects requests.
WRITERS = 2
# If an event waits longer than this, the workers are not keeping up.
READY_LAG_SECONDS = 300
COUNTS_SAVED_SECONDS = 5

ASGI = Callable[..., Any]


def application() -> ASGI:
    """The ASGI application of one web process, configured from the environment."""
    settings = config.load(needs_webhook_secret=True)
    log.configure(settings)
    trace.configure(settings, process="web")
    return build(settings)


def build(settings: Settings) -> ASGI:
    """The ASGI application. The webhook endpoint is plain ASGI; Starlette serves everything else."""
    connections = async_pool(settings, application="web", size=WRITERS)
    app = celery_app.make(settings.redis_url)
    waker = Waker(lambda: publish_drain(app, queue))
    queue = queue_client(settings.redis_url)
    verdicts = Verdicts(settings)
    writer = Writer(lambda envelopes: _insert(connections, envelopes, verdicts.known), stored=waker.wake)
    webhook = WebhookEndpoint(
        writer, secrets=list(settings.webhook_secrets), clock=time.time, is_foreign=verdicts.is_foreign
    )
    routes, desk = _Routes(settings, queue, verdicts), Desk(settings)
    console = _console(settings, app)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await connections.open()
        routes.pool.open()
        desk.open()
        if console is not None:
            console.open()
        waker.start()
        writer.start(writers=WRITERS)
        with contextlib.suppress(*UNAVAILABLE, *OTHER_SCHEMA):
            await anyio.to_thread.run_sync(routes.refresh_verdicts)
        saving = asyncio.create_task(routes.save_counts_regularly())
        _log.info("web.started", port=settings.port)
        yield
        saving.cancel()
        await writer.stop()
        waker.stop()
        desk.close()
        if console is not None:
            console.pool.close()
        with contextlib.suppress(*UNAVAILABLE, *OTHER_SCHEMA):
            await anyio.to_thread.run_sync(routes.save_counts)
        routes.pool.close()
        await connections.close()
        trace.shutdown()
        _log.info("web.stopped")

    others = Starlette(
        routes=[
            Route("/healthz", routes.healthz),
            Route("/readyz", routes.readyz),
            Route("/metrics", routes.metrics),
            Route("/v1/status", routes.status),
            *openapi.routes(),
            *AccessRoutes(desk).routes,
            *ChangesRoutes(routes.pool.connection).routes,
            *ObjectRoutes(settings, routes.pool).routes,
            *([console.routes] if console is not None else []),
        ],
        middleware=[Middleware(Authorization, token=settings.api_token)],
        exception_handlers={HTTPException: _http_error, Exception: _server_error},
        lifespan=lifespan,
    )

    async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == WEBHOOK_PATH:
            await webhook(scope, receive, send)
        else:
            await others(scope, receive, send)

    return asgi


def _console(settings: Settings, app: Celery) -> "Console | None":
    """The console; None if it has no password, so that its templates are not imported."""
    if not settings.has_console:
        return None
    from worker.web.console.app import Console, sender

    return Console(settings, sender(app))


async def _insert(
    connections: AsyncConnectionPool, envelopes: Sequence[Envelope], verdicts: Mapping[str, str | None]
) -> set[str]:
    """Store the envelopes; returns the ids of the new events.

    If a connection broke while idle, the insert is retried once before the failure is raised.
    """
    for last in (False, True):
        try:
            async with connections.connection() as conn, conn.cursor(row_factory=scalar_row) as cursor:
                await cursor.execute(inbox.INSERT, inbox.insert_parameters(envelopes, verdicts))
                return set(await cursor.fetchall())
        except READ_ONLY:
            # A connection to a replica passes the pool's checks, so all connections are closed.
            await connections.drain()
            if last:
                raise
        except psycopg.OperationalError:
            if last:
                raise
            await connections.check()
    raise AssertionError("unreachable")


class _Routes:
    """The routes other than the webhook endpoint."""

    def __init__(self, settings: Settings, queue: redis.Redis, verdicts: Verdicts) -> None:
        self._settings, self._queue, self._verdicts = settings, queue, verdicts
        self.pool = pool(settings, application="web", size=settings.database_pool_size - WRITERS)
        self._unsaved, self._saving = metrics.Unsaved(), threading.Lock()

    async def healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        checks, notes = await anyio.to_thread.run_sync(self._checks)
        ready = all(check == "ok" for check in checks.values())
        body = {"status": "ok" if ready else "not_ready", "checks": checks, **({"notes": notes} if notes else {})}
        return JSONResponse(body, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        registry = CollectorRegistry()
        registry.register(shared_metrics.Shared(await anyio.to_thread.run_sync(self._shared)))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def status(self, _: Request) -> Response:
        return JSONResponse(await anyio.to_thread.run_sync(self._status))

    def _checks(self) -> tuple[dict[str, str], dict[str, str]]:
        """The checks that must pass before this process serves requests, and notes for operators."""
        checks, notes = {"database": "ok", "broker": "ok", "inbox": "ok"}, dict[str, str]()
        try:
            with self.pool.connection() as conn:
                state, advice = schema_state.look(conn)
                if state is SchemaState.NEWER:
                    # A deployment is in progress: this process serves until a newer release replaces it.
                    notes["schema"] = advice
                elif state is not SchemaState.CURRENT:
                    checks["database"] = advice
                usable = state in (SchemaState.CURRENT, SchemaState.NEWER)
                lag = inbox.backlog(conn)["oldest_pending_seconds"] if usable else 0
                if lag > READY_LAG_SECONDS:
                    checks["inbox"] = f"the oldest event has waited for {lag:.0f} s: is a worker running?"
        except UNAVAILABLE as error:
            checks["database"] = f"unreachable ({type(error).__name__}): see DATABASE_URL"
        try:
            self._queue.ping()
        except (OSError, redis.RedisError) as error:
            checks["broker"] = f"unreachable ({type(error).__name__}): see REDIS_URL"
        return checks, notes

    async def save_counts_regularly(self) -> None:
        """Save this process's counts every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(COUNTS_SAVED_SECONDS)
            with contextlib.suppress(*UNAVAILABLE, *OTHER_SCHEMA):
                await anyio.to_thread.run_sync(self.save_counts)
                await anyio.to_thread.run_sync(self.refresh_verdicts)

    def refresh_verdicts(self) -> None:
        """Read which account each webhook secret belongs to."""
        with self.pool.connection() as conn:
            self._verdicts.refresh(conn)

    def save_counts(self) -> None:
        """Add this process's counts to those in the database. If the database raises an error, no count is lost."""
        with self._saving:
            counts = self._unsaved.take()
            if not counts:
                return
            try:
                with self.pool.connection() as conn:
                    counters.add_all(conn, counts)
            except BaseException:
                self._unsaved.put_back(counts)
                raise

    def _shared(self) -> shared_metrics.Known:
        # Save this process's counts first, so that the sums include them. Otherwise a counter could fall when the next
        # scrape reaches another process.
        self.save_counts()
        with self.pool.connection() as conn:
            return shared_metrics.read(conn, self._queue, self._settings)

    def _status(self) -> dict[str, Any]:
        with self.pool.connection() as conn:
            return status.status(conn)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {
        400: "bad_request",
        401: "unauthorized",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
        409: "conflict",
        413: "too_large",
        503: "unavailable",
    }
    body = {"code": codes.get(error.status_code, "error"), "message": error.detail}
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _server_error(_: Request, error: Exception) -> Response:
    if isinstance(error, UNAVAILABLE):
        return JSONResponse({"code": "unavailable", "message": "The database can't be reached."}, 503)
    return JSONResponse({"code": "internal_error", "message": "An internal error occurred; see the server's log."}, 500)
