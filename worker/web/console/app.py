"""The console's routes: sign-in, pages and actions. Every page except sign-in needs a session, and every action a form token."""

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

import anyio.to_thread
import psycopg
import redis
from celery import Celery
from kombu.exceptions import OperationalError
from psycopg_pool import ConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from worker.config import settings as config
from worker.config.errors import Permanent
from worker.config.settings import Settings
from worker.jobs import celery_app
from worker.jobs.periodic import task_name
from worker.membership.by_hand import Refused
from worker.observe import log
from worker.postgres.pool import UNAVAILABLE, pool
from worker.web.console import pages, render
from worker.web.console.actions import ACTIONS, audit
from worker.web.console.session import COOKIE, SESSION_SECONDS, Attempts, Session, Sessions

_log = log.get("console")

# The console has its own few connections, so that people don't take them from the webhook endpoint and the API.
CONNECTIONS = 2
MAX_FORM_BYTES = 64 * 1024
Form = Mapping[str, list[str]]


class Console:
    """The pages under /console. Exists only if CONSOLE_PASSWORD or CONSOLE_PASSWORD_HASH is set."""

    def __init__(self, settings: Settings, send: Callable[..., None]) -> None:
        self._settings, self._send = settings, send
        self._sessions, self._attempts = Sessions(settings), Attempts()
        short = settings.model_copy(update={"database_statement_timeout": 10.0})
        self.pool: ConnectionPool = pool(short, application="console", size=CONNECTIONS)

    def open(self) -> None:
        render.compile_templates()
        self.pool.open()

    @property
    def routes(self) -> Mount:
        shown = [Route(path, self._page(build), methods=["GET"]) for path, build in pages.PAGES.items()]
        acted = [Route(path, self._action(path), methods=["POST"]) for path in ACTIONS]
        return Mount(
            "/console",
            routes=[
                Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
                Route("/sign-out", self._sign_out, methods=["POST"]),
                Route("/static/{name}", self._static, methods=["GET"]),
                *acted,
                *shown,
            ],
        )

    async def _static(self, request: Request) -> Response:
        return render.static(request.path_params["name"]) or PlainTextResponse("There is no such file.", 404)

    async def _sign_in(self, request: Request) -> Response:
        if request.method == "GET":
            token = request.query_params.get("link")
            if token and self._sessions.is_link(token):
                return self._signed_in(request)
            if self._session(request) is not None:
                return RedirectResponse("/console", 303, headers=render.HEADERS)
            problem = "This link has expired: sign in with the password." if token else None
            return self._sign_in_page(request, problem)
        address = request.client.host if request.client else ""
        if wait := self._attempts.seconds_to_wait(address):
            _log.warning("console.sign_in_refused", address=address)
            problem = f"Too many attempts failed. Try again in {wait} seconds."
            return self._sign_in_page(request, problem, status=429)
        sent = (await _form(request)).get("password", [""])[0]
        if await anyio.to_thread.run_sync(self._sessions.is_password, sent):
            return self._signed_in(request)
        self._attempts.failed(address)
        _log.warning("console.sign_in_failed", address=address)
        return self._sign_in_page(request, "This is not the password.", status=401)

    def _signed_in(self, request: Request) -> Response:
        _log.info("console.signed_in", address=request.client.host if request.client else "")
        answer = RedirectResponse(_local(request.query_params.get("next")), 303, headers=render.HEADERS)
        answer.set_cookie(
            COOKIE,
            self._sessions.start(),
            max_age=SESSION_SECONDS,
            path="/console",
            secure=self._sessions.is_cookie_secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    def _sign_in_page(self, request: Request, problem: str | None, *, status: int = 200) -> Response:
        values = {"problem": problem, "next": _local(request.query_params.get("next"))}
        return render.page("sign_in.html", values, status=status)

    async def _sign_out(self, request: Request) -> Response:
        session = self._session(request)
        if session is None or (await _form(request)).get("csrf") != [session.csrf]:
            return self._error(request, 403, "The form has expired: reload the page and try again.")
        answer = RedirectResponse("/console/sign-in", 303, headers=render.HEADERS)
        answer.delete_cookie(COOKIE, path="/console")
        return answer

    def _session(self, request: Request) -> Session | None:
        return self._sessions.read(request.cookies.get(COOKIE))

    def _page(self, build: pages.Build) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return _to_sign_in(request)
            query = dict(request.query_params)

            def read() -> pages.View | None:
                with self.pool.connection() as conn:
                    return build(pages.PageRequest(conn, self._settings, query, dict(request.path_params)))

            try:
                view = await anyio.to_thread.run_sync(read)
            except psycopg.errors.QueryCanceled:
                return self._error(
                    request, 503, "The database took too long to answer. Narrow the search, or try again."
                )
            except UNAVAILABLE as error:
                _log.warning("console.database_unavailable", error=type(error).__name__)
                return self._error(
                    request, 503, "The database cannot be reached: see DATABASE_URL and the server's log."
                )
            if view is None:
                return self._error(
                    request,
                    404,
                    "Nothing has this id here: check the id, and the mode (test or live). `stripe-sync sync object ID` reads "
                    "the object from Stripe.",
                )
            return self._render(request, session, view.template, {"query": defaultdict(str, query), **view.values})

        return show

    def _action(self, path: str) -> Callable[[Request], Awaitable[Response]]:
        action = ACTIONS[path]

        async def act(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return _to_sign_in(request)
            form = await _form(request)
            if form.get("csrf") != [session.csrf]:
                return self._error(request, 403, "The form has expired or is not ours: reload the page and try again.")
            if not self._settings.console_write:
                return self._error(request, 403, "The console is read-only: set CONSOLE_WRITE=on to allow actions.")
            values = {name: sent[0] for name, sent in form.items()}
            ids = form.get("ids", [])
            if values.get("confirmed") != "yes":
                view = {
                    "title": action.title,
                    "sentence": action.sentence(values, ids, request.path_params),
                    "action": str(request.url.path),
                    "fields": [(name, one) for name, sent in form.items() if name != "csrf" for one in sent],
                    "back": _local(values.get("back")),
                }
                return self._render(request, session, "confirm.html", view)

            def run() -> str:
                tasks: list[tuple[tuple[object, ...], dict[str, Any]]] = []
                with self.pool.connection() as conn:
                    target = request.path_params.get("id", "") or ", ".join(ids)[:500]
                    with conn.transaction():
                        done = action.run(
                            conn,
                            self._settings,
                            values,
                            ids,
                            request.path_params,
                            lambda *arguments, **options: tasks.append((arguments, options)),
                        )
                        detail = {
                            name: one for name, one in values.items() if name not in ("csrf", "confirmed", "back")
                        }
                        audit(conn, actor=f"console {session.id[:8]}", action=action.name, target=target, detail=detail)
                # Sent after the commit, so that a worker that starts at once sees the written rows.
                for arguments, options in tasks:
                    self._send(*arguments, **options)
                return done

            try:
                done = await anyio.to_thread.run_sync(run)
            except Permanent as error:
                return self._error(request, 409, str(error))
            except UNAVAILABLE as error:
                return self._error(
                    request, 503, f"Nothing was done: the database cannot be reached ({type(error).__name__})."
                )
            _log.info("console.acted", action=action.name)
            back = _local(values.get("back"))
            separator = "&" if "?" in back else "?"
            return RedirectResponse(
                f"{back}{separator}done={quote(self._sessions.sign(done))}", 303, headers=render.HEADERS
            )

        return act

    def _render(
        self, request: Request, session: Session, template: str, values: Mapping[str, Any], *, status: int = 200
    ) -> Response:
        shared = {
            "path": request.url.path,
            "csrf": session.csrf,
            "can_write": self._settings.console_write,
            "environment": self._settings.app_env.value,
            "done": self._sessions.unsign(request.query_params.get("done")),
            "here": str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""),
            "is_fragment": request.headers.get("hx-request") == "true",
            "query": defaultdict(str),
        }
        return render.page(template, shared | dict(values), status=status)

    def _error(self, request: Request, status: int, sentence: str) -> Response:
        session = self._session(request)
        if session is None:
            return render.page("sign_in.html", {"problem": sentence, "next": "/console"}, status=status)
        return self._render(request, session, "error.html", {"status": status, "sentence": sentence}, status=status)


def application() -> Starlette:
    """The ASGI application of the console by itself, configured from the environment."""
    settings = config.load()
    log.configure(settings)
    console = Console(settings, sender(celery_app.make(settings.redis_url)))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        console.open()
        yield
        console.pool.close()

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/healthz", healthz), console.routes], lifespan=lifespan)


def sender(app: Celery) -> Callable[..., None]:
    """A function that sends a task by name. If the broker does not answer, it raises Refused at once: a person is waiting."""

    def send(task: str, *arguments: object, queue: str) -> None:
        try:
            app.send_task(task_name(task), args=arguments, queue=queue, retry=False)
        except (OSError, redis.RedisError, OperationalError) as error:
            raise Refused(f"The broker cannot be reached ({type(error).__name__}): see REDIS_URL.") from error

    return send


def _to_sign_in(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    address = "/console/sign-in" + (f"?next={quote(here, safe='')}" if request.method == "GET" else "")
    if request.headers.get("hx-request") == "true":
        return Response(status_code=401, headers={**render.HEADERS, "hx-redirect": address})
    return RedirectResponse(address, 303, headers=render.HEADERS)


def _local(address: str | None) -> str:
    """The address if it belongs to the console, else the console's start page: a redirect must not lead elsewhere."""
    return address if address and address.startswith(("/console/", "/console?")) else "/console"


async def _form(request: Request) -> Form:
    """The fields of an urlencoded form; empty if the body is larger than our forms can be."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return {}
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(body.decode(errors="replace"), keep_blank_values=True):
        fields.setdefault(name, []).append(value)
    return fields
