"""Pure functions that find problems of our webhook endpoints in data read from Stripe."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATH = "/webhooks/stripe"
_UPDATE = "run `stripe-sync endpoint update`"
# `issuing_authorization.request` waits for an answer that approves a payment, so a mirror must never subscribe to it.
NEVER_WANTED = frozenset({"*", "issuing_authorization.request"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A webhook endpoint, or an event destination (v2) that delivers to a URL.

    `version` is None for the account's default version. `events_from` names the accounts that a destination serves.
    """

    id: str
    url: str
    enabled: bool
    types: frozenset[str]
    version: str | None
    livemode: bool
    created: int = 0
    thin: bool = False
    events_from: tuple[str, ...] = ()
    metadata: Mapping[str, str]

    @property
    def is_destination(self) -> bool:
        """Whether this is an event destination, which only API v2 can read."""
        return self.id.startswith("ed_")

    @property
    def is_connect(self) -> bool:
        """Whether it receives events of connected accounts. Stripe does not show this for webhook endpoints, so it is known only
        for endpoints that we created."""
        return "@accounts" in self.events_from or self.metadata.get("stripe_sync") == "connect"

    @property
    def is_quiet(self) -> bool:
        """Whether `endpoint roll` has created this endpoint but not turned it on yet."""
        return self.metadata.get("stripe_sync") == "rolling"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of an endpoint. `kind` is for programs, `detail` describes the problem, and `fix` says what to do."""

    kind: str
    endpoint: str
    detail: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Counts since the last run: delivered events, events that only catch-up found, deliveries of the other mode (test or
    live), and requests refused because of their signature. `failed` has the age in seconds of each event that Stripe could
    not deliver here.
    """

    delivered: int = 0
    caught_up: int = 0
    other_mode: int = 0
    bad_signatures: int = 0
    failed: tuple[int, ...] = ()


def read_endpoint(obj: Mapping[str, Any]) -> Endpoint | None:
    """Read an object of /v1/webhook_endpoints or /v2/core/event_destinations; None if it delivers to no URL."""
    v2 = obj.get("object") == "v2.core.event_destination"
    url = (obj.get("webhook_endpoint") or {}).get("url") if v2 else obj.get("url")
    if not url:
        return None
    created = obj.get("created")
    return Endpoint(
        id=str(obj.get("id", "")),
        url=str(url),
        enabled=obj.get("status") == "enabled",
        types=frozenset(obj.get("enabled_events") or ()),
        version=obj.get("snapshot_api_version" if v2 else "api_version"),
        livemode=bool(obj.get("livemode")),
        created=created if isinstance(created, int) else 0,
        thin=obj.get("event_payload") == "thin",
        events_from=tuple(obj.get("events_from") or ()),
        metadata=obj.get("metadata") or {},
    )


def ours(endpoints: Iterable[Endpoint], url: str | None) -> list[Endpoint]:
    """The endpoints that deliver to this URL, oldest first. If `url` is None, the endpoints whose URL ends in our
    path."""
    return sorted(
        (
            endpoint
            for endpoint in endpoints
            if (same(endpoint.url, url) if url else urlsplit(endpoint.url).path.rstrip("/").endswith(PATH))
        ),
        key=lambda endpoint: (endpoint.created, endpoint.id),
    )


def same(url: str, other: str) -> bool:
    """Whether two URLs are the same, ignoring case and a slash at the end."""
    return url.rstrip("/").lower() == other.rstrip("/").lower()


def lacking(endpoints: Iterable[Endpoint], required: Collection[str]) -> list[str]:
    """The event types that none of these endpoints receives."""
    named = {type_.removeprefix("v1.") if each.thin else type_ for each in endpoints for type_ in each.types}
    return [] if "*" in named else sorted(set(required) - NEVER_WANTED - named)


def problems(
    endpoints: Sequence[Endpoint] | None,
    *,
    url: str | None,
    version: str,
    livemode: bool,
    required: Collection[str],
    flow: Flow,
) -> list[Problem]:
    """All current problems. `endpoints` are all endpoints of the account, or None if the key may not read them."""
    wrong: list[Problem] = []
    mine = [] if endpoints is None else ours(endpoints, url)
    live = [each for each in mine if each.enabled and not each.is_quiet]
    if endpoints is not None and not mine and not flow.delivered:
        wrong.append(_missing(url))
    for each in [] if live else [each for each in mine if not each.is_quiet]:
        wrong.append(_disabled(each))
    if live:
        wrong += _settings(live, version=version, livemode=livemode, required=required)
    if flow.other_mode:
        wrong.append(_other_mode(flow.other_mode, livemode))
    if flow.caught_up and not flow.delivered:
        wrong.append(_stopped(flow))
    elif flow.failed:
        wrong.append(_failing(flow))
    return wrong


def _settings(
    live: Sequence[Endpoint], *, version: str, livemode: bool, required: Collection[str]
) -> Iterable[Problem]:
    if missing := lacking(live, required):
        named = ", ".join(sorted(missing, key=_by_weight)[:3])
        yield Problem(
            "types",
            live[0].id,
            f"{len(missing)} event types are not delivered, among them {named}: such changes arrive late, by catch-up",
            f"{_UPDATE}, or select all events in Stripe's dashboard",
        )
    for each in live:
        if not each.thin and each.version != version:
            yield Problem(
                "version",
                each.id,
                f"it delivers API version {each.version or 'of the account (none is pinned)'}, but we read {version}",
                "run `stripe-sync endpoint roll`: Stripe can't change the version of an endpoint, so a new one takes over",
            )
        if each.livemode != livemode:
            yield Problem(
                "mode",
                each.id,
                f"it delivers {_mode(each.livemode)} events, but this daemon applies {_mode(livemode)} events",
                "set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET of the same mode",
            )


def _by_weight(type_: str) -> tuple[bool, str]:
    """A sort key that puts the types that users' access depends on first."""
    return (not type_.startswith(("customer.", "invoice.", "checkout.", "price.", "product.", "charge.")), type_)


def _missing(url: str | None) -> Problem:
    return Problem(
        "missing",
        "",
        f"Stripe has no webhook endpoint {'for ' + url if url else 'whose path is ' + PATH}: events are found by catch-up, "
        "a minute or two late",
        "run `stripe-sync endpoint create URL`" + ("" if url else "; if a proxy changes the path, set WEBHOOK_URL"),
    )


def _disabled(endpoint: Endpoint) -> Problem:
    return Problem(
        "disabled",
        endpoint.id,
        "Stripe delivers nothing to it, because it is disabled: by a person, or after days of failed deliveries",
        f"make its URL answer, then {_UPDATE}, or enable it in the dashboard; catch-up finds missed events of up to 30 days",
    )


def _other_mode(number: int, livemode: bool) -> Problem:
    return Problem(
        "mode",
        "",
        f"{number} events of {_mode(not livemode)} mode were delivered, but are not applied: this daemon applies "
        f"{_mode(livemode)} events",
        f"remove the {_mode(not livemode)} mode endpoint that delivers here, or its secret from STRIPE_WEBHOOK_SECRET",
    )


def _stopped(flow: Flow) -> Problem:
    return Problem(
        "stopped",
        "",
        f"deliveries have stopped, but events continue: catch-up found {flow.caught_up} events since the last check, and none "
        "was delivered",
        _why_undelivered(flow),
    )


def _failing(flow: Flow) -> Problem:
    hours = max(flow.failed) / 3600
    return Problem(
        "failing",
        "",
        f"Stripe could not deliver {len(flow.failed)} of the latest events here, the oldest {hours:.1f} hours ago; Stripe "
        "disables an endpoint that fails for days",
        _why_undelivered(flow),
    )


def _why_undelivered(flow: Flow) -> str:
    if flow.bad_signatures:
        return (
            f"{flow.bad_signatures} requests were refused for their signature: STRIPE_WEBHOOK_SECRET lacks the endpoint's "
            "secret (add it, comma-separated, and restart `web`)"
        )
    return (
        "check that `web` runs and that Stripe reaches its URL (a proxy, a certificate, a redirect); the endpoint's page in "
        "Stripe's dashboard shows each answer"
    )


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"
