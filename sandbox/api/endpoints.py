"""Webhook endpoints, which the API registers, and event destinations (v2), which a control makes."""

from datetime import UTC, datetime
from typing import Any

from sandbox.api import lists
from sandbox.api.call import Call, Handler, Routes
from sandbox.delivery import Delivery, Endpoint
from sandbox.errors import invalid, missing
from sandbox.shapes import CURRENT, shape_of


def add_to(routes: Routes, delivery: Delivery) -> None:
    """Add the operations on endpoints."""
    path = "/v1/webhook_endpoints"
    for method, pattern, handler in (
        ("POST", path, _creating(delivery)),
        ("GET", path, _listing(delivery)),
        ("GET", f"{path}/{{id}}", _retrieving(delivery)),
        ("POST", f"{path}/{{id}}", _updating(delivery)),
        ("DELETE", f"{path}/{{id}}", _deleting(delivery)),
    ):
        routes.add(method, pattern, handler, resource="webhook")
    routes.add("GET", "/v2/core/event_destinations", _listing_destinations(delivery), resource="event_destination")


def _creating(delivery: Delivery) -> Handler:
    def create(call: Call) -> dict[str, Any]:
        params = call.params
        url, types = params.required("url"), params.strings("enabled_events")
        version, connect = params.text("api_version"), params.flag("connect")
        description, metadata = params.text("description"), params.metadata()
        params.refuse_rest()
        shape_of(version)
        endpoint = Endpoint(
            id=call.account.ids.timed("we_", call.account.now),
            url=url,
            secrets=[call.account.ids.plain("whsec_", 32)],
            created=call.account.now,
            api_version=version or CURRENT,
            enabled_events=types or ["*"],
            is_pinned=version is not None,
            description=description,
            metadata=metadata or {},
            connect=bool(connect),
        )
        delivery.add(endpoint)
        return {**_shown(endpoint), "secret": endpoint.secrets[0]}

    return create


def _listing(delivery: Delivery) -> Handler:
    def listing(call: Call) -> dict[str, Any]:
        cursor = lists.read_cursor(call.params)
        call.params.refuse_rest()
        shown = [_shown(endpoint) for endpoint in reversed(delivery.endpoints.values()) if not endpoint.is_destination]
        data, has_more = lists.of_members(shown, cursor, "webhook_endpoint")
        return lists.answer(call.path, data, has_more)

    return listing


def _retrieving(delivery: Delivery) -> Handler:
    def retrieve(call: Call) -> dict[str, Any]:
        call.params.refuse_rest()
        return _shown(_existing(delivery, call.id))

    return retrieve


def _updating(delivery: Delivery) -> Handler:
    def update(call: Call) -> dict[str, Any]:
        params, endpoint = call.params, _existing(delivery, call.id)
        endpoint.url = params.text("url") or endpoint.url
        endpoint.enabled_events = params.strings("enabled_events") or endpoint.enabled_events
        disabled = params.flag("disabled")
        endpoint.disabled = endpoint.disabled if disabled is None else disabled
        endpoint.description = params.text("description") or endpoint.description
        metadata = params.metadata(endpoint.metadata)
        endpoint.metadata = endpoint.metadata if metadata is None else metadata
        params.refuse_rest()
        delivery.add(endpoint)
        return _shown(endpoint)

    return update


def _deleting(delivery: Delivery) -> Handler:
    def delete(call: Call) -> dict[str, Any]:
        delivery.remove(_existing(delivery, call.id).id)
        return {"id": call.id, "object": "webhook_endpoint", "deleted": True}

    return delete


def _listing_destinations(delivery: Delivery) -> Handler:
    """All destinations, including webhook endpoints under their own ids. The URL is shown on request."""

    def listing(call: Call) -> dict[str, Any]:
        params = call.params
        limit, page = params.integer("limit") or 20, params.text("page")
        with_url = "webhook_endpoint.url" in params.strings("include")
        params.refuse_rest()
        if not 1 <= limit <= 100:
            raise invalid("limit must be between 1 and 100", "limit")
        start = int(page.removeprefix("page_")) if page is not None else 0
        every = list(reversed(delivery.endpoints.values()))
        more = f"{call.path}?page=page_{start + limit}&limit={limit}" if len(every) > start + limit else None
        shown = [_as_destination(endpoint, with_url=with_url) for endpoint in every[start : start + limit]]
        return {"data": shown, "next_page_url": more, "previous_page_url": None}

    return listing


def _existing(delivery: Delivery, id: str) -> Endpoint:
    endpoint = delivery.endpoints.get(id)
    if endpoint is None or endpoint.is_destination:
        raise missing("webhook_endpoint", id)
    return endpoint


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "api_version": endpoint.api_version if endpoint.is_pinned else None,
        "application": None,
        "created": endpoint.created,
        "description": endpoint.description,
        "enabled_events": endpoint.enabled_events,
        "livemode": False,
        "metadata": endpoint.metadata,
        "status": "disabled" if endpoint.disabled else "enabled",
        "url": endpoint.url,
    }


def _as_destination(endpoint: Endpoint, *, with_url: bool) -> dict[str, Any]:
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
        "webhook_endpoint": {"signing_secret": None, "url": endpoint.url if with_url else None},
    }
