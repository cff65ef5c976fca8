"""The client for Stripe's API, the only module that calls Stripe.

It returns plain dicts, and the time as of which they are valid. The daemon only reads. `write` is for `stripe-sync
endpoint`, which an operator runs. The client uses urllib3 directly and not the SDK: the SDK's objects need 16 times the CPU
of a plain decode, and the SDK does not retry after 429. The client does not use `requests`, because a netrc file could
replace the key there. Create a Stripe after a fork, because connections can't be shared between processes.

Many threads may read through one Stripe at once. Decision 4 says why threads, with a measurement.
"""

import hashlib
import ipaddress
import random
import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import certifi
import msgspec
import urllib3

from worker.config.backoff import Backoff
from worker.config.errors import Permanent, Temporary
from worker.config.settings import ConfigError, Settings
from worker.observe import metrics, trace
from worker.stripe_api.answers import (
    API_VERSION,
    Answer,
    MalformedError,
    Page,
    decode_list,
    decoded,
    error_in,
    is_object,
    is_page,
    safe_word,
    valid_as_of,
)
from worker.stripe_api.errors import (
    DASHBOARD,
    BadKey,
    CursorGone,
    InvalidRequest,
    Locked,
    MissingPermission,
    NotFound,
    StripeFailed,
    TimedOut,
    Unreachable,
    WrongMode,
    missing_permission,
)
from worker.stripe_api.rate_limit import ACCOUNT, RateLimited, RateLimiter, shared_client

LIVE_PER_SECOND, TEST_PER_SECOND = 100.0, 25.0
CONNECT_SECONDS = 3.0
ATTEMPTS, BACKOFF = 4, Backoff(first=0.5, longest=8)
CHUNK_BYTES = 1 << 18
# Kept-alive connections in addition to STRIPE_CONCURRENCY, because a thread that hangs may outlive its pass.
SPARE_CONNECTIONS = 16

# A restricted key works without permission for these, so a refusal is not counted as a problem.
OPTIONAL = ("GET /v1/webhook_endpoints", "GET /v2/core/event_destinations")

# The first words of paths that are neither a collection nor an id. Custom ids can have any form, so ids are recognised
# by position.
_NAMESPACES = re.compile(
    "apple_pay|apps|billing|billing_portal|checkout|climate|core|crypto|entitlements|financial_connections|forwarding|"
    "identity|issuing|product_catalog|radar|reporting|sigma|tax|terminal|test_helpers|three_d_secure|treasury"
)

Params = Mapping[str, str | int | bool | Sequence[str]]


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """A key that works: its mode, its account (empty if the key may not read it), and the permissions that it lacks."""

    livemode: bool
    restricted: bool
    account: str
    lacks: tuple[MissingPermission, ...]


@dataclass(frozen=True, slots=True)
class _Reply:
    body: bytes
    read_at: int


@dataclass(frozen=True, slots=True)
class _Write:
    method: str
    body: bytes | None
    content_type: str
    key: str = field(default_factory=lambda: str(uuid.uuid4()))


class Stripe:
    """A client for one Stripe account, within the rate limit that all processes share. Times are in seconds.
    Thread-safe."""

    def __init__(
        self,
        *,
        key: str,
        base: str,
        limiter: RateLimiter,
        connections: int = 48,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._key, self._base, self._limiter = key, base.rstrip("/"), limiter
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._http = _connections(self._base, connections)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Stripe":
        """A client with STRIPE_SECRET_KEY; raises BadKey if it is not set. Opens no connection."""
        if settings.stripe_secret_key is None:
            raise BadKey(
                f"STRIPE_SECRET_KEY is not set: create a key at {DASHBOARD} (a restricted key with read permissions is enough)"
            )
        key = settings.stripe_secret_key.get_secret_value()
        limiter = RateLimiter(
            shared_client(settings.redis_url),
            key=key,
            account_per_second=rate_of(settings),
            operation_per_second=settings.stripe_operation_rate,
        )
        connections = settings.stripe_concurrency + SPARE_CONNECTIONS
        return cls(key=key, base=settings.stripe_api_base, limiter=limiter, connections=connections)

    @property
    def livemode(self) -> bool:
        return _is_live(self._key)

    def close(self) -> None:
        self._http.clear()

    def retrieve(
        self,
        path: str,
        *,
        params: Params | None = None,
        account: str = "",
        timeout: float = 4.0,
        deadline: float = 30.0,
        reserved: bool = False,
    ) -> Answer:
        """Return one object by its path (ids are quoted here).

        An answer that took longer than `timeout` is discarded. `deadline` limits the total time, including waits and
        retries. `reserved` is for on-access work, which may use the whole rate; background work only uses its share.
        """
        try:
            reply = self._get(path, params, account, timeout, deadline, reserved)
        except NotFound as error:
            return Answer(None, deleted=True, missing=True, read_at=error.read_at)
        obj = decoded(reply.body)
        return Answer(obj, deleted=obj.get("deleted") is True, missing=False, read_at=reply.read_at)

    def page(
        self,
        path: str,
        params: Params | None = None,
        *,
        account: str = "",
        timeout: float = 15.0,
        deadline: float = 60.0,
        reserved: bool = False,
    ) -> Page:
        """Return one page of a list, with 100 objects unless `params` has another limit.

        Parameters are written as `expand[]` and `created[gte]`.
        """
        asked = {"limit": 100, **(params or {})}
        reply = self._get(path, asked, account, timeout, deadline, reserved, is_page)
        page = decode_list(reply.body)
        return Page(page.data, page.has_more, reply.read_at, encoded=True)

    def write(self, method: str, path: str, params: Params | None = None, *, deadline: float = 30.0) -> dict[str, Any]:
        """Send a POST or DELETE; returns the object in the answer. An idempotency key makes retries safe.

        The parameters are sent as a form, or as JSON for API v2.
        """
        body, kind = None, "application/json" if path.startswith("/v2/") else "application/x-www-form-urlencoded"
        if method == "POST":
            body = msgspec.json.encode(params or {}) if path.startswith("/v2/") else _query(params or {})[1:].encode()
        return decoded(self._get(path, None, "", deadline, deadline, True, write=_Write(method, body, kind)).body)

    def acting_for(self, account: str) -> "ActingFor":
        """A client for a connected account, or for our own account if `account` is empty."""
        return ActingFor(self, account)

    def check(self, paths: Iterable[str] = ()) -> KeyCheck:
        """Check the key by reading each of these lists, for `doctor`. Raises BadKey if the key is refused."""
        try:
            account = str(decoded(self._get("/v1/account", None, "", 4.0, 10.0, True).body).get("id", ""))
        except MissingPermission:
            account = ""  # A restricted key may lack this permission. Stripe has accepted the key, which is enough.
        lacks = []
        for path in paths:
            try:
                self.page(path, {"limit": 1}, timeout=4.0, deadline=10.0, reserved=True)
            except MissingPermission as error:
                lacks.append(error)
        return KeyCheck(self.livemode, self._key.startswith("rk_"), account, tuple(lacks))

    def refused(self, lists: Iterable[tuple[str, Mapping[str, str]]]) -> set[str]:
        """The paths of lists that the key may not read or that the account does not have, for `doctor`."""

        def is_refused(list_: tuple[str, Mapping[str, str]]) -> bool:
            path, params = list_
            try:
                self.page(path, {**params, "limit": 1}, timeout=4.0, deadline=10.0, reserved=True)
            except (MissingPermission, InvalidRequest):
                return True
            return False

        named = list(lists)
        with ThreadPoolExecutor(max_workers=8) as threads:
            return {path for (path, _), is_so in zip(named, threads.map(is_refused, named), strict=True) if is_so}

    def _get(
        self,
        path: str,
        params: Params | None,
        account: str,
        timeout: float,
        deadline: float,
        reserved: bool,
        makes_sense: Callable[[bytes], bool] | None = None,
        write: "_Write | None" = None,
    ) -> _Reply:
        """Send a request; retries it while that may help and the deadline allows it."""
        operation, ends = operation_of(path, write.method if write else "GET"), self._clock() + deadline
        url = self._base + quote(path, safe="/") + _query(params or {})
        for attempt in range(ATTEMPTS):
            self._limiter.acquire(operation, within=ends - self._clock(), reserved=reserved)
            try:
                left = max(ends - self._clock(), 0.001)
                with trace.span(operation, kind=trace.CLIENT):
                    return self._attempt(operation, url, account, min(timeout, left), makes_sense or is_object, write)
            except (Unreachable, StripeFailed, Locked, RateLimited) as error:
                # Full jitter, so that requests that failed together are not all repeated at the same time.
                pause = self._jitter() * BACKOFF.pause(attempt + 1)
                hopeless = error.ids.get("should_retry") == "false"
                if hopeless or attempt + 1 == ATTEMPTS or self._clock() + pause >= ends:
                    raise
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(
        self,
        operation: str,
        url: str,
        account: str,
        timeout: float,
        makes_sense: Callable[[bytes], bool],
        write: "_Write | None",
    ) -> _Reply:
        outcome, began = "unreachable", self._clock()
        try:
            status, headers, body = self._send(url, account, timeout, write)
            elapsed = self._clock() - began
            outcome = str(status)
            if status == 200:
                outcome = "malformed"
                if not makes_sense(body):
                    raise MalformedError("JSON")
                reply = _Reply(body, valid_as_of(headers, elapsed))
                outcome = "ok"
                return reply
            raise self._refused(operation, status, headers, body, elapsed)
        except urllib3.exceptions.NewConnectionError as error:
            raise Unreachable(f"Stripe can't be reached ({type(error).__name__})", operation=operation) from error
        except urllib3.exceptions.TimeoutError as error:
            outcome = "timed_out"
            raise TimedOut("Stripe did not answer in time", operation=operation) from error
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(
                f"the connection to Stripe failed ({type(error).__name__})", operation=operation
            ) from error
        except MalformedError as error:
            raise StripeFailed(f"Stripe's answer has no valid {error}", operation=operation) from error
        finally:
            metrics.STRIPE_REQUESTS.labels(operation, outcome).inc()
            if outcome == "401" or (outcome == "403" and not account and operation not in OPTIONAL):
                metrics.STRIPE_REFUSED.labels(outcome).inc()
            metrics.STRIPE_REQUEST_SECONDS.labels(operation, outcome).observe(self._clock() - began)

    def _send(
        self, url: str, account: str, timeout: float, write: "_Write | None"
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Stripe-Version": API_VERSION,
            "Accept-Encoding": "gzip",
            "User-Agent": "stripe-sync",
        }
        if account:
            headers["Stripe-Account"] = account
        if write is not None:
            headers["Content-Type"] = write.content_type
            headers["Idempotency-Key"] = write.key
        ends = self._clock() + timeout
        response = self._http.request(
            write.method if write else "GET",
            url,
            body=write.body if write else None,
            headers=headers,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, timeout), read=timeout),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        body = bytearray()
        try:
            while chunk := response.read1(CHUNK_BYTES):
                body += chunk
                # The timeouts above limit each wait but not their sum. An answer that arrives slowly is too old.
                if self._clock() > ends:
                    raise urllib3.exceptions.TimeoutError
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return response.status, response.headers, bytes(body)

    def _refused(
        self, operation: str, status: int, headers: Mapping[str, str], body: bytes, elapsed: float
    ) -> Temporary | Permanent:
        """The error for a status other than 200.

        It does not quote Stripe's message, which may contain addresses and keys.
        """
        error = error_in(body)
        code, message = safe_word(error.get("code")), str(error.get("message", ""))
        ids: dict[str, Any] = {
            "operation": operation,
            "status": status,
            "code": code,
            "request_id": safe_word(headers.get("Request-Id")),
        }
        if status == 429:
            reason = safe_word(headers.get("Stripe-Rate-Limited-Reason")) or "unknown"
            if code == "lock_timeout" or reason == "lock-timeout":
                return Locked(**ids)
            self._limiter.slow_down(
                operation if reason.startswith(("endpoint", "resource")) else ACCOUNT, reason=reason
            )
            return RateLimited("Stripe refused a request because of its rate limit", reason=reason, **ids)
        if status == 409:
            return Locked(**ids)
        if status >= 500:
            return StripeFailed(
                f"Stripe answered {status}", should_retry=safe_word(headers.get("Stripe-Should-Retry")), **ids
            )
        if status == 401:
            what = "has expired or was revoked" if code == "api_key_expired" else "is not a key that Stripe knows"
            return BadKey(f"STRIPE_SECRET_KEY {what}: take a valid one from {DASHBOARD}, set it and restart", **ids)
        if status == 403:
            return missing_permission(operation, message, ids)
        if modes := re.search(r"exists in (live|test) mode, but a (live|test) mode key", message):
            return WrongMode(
                f"{operation}: the object exists in {modes[1]} mode, and STRIPE_SECRET_KEY is a {modes[2]} mode key: set the "
                f"{modes[1]} mode key, or the webhook endpoint's secret of {modes[2]} mode",
                **ids,
            )
        if code == "resource_missing" and error.get("param") in ("starting_after", "ending_before"):
            return CursorGone(**ids)
        if status == 404 and code == "resource_missing":
            return NotFound(f"{operation}: Stripe has no such object", read_at=valid_as_of(headers, elapsed), **ids)
        if 300 <= status < 400:
            return InvalidRequest(
                f"{operation}: redirected ({status}), which is not followed: see STRIPE_API_BASE", **ids
            )
        about = ", ".join(word for word in (code, safe_word(error.get("param"))) if word)
        return InvalidRequest(f"{operation}: Stripe answered {status}" + (f" ({about})" if about else ""), **ids)


def fingerprint(secret: str) -> str:
    """A short hash that identifies a webhook secret without revealing it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


def operation_of(path: str, method: str = "GET") -> str:
    """The name of the operation for the rate limit: `GET /v1/subscriptions/{id}` for every subscription."""
    version, *parts = path.strip("/").split("/")
    first = 1 if parts and _NAMESPACES.fullmatch(parts[0]) else 0
    named = [
        "{id}" if place > first and (place - first) % 2 == 1 and part != "search" else part
        for place, part in enumerate(parts)
    ]
    return f"{method} /" + "/".join([version, *named])


class ActingFor:
    """A client that reads for one account, with the default timeouts."""

    def __init__(self, stripe: Stripe, account: str) -> None:
        self._stripe, self._account = stripe, account

    def page(self, path: str, params: Params | None = None) -> Page:
        return self._stripe.page(path, params, account=self._account)

    def retrieve(self, path: str) -> Answer:
        return self._stripe.retrieve(path, account=self._account)


def _query(params: Params) -> str:
    pairs = [(name, str(value).lower() if isinstance(value, bool) else value) for name, value in params.items()]
    return "?" + urlencode(pairs, doseq=True) if pairs else ""


def rate_of(settings: Settings) -> float:
    """The most requests per second that the settings allow. The key must be set."""
    assert settings.stripe_secret_key is not None
    is_live = _is_live(settings.stripe_secret_key.get_secret_value())
    return settings.stripe_rate or (LIVE_PER_SECOND if is_live else TEST_PER_SECOND)


def _is_live(key: str) -> bool:
    return "_live_" in key


def _connections(base: str, number: int) -> urllib3.PoolManager:
    """Kept-alive connections. Plain HTTP is only allowed to this machine, where the sandbox runs."""
    address = urlsplit(base)
    host = address.hostname or ""
    if address.scheme == "http" and _is_loopback(host):
        return urllib3.PoolManager(maxsize=number)
    if address.scheme != "https" or not host:
        raise ConfigError(
            "settings are missing or wrong:\n  STRIPE_API_BASE: is not an https:// address (http:// only to loopback)"
        )
    # Trust the system's certificates (SSL_CERT_FILE applies), and certifi's too, because some containers have none.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    proxy = getproxies_environment().get("https")
    if proxy and not proxy_bypass(host):
        return urllib3.ProxyManager(proxy, maxsize=number, ssl_context=context)
    return urllib3.PoolManager(maxsize=number, ssl_context=context)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
