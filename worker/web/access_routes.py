"""Access over HTTP: GET /v1/users/{id}/access and POST /v1/users/{id}/sync.

`worker.on_access.answer` computes the answers.
"""

import asyncio
import math
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.config.errors import Permanent
from worker.on_access.answer import DEADLINE_SECONDS, MAX_AGE_SECONDS, Desk, Question
from worker.on_access.freshness import Answer, Stored
from worker.on_access.sync_user import NoSuchUser, NotTheirs, is_session_id

MOST_BODY_BYTES = 10_000
# The most requests that read the tables at once. Reads are short. Other requests wait for a turn, without a thread.
READERS = 4


class AccessRoutes:
    """The two routes.

    A request waits for Stripe in the event loop, so waiting requests occupy no threads.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._readers = anyio.CapacityLimiter(READERS)
        self.routes = [
            Route("/v1/users/{id:path}/access", self.access, methods=["GET"]),
            Route("/v1/users/{id:path}/sync", self.sync, methods=["POST"]),
        ]

    async def access(self, request: Request) -> Response:
        max_age = _max_age(request)
        stored = await self._stored(request)
        since = stored.since(max_age)
        if not stored.is_fresh(since) and (question := self._desk.ask(stored, since)) is not None:
            await self._wait(question)
            stored = await self._stored(request)
        return _response(self._desk.answer(stored, since))

    async def sync(self, request: Request) -> Response:
        checkout_session = _checkout_session(await _body(request))
        stored = await self._stored(request)
        question = self._desk.force(stored, checkout_session)
        if question is not None:
            await self._wait(question)
        now = await self._stored(request)
        try:
            return _response(self._desk.forced(now, stored.now, question))
        except NotTheirs as error:
            raise HTTPException(409, str(error)) from error
        except NoSuchUser as error:
            raise HTTPException(404, str(error)) from error
        except Permanent as error:
            raise HTTPException(503, str(error)) from error

    async def _stored(self, request: Request) -> Stored:
        user = request.path_params["id"]
        read = partial(self._desk.stored, user)
        try:
            if "\0" in user:  # Postgres can't store this character
                raise NoSuchUser(f"There is no user {user!r}.")
            return await anyio.to_thread.run_sync(read, limiter=self._readers)
        except NoSuchUser as error:
            raise HTTPException(404, str(error)) from error

    @staticmethod
    async def _wait(question: Question) -> None:
        await asyncio.wait([asyncio.wrap_future(question)], timeout=DEADLINE_SECONDS)


def _response(answer: Answer) -> Response:
    return JSONResponse(answer.as_dict(), headers={"cache-control": "no-store"})


def _max_age(request: Request) -> float:
    text = request.query_params.get("max_age")
    if text is None:
        return MAX_AGE_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise HTTPException(400, f"max_age: {text!r} is not a number of seconds, 0 or more.")
    return seconds


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise HTTPException(413, f"The body is larger than {MOST_BODY_BYTES} bytes.")
    return body


def _checkout_session(body: bytes) -> str | None:
    """The Checkout session that the body names; None if it names none."""
    if not body.strip():
        return None
    try:
        content: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HTTPException(400, "The body is not JSON.") from error
    if not isinstance(content, dict):
        raise HTTPException(400, 'The body is not a JSON object such as {"checkout_session": "cs_..."}.')
    if unknown := sorted(set(content) - {"checkout_session"}):
        raise HTTPException(400, f"{unknown[0]}: unknown field; the only field is checkout_session.")
    session = content.get("checkout_session")
    if session is None:
        return None
    if not isinstance(session, str) or not is_session_id(session):
        raise HTTPException(400, "checkout_session: is not the id of a Checkout session, cs_...")
    return session
