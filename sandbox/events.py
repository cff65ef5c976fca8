"""Events, independent of the API version in which they are read.

An event stores no payload. It stores a number of the account's versions, so that its object can be shown as it was
then.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from sandbox.kinds import KINDS
from sandbox.shapes import Shape
from sandbox.store import Key, Store

_NAMED_STATUSES = ("active", "past_due", "unpaid", "trialing", "incomplete", "incomplete_expired")
KEPT_SECONDS = 30 * 24 * 3600


class Event(msgspec.Struct, gc=False, omit_defaults=True):
    """A change of one object. `number` is the version that the event contains. For an update, `since` is the version before."""

    id: str
    thin_id: str
    type: str
    kind: str
    object_id: str
    created: float
    number: int
    since: int | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    as_stub: bool = False
    thin_only: bool = False

    @property
    def second(self) -> int:
        """The time of the event as snapshot events show it, in whole seconds."""
        return int(self.created)


class EventLog:
    """All events, oldest first, and the number of outstanding deliveries of each."""

    def __init__(self) -> None:
        self.by_id: dict[str, Event] = {}
        self.by_thin_id: dict[str, Event] = {}
        self.order: list[Key] = []
        self.places: dict[str, Key] = {}
        self.owed: dict[str, int] = {}

    def add(self, event: Event) -> None:
        """Add an event."""
        self.by_thin_id[event.thin_id] = event
        if event.thin_only:
            return
        self.by_id[event.id] = event
        key = (event.second, len(self.by_id), event.id)
        self.places[event.id] = key
        if not self.order or key > self.order[-1]:
            self.order.append(key)
        else:
            insort(self.order, key)

    def oldest_kept(self, now: int) -> int:
        """The index of the first event that is still listed."""
        return bisect_left(self.order, self.horizon(now))

    @staticmethod
    def horizon(now: int) -> Key:
        """The time before which events are no longer listed."""
        return now - KEPT_SECONDS, 0, ""


def snapshot(event: Event, shape: Shape, store: Store, *, owed: int) -> dict[str, Any]:
    """An event with its whole object, as `/v1/events` and webhooks show it."""
    then = store.view(event.number)
    kept_as = KINDS[event.kind].kept_as
    shown = shape.render(event.kind, then.get(kept_as, event.object_id), then)
    data: dict[str, Any] = {"object": shown}
    if event.as_stub:
        data["object"] = {"id": event.object_id, "object": event.kind, "deleted": True}
    elif event.since is not None:
        before = store.view(event.since)
        old = shape.render(event.kind, before.get(kept_as, event.object_id), before)
        data["previous_attributes"] = previous_attributes(old, shown)
    return {
        "id": event.id,
        "object": "event",
        "api_version": shape.version,
        "created": event.second,
        "data": data,
        "livemode": False,
        "pending_webhooks": owed,
        "request": {"id": event.request_id, "idempotency_key": event.idempotency_key},
        "type": event.type,
    }


def thin(event: Event) -> dict[str, Any]:
    """An event that only names its object, as `/v2/core/events` and thin destinations show it."""
    created = datetime.fromtimestamp(event.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    reason = None
    if event.request_id is not None:
        request = {"id": event.request_id, "idempotency_key": event.idempotency_key}
        reason = {"type": "request", "request": request}
    shown = {
        "id": event.thin_id,
        "object": "v2.core.event",
        "type": f"v1.{event.type}",
        "created": created,
        "livemode": False,
        "context": None,
        "reason": reason,
    }
    path = KINDS[event.kind].path
    if path:  # A discount has no path of its own.
        related = {"id": event.object_id, "type": event.kind, "url": f"{path}/{event.object_id}"}
        shown["related_object"] = related
    if not event.thin_only:
        shown["snapshot_event"] = event.id
    return shown


def changes_by_name(type: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The types of thin events that describe this change in more detail. These types have no snapshot events."""
    if type == "customer.subscription.updated" and old["status"] != new["status"] and new["status"] in _NAMED_STATUSES:
        return [f"customer.subscription.{new['status']}"]
    if type in ("product.updated", "price.updated"):
        kind = type.partition(".")[0]
        was, is_now = old.get("active", True), new.get("active", True)
        return [] if was == is_now else [f"{kind}.{'activated' if is_now else 'deactivated'}"]
    return []


def previous_attributes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The old values that an update replaced. A nested object has only its changed fields, an array has all its members."""
    previous: dict[str, Any] = {}
    for name in (*new, *(name for name in old if name not in new)):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            previous[name] = previous_attributes(before, after)
        else:
            previous[name] = before
    return previous
