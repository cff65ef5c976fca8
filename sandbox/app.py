"""Authenticate every request, apply limits and faults, and answer as Stripe would."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

import msgspec

from sandbox.account import Account
from sandbox.api import billing, destinations, endpoints, features, reads, selling
from sandbox.api.call import Call, Route, Routes
from sandbox.api.params import Params, decode, decode_json
from sandbox.connected import Connected
from sandbox.control import Control
from sandbox.delivery import Delivery
from sandbox.errors import StripeError, invalid
from sandbox.events import Event
from sandbox.faults import Conditions, rate_limited
from sandbox.journal import Journal
from sandbox.keys import Keys
from sandbox.shapes import CURRENT, shape_of
from sandbox.stats import Stats

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_encode = msgspec.json.Encoder().encode
_ANSWERS_KEPT = 10_000
_AN_HOUR = 3600


class Sandbox:
    """The ASGI application, and all of its parts."""

    def __init__(self, *, seed: int = 0, journal: Journal | None = None) -> None:
        self.account = Account(seed=seed)
        self.connected = Connected(self.account.clock)
        self.delivery = Delivery(self.account, seed=seed)
        self.conditions = Conditions()
        self.keys = Keys()
        self.stats = Stats()
        self.journal = journal
        self.control = Control(self.account, self.delivery, self.conditions, self.keys, self.stats, journal)
        self.control.connected, self.control.on_account = self.connected, self._listen
        self._listen(self.account)
        self._answers: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        self._routes = Routes()
        features.add_to(self._routes)  # must come before the generic lists
        reads.add_to(self._routes)
        selling.add_to(self._routes)
        billing.add_to(self._routes)
        endpoints.add_to(self._routes, self.delivery)
        destinations.add_to(self._routes, self.delivery)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = await _body_of(receive)
        if scope["path"].startswith("/_sandbox"):
            status, headers, answer = await self._controlled(scope, body)
        else:
            status, headers, answer = await self._answered(scope, body)
        if self.journal is not None and scope["method"] != "GET":
            self.journal.commit(self.account)
        headers.setdefault("content-type", "application/json")
        listed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": listed})
        await send({"type": "http.response.body", "body": answer})

    async def _controlled(self, scope: Scope, body: bytes) -> tuple[int, dict[str, str], bytes]:
        query = decode(scope["query_string"].decode())
        try:
            answer = await self.control.answer(scope["method"], scope["path"], query, body)
        except StripeError as error:
            return error.status, {}, _encode(error.body("req_control"))
        except Exception as error:  # noqa: BLE001  # the server's own log is off: our faults are shown here
            return 500, {}, _encode(_our_fault(error).body("req_control"))
        return 200, {}, _encode(answer)

    async def _answered(self, scope: Scope, body: bytes) -> tuple[int, dict[str, str], bytes]:
        given = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method, request_id = scope["method"], self.account.request_id()
        headers = {"Request-Id": request_id, "Stripe-Version": given.get("stripe-version", CURRENT)}
        try:
            key = self.keys.authenticate(given.get("authorization"))
            route, ids = self._routes.find(method, scope["path"])
            self.stats.requested(route.operation)
            self.keys.authorize(key, route.resource, method)
            await self._apply_faults(route.operation)
            self.conditions.limit(route.operation)
            status, answer = 200, self._carried_out(route, ids, scope, given, body, headers)
        except StripeError as error:
            status, answer = error.status, _encode(error.body(request_id))
            headers.update(error.headers)
        except Exception as error:  # noqa: BLE001  # as above
            status, answer = 500, _encode(_our_fault(error).body(request_id))
        self.stats.answered(status)
        headers["Date"] = formatdate(self.account.clock.precise() + self.conditions.date_skew_seconds, usegmt=True)
        return status, headers, answer

    def _carried_out(
        self,
        route: Route,
        ids: tuple[str, ...],
        scope: Scope,
        given: dict[str, str],
        body: bytes,
        headers: dict[str, str],
    ) -> bytes:
        account, method = self.connected.of(given.get("stripe-account", ""), self.account), route.method
        idempotency_key = given.get("idempotency-key") if method == "POST" else None
        remembered = (route.operation, idempotency_key or "")
        if idempotency_key is not None and remembered in self._answers:
            sent, answer = self._answers[remembered]
            if sent != body:
                raise StripeError(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters they were first used with.",
                    type="idempotency_error",
                )
            headers["Idempotent-Replayed"] = "true"
            return answer
        lag = self.conditions.replica_lag_seconds
        number = account.store.number_before(lag) if lag and method == "GET" else None
        is_json = scope["path"].startswith("/v2/")
        try:
            text = f"{scope['query_string'].decode()}&{'' if is_json else body.decode()}".strip("&")
        except UnicodeDecodeError:
            raise invalid("The request is not UTF-8.") from None
        call = Call(
            account=account,
            view=account.store.view(number),
            shape=shape_of(given.get("stripe-version")),
            params=Params(decode(text) | (decode_json(body) if is_json else {})),
            path=scope["path"],
            ids=ids,
        )
        with account.requested(headers["Request-Id"], idempotency_key):
            answer = _encode(route.handler(call))
        if idempotency_key is not None:
            if len(self._answers) >= _ANSWERS_KEPT:
                self._answers.pop(next(iter(self._answers)))
            self._answers[remembered] = (body, answer)
        return answer

    async def _apply_faults(self, operation: str) -> None:
        """Apply the active faults to a request."""
        for fault in self.conditions.faults_of(operation):
            if fault.hang:
                await asyncio.sleep(_AN_HOUR)
            if fault.slow_seconds:
                await asyncio.sleep(fault.slow_seconds)
            if self.delivery.chance(fault.rate429):
                raise rate_limited(fault.reason)
            if self.delivery.chance(fault.rate500):
                raise StripeError(500, "An unknown error occurred.", type="api_error")

    def _listen(self, account: Account) -> None:
        def happened(event: Event) -> None:
            # The journal only holds the platform's account: connected accounts are lost with the process.
            if self.journal is not None and account is self.account:
                self.journal.event(event)
            self.delivery.announce(event, account)

        account.on_event = happened


def _our_fault(error: Exception) -> StripeError:
    """The answer to a request that failed because of a fault in the sandbox; the traceback goes to the terminal."""
    traceback.print_exception(error)
    return StripeError(500, f"The sandbox is broken: {error!r}", type="api_error")


async def _body_of(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            break
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return b"".join(chunks)
