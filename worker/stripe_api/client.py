"""The only file that calls Stripe: GETs that answer plain dicts and the second they are true of; it never writes there.

urllib3, which the SDK stands on, is used directly. The SDK's objects cost 16 times a plain decode and its retries leave out
429; `requests` lets a netrc file replace the key. Make a Stripe after the fork: connections can't be shared.
"""

import ipaddress
import math
import random
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import certifi
import msgspec
import urllib3

from worker.config.errors import Permanent, Temporary
from worker.config.settings import ConfigError, Settings
from worker.observe import metrics
from worker.stripe_api.rate_limit import ACCOUNT, RateLimited, RateLimiter, shared_client

__all__ = [
    "API_VERSION",
    "SHAPE",
    "Answer",
    "BadKey",
    "CursorGone",
    "InvalidRequest",
    "KeyCheck",
    "Locked",
    "MissingPermission",
    "NotFound",
    "Page",
    "RateLimited",
    "Stripe",
    "StripeFailed",
    "TimedOut",
    "Unreachable",
    "WrongMode",
    "operation_of",
]

API_VERSION = "2026-10-28.endive"
SHAPE = API_VERSION.partition(".")[2]

LIVE_PER_SECOND, TEST_PER_SECOND = 100.0, 25.0
CONNECT_SECONDS = 3.0
ATTEMPTS, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 4, 0.5, 8.0
CHUNK_BYTES = 1 << 18
DASHBOARD = "https://dashboard.stripe.com/apikeys"

# Words of a path that are neither a collection nor an id. Custom ids look like anything, so ids are known by their place.
_NAMESPACES = re.compile(
    "apps|billing|billing_portal|checkout|climate|core|crypto|entitlements|financial_connections|forwarding|identity|"
    "issuing|radar|reporting|sigma|tax|terminal|test_helpers|treasury"
)

Params = Mapping[str, str | int | bool | Sequence[str]]


class Unreachable(Temporary):
    """Stripe can't be reached."""


class TimedOut(Unreachable):
    """Stripe did not answer in time."""


class StripeFailed(Temporary):
    """Stripe answered that it is broken, or answered nonsense."""


class Locked(Temporary):
    """Another request holds the object at Stripe."""


class CursorGone(Temporary):
    """The object that the next page begins after was deleted meanwhile: the pass begins anew."""


class InvalidRequest(Permanent):
    """Stripe refuses the request as it is."""


class NotFound(InvalidRequest):
    """Stripe has no such object; `read_at` says when that was true."""

    @property
    def read_at(self) -> int:
        return cast(int, self.ids["read_at"])


class BadKey(Permanent):
    """STRIPE_SECRET_KEY is not set, or Stripe does not take it."""


class MissingPermission(Permanent):
    """The restricted key lacks `permission` (empty where Stripe did not name it)."""

    @property
    def permission(self) -> str:
        return str(self.ids.get("permission", ""))


class WrongMode(Permanent):
    """The object exists in the other mode than that of the key."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One object as of `read_at` (Stripe's clock, a lower bound); None where Stripe has no such id (`missing`)."""

    object: dict[str, Any] | None
    deleted: bool
    missing: bool
    read_at: int
    shape: str = SHAPE


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first, as of `read_at`."""

    data: list[dict[str, Any]]
    has_more: bool
    read_at: int
    shape: str = SHAPE


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """A key that works: its mode, its account (empty where it may not read that), and what it lacks."""

    livemode: bool
    restricted: bool
    account: str
    lacks: tuple[MissingPermission, ...]


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]
    read_at: int


class Stripe:
    """Reads from one Stripe account, within the rate that the fleet shares. Times given are in seconds."""

    def __init__(
        self,
        *,
        key: str,
        base: str,
        limiter: RateLimiter,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._key, self._base, self._limiter = key, base.rstrip("/"), limiter
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._http = _connections(self._base)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Stripe":
        """The account of STRIPE_SECRET_KEY. Nothing is connected yet."""
        if settings.stripe_secret_key is None:
            raise BadKey(
                f"STRIPE_SECRET_KEY is not set: make a key at {DASHBOARD} (a restricted one that reads is enough)"
            )
        key = settings.stripe_secret_key.get_secret_value()
        per_second = LIVE_PER_SECOND if _is_live(key) else TEST_PER_SECOND
        limiter = RateLimiter(shared_client(settings.redis_url), key=key, account_per_second=per_second)
        return cls(key=key, base=settings.stripe_api_base, limiter=limiter)

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
        """One object by its path (ids as they are, not quoted). An answer older than `timeout` is not believed.

        `deadline` bounds it all, waiting and retries included; `reserved` is for on-access work, which may use the whole
        budget where background work keeps to its share.
        """
        try:
            reply = self._get(path, params, account, timeout, deadline, reserved)
        except NotFound as error:
            return Answer(None, deleted=True, missing=True, read_at=error.read_at)
        return Answer(reply.body, deleted=reply.body.get("deleted") is True, missing=False, read_at=reply.read_at)

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
        """One page of a list, of 100 unless `params` says otherwise; list parameters are spelt `expand[]`, `created[gte]`."""
        reply = self._get(path, {"limit": 100, **(params or {})}, account, timeout, deadline, reserved)
        data, has_more = reply.body.get("data"), reply.body.get("has_more")
        # What a complete pass does not list may be taken for deleted, so a page that makes no sense is no page.
        if not isinstance(data, list) or not isinstance(has_more, bool) or (has_more and not data):
            raise StripeFailed("Stripe answered something else than a page", operation=operation_of(path))
        return Page(data, has_more, reply.read_at)

    def pages(
        self,
        path: str,
        params: Params | None = None,
        *,
        account: str = "",
        timeout: float = 15.0,
        deadline: float = 60.0,
        reserved: bool = False,
    ) -> Iterator[Page]:
        """All pages, each within `deadline`: older and older, or newer and newer where `params` has `ending_before`."""
        asked = dict(params or {})
        cursor, end = ("ending_before", 0) if "ending_before" in asked else ("starting_after", -1)
        while True:
            page = self.page(path, asked, account=account, timeout=timeout, deadline=deadline, reserved=reserved)
            yield page
            if not page.has_more:
                return
            asked[cursor] = page.data[end]["id"]

    def check(self, paths: Iterable[str] = ()) -> KeyCheck:
        """What the key can do, for `doctor`: raises BadKey where it is refused, and tries each list that is to be read."""
        try:
            account = str(self._get("/v1/account", None, "", 4.0, 10.0, True).body.get("id", ""))
        except MissingPermission:
            account = ""  # A restricted key needs no permission for it; that it was known is what counts.
        lacks = []
        for path in paths:
            try:
                self.page(path, {"limit": 1}, timeout=4.0, deadline=10.0, reserved=True)
            except MissingPermission as error:
                lacks.append(error)
        return KeyCheck(self.livemode, self._key.startswith("rk_"), account, tuple(lacks))

    def _get(
        self, path: str, params: Params | None, account: str, timeout: float, deadline: float, reserved: bool
    ) -> _Reply:
        """The reply to a GET, tried again while that helps and the deadline is not near."""
        operation, ends = operation_of(path), self._clock() + deadline
        url = self._base + quote(path, safe="/") + _query(params or {})
        for attempt in range(ATTEMPTS):
            self._limiter.acquire(operation, within=ends - self._clock(), reserved=reserved)
            try:
                return self._attempt(operation, url, account, min(timeout, max(ends - self._clock(), 0.001)))
            except (Unreachable, StripeFailed, Locked, RateLimited) as error:
                # Full jitter: whatever failed for many at once is not asked again by all at once.
                pause = self._jitter() * min(LONGEST_PAUSE_SECONDS, PAUSE_SECONDS * 2**attempt)
                hopeless = error.ids.get("should_retry") == "false"
                if hopeless or attempt + 1 == ATTEMPTS or self._clock() + pause >= ends:
                    raise
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, operation: str, url: str, account: str, timeout: float) -> _Reply:
        outcome = "unreachable"
        try:
            began = self._clock()
            status, headers, body = self._send(url, account, timeout)
            elapsed = self._clock() - began
            outcome = str(status)
            if status == 200:
                outcome = "malformed"
                reply = _Reply(status, headers, _decoded(body), _read_at(headers, elapsed))
                outcome = "ok"
                return reply
            raise self._refused(operation, status, headers, body, elapsed)
        except urllib3.exceptions.NewConnectionError as error:
            raise Unreachable(f"Stripe can't be reached ({type(error).__name__})", operation=operation) from error
        except urllib3.exceptions.TimeoutError as error:
            outcome = "timed_out"
            raise TimedOut("Stripe did not answer in time", operation=operation) from error
        except urllib3.exceptions.HTTPError as error:
            what = f"the connection to Stripe failed ({type(error).__name__})"
            raise Unreachable(what, operation=operation) from error
        except _MalformedError as error:
            raise StripeFailed(f"Stripe's answer has no proper {error}", operation=operation) from error
        finally:
            metrics.STRIPE_REQUESTS.labels(operation, outcome).inc()

    def _send(self, url: str, account: str, timeout: float) -> tuple[int, Mapping[str, str], bytes]:
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Stripe-Version": API_VERSION,
            "Accept-Encoding": "gzip",
            "User-Agent": "stripe-sync",
        }
        if account:
            headers["Stripe-Account"] = account
        ends = self._clock() + timeout
        response = self._http.request(
            "GET",
            url,
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
                # The time-outs above bound each wait, not their sum: what trickles in is too old to be believed.
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
        """What a status other than 200 means. Stripe's sentences are read, not repeated: they can hold addresses and keys."""
        error = _error_in(body)
        code, said = _word(error.get("code")), str(error.get("message", ""))
        ids: dict[str, Any] = {
            "operation": operation,
            "status": status,
            "code": code,
            "request_id": _word(headers.get("Request-Id")),
        }
        if status == 429:
            reason = _word(headers.get("Stripe-Rate-Limited-Reason")) or "unknown"
            if code == "lock_timeout" or reason == "lock-timeout":
                return Locked(**ids)
            self._limiter.slow_down(
                operation if reason.startswith(("endpoint", "resource")) else ACCOUNT, reason=reason
            )
            return RateLimited("Stripe refused a request too many", reason=reason, **ids)
        if status == 409:
            return Locked(**ids)
        if status >= 500:
            return StripeFailed(
                f"Stripe answered {status}", should_retry=_word(headers.get("Stripe-Should-Retry")), **ids
            )
        if status == 401:
            what = "has expired or was revoked" if code == "api_key_expired" else "is not a key that Stripe knows"
            return BadKey(f"STRIPE_SECRET_KEY {what}: take a valid one from {DASHBOARD}, set it and restart", **ids)
        if status == 403:
            return _missing_permission(operation, said, ids)
        if found := re.search(r"exists in (live|test) mode, but a (live|test) mode key", said):
            return WrongMode(
                f"{operation}: the object exists in {found[1]} mode, and STRIPE_SECRET_KEY is a {found[2]} mode key: set the "
                f"{found[1]} mode key, or the webhook endpoint's secret of {found[2]} mode",
                **ids,
            )
        if code == "resource_missing" and error.get("param") in ("starting_after", "ending_before"):
            return CursorGone(**ids)
        if status == 404 and code == "resource_missing":
            return NotFound(f"{operation}: Stripe has no such object", read_at=_read_at(headers, elapsed), **ids)
        if 300 <= status < 400:
            return InvalidRequest(
                f"{operation}: redirected ({status}), which is not followed: see STRIPE_API_BASE", **ids
            )
        about = ", ".join(word for word in (code, _word(error.get("param"))) if word)
        return InvalidRequest(f"{operation}: Stripe answered {status}" + (f" ({about})" if about else ""), **ids)


def operation_of(path: str) -> str:
    """The name under which Stripe limits a path: `GET /v1/subscriptions/{id}` for every subscription."""
    version, *parts = path.strip("/").split("/")
    first = 1 if parts and _NAMESPACES.fullmatch(parts[0]) else 0
    named = [
        "{id}" if place > first and (place - first) % 2 == 1 and part != "search" else part
        for place, part in enumerate(parts)
    ]
    return "GET /" + "/".join([version, *named])


def _missing_permission(operation: str, said: str, ids: dict[str, Any]) -> MissingPermission:
    found = re.search(r"\brak_([a-z0-9_]+)_(read|write)\b", said)
    if found is None:
        return MissingPermission(
            f"{operation}: Stripe forbids it to the key in STRIPE_SECRET_KEY (403): a restricted key's permissions are set "
            f"at {DASHBOARD}; a connected account may have withdrawn its consent",
            **ids,
        )
    return MissingPermission(
        f"{operation}: the restricted key in STRIPE_SECRET_KEY lacks {found[0]}. Edit the key at {DASHBOARD} and set "
        f"'{found[1].replace('_', ' ')}' to {found[2]}; it works at once, without a restart",
        permission=found[0],
        **ids,
    )


class _MalformedError(Exception):
    """Names the part of an answer that can't be read."""


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _MalformedError("JSON") from error


def _error_in(body: bytes) -> dict[str, Any]:
    """Stripe's error object; empty where something between us answered in its place."""
    try:
        error = _decoded(body).get("error")
    except _MalformedError:
        return {}
    return error if isinstance(error, dict) else {}


def _read_at(headers: Mapping[str, str], elapsed: float) -> int:
    """A second of Stripe's clock before which nothing can be missing: its Date, less all that the request took."""
    try:
        return math.floor(parsedate_to_datetime(headers["Date"]).timestamp() - elapsed)
    except (KeyError, ValueError, TypeError) as error:
        raise _MalformedError("Date") from error


def _word(value: object) -> str:
    """A word of Stripe's, fit for a message; anything else is left out."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.\[\]-]{1,64}", value) else ""


def _query(params: Params) -> str:
    pairs = [(name, str(value).lower() if isinstance(value, bool) else value) for name, value in params.items()]
    return "?" + urlencode(pairs, doseq=True) if pairs else ""


def _is_live(key: str) -> bool:
    return "_live_" in key


def _connections(base: str) -> urllib3.PoolManager:
    """Kept-alive connections; plain HTTP stays on this machine, where the sandbox is."""
    address = urlsplit(base)
    host = address.hostname or ""
    if address.scheme == "http" and _is_loopback(host):
        return urllib3.PoolManager(maxsize=16)
    if address.scheme != "https" or not host:
        raise ConfigError(
            "settings are missing or wrong:\n  STRIPE_API_BASE: is not an https:// address (http:// only to loopback)"
        )
    # The system's certificates (SSL_CERT_FILE counts), and certifi's for containers that have none.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    proxy = getproxies_environment().get("https")
    if proxy and not proxy_bypass(host):
        return urllib3.ProxyManager(proxy, maxsize=16, ssl_context=context)
    return urllib3.PoolManager(maxsize=16, ssl_context=context)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
