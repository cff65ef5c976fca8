"""Objects and pages of lists as Stripe answers them, with the time as of which they are valid."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

API_VERSION = "2026-10-28.endive"
SHAPE = API_VERSION.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """One object as of `read_at` (by Stripe's clock, a lower bound). `object` is None if Stripe does not have it
    (`missing`)."""

    object: dict[str, Any] | None
    deleted: bool
    missing: bool
    read_at: int
    shape: str = SHAPE


class Page:
    """One page of a list, newest first, as of `read_at` (by Stripe's clock, a lower bound).

    The objects stay encoded until `data` is first used. The dicts are six times as large as the response, and pages
    that wait to be written would fill the memory.
    """

    __slots__ = ("_data", "_raw", "has_more", "read_at", "shape")

    def __init__(
        self, data: Sequence[Any], has_more: bool, read_at: int, shape: str = SHAPE, *, encoded: bool = False
    ) -> None:
        self.has_more, self.read_at, self.shape = has_more, read_at, shape
        self._raw: Sequence[msgspec.Raw] = data if encoded else ()
        self._data: list[dict[str, Any]] | None = None if encoded else list(data)

    @property
    def data(self) -> list[dict[str, Any]]:
        """The objects. The client has checked that each is a JSON object."""
        if self._data is None:
            self._data = [decoded(raw) for raw in self._raw]
            self._raw = ()
        return self._data

    def __len__(self) -> int:
        return len(self._raw) or len(self._data or ())

    def forget(self) -> None:
        """Drop the objects after they were written."""
        self._raw, self._data = (), []


class _List(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool


decoded: Callable[[bytes | msgspec.Raw], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode
decode_list = msgspec.json.Decoder(_List).decode


class MalformedError(Exception):
    """A part of an answer can't be read. The message names the part."""


def is_object(body: bytes) -> bool:
    try:
        decoded(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def is_page(body: bytes) -> bool:
    """Whether the body is a well-formed page. If a malformed page were accepted, the objects it lacks could be marked
    deleted."""
    try:
        body.decode()  # objects are decoded later, so the text is checked here
        page = decode_list(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return (not page.has_more or bool(page.data)) and all(bytes(raw).startswith(b"{") for raw in page.data)


def error_in(body: bytes) -> dict[str, Any]:
    """Stripe's error object. Empty if the body has none, because a proxy answered in place of Stripe."""
    error = decoded(body).get("error") if is_object(body) else None
    return error if isinstance(error, dict) else {}


def valid_as_of(headers: Mapping[str, str], elapsed: float) -> int:
    """The earliest second, by Stripe's clock, at which the request can have been sent: the answer's Date minus the
    duration."""
    try:
        return math.floor(parsedate_to_datetime(headers["Date"]).timestamp() - elapsed)
    except (KeyError, ValueError, TypeError) as error:
        raise MalformedError("Date") from error


def safe_word(value: object) -> str:
    """The value if it is a single word that is safe in a message, else an empty string."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.\[\]-]{1,64}", value) else ""
