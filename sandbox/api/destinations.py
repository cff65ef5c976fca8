"""Event destinations of API v2 that deliver to a URL."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sandbox.api.call import Call, Handler, Routes
from sandbox.api.params import Params
from sandbox.delivery import Delivery, Endpoint
from sandbox.errors import invalid, missing
from sandbox.shapes import CURRENT, shape_of

_PATH = "/v2/core/event_destinations"


def add_to(routes: Routes, delivery: Delivery) -> None:
    """Add the operations on destinations."""
    for method, pattern, handler in (
        ("GET", _PATH, _listing(delivery)),
        ("POST", _PATH, _creating(delivery)),
        ("GET", f"{_PATH}/{{id}}", _retrieving(delivery)),
        ("POST", f"{_PATH}/{{id}}", _updating(delivery)),
        ("DELETE", f"{_PATH}/{{id}}", _deleting(delivery)),
        ("POST", f"{_PATH}/{{id}}/enable", _switching(delivery, disabled=False)),
        ("POST", f"{_PATH}/{{id}}/disable", _switching(delivery, disabled=True)),
    ):
        routes.add(method, pattern, handler, resource="event_destination")


def _listing(delivery: Delivery) -> Handler:
    """All destinations. Webhook endpoints are included, with their own ids. The URL is shown only if `include` requests it."""

    def listing(call: Call) -> dict[str, Any]:
        params = call.params
        limit, page = params.integer("limit") or 20, params.text("page")
        include = params.strings("include")
        params.refuse_rest()
        if not 1 <= limit <= 100:
            raise invalid("limit must be between 1 and 100", "limit")
        start = int(page.removeprefix("page_")) if page is not None else 0
        every = list(reversed(delivery.endpoints.values()))
        more = f"{call.path}?page=page_{start + limit}&limit={limit}" if len(every) > start + limit else None
        shown = [_shown(endpoint, include) for endpoint in every[start : start + limit]]
        return {"data": shown, "next_page_url": more, "previous_page_url": None}

    return listing


def _creating(delivery: Delivery) -> Handler:
    def create(call: Call) -> dict[str, Any]:
        params = call.params
        payload = params.choice("event_payload", "snapshot", "thin") or "snapshot"
        version, include = params.text("snapshot_api_version"), params.strings("include")
        if params.required("type") != "webhook_endpoint":
            raise invalid("This sandbox delivers only to webhook endpoints", "type")
        if payload == "thin" and version is not None:
            raise invalid("Thin events have no API version", "snapshot_api_version")
        shape_of(version)
        endpoint = Endpoint(
            id=call.account.ids.timed("ed_", call.account.now),
            url=_url(params) or "",
            secrets=[call.account.ids.plain("whsec_", 32)],
            created=call.account.now,
            api_version=version or CURRENT,
            enabled_events=params.strings("enabled_events"),
            payload=payload,
            description=params.required("name"),
            metadata=params.metadata() or {},
            connect="@accounts" in params.strings("events_from"),
        )
        params.refuse_rest()
        delivery.add(endpoint)
        return _shown(endpoint, include, secret=endpoint.secrets[0])

    return create


def _retrieving(delivery: Delivery) -> Handler:
    def retrieve(call: Call) -> dict[str, Any]:
        include = call.params.strings("include")
        call.params.refuse_rest()
        return _shown(_existing(delivery, call.id), include)

    return retrieve


def _updating(delivery: Delivery) -> Handler:
    def update(call: Call) -> dict[str, Any]:
        params, endpoint = call.params, _existing(delivery, call.id)
        include = params.strings("include")
        endpoint.url = _url(params) or endpoint.url
        endpoint.enabled_events = params.strings("enabled_events") or endpoint.enabled_events
        endpoint.description = params.text("name") or endpoint.description
        metadata = params.metadata(endpoint.metadata)
        endpoint.metadata = endpoint.metadata if metadata is None else metadata
        params.refuse_rest()
        delivery.add(endpoint)
        return _shown(endpoint, include)

    return update


def _deleting(delivery: Delivery) -> Handler:
    def delete(call: Call) -> dict[str, Any]:
        delivery.remove(_existing(delivery, call.id).id)
        return {"id": call.id, "object": "v2.deleted_object"}

    return delete


def _switching(delivery: Delivery, *, disabled: bool) -> Handler:
    def switch(call: Call) -> dict[str, Any]:
        endpoint, include = _existing(delivery, call.id), call.params.strings("include")
        call.params.refuse_rest()
        endpoint.disabled = disabled
        delivery.add(endpoint)
        return _shown(endpoint, include)

    return switch


def _url(params: Params) -> str | None:
    target = params.nested("webhook_endpoint")
    if target is None:
        return None
    url = target.required("url")
    target.refuse_rest()
    return url


def _existing(delivery: Delivery, id: str) -> Endpoint:
    endpoint = delivery.endpoints.get(id)
    if endpoint is None or not endpoint.is_destination:
        raise missing("event_destination", id)
    return endpoint


def _shown(endpoint: Endpoint, include: Sequence[str] = (), *, secret: str | None = None) -> dict[str, Any]:
    is_thin = endpoint.payload == "thin"
    return {
        "id": endpoint.id,
        "object": "v2.core.event_destination",
        "created": datetime.fromtimestamp(endpoint.created, UTC).isoformat().replace("+00:00", "Z"),
        "description": endpoint.description or "",
        "enabled_events": endpoint.enabled_events,
        "event_payload": "thin" if is_thin else "snapshot",
        "events_from": ["@accounts" if endpoint.connect else "@self"],
        "livemode": False,
        "metadata": endpoint.metadata,
        "name": endpoint.description or endpoint.id,
        "snapshot_api_version": None if is_thin else endpoint.api_version,
        "status": "disabled" if endpoint.disabled else "enabled",
        "status_details": {"disabled": {"reason": "user"}} if endpoint.disabled else None,
        "type": "webhook_endpoint",
        "webhook_endpoint": {
            "signing_secret": secret if "webhook_endpoint.signing_secret" in include else None,
            "url": endpoint.url if "webhook_endpoint.url" in include else None,
        },
    }
