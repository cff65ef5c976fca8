"""Deliver events to webhook endpoints, signed as Stripe signs them. Deliveries are retried until the endpoint answers 2xx."""

import asyncio
import hmac
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any

import msgspec

from sandbox.account import Account
from sandbox.events import Event, snapshot, thin
from sandbox.http_out import Poster
from sandbox.shapes import CURRENT, shape_of

_encode = msgspec.json.Encoder().encode


class Endpoint(msgspec.Struct):
    """A webhook endpoint, or an event destination. `payload` is `snapshot`, `thin` (without the object) or `both`."""

    id: str
    url: str
    secrets: list[str]
    created: int = 0
    api_version: str = CURRENT
    enabled_events: list[str] = msgspec.field(default_factory=lambda: ["*"])
    payload: str = "snapshot"
    disabled: bool = False
    is_pinned: bool = True
    description: str | None = None
    metadata: dict[str, str] = {}
    connect: bool = False

    @property
    def is_destination(self) -> bool:
        """Whether it is an event destination of API v2 only; its id shows this."""
        return self.id.startswith("ed_")

    def wants(self, type: str) -> bool:
        """Whether the endpoint receives events of this type."""
        return not self.disabled and ("*" in self.enabled_events or type in self.enabled_events)


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """The settings of deliveries: delays, duplicates, losses and retries.

    By default each event is delivered once and immediately, in the order of creation, over parallel connections.
    """

    paused: bool = False
    concurrency: int = 8
    timeout_seconds: float = 10.0
    retry_seconds: list[float] = msgspec.field(default_factory=lambda: [0.1, 0.3, 1.0, 2.0, 5.0])
    max_attempts: int = 200
    delay_seconds: float = 0.0
    reorder_seconds: float = 0.0
    burst_seconds: float = 0.0
    duplicate: float = 0.0
    drop: float = 0.0


@dataclass(slots=True)
class _Job:
    event: Event
    account: Account
    endpoint: Endpoint
    is_thin: bool
    is_extra: bool = False
    attempts: int = 0


@dataclass(slots=True)
class _Counts:
    """The deliveries so far."""

    attempted: int = 0
    ok: int = 0
    dropped: int = 0
    duplicated: int = 0
    given_up: int = 0
    by_status: dict[int, int] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """The counts as JSON."""
        return {
            "attempted": self.attempted,
            "ok": self.ok,
            "dropped": self.dropped,
            "duplicated": self.duplicated,
            "given_up": self.given_up,
            "by_status": {str(status): count for status, count in self.by_status.items()},
        }


class Delivery:
    """The queue of deliveries, and the tasks that make them."""

    def __init__(self, account: Account, *, seed: int = 0) -> None:
        self.account = account
        self.endpoints: dict[str, Endpoint] = {}
        self.settings = Settings()
        self.counts = _Counts()
        self.on_endpoint: Callable[[str, Endpoint | None], None] | None = None
        self._chance = random.Random(seed)
        self._queue: list[tuple[float, int, _Job]] = []
        self._queued = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._poster = Poster()

    @property
    def pending(self) -> int:
        """The number of deliveries that are queued or running."""
        return len(self._queue) + len(self._sending)

    def clear(self, *, seed: int = 0) -> None:
        """Forget the queue, the counts and the settings; endpoints stay."""
        self._queue.clear()
        self.settings = Settings()
        self.counts = _Counts()
        self._chance = random.Random(seed)
        self._settle()

    def add(self, endpoint: Endpoint) -> None:
        """Add an endpoint; from now on it receives events."""
        self.endpoints[endpoint.id] = endpoint
        if self.on_endpoint is not None:
            self.on_endpoint(endpoint.id, endpoint)

    def remove(self, id: str) -> None:
        """Stop delivering to this endpoint; its queued deliveries are not sent."""
        del self.endpoints[id]
        if self.on_endpoint is not None:
            self.on_endpoint(id, None)

    def roll(self, id: str, secret: str | None) -> Endpoint:
        """Sign with this secret too, as Stripe does after a roll in the dashboard. If it is None, sign only with the newest
        secret."""
        endpoint = self.endpoints[id]
        endpoint.secrets = [*endpoint.secrets, secret] if secret is not None else endpoint.secrets[-1:]
        self.add(endpoint)
        return endpoint

    def announce(self, event: Event, account: Account) -> None:
        """Queue an account's event for every endpoint that receives it."""
        for endpoint in self.endpoints.values():
            if not endpoint.wants(event.type) or endpoint.connect != bool(account.connected_as):
                continue
            if endpoint.payload in ("snapshot", "both") and not event.thin_only:
                self._schedule(_Job(event, account, endpoint, is_thin=False))
            if endpoint.payload in ("thin", "both"):
                self._schedule(_Job(event, account, endpoint, is_thin=True))

    async def send(self, body: dict[str, Any]) -> None:
        """Deliver an event that belongs to no account to the endpoints for connected accounts, once and immediately."""
        for endpoint in self.endpoints.values():
            if endpoint.connect:
                await self._post(endpoint, _encode(body))

    def chance(self, probability: float) -> bool:
        """Decide at random, with this probability."""
        return probability > 0 and self._chance.random() < probability

    def discard(self) -> None:
        """Drop the queue, as if Stripe had given up these deliveries."""
        self._queue.clear()
        self._settle()

    def resend(self, event: Event) -> None:
        """Queue an event again, like the button in the dashboard."""
        for endpoint in self.endpoints.values():
            self._enqueue(_Job(event, self.account, endpoint, is_thin=False, is_extra=True), 0.0)

    async def run(self) -> None:
        """Deliver due events, forever."""
        while True:
            wait = self._start_due()
            self._woken.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def flush(self, *, shuffle: bool = False) -> None:
        """Try all queued deliveries now, even while paused, and wait for the answers. Failed deliveries are retried at their
        next time."""
        jobs = [job for _, _, job in sorted(self._queue, key=lambda entry: entry[:2])]
        self._queue.clear()
        if shuffle:
            self._chance.shuffle(jobs)
        gate = asyncio.Semaphore(self.settings.concurrency)

        async def send(job: _Job) -> None:
            async with gate:
                await self._send(job)

        self._idle.clear()
        tasks = {asyncio.create_task(send(job)) for job in jobs}
        self._sending |= tasks
        for task in tasks:
            task.add_done_callback(self._done)
        if self._sending:
            await asyncio.wait(set(self._sending))
        self._settle()

    async def drain(self, seconds: float) -> None:
        """Wait until no delivery is queued or running, or until time is up."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return

    def set(self, changes: dict[str, Any]) -> None:
        """Change some settings."""
        self.settings = msgspec.convert({**msgspec.to_builtins(self.settings), **changes}, Settings)
        self._woken.set()

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()

    def _schedule(self, job: _Job) -> None:
        settings = self.settings
        owed = job.account.log.owed
        if not job.is_thin:
            owed[job.event.id] = owed.get(job.event.id, 0) + 1
        if self.chance(settings.drop):
            self.counts.dropped += 1
            return
        self._enqueue(job, self._delay())
        if self.chance(settings.duplicate):
            self.counts.duplicated += 1
            self._enqueue(_Job(job.event, job.account, job.endpoint, job.is_thin, is_extra=True), self._delay())

    def _delay(self) -> float:
        settings = self.settings
        delay = settings.delay_seconds
        if settings.reorder_seconds:
            delay += self._chance.random() * settings.reorder_seconds
        if settings.burst_seconds:
            delay += settings.burst_seconds - time.monotonic() % settings.burst_seconds
        return delay

    def _enqueue(self, job: _Job, delay: float) -> None:
        self._queued += 1
        due = time.monotonic() + delay
        self._idle.clear()
        heappush(self._queue, (due, self._queued, job))
        self._woken.set()

    def _start_due(self) -> float | None:
        """Start due deliveries, up to the limit of concurrency. Returns how long to wait before starting more."""
        while self._queue and not self.settings.paused and len(self._sending) < self.settings.concurrency:
            wait = self._queue[0][0] - time.monotonic()
            if wait > 0:
                return wait
            task = asyncio.create_task(self._send(heappop(self._queue)[2]))
            self._sending.add(task)
            task.add_done_callback(self._done)
        return None

    def _done(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._woken.set()
        self._settle()

    def _settle(self) -> None:
        if not self._queue and not self._sending:
            self._idle.set()

    async def _send(self, job: _Job) -> None:
        log = job.account.log
        job.attempts += 1
        self.counts.attempted += 1
        status = await self._post(job.endpoint, self._body(job))
        self.counts.by_status[status] = self.counts.by_status.get(status, 0) + 1
        if 200 <= status < 300:
            self.counts.ok += 1
            if not job.is_thin and not job.is_extra:
                log.owed[job.event.id] -= 1
            return
        if job.attempts >= self.settings.max_attempts or job.endpoint.id not in self.endpoints:
            self.counts.given_up += 1
            return
        waits = self.settings.retry_seconds
        self._enqueue(job, waits[min(job.attempts, len(waits)) - 1])

    async def _post(self, endpoint: Endpoint, body: bytes) -> int:
        headers = {
            "Accept": "*/*; q=0.5, application/xml",
            "Cache-Control": "no-cache",
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, endpoint.secrets, int(time.time())),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        return await self._poster.post(endpoint.url, body, headers, timeout_seconds=self.settings.timeout_seconds)

    def _body(self, job: _Job) -> bytes:
        account = job.account
        if job.is_thin:
            return _encode({**thin(job.event), "context": account.connected_as or None})
        owed = max(account.log.owed.get(job.event.id, 0), 1)
        body = snapshot(job.event, shape_of(job.endpoint.api_version), account.store, owed=owed)
        return _encode({**body, "account": account.connected_as} if account.connected_as else body)


def signature(body: bytes, secrets: list[str], second: int) -> str:
    """The `Stripe-Signature` header; with two secrets, as during a roll, it has two signatures."""
    signed = f"{second}.".encode() + body
    made = [f"v1={hmac.new(secret.encode(), signed, sha256).hexdigest()}" for secret in secrets]
    return ",".join([f"t={second}", *made])
