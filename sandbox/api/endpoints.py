"""Webhook endpoints of API v1."""

from typing import Any

from sandbox.api import lists
from sandbox.api.call import Call, Handler, Routes
from sandbox.delivery import Delivery, Endpoint
from sandbox.errors import missing
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
