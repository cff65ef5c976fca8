"""Authorization of the HTTP API. Paths need a token unless they are listed here, so a new route is never open by mistake."""

import hmac

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# Health checks contain no secrets, and the console has its own sign-in. The webhook endpoint is not behind this
# middleware, because it checks Stripe's signature.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
OPEN_PREFIXES = ("/console/",)


class Authorization:
    """Middleware that lets a request through if its bearer token is API_TOKEN, or its path is open."""

    def __init__(self, app: ASGIApp, token: SecretStr | None) -> None:
        self._app = app
        self._expected = f"Bearer {token.get_secret_value()}" if token is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self._app(scope, receive, send)
        elif self._expected is None:
            await _refuse(403, "forbidden", "API_TOKEN is not set: set it, and send it as a bearer token.")(
                scope, receive, send
            )
        elif not hmac.compare_digest(Headers(scope=scope).get("authorization", "").encode(), self._expected.encode()):
            await _refuse(401, "unauthorized", "Send API_TOKEN as a bearer token.")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path == "/console" or path.startswith(OPEN_PREFIXES)


def _refuse(status: int, code: str, message: str) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"code": code, "message": message}, status, headers)
