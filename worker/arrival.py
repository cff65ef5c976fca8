"""What the inbox keeps of an event, read with as little parsing as will do; nothing of Stripe's objects is known here."""

import re
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from worker.store.inbox import Arrival

__all__ = ["NotAnEvent", "arrival_of"]

MAX_ID_CHARACTERS = 500  # far more than Stripe's; an index row holds no more than 2,700 bytes


class NotAnEvent(ValueError):
    """The text is no event of Stripe's; the message says why."""


class _Named(msgspec.Struct):
    """An object, or the related object of a thin event."""

    object: Any = None
    id: Any = None
    type: Any = None
    customer: Any = None


class _Data(msgspec.Struct):
    object: _Named | UnsetType = UNSET


class _Envelope(msgspec.Struct):
    """What the door reads of a body; the rest is skipped unparsed."""

    id: str
    object: str
    type: str
    created: Any
    livemode: bool = False
    account: str | None = None
    context: str | None = None
    data: _Data | UnsetType = UNSET
    related_object: _Named | None = None


_decoder = msgspec.json.Decoder(_Envelope)
# The escape of U+0000, which Postgres can hold neither in text nor in jsonb; an escaped backslash before it is none.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def arrival_of(text: str) -> Arrival:
    """The event as the inbox keeps it; raises NotAnEvent where it is none."""
    try:
        envelope = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotAnEvent(f"The body is not an event of Stripe's: {error}.") from error
    thin = envelope.object == "v2.core.event"
    if not 0 < len(envelope.id) <= MAX_ID_CHARACTERS or not envelope.type or not (thin or envelope.object == "event"):
        raise NotAnEvent("The body is JSON, but not an event of Stripe's.")
    if "\\u0000" in text:
        text = _NUL.sub(r"\1", text)
    named = envelope.related_object if thin else envelope.data.object if envelope.data is not UNSET else None
    if not thin and (named is None or named is UNSET):
        raise NotAnEvent("The event has no data.object.")
    return Arrival(
        id=_clean(envelope.id),
        account=_clean((envelope.context if thin else envelope.account) or ""),
        type=_clean(envelope.type),
        object_type=_string(named and (named.type if thin else named.object)),
        object_id=_string(named and named.id),
        livemode=envelope.livemode,
        created=_seconds(envelope.created),
        body=text,
    )


def _seconds(created: Any) -> float:
    if isinstance(created, int | float) and not isinstance(created, bool) and 0 <= created < 10**11:
        return float(created)
    try:
        return msgspec.convert(created, datetime).timestamp()
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise NotAnEvent("`created` is neither unix seconds nor an RFC 3339 time.") from error


def _string(value: Any) -> str | None:
    return _clean(value) if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS else None


def _clean(value: str) -> str:
    return value.replace("\x00", "")
