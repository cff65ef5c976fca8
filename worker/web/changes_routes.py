"""Changes over HTTP: GET /v1/changes?after=ID&limit=N."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import anyio.to_thread
import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.membership.delivery import store

MOST, DEFAULT = 1000, 100
LARGEST_ID = 2**63 - 1


class ChangesRoutes:
    """The route. Ids are in the order of commits, so a reader that continues after a page's last id misses no change."""

    def __init__(self, connection: Callable[[], AbstractContextManager[psycopg.Connection]]) -> None:
        self._connection = connection
        self.routes = [Route("/v1/changes", self.changes, methods=["GET"])]

    async def changes(self, request: Request) -> Response:
        after, limit = _number(request, "after", 0, LARGEST_ID, 0), _number(request, "limit", 1, MOST, DEFAULT)
        changes = await anyio.to_thread.run_sync(self._read, after, limit + 1)
        data = [change.as_json for change in changes[:limit]]
        return JSONResponse({"data": data, "has_more": len(changes) > limit}, headers={"cache-control": "no-store"})

    def _read(self, after: int, limit: int) -> list[store.Change]:
        with self._connection() as conn:
            return store.after(conn, after, limit=limit)


def _number(request: Request, name: str, least: int, most: int, otherwise: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise HTTPException(400, f"{name}: {text!r} is not a whole number from {least} to {most}.")
    return int(text)
