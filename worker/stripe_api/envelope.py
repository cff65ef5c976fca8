"""The envelope of an event: the fields that the inbox stores in addition to the body, read with little parsing."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

MAX_ID_CHARACTERS = 500  # far longer than Stripe's ids; an index row can hold at most 2,700 bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event as received.

    `created` is in unix seconds, by Stripe's clock. `signed_by` is the fingerprint of the secret that signed the
    delivery, or empty for an event that was read from Stripe. `traceparent` is the span that received the event.
    """

    id: str
    account: str
    type: str
    object_type: str | None
    object_id: str | None
    livemode: bool
    created: float
    body: str
    signed_by: str = ""
    traceparent: str | None = None


class NotAnEvent(ValueError):
    """The text is not a Stripe event. The message is the reason."""


class _Named(msgspec.Struct):
    """The object in an event, or the related object of a thin event."""

    object: Any = None
    id: Any = None
    type: Any = None
    customer: Any = None


class _Data(msgspec.Struct):
    object: _Named | UnsetType = UNSET


class _Body(msgspec.Struct):
    """The fields that the webhook endpoint reads. The rest of the body is not parsed."""

    id: str
    object: str
    type: str
    created: Any
    livemode: bool = False
    account: str | None = None
    context: str | None = None
    data: _Data | UnsetType = UNSET
    related_object: _Named | None = None


_decoder = msgspec.json.Decoder(_Body)
# The escape of U+0000, which Postgres can't store in text or jsonb. After an escaped backslash, the characters are not
# an escape.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def read_envelope(text: str, *, signed_by: str = "") -> Envelope:
    """Read the envelope of the event in this body. Raises NotAnEvent if the body is not an event."""
    try:
        body = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotAnEvent(f"The body is not a Stripe event: {error}.") from error
    thin = body.object == "v2.core.event"
    if not 0 < len(body.id) <= MAX_ID_CHARACTERS or not body.type or not (thin or body.object == "event"):
        raise NotAnEvent("The body is JSON, but not a Stripe event.")
    if "\\u0000" in text:
        text = _NUL.sub(r"\1", text)
    named = body.related_object if thin else body.data.object if body.data is not UNSET else None
    if not thin and (named is None or named is UNSET):
        raise NotAnEvent("The event has no data.object.")
    return Envelope(
        id=_clean(body.id),
        account=_clean((body.context if thin else body.account) or ""),
        type=_clean(body.type),
        object_type=_string(named and (named.type if thin else named.object)),
        object_id=_string(named and named.id),
        livemode=body.livemode,
        created=_seconds(body.created),
        body=text,
        signed_by=signed_by,
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
