"""Every Stripe object type and list, read from `catalogue.json`, which `schema.read_sdk` writes.

The views (`schema.views`), the regular rows of the registry, the lists of backfill and audit, and docs/stripe-tables.md are
made from this catalogue.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeType:
    """An object type.

    `url` is the path that retrieves one object, with {id} in place of the object's id. `fields` maps each documented field
    to its kind: a column type (`text`, `bigint`, `numeric`, `boolean`, `timestamptz`, `jsonb`), `id` for a reference that may
    be expanded, or `milliseconds` for a time in milliseconds.
    """

    name: str
    view: str
    url: str | None = None
    deletable: bool = False
    events: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeList:
    """A list: its object types, and whether Stripe can filter it by `created`.

    If the list exists once per parent object, `parent` names the list of those parents. A parent's id is part of the path, or
    the value of the parameter `param`. `read_with` names the list whose objects embed the objects of this list, so no pass
    reads this list separately.
    """

    name: str
    path: str
    objects: tuple[str, ...]
    by_created: bool = False
    params: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    param: str | None = None
    read_with: str | None = None


@cache
def _read() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


@cache
def types() -> Mapping[str, StripeType]:
    """Every type that has a view, by the value of the field `object`."""
    return {
        name: StripeType(
            name=name,
            view=row["view"],
            url=row.get("url"),
            deletable=row.get("deletable", False),
            events=tuple(row.get("events", ())),
            fields=dict(sorted((each, kind) for kind, names in row["fields"].items() for each in names)),
        )
        for name, row in _read()["types"].items()
    }


@cache
def lists() -> Mapping[str, StripeList]:
    """Every list that is mirrored, by name."""
    return {
        name: StripeList(name=name, **{**row, "objects": tuple(row["objects"])})
        for name, row in _read()["lists"].items()
    }


def left_out() -> Mapping[str, Mapping[str, str]]:
    """The lists and types that are not mirrored, with the reasons."""
    content: Mapping[str, Mapping[str, str]] = _read()["left_out"]
    return content
