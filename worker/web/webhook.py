"""The webhook endpoint `POST /webhooks/stripe`: it answers 2xx only after the event is committed to the inbox.

It knows no registry and builds no Stripe objects. It verifies the signature on the raw bytes, reads a few fields, and stores
all requests that arrive together with one insert (group commit). After a commit it wakes the workers, off the request's
path.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import stripe

from worker.observe import log, metrics
from worker.stripe_api.envelope import Envelope, NotAnEvent, read_envelope

_log = log.get("ingress")

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_READ_BYTES = 16 * MAX_BODY_BYTES
TOLERANCE_SECONDS = 300

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Insert = Callable[[Sequence[Envelope]], Awaitable[set[str]]]


class Refused(Exception):
    """A request that is not stored. `code` is for programs and the metric, the message for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


def read(body: bytes, signature: str, secrets: Sequence[str], *, now: float) -> Envelope:
    """The event in a signed body; raises Refused if it is not signed, too old, or not an event."""
    text = _text(body)
    _verify(text, signature, secrets, now=now)
    try:
        return read_envelope(text)
    except NotAnEvent as error:
        raise Refused(400, "not_an_event", str(error)) from error


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(400, "not_utf8", "The body is not UTF-8.") from error


def _verify(text: str, signature: str, secrets: Sequence[str], *, now: float) -> None:
    """Raise Refused unless one of the secrets signed the body within the tolerance (the SDK's check allows the future)."""
    timestamp = re.search(r"(?:^|,)\s*t=(\d{1,12})(?:,|$)", signature)
    if timestamp is None:
        raise Refused(400, "bad_signature", "The Stripe-Signature header is missing or has no timestamp.")
    if abs(now - int(timestamp.group(1))) > TOLERANCE_SECONDS:
        raise Refused(400, "bad_timestamp", "The signature's timestamp is too far from our clock.")
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(text, signature, secret)
        except stripe.SignatureVerificationError:
            continue
        return
    raise Refused(400, "bad_signature", "None of the secrets in STRIPE_WEBHOOK_SECRET made this signature.")


class Writer:
    """Group commit: all events that arrive during an insert are stored by the next one."""

    def __init__(self, insert: Insert, *, stored: Callable[[], None], most: int = 500) -> None:
        self._insert, self._stored, self._most = insert, stored, most
        self._waiting: list[tuple[Envelope, asyncio.Future[bool]]] = []
        self._arrived = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, writers: int) -> None:
        """Start, with up to `writers` concurrent inserts."""
        self._tasks = [asyncio.create_task(self._run()) for _ in range(writers)]

    async def stop(self) -> None:
        """Store the waiting events, then end."""
        self._stopping = True
        self._arrived.set()
        await asyncio.gather(*self._tasks)

    async def store(self, envelope: Envelope) -> bool:
        """True once a new event is durable, False if it was stored before; raises the error of the insert."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((envelope, future))
        self._arrived.set()
        return await future

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            if batch:
                await self._write(batch)
            elif self._stopping:
                return
            if not self._waiting and not self._stopping:
                self._arrived.clear()

    async def _write(self, batch: list[tuple[Envelope, asyncio.Future[bool]]]) -> None:
        # A duplicate within a batch is one row, and both requests get their answer.
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

    def __init__(self, writer: Writer, *, secrets: Sequence[str], clock: Callable[[], float]) -> None:
        self._writer, self._secrets, self._clock = writer, secrets, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            envelope = await self._read(scope, receive)
        except Refused as refused:
            metrics.EVENTS_REFUSED.labels(refused.code).inc()
            _log.warning("event.refused", code=refused.code, status=refused.status)
            await _answer(send, refused.status, {"code": refused.code, "message": refused.message})
            return
        except _Disconnected:
            metrics.EVENTS_REFUSED.labels("disconnected").inc()
            return
        try:
            new = await self._writer.store(envelope)
        except Exception as error:  # noqa: BLE001 - the fault is ours, and Stripe delivers again
            metrics.EVENTS_REFUSED.labels("unavailable").inc()
            _log.error(
                "event.refused", code="unavailable", status=503, event_id=envelope.id, error=type(error).__name__
            )
            await _answer(
                send, 503, {"code": "unavailable", "message": "The event could not be stored. Send it again."}
            )
            return
        metrics.EVENTS_RECEIVED.labels("new" if new else "duplicate").inc()
        await _answer(send, 200, {"code": "stored" if new else "duplicate"})

    async def _read(self, scope: Scope, receive: Receive) -> Envelope:
        if scope["method"] != "POST":
            raise Refused(405, "method_not_allowed", "Stripe delivers events with POST.")
        headers = dict(scope["headers"])
        media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if media_type != b"application/json":
            raise Refused(415, "unsupported_media_type", "Stripe delivers events as application/json.")
        length = headers.get(b"content-length", b"")
        body = await _body(receive)
        if length.isdigit() and len(body) < int(length):
            raise Refused(400, "truncated", "The body is shorter than its Content-Length.")
        signature = headers.get(b"stripe-signature", b"").decode("latin-1")
        return read(body, signature, self._secrets, now=self._clock())


class _Disconnected(Exception):
    """The client disconnected before the end of its body."""


async def _body(receive: Receive) -> bytes:
    """The whole body. A body that is too large is read on, within limits, and dropped: its sender reads no answer before."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        if not message.get("more_body") or size > MAX_READ_BYTES:
            break
    if size > MAX_BODY_BYTES:
        raise Refused(413, "too_large", f"The body is larger than {MAX_BODY_BYTES} bytes.")
    return b"".join(chunks)


async def _answer(send: Send, status: int, body: dict[str, str]) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(body)})
