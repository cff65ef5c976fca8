"""Read fields of Stripe's JSON by dotted paths, and convert values for their columns."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

Json = dict[str, Any]
Read = Callable[[Json], Any]

# Far longer than Stripe's ids. An index row can hold 2,700 bytes, and a key of the ledger contains two ids.
MOST_ID_BYTES = 500

_encoder = msgspec.json.Encoder(order="sorted")


def canonical(value: Any) -> str:
    """The value as JSON with sorted keys, so that equal values give equal texts."""
    return _encoder.encode(value).decode()


def at(*paths: str) -> Read:
    """A function that tries these paths in order, and returns the first value that is not null. Some fields have moved
    between API versions."""
    split = [path.split(".") for path in paths]
    if len(split) == 1 and len(split[0]) == 1:
        only = split[0][0]
        return lambda obj: obj.get(only)

    def read(obj: Json) -> Any:
        for path in split:
            value: Any = obj
            for part in path:
                value = value.get(part) if isinstance(value, dict) else None
            if value is not None:
                return value
        return None

    return read


def embedded(obj: Json, field: str) -> tuple[list[Json], bool]:
    """The objects of an embedded list, and whether Stripe has more than it sent (`has_more`)."""
    embedded_list = obj.get(field)
    if not isinstance(embedded_list, dict):
        return [], True
    data = embedded_list.get("data")
    if not isinstance(data, list):
        return [], True
    children = [child for child in data if isinstance(child, dict) and reference(child)]
    return children, bool(embedded_list.get("has_more"))


def first_of_children(field: str, path: str, choose: Callable[[Sequence[Any]], Any]) -> Read:
    """A reader that chooses one of the values at `path` in the embedded children; it returns None if there are none."""
    inner = at(path)

    def read(obj: Json) -> Any:
        values = [value for value in map(inner, embedded(obj, field)[0]) if value is not None]
        return choose(values) if values else None

    return read


def reference(value: Any) -> str | None:
    """The id in a reference, which is the id itself or the expanded object.

    None if there is no id, or if it is longer than an index can hold.
    """
    if isinstance(value, dict):
        value = value.get("id")
    if not isinstance(value, str) or not value or len(value) > MOST_ID_BYTES:
        return None
    return value if value.isascii() or len(value.encode()) <= MOST_ID_BYTES else None


def fit(kind: str, value: Any) -> Any:
    """Convert a value for a column of this kind; returns None if it does not fit. The raw object keeps the original
    value."""
    return _FIT[kind](value)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if value is None:
        return None
    return reference(value) if isinstance(value, Mapping) else canonical(value)


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if -(2**63) <= number < 2**63 else None


def _seconds(value: Any) -> int | None:
    """Unix seconds, limited to the years 1653 to 5138. Python's times end in 9999, and periods are added to these
    times."""
    number = _integer(value)
    return number if number is not None and -(10**10) < number < 10**11 else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _decimal(value: Any) -> str | None:
    """A decimal number with a length that Postgres can store."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except (ArithmeticError, ValueError):
        return None
    return str(number) if number.is_finite() and len(f"{number:e}") <= 60 and abs(number.adjusted()) < 60 else None


def _json(value: Any) -> str | None:
    return None if value is None else canonical(value)


def _object(value: Any) -> str | None:
    return canonical(value) if isinstance(value, dict) else None


_FIT: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "id": reference,
    "bigint": _integer,
    "timestamptz": _seconds,
    "boolean": _boolean,
    "numeric": _decimal,
    "jsonb": _json,
    "object": _object,
}
