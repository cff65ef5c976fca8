"""Errors of the HTTP API."""

from typing import Any


class ApiError(Exception):
    """A request failed. `status` is the HTTP status, or 0 without an answer. `code` is for programs, the message for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class BadRequest(ApiError):
    """The request is wrong (400 or 413)."""


class Unauthorized(ApiError):
    """The token is wrong, or the daemon has no API_TOKEN (401 or 403)."""


class NotFound(ApiError):
    """There is no such user (404)."""


class Conflict(ApiError):
    """The Checkout session belongs to another user (409)."""


class Unavailable(ApiError):
    """The daemon or its database is unavailable (0, or 502 to 504). Try again later, or read the tables."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: BadRequest,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(status: int, body: Any) -> ApiError:
    """Return the error for an answer with this status and body."""
    known = body if isinstance(body, dict) else {}
    code, message = str(known.get("code", "error")), str(known.get("message", f"stripe-sync answered {status}"))
    return _BY_STATUS.get(status, ApiError)(status, code, message)
