"""Read and write our endpoints at Stripe: webhook endpoints of API v1, and event destinations of API v2."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from worker.config.errors import Permanent
from worker.inbox.endpoint import rules
from worker.inbox.endpoint.rules import Endpoint
from worker.stripe_api.answers import API_VERSION, Answer, Page

ENDPOINTS, DESTINATIONS = "/v1/webhook_endpoints", "/v2/core/event_destinations"
URL, SECRET = "webhook_endpoint.url", "webhook_endpoint.signing_secret"


class Source(Protocol):
    """The methods of `stripe_api.client.Stripe` that this module uses to read."""

    def page(self, path: str, params: Mapping[str, Any] | None = None) -> Page: ...

    def retrieve(self, path: str, *, params: Mapping[str, Any] | None = None) -> Answer: ...


class Target(Source, Protocol):
    """The methods of `stripe_api.client.Stripe` that this module uses to read and write."""

    def write(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]: ...


def read(stripe: Source) -> list[Endpoint]:
    """All endpoints of the account that deliver to a URL. Raises MissingPermission if the key may not read v1 endpoints."""
    objects: list[dict[str, Any]] = []
    while True:
        page = stripe.page(ENDPOINTS, {"starting_after": objects[-1]["id"]} if objects else {})
        objects += page.data
        if not page.has_more:
            break
    known = {obj["id"] for obj in objects}
    objects += [obj for obj in _destinations(stripe) if obj.get("id") not in known]
    return [endpoint for obj in objects if (endpoint := rules.read_endpoint(obj)) is not None]


def _destinations(stripe: Source) -> list[dict[str, Any]]:
    """The event destinations; empty if the key may not read them, or if a sandbox has none."""
    objects: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"include[0]": URL, "limit": 100}
    try:
        while True:
            answer = stripe.retrieve(DESTINATIONS, params=asked).object or {}
            objects += answer.get("data") or []
            query = dict(parse_qsl(urlsplit(answer.get("next_page_url") or "").query))
            if "page" not in query:
                return objects
            asked["page"] = query["page"]
    except Permanent:
        return []


def create(
    stripe: Target, url: str, types: Sequence[str], metadata: Mapping[str, str], *, connect: bool
) -> tuple[str, str]:
    """Create a webhook endpoint with the API version that we read; returns its id and secret."""
    params: dict[str, Any] = {
        "url": url,
        "enabled_events[]": list(types),
        "api_version": API_VERSION,
        "description": "stripe-sync",
        **{f"metadata[{name}]": value for name, value in metadata.items()},
    }
    made = stripe.write("POST", ENDPOINTS, {**params, "connect": True} if connect else params)
    return str(made["id"]), str(made["secret"])


def create_like(stripe: Target, old: Endpoint, types: Sequence[str], metadata: Mapping[str, str]) -> tuple[str, str]:
    """Create an event destination with the URL, payload and accounts of `old`; returns its id and secret."""
    params: dict[str, Any] = {
        "name": "stripe-sync",
        "type": "webhook_endpoint",
        "webhook_endpoint": {"url": old.url},
        "event_payload": "thin" if old.thin else "snapshot",
        "events_from": list(old.events_from),
        "enabled_events": list(types),
        "metadata": dict(metadata),
        "include": [SECRET],
    }
    if not old.thin:
        params["snapshot_api_version"] = API_VERSION
    made = stripe.write("POST", DESTINATIONS, params)
    return str(made["id"]), str(made["webhook_endpoint"]["signing_secret"])


def change(
    stripe: Target,
    endpoint: Endpoint,
    *,
    types: Sequence[str] | None = None,
    metadata: Mapping[str, str | None] | None = None,
) -> None:
    """Change the event types of an endpoint, or its metadata. A metadata value of None removes the key."""
    named = dict(metadata or {})
    if endpoint.is_destination:
        params: dict[str, Any] = {} if types is None else {"enabled_events": list(types)}
        stripe.write("POST", f"{DESTINATIONS}/{endpoint.id}", {**params, **({"metadata": named} if named else {})})
        return
    form: dict[str, Any] = {} if types is None else {"enabled_events[]": list(types)}
    form |= {f"metadata[{name}]": value or "" for name, value in named.items()}
    stripe.write("POST", f"{ENDPOINTS}/{endpoint.id}", form)


def enable(stripe: Target, endpoint: Endpoint) -> None:
    """Enable an endpoint, so that Stripe delivers to it again."""
    if endpoint.is_destination:
        stripe.write("POST", f"{DESTINATIONS}/{endpoint.id}/enable")
    else:
        stripe.write("POST", f"{ENDPOINTS}/{endpoint.id}", {"disabled": False})


def delete(stripe: Target, endpoint: Endpoint) -> None:
    """Delete an endpoint."""
    stripe.write("DELETE", f"{DESTINATIONS if endpoint.is_destination else ENDPOINTS}/{endpoint.id}")
