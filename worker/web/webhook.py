"""The webhook endpoint, `POST /webhooks/stripe`: store the event in the inbox, and answer 2xx only after the commit.

It builds no Stripe objects. It checks the signature on the raw bytes, and reads a few fields. One insert stores all
requests that arrive together (group commit). After the commit it wakes the workers, without delaying the answer.

Requests from strangers cost little. A request without a recent signature is refused before its body is read, a body has
a deadline, and all unfinished bodies share a memory budget.
"""

import asyncio
import functools
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import stripe

from worker.observe import log, metrics, trace
from worker.stripe_api.client import fingerprint
from worker.stripe_api.envelope import Envelope, NotAnEvent, read_envelope

_log = log.get("ingress")

MAX_BODY_BYTES = 4 * 1024 * 1024
# A body that is too large is still read, up to this size, and discarded. A client reads the answer only after it has sent
# the whole body.
MAX_READ_BYTES = 16 * MAX_BODY_BYTES
TOLERANCE_SECONDS = 300
BODY_SECONDS = 10
# The most bytes in all bodies that a process is reading or has not stored yet. Large bodies may take three quarters of
# it. The last quarter is for Stripe's events, which are small, even if strangers send large bodies.
MAX_BYTES_UNDER_WAY = 64 * 1024 * 1024
LARGE_BYTES = 256 * 1024
# Stripe gives up after some seconds. The answer must come earlier, even if Postgres is slow.
STORE_SECONDS = 9

# Looked up once, because finding a series by its labels costs as much as counting.
_NEW, _DUPLICATE = (metrics.EVENTS_RECEIVED.labels(outcome) for outcome in ("new", "duplicate"))
_signed = functools.cache(metrics.EVENTS_SIGNED.labels)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Insert = Callable[[Sequence[Envelope]], Awaitable[set[str]]]


class Refused(Exception):
    """The request is refused, and nothing is stored. `code` is for programs and the metric, `message` for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


def check_signature(signature: str, *, now: float) -> None:
    """Raise Refused unless the Stripe-Signature header has exactly one timestamp, and it is recent.

    Stripe's library accepts any timestamp in the future. If a header has several timestamps, the library may check
    a different timestamp than this function does, so only one is allowed.
    """
    timestamps = re.findall(r"(?:^|,)\s*t\s*=([^,]*)", signature)
    if len(timestamps) != 1 or not re.fullmatch(r"[0-9]{1,12}", timestamps[0]) or not signature.isascii():
        raise Refused(
            400, "bad_signature", "The Stripe-Signature header is missing, or does not have exactly one timestamp."
        )
    if abs(now - int(timestamps[0])) > TOLERANCE_SECONDS:
        raise Refused(400, "bad_timestamp", "The signature's timestamp is too far from our clock.")


def read(body: bytes, signature: str, secrets: Sequence[str], *, now: float) -> Envelope:
    """The event in a signed body. Raises Refused if the signature is wrong or old, or the body is not an event."""
    check_signature(signature, now=now)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(400, "not_utf8", "The body is not UTF-8.") from error
    secret = _verify(text, signature, secrets)
    try:
        return read_envelope(text, signed_by=fingerprint(secret))
    except NotAnEvent as error:
        raise Refused(400, "not_an_event", str(error)) from error


def _verify(text: str, signature: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(text, signature, secret)
        except stripe.SignatureVerificationError:
            continue
        return secret
    raise Refused(400, "bad_signature", "None of the secrets in STRIPE_WEBHOOK_SECRET made this signature.")


class Budget:
    """The number of bytes in all bodies that this process is reading, or has not stored yet."""

    def __init__(self, most: int = MAX_BYTES_UNDER_WAY) -> None:
        self._most, self.held = most, 0

    def take(self, size: int, *, is_large: bool) -> None:
        """Reserve this many more bytes. Raises Refused if there is no room for them."""
        most = self._most * 3 // 4 if is_large else self._most
        if self.held + size > most:
            raise Refused(503, "busy", "Too many requests are in progress. Send it again.")
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size


class Writer:
    """Group commit: the next insert stores all events that arrived during the last one."""

    def __init__(self, insert: Insert, *, stored: Callable[[], None], most: int = 500) -> None:
        self._insert, self._stored, self._most = insert, stored, most
        self._waiting: list[tuple[Envelope, asyncio.Future[bool]]] = []
        self._arrived = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, writers: int) -> None:
        """Start writing, with this many concurrent inserts."""
        self._tasks = [asyncio.create_task(self._run()) for _ in range(writers)]

    async def stop(self) -> None:
        """Store the waiting events, then stop."""
        self._stopping = True
        self._arrived.set()
        await asyncio.gather(*self._tasks)

    async def store(self, envelope: Envelope) -> bool:
        """Store the event durably. Returns whether it was new. Raises the error of the insert."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((envelope, future))
        self._arrived.set()
        return await future

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            # A request that was already answered with 503 is not stored, because Stripe sends it again.
            batch = [(envelope, future) for envelope, future in batch if not future.done()]
            if batch:
                await self._write(batch)
            elif self._stopping:
                return
            if not self._waiting and not self._stopping:
                self._arrived.clear()

    async def _write(self, batch: list[tuple[Envelope, asyncio.Future[bool]]]) -> None:
        # Two deliveries of the same event in a batch become one row, and both requests get an answer.
        unique = {envelope.id: envelope for envelope, _ in batch}
        try:
            new = await self._insert(list(unique.values()))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - raised in each request
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        if new:
            self._stored()
        for envelope, future in batch:
            if not future.done():
                future.set_result(envelope.id in new)
                new.discard(envelope.id)


class WebhookEndpoint:
    """The ASGI endpoint of `POST /webhooks/stripe`."""

    def __init__(
        self,
        writer: Writer,
        *,
        secrets: Sequence[str],
        clock: Callable[[], float],
        is_foreign: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`is_foreign` takes the fingerprint of a secret, and returns whether the secret belongs to another account. Events
        signed with such a secret are refused."""
        self._writer, self._secrets, self._clock, self._is_foreign = writer, secrets, clock, is_foreign
        self._budget = Budget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(self._budget)
        with trace.delivery("POST /webhooks/stripe", parent=_parent(scope)) as span:
            try:
                status, answer = await self._answer(scope, receive, body)
            except _Disconnected:
                metrics.EVENTS_REFUSED.labels("disconnected").inc()
                return
            finally:
                body.release()
            if span is not None:
                span.set_attribute("http.response.status_code", status)
            await _send(send, status, answer)

    async def _answer(self, scope: Scope, receive: Receive, body: "_Body") -> tuple[int, dict[str, str]]:
        started = time.monotonic()
        try:
            envelope = await self._read(scope, receive, body)
            if self._is_foreign(envelope.signed_by):
                raise Refused(
                    400, "other_account", "The event is from another Stripe account: see `stripe-sync doctor`."
                )
        except Refused as refused:
            metrics.EVENTS_REFUSED.labels(refused.code).inc()
            _log.warning("event.refused", code=refused.code, status=refused.status)
            return refused.status, {"code": refused.code, "message": refused.message}
        try:
            if (here := trace.traceparent()) is not None:
                trace.note("event_id", envelope.id)
                envelope = replace(envelope, traceparent=here)
            async with asyncio.timeout(STORE_SECONDS):
                new = await self._writer.store(envelope)
        except Exception as error:  # noqa: BLE001 - any error here is our fault, so Stripe must send the event again
            metrics.EVENTS_REFUSED.labels("unavailable").inc()
            _log.error(
                "event.refused", code="unavailable", status=503, event_id=envelope.id, error=type(error).__name__
            )
            return 503, {"code": "unavailable", "message": "The event could not be stored. Send it again."}
        (_NEW if new else _DUPLICATE).inc()
        _signed(envelope.signed_by).inc()
        metrics.DOOR_SECONDS.observe(time.monotonic() - started)
        return 200, {"code": "stored" if new else "duplicate"}

    async def _read(self, scope: Scope, receive: Receive, body: "_Body") -> Envelope:
        if scope["method"] != "POST":
            raise Refused(405, "method_not_allowed", "Stripe delivers events with POST.")
        headers = dict(scope["headers"])
        media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if media_type != b"application/json":
            raise Refused(415, "unsupported_media_type", "Stripe delivers events as application/json.")
        signature = headers.get(b"stripe-signature", b"").decode("latin-1")
        now = self._clock()
        check_signature(signature, now=now)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                whole = await body.read(receive)
        except TimeoutError:
            raise Refused(408, "too_slow", f"The body did not arrive within {BODY_SECONDS} s.") from None
        length = headers.get(b"content-length", b"")
        if length.isdigit() and len(whole) < int(length):
            raise Refused(400, "truncated", "The body is shorter than its Content-Length.")
        return read(whole, signature, self._secrets, now=now)


def _parent(scope: Scope) -> str | None:
    """The `traceparent` header of the request, which a proxy may have added; None if tracing is off."""
    if not trace.is_on():
        return None
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)


class _Disconnected(Exception):
    """The client disconnected before the end of its body."""


class _Body:
    """The body of a request. Its bytes count against the budget until it is released."""

    def __init__(self, budget: Budget) -> None:
        self._budget, self._chunks, self._held = budget, list[bytes](), 0

    async def read(self, receive: Receive) -> bytes:
        """The whole body. Raises Refused if it is too large, or if the budget has no room for it."""
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= MAX_BODY_BYTES:
                self._budget.take(len(chunk), is_large=size > LARGE_BYTES)
                self._held += len(chunk)
                self._chunks.append(chunk)
            elif self._held:
                self.release()
            if not message.get("more_body") or size > MAX_READ_BYTES:
                break
        if size > MAX_BODY_BYTES:
            raise Refused(413, "too_large", f"The body is larger than {MAX_BODY_BYTES} bytes.")
        return b"".join(self._chunks)

    def release(self) -> None:
        self._chunks.clear()
        self._budget.give_back(self._held)
        self._held = 0


async def _send(send: Send, status: int, body: dict[str, str]) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 405:
        headers.append((b"allow", b"POST"))
    if status == 408:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(body)})
