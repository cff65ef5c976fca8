"""The OpenAPI 3.1 document of the HTTP API.

The structs describe the answers; `GET /v1/openapi.json` is made from them.
"""

from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PATH = "/v1/openapi.json"


class Product(Struct, forbid_unknown_fields=True):
    """A Stripe product."""

    id: str
    name: str


class Subscription(Struct, forbid_unknown_fields=True):
    """The subscription that gives the user's product, else the newest that has not ended. `status` is as in Stripe."""

    id: str
    status: str
    price: str | None
    product: str | None
    current_period_end: datetime | None
    trial_end: datetime | None
    cancel_at_period_end: bool


class Access(Struct, forbid_unknown_fields=True):
    """A user's access. `tokens` is 0 after they expire. If `stale` is true, Stripe did not confirm the access within max_age."""

    has_access: bool
    role: Literal["USER", "PREMIUM", "ADMIN", "BANNED"]
    membership_status: Literal["ACTIVE", "INACTIVE", "CANCELED", "PAST_DUE"]
    product: Product | None
    subscription: Subscription | None
    features: list[str]
    tokens: int
    tokens_expires_at: datetime | None
    synced_at: datetime | None
    stale: bool


class Sync(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of a sync. It may name a Checkout session that the user has just completed, which is then read too."""

    checkout_session: Annotated[str, Meta(pattern="^cs_[A-Za-z0-9_]{1,250}$")] | None = None


class ChangeData(Struct, forbid_unknown_fields=True):
    """The content of a change. `reason` names the rule, as in `stripe-sync why`. `before` and `after` have the fields role,
    membership_status, stripe_product_id, features and tokens."""

    before: dict[str, Any]
    after: dict[str, Any]
    reason: str


class Change(Struct, forbid_unknown_fields=True):
    """A change of one user. Each user's changes have ascending ids, in the order in which they happened."""

    id: int
    type: str
    timestamp: datetime
    user_id: str
    data: ChangeData


class Changes(Struct, forbid_unknown_fields=True):
    """A page of changes, oldest first. Pass the last id as `after` to get the next page."""

    data: list[Change]
    has_more: bool


class Difference(Struct, forbid_unknown_fields=True):
    """A changed field of the object, with both values as Stripe sends them."""

    path: str
    before: Any
    after: Any


class ObjectSync(Struct, forbid_unknown_fields=True):
    """An object that was read from Stripe, at `read_at` in unix seconds. If `uncertain`, it is read again within seconds."""

    object: str
    id: str
    account: str | None
    outcome: Literal["corrected", "confirmed", "deleted", "uncertain"]
    read_at: int
    changed: list[Difference]


class Worker(Struct, forbid_unknown_fields=True):
    """A child process of a worker. `task` is null while the process waits for work."""

    name: str
    lane: str
    task: str | None
    since: datetime | None


class Status(Struct):
    """How far behind the daemon is. More numbers may be added."""

    pending: int
    parked: int
    oldest_pending_seconds: float
    unsettled: int
    unlinked_customers: int
    workers_alive: int
    workers: list[Worker]


class Error(Struct, forbid_unknown_fields=True):
    """The error of a failed request: a code for programs, and a message for people."""

    code: str
    message: str


_USER = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "users.id"}
_MAX_AGE = {
    "name": "max_age",
    "in": "query",
    "schema": {"type": "number", "minimum": 0, "default": 60},
    "description": "The maximum age in seconds of Stripe's last confirmation. If it is older, Stripe is read first.",
}
_COMMON = {401: "The bearer token is wrong.", 403: "API_TOKEN is not set.", 503: "The database can't be reached."}
_NO_USER = {404: "There is no such user."}

_OPERATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "/v1/users/{id}/access": {
        "get": {
            "operationId": "getAccess",
            "summary": "Return a user's access, features and tokens.",
            "parameters": [_USER, _MAX_AGE],
            "answer": Access,
            "errors": {400: "max_age is not a number of seconds.", **_NO_USER},
        }
    },
    "/v1/users/{id}/sync": {
        "post": {
            "operationId": "syncUser",
            "summary": "Read a user's subscriptions from Stripe now, and return the user's access.",
            "parameters": [_USER],
            "body": Sync,
            "answer": Access,
            "errors": {
                400: "The body is invalid.",
                409: "The Checkout session belongs to another user.",
                413: "The body is too large.",
                **_NO_USER,
            },
        }
    },
    "/v1/objects/{id}/sync": {
        "post": {
            "operationId": "syncObject",
            "summary": "Read one object from Stripe now, write it, and return what changed.",
            "parameters": [
                {**_USER, "description": "The id of any Stripe object."},
                {
                    "name": "type",
                    "in": "query",
                    "schema": {"type": "string"},
                    "description": "The object's type; by default, the id's prefix decides.",
                },
                {"name": "account", "in": "query", "schema": {"type": "string"}, "description": "A connected account."},
            ],
            "answer": ObjectSync,
            "errors": {400: "The type cannot be read.", 404: "There is no such object."},
        }
    },
    "/v1/changes": {
        "get": {
            "operationId": "getChanges",
            "summary": "Return changes of users, ordered by id.",
            "parameters": [
                {"name": "after", "in": "query", "schema": {"type": "integer", "minimum": 0, "default": 0}},
                {
                    "name": "limit",
                    "in": "query",
                    "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
                },
            ],
            "answer": Changes,
            "errors": {400: "after or limit is not a whole number in range."},
        }
    },
    "/v1/status": {
        "get": {"operationId": "getStatus", "summary": "Return how far behind the daemon is.", "answer": Status}
    },
    PATH: {"get": {"operationId": "getOpenApi", "summary": "Return this document.", "answer": dict[str, Any]}},
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document, ready to be written as JSON."""
    operations = [operation for methods in _OPERATIONS.values() for operation in methods.values()]
    types = [operation["answer"] for operation in operations]
    types += [operation["body"] for operation in operations if "body" in operation]
    schemas, components = msgspec.json.schema_components([*types, Error], ref_template="#/components/schemas/{name}")
    refs = dict(zip(map(str, [*types, Error]), schemas, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "stripe-sync",
            "version": _version(),
            "description": "The access of an application's users, computed from their subscriptions and payments at Stripe.",
        },
        "security": [{"token": []}],
        "paths": {
            path: {method: _operation(operation, refs) for method, operation in methods.items()}
            for path, methods in _OPERATIONS.items()
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "API_TOKEN"}},
        },
    }


def routes() -> list[Route]:
    """Return the route of the document."""

    async def show(_: Request) -> Response:
        return JSONResponse(document())

    return [Route(PATH, show, methods=["GET"])]


def _operation(operation: dict[str, Any], refs: dict[str, Any]) -> dict[str, Any]:
    def content(type_: Any) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": refs[str(type_)]}}}

    errors = {**_COMMON, **operation.get("errors", {})}
    made: dict[str, Any] = {
        name: operation[name] for name in ("operationId", "summary", "parameters") if name in operation
    }
    if "body" in operation:
        made["requestBody"] = {"required": False, **content(operation["body"])}
    made["responses"] = {
        "200": {"description": "The answer.", **content(operation["answer"])},
        **{str(status): {"description": errors[status], **content(Error)} for status in sorted(errors)},
    }
    return made


def _version() -> str:
    try:
        return version("stripe-sync")
    except PackageNotFoundError:
        return "0"
