"""When the next request may go to Stripe: one budget for the whole fleet, kept in Redis; it never calls Stripe itself.

Every request passes several lanes at once: the account's, its operation's, and for background work a narrower one beside
each, so that on-access work always finds room. A lane is the instant at which it is free again, and requests are evenly
spaced in it: N a second means that no second, wherever it is laid, holds more than N.

The Lua is ours since no library found takes several limits together or not at all, at a rate that changes while it runs:
`limits` and `pyrate-limiter` hit one key after the other (a refusal of the second has spent the first), at fixed rates.
"""

import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.config.errors import Temporary
from worker.observe import log, metrics

__all__ = ["ACCOUNT", "RateLimited", "RateLimiter", "shared_client"]

_log = log.get("rate_limit")

ACCOUNT = "account"
OPERATION_PER_SECOND = 25.0
BACKGROUND_SHARE = 0.8
LOCAL_SHARE = 0.1

# How far ahead a place is taken. Beyond it a caller asks again later, so that nobody's queue stands before an on-access read.
HORIZON_SECONDS = 0.1
# While Redis is away it is asked this often; each question may cost its time-out.
REDIS_PAUSE_SECONDS = 5.0

# A refusal by Stripe halves the rate (once a second at most); it stays so for a while, and is whole a minute later.
SLOWEST, HALVE_GAP_SECONDS, HOLD_SECONDS, RECOVERY_SECONDS = 1 / 16, 1.0, 5.0, 60.0

# Both scripts begin with this: the time, and how much of its rate a scope has now.
_COMMON = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local hold, recovery, halve_gap = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function share(key)
  local slow = redis.call('HMGET', key, 'share', 'since')
  if not slow[1] then return 1, nil end
  local age = now - slow[2]
  return math.min(1, slow[1] + math.max(0, age - hold) / recovery), age
end
"""

# KEYS: the slowness of two scopes (account, operation), then the lanes. ARGV: see _COMMON, how long the caller can wait,
# then of each lane its spacing and its scope. Times are in microseconds, written as integers: Lua would write 1.7e+15.
_RESERVE = (
    _COMMON
    + """
local shares, restored = {}, {0, 0}
for scope = 1, 2 do
  local age
  shares[scope], age = share(KEYS[scope])
  if age and shares[scope] == 1 then restored[scope] = redis.call('DEL', KEYS[scope]) end
end
local at = now
for i = 3, #KEYS do
  local free = tonumber(redis.call('GET', KEYS[i]) or 0)
  -- A place more than a minute away was taken under another clock (a failover): it is not believed.
  if free > at and free < now + 60000000 then at = free end
end
local taken = 0
if at - now <= tonumber(ARGV[4]) then
  taken = 1
  for i = 3, #KEYS do
    local free = at + math.ceil(ARGV[2 * i - 1] / shares[tonumber(ARGV[2 * i])])
    redis.call('SET', KEYS[i], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000) + 1000)
  end
end
return {taken, string.format('%.0f', at), string.format('%.0f', at - now), restored[1], restored[2]}
"""
)

# KEYS: the slowness of one scope. ARGV: see _COMMON, then the slowest share. Answers the new share, or nothing where it
# was halved just now.
_SLOW = (
    _COMMON
    + """
local current, age = share(KEYS[1])
if age and age >= 0 and age < halve_gap then return false end
local halved = string.format('%.6f', math.max(tonumber(ARGV[4]), current / 2))
redis.call('HSET', KEYS[1], 'share', halved, 'since', string.format('%.0f', now))
-- Whoever next sees it whole deletes it and says so; where nobody asks any more it goes by itself.
redis.call('EXPIRE', KEYS[1], 600)
return halved
"""
)


class RateLimited(Temporary):
    """The rate limit leaves no room in time."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a request stands: `at` is an instant of the clock that gave it, Redis' or ours; `wait` counts from now."""

    taken: bool
    at: float
    wait: float


@dataclass(frozen=True, slots=True)
class _Lane:
    name: str
    scope: str
    per_second: float


def shared_client(url: str) -> redis.Redis | None:
    """A client that gives up within a second, for there is a share to fall back on; None for Sentinel, which it can't ask."""
    if url.startswith("sentinel://"):
        return None
    return redis.Redis.from_url(
        url.replace("redis+socket://", "unix://"),
        socket_timeout=1,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 1),
    )


class RateLimiter:
    """A place for each request, in order, over all processes that share this key of Stripe's and this Redis."""

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
        # Two daemons for two accounts can share a Redis; the braces keep one key's lanes on one node.
        self._prefix = "stripe_sync:rate:{" + hashlib.sha256(key.encode()).hexdigest()[:16] + "}:"
        self._reserve_script: Any = client and client.register_script(_RESERVE)
        self._slow_script: Any = client and client.register_script(_SLOW)
        self._alone = _Alone(clock)
        self._ask_redis_from = float("-inf")
        self._says_alone = False

    def acquire(self, operation: str, *, within: float, reserved: bool = False) -> float:
        """Wait for a place and return its instant; raises RateLimited at once where none comes `within` so many seconds."""
        began, left = self._clock(), within
        while left >= 0:
            place = self._reserve(self._lanes(operation, reserved=reserved), min(left, HORIZON_SECONDS))
            if not place.taken and place.wait > left:
                break
            if place.wait > 0:
                self._sleep(place.wait if place.taken else place.wait - HORIZON_SECONDS / 2)
            if place.taken:
                metrics.STRIPE_RATE_WAIT_SECONDS.observe(self._clock() - began)
                return place.at
            left = began + within - self._clock()
        raise RateLimited(operation=operation)

    def slow_down(self, scope: str, *, reason: str) -> None:
        """Halve the rate of a scope (ACCOUNT or an operation) for everybody, for Stripe refused a request of it."""
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
        return lanes + [_Lane("background", lane.scope, lane.per_second * BACKGROUND_SHARE) for lane in lanes]

    def _reserve(self, lanes: list[_Lane], longest: float) -> _Place:
        scopes = [lanes[0].scope, lanes[1].scope]
        keys = [self._key("slow", scope) for scope in scopes]
        arguments: list[float | int] = [_micros(longest)]
        for lane in lanes:
            keys.append(self._key(lane.name, lane.scope))
            arguments += [_micros(1 / lane.per_second), scopes.index(lane.scope) + 1]
        answer = self._ask(self._reserve_script, keys, arguments)
        if answer is _AWAY:
            return self._alone.reserve(lanes, longest)
        taken, at, wait, *restored = (int(part) for part in cast("list[bytes]", answer))
        for scope, is_restored in zip(scopes, restored, strict=True):
            if is_restored:
                _log.info("rate.restored", scope=scope)
        return _Place(bool(taken), at / 1e6, wait / 1e6)

    def _ask(self, script: Any, keys: list[str], arguments: list[float | int]) -> object:
        """The script's answer, or _AWAY; an absence of Redis is said when it begins and when it ends."""
        if script is None:
            self._say_alone("not_supported")
            return _AWAY
        if self._clock() < self._ask_redis_from:
            return _AWAY
        common = [_micros(seconds) for seconds in (HOLD_SECONDS, RECOVERY_SECONDS, HALVE_GAP_SECONDS)]
        try:
            answer: object = script(keys=keys, args=[*common, *arguments])
        except (redis.RedisError, OSError) as error:
            self._ask_redis_from = self._clock() + REDIS_PAUSE_SECONDS
            self._say_alone(type(error).__name__)
            return _AWAY
        if self._says_alone:
            self._says_alone = False
            _log.info("limiter.rejoined")
        return answer

    def _say_alone(self, error: str) -> None:
        if not self._says_alone:
            self._says_alone = True
            _log.warning("limiter.isolated", error=error, share=LOCAL_SHARE)

    def _key(self, name: str, scope: str) -> str:
        return f"{self._prefix}{name}:{scope}"


class _Alone:
    """The same lanes within one process, at a share that is safe for several processes that can't see each other."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._free: dict[tuple[str, str], float] = {}
        self._slow: dict[str, tuple[float, float]] = {}

    def reserve(self, lanes: list[_Lane], longest: float) -> _Place:
        with self._lock:
            now = self._clock()
            at = max(now, *(self._free.get((lane.name, lane.scope), now) for lane in lanes))
            if at - now > longest:
                return _Place(False, at, at - now)
            for lane in lanes:
                rate = max(lane.per_second * LOCAL_SHARE, 1.0) * self._share(lane.scope, now)
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
    """Rounded up, so that a lane never holds one request too many; but not for the last bit of a float."""
    return math.ceil(round(seconds * 1e6, 3))
