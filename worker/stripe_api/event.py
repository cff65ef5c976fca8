"""Parse the body of an event: its object, the previous values, and its rank among other events."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from worker.stripe_api.json_paths import Json, reference

CREATED, UPDATED, DELETED = 0, 1, 2

# The name of this event contains `deleted`, but the object stays, with the status `canceled`.
_NOT_A_DELETION = frozenset({"customer.subscription.deleted"})
# Types whose objects have no id. A customer has one object of each type in the first set, and an account has one object of
# each type in the second.
_KEYED_BY_CUSTOMER = frozenset({"cash_balance", "entitlements.active_entitlement_summary"})
_SINGLETONS = frozenset({"balance", "balance_settings", "tax.settings"})
_Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class ObjectRef(NamedTuple):
    """The identity of a Stripe object. `account` is empty for objects of our own account."""

    object: str
    id: str
    account: str = ""


class NotAnEvent(ValueError):
    """The body is JSON, but not a Stripe event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A parsed event. `object_id` is None if the object has no id to store it under.

    A thin event has no `object`. It names the path of the object (`url`) and the event that contains it
    (`snapshot_event`).
    """

    id: str
    type: str
    created: int
    account: str
    livemode: bool
    thin: bool
    object_type: str | None
    object_id: str | None
    object: Json | None
    previous: Mapping[str, Any] | None
    shape: str
    url: str = ""
    snapshot_event: str | None = None

    @property
    def rank(self) -> int:
        """The order of events in the same second: created, updated, deleted."""
        if self.type.endswith(".created"):
            return CREATED
        return DELETED if self.type.endswith(".deleted") else UPDATED

    @property
    def deletes(self) -> bool:
        """Whether the event deletes the object."""
        if self.object is not None and self.object.get("deleted") is True:
            return True
        return self.type.endswith(".deleted") and self.type not in _NOT_A_DELETION


def read_event(body: Json) -> Event:
    """Parse a snapshot event or a thin event. Raises NotAnEvent if a required field is missing."""
    kind = body.get("object")
    if kind == "v2.core.event":
        return _read_thin(body)
    if kind != "event":
        raise NotAnEvent(f"object is {kind!r}, neither 'event' nor 'v2.core.event'")
    data = body.get("data")
    data = data if isinstance(data, dict) else {}
    obj = data.get("object")
    if not isinstance(obj, dict) or not isinstance(obj.get("object"), str):
        raise NotAnEvent("data.object is not a Stripe object")
    version, previous = body.get("api_version"), data.get("previous_attributes")
    return Event(
        id=_string(body, "id"),
        type=_string(body, "type"),
        created=_seconds(body.get("created")),
        account=_account(body.get("account")),
        livemode=bool(body.get("livemode")),
        thin=False,
        object_type=obj["object"],
        object_id=object_id(obj),
        object=obj,
        previous=previous if isinstance(previous, dict) else None,
        shape=shape_of(version if isinstance(version, str) else ""),
    )


def shape_of(api_version: str) -> str:
    """The major version of an API version: its name (`endive`), or the whole version if it has no name."""
    return api_version.partition(".")[2] or api_version


def _read_thin(body: Json) -> Event:
    related = body.get("related_object")
    related = related if isinstance(related, dict) else {}
    return Event(
        id=_string(body, "id"),
        type=_string(body, "type"),
        created=_seconds(body.get("created")),
        account=_account(body.get("context")),
        livemode=bool(body.get("livemode")),
        thin=True,
        object_type=related.get("type"),
        object_id=related.get("id"),
        object=None,
        previous=None,
        shape="",
        url=related["url"] if isinstance(related.get("url"), str) else "",
        snapshot_event=body["snapshot_event"] if isinstance(body.get("snapshot_event"), str) else None,
    )


def _account(value: Any) -> str:
    return value if isinstance(value, str) else ""


def object_id(obj: Json) -> str | None:
    """The id under which an object is stored; None if it has none."""
    if isinstance(obj.get("id"), str) and (id_ := reference(obj["id"])) is not None:
        return id_
    if obj["object"] in _KEYED_BY_CUSTOMER and (customer := reference(obj.get("customer"))) is not None:
        return customer
    if obj["object"] == "billing.alert_triggered" and (alert := reference(obj.get("alert"))) is not None:
        # The same alert can be triggered by many customers, and again in each period.
        return f"{alert}:{reference(obj.get('customer'))}:{obj.get('created')}"
    return str(obj["object"]) if obj["object"] in _SINGLETONS else None


def _string(body: Json, field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise NotAnEvent(f"{field} is not a string")
    return value


def _seconds(created: Any) -> int:
    """The time in whole unix seconds. It is a number in snapshot events, and RFC 3339 with milliseconds in thin
    events."""
    if isinstance(created, int | float) and not isinstance(created, bool):
        return int(created)
    try:
        return int(msgspec.convert(created, _Aware).timestamp())
    except (msgspec.ValidationError, OverflowError) as error:
        raise NotAnEvent("created is neither unix seconds nor an RFC 3339 time") from error
