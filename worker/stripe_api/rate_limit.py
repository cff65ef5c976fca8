"""Decide when the next request may go to Stripe: one rate limit for all processes, kept in Redis.

This module never calls Stripe. Each request needs a place in several lanes at once: the lane of the account and the
lane of its operation. Background work also needs a place in a slower lane beside each of these, so that on-access work
always finds room. A lane stores the time at which it is free again, and spaces its requests evenly. At N requests per
second, no interval of one second contains more than N. While there is on-access work, background work leaves a fifth of
the rate to it. Otherwise it leaves very little, so that a backfill at night can use what Stripe allows.

The Lua scripts are our own, because no library takes places under several limits atomically with rates that change.
`limits` and `pyrate-limiter` take one key after the other, at fixed rates: if the second is refused, the place under
the first is already used.
"""

import hashlib
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.config.errors import Temporary
from worker.observe import log, metrics

_log = log.get("rate_limit")

ACCOUNT = "account"
OPERATION_PER_SECOND = 25.0
# The share of each rate that background work may use: while there is on-access work (reads that a request waits for), and
# after some seconds without it.
BACKGROUND_SHARE, UNDISTURBED_SHARE, ON_ACCESS_SECONDS = 0.8, 0.96, 10.0
LOCAL_SHARE = 0.1

# A place is at most this far ahead. If the next place is later, the caller tries again, so that no queue forms before
# an on-access read.
HORIZON_SECONDS = 0.1
# If Redis can't be reached, it is tried again after this pause, because each attempt may take as long as its timeout.
REDIS_PAUSE_SECONDS = 5.0

# A refusal by Stripe halves the rate, at most once per second. The rate stays halved for a while, and is back to its
# full value a minute later.
SLOWEST, HALVE_GAP_SECONDS, HOLD_SECONDS, RECOVERY_SECONDS = 1 / 16, 1.0, 5.0, 60.0

_SCRIPTS = files("worker.stripe_api")
_COMMON, _RESERVE, _SLOW = (
    _SCRIPTS.joinpath(name).read_text() for name in ("share.lua", "reserve.lua", "slow_down.lua")
)


class RateLimited(Temporary):
    """The rate limit has no place before the deadline."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a request. `at` is its time, by the clock of Redis or of this process; `wait` is in seconds from
    now."""

    taken: bool
    at: float
    wait: float


@dataclass(frozen=True, slots=True)
class _Lane:
    name: str
    scope: str
    per_second: float
    is_background: bool = False


def shared_client(url: str) -> redis.Redis | None:
    """A client that gives up within a second, because there is a fallback. None for Sentinel, which is not
    supported."""
    if url.startswith("sentinel://"):
        return None
    return redis.Redis.from_url(
        url.replace("redis+socket://", "unix://"),
        socket_timeout=1,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 1),
    )


class RateLimiter:
    """Gives each request a place, in order, across all processes that share a Stripe key and a Redis. Thread-safe."""

    def __init__(
        self,
        client: redis.Redis | None,
        *,
        key: str,
        account_per_second: float,
        operation_per_second: float = OPERATION_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account_per_second, self._operation_per_second = account_per_second, operation_per_second
        self._clock, self._sleep = clock, sleep
        # Two daemons for two accounts can share a Redis. The braces keep all lanes of a Stripe key on one node of a
        # cluster.
        self._prefix = "stripe_sync:rate:{" + hashlib.sha256(key.encode()).hexdigest()[:16] + "}:"
        self._reserve_script: Any = client and client.register_script(_COMMON + _RESERVE)
        self._slow_script: Any = client and client.register_script(_COMMON + _SLOW)
        self._alone = _Alone(clock)
        # Of the threads that wait for an operation, only one polls Redis. If thirty polled, that would cost more than their
        # requests to Stripe.
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._ask_redis_from = float("-inf")
        self._is_isolated = False

    def acquire(self, operation: str, *, within: float, reserved: bool = False) -> float:
        """Wait for a place and return its time. Raises RateLimited at once if there is no place `within` this many
        seconds."""
        began = self._clock()
        if reserved:
            place = self._wait(operation, within=within, reserved=True)
        else:
            turn, left = self._turns[operation], within
            if not turn.acquire(blocking=False):
                if within <= 0 or not turn.acquire(timeout=within):
                    raise RateLimited(operation=operation)
                left = began + within - self._clock()
            try:
                place = self._wait(operation, within=left, reserved=False)
            finally:
                turn.release()
        metrics.STRIPE_RATE_WAIT_SECONDS.observe(self._clock() - began)
        return place

    def _wait(self, operation: str, *, within: float, reserved: bool) -> float:
        lanes, began, left = self._lanes(operation, reserved=reserved), self._clock(), within
        while left >= 0:
            place = self._reserve(lanes, min(left, HORIZON_SECONDS), reserved=reserved)
            if not place.taken and place.wait > left:
                break
            if place.wait > 0:
                self._sleep(place.wait if place.taken else place.wait - HORIZON_SECONDS / 2)
            if place.taken:
                return place.at
            left = began + within - self._clock()
        raise RateLimited(operation=operation)

    def slow_down(self, scope: str, *, reason: str) -> None:
        """Halve the rate of a scope (ACCOUNT or an operation) for all processes, after Stripe has refused a request."""
        answer = self._ask(self._slow_script, [self._key("slow", scope)], [SLOWEST])
        share = self._alone.slow_down(scope) if answer is _AWAY else answer and float(cast(bytes, answer))
        if share is not None:
            _log.warning("rate.slowed", scope=scope, reason=reason, share=share)

    def _lanes(self, operation: str, *, reserved: bool) -> list[_Lane]:
        lanes = [
            _Lane("all", ACCOUNT, self._account_per_second),
            _Lane("all", operation, self._operation_per_second),
        ]
        if reserved:
            return lanes
        return lanes + [_Lane("background", lane.scope, lane.per_second, is_background=True) for lane in lanes]

    def _reserve(self, lanes: list[_Lane], longest: float, *, reserved: bool) -> _Place:
        scopes = [lanes[0].scope, lanes[1].scope]
        keys = [*(self._key("slow", scope) for scope in scopes), self._key("on_access", ACCOUNT)]
        mark = _micros(ON_ACCESS_SECONDS) if reserved else 0
        arguments: list[float | int] = [_micros(longest), mark, UNDISTURBED_SHARE, BACKGROUND_SHARE]
        for lane in lanes:
            keys.append(self._key(lane.name, lane.scope))
            arguments += [_micros(1 / lane.per_second), scopes.index(lane.scope) + 1, int(lane.is_background)]
        answer = self._ask(self._reserve_script, keys, arguments)
        if answer is _AWAY:
            return self._alone.reserve(lanes, longest, reserved=reserved)
        taken, at, wait, *restored = (int(part) for part in cast("list[bytes]", answer))
        for scope, is_restored in zip(scopes, restored, strict=True):
            if is_restored:
                _log.info("rate.restored", scope=scope)
        return _Place(bool(taken), at / 1e6, wait / 1e6)

    def _ask(self, script: Any, keys: list[str], arguments: list[float | int]) -> object:
        """Run a script; returns its answer, or _AWAY if Redis is away. The beginning and the end of an outage are
        logged."""
        if script is None:
            self._log_isolation("not_supported")
            return _AWAY
        if self._clock() < self._ask_redis_from:
            return _AWAY
        common = [_micros(seconds) for seconds in (HOLD_SECONDS, RECOVERY_SECONDS, HALVE_GAP_SECONDS)]
        try:
            answer: object = script(keys=keys, args=[*common, *arguments])
        except (redis.RedisError, OSError) as error:
            self._ask_redis_from = self._clock() + REDIS_PAUSE_SECONDS
            self._log_isolation(type(error).__name__)
            return _AWAY
        if self._is_isolated:
            self._is_isolated = False
            _log.info("limiter.rejoined")
        return answer

    def _log_isolation(self, error: str) -> None:
        if not self._is_isolated:
            self._is_isolated = True
            _log.warning("limiter.isolated", error=error, share=LOCAL_SHARE)

    def _key(self, name: str, scope: str) -> str:
        return f"{self._prefix}{name}:{scope}"


class _Alone:
    """The same lanes within one process, used if Redis is away. Their rate is low, because other processes do the
    same."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._free: dict[tuple[str, str], float] = {}
        self._slow: dict[str, tuple[float, float]] = {}
        self._on_access_until = float("-inf")

    def reserve(self, lanes: list[_Lane], longest: float, *, reserved: bool) -> _Place:
        with self._lock:
            now = self._clock()
            if reserved:
                self._on_access_until = now + ON_ACCESS_SECONDS
            background = BACKGROUND_SHARE if now < self._on_access_until else UNDISTURBED_SHARE
            at = max(now, *(self._free.get((lane.name, lane.scope), now) for lane in lanes))
            if at - now > longest:
                return _Place(False, at, at - now)
            for lane in lanes:
                rate = max(lane.per_second * LOCAL_SHARE, 1.0) * self._share(lane.scope, now)
                rate *= background if lane.is_background else 1.0
                self._free[lane.name, lane.scope] = at + 1 / rate
            return _Place(True, at, at - now)

    def slow_down(self, scope: str) -> float | None:
        with self._lock:
            now = self._clock()
            if scope in self._slow and now - self._slow[scope][1] < HALVE_GAP_SECONDS:
                return None
            share = max(SLOWEST, self._share(scope, now) / 2)
            self._slow[scope] = (share, now)
            return share

    def _share(self, scope: str, now: float) -> float:
        share, since = self._slow.get(scope, (1.0, now))
        return min(1.0, share + max(0.0, now - since - HOLD_SECONDS) / RECOVERY_SECONDS)


_AWAY = object()


def _micros(seconds: float) -> int:
    """Microseconds, rounded up, so that a lane never holds one request too many. The last digits of a float are
    ignored."""
    return math.ceil(round(seconds * 1e6, 3))
