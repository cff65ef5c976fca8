"""Mutate events: put impossible numbers, ids and metadata at any place in their objects."""

import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.factories import Json

_MISSING = object()
_LONG = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=6_000))
_NUMBERS: Sequence[Any] = (
    True, False, 0, -1, 1, 13_580_246_790, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**18, 10**40,
    1.5, -0.5, 1e300, -1e300, 253_402_300_800, 10**11 - 1, -(10**11) + 1, "12", "1.5", "", "many", None, _MISSING, [], [1],
    {}, {"amount": 1},
)  # fmt: skip
_IDS: Sequence[Any] = (
    "",
    " ",
    None,
    _MISSING,
    0,
    -7,
    True,
    1.5,
    [],
    ["id"],
    {},
    {"id": ""},
    {"id": 5},
    "é\u0000x",
    _LONG,
)
_METADATA: Sequence[Any] = (
    [], ["tokens"], [["tokens", "5"]], "tokens", "", 5, 10**30, True, None, _MISSING, {"tokens": {"a": 1}}, {"tokens": []},
    {"tokens": 10**30}, {"tokens": "9" * 400}, {"tokens": "999999999999999"}, {"tokens": -5}, {"tokens": 1.5},
    {"role": ["PREMIUM"]}, {"role": {}}, {"access": "99999999999"}, {"access": ["lifetime"]}, {"access": -3},
    {"user_id": {"id": "jenny"}}, {"user_id": ["jenny"]}, {"user_id": 7}, {"organization_id": {}}, {"product": {"a": 1}},
    {"product": ["prod_pack"], "quantity": "9" * 30}, {"product": 5, "tokens": True}, {"": ""}, {_LONG: _LONG},
)  # fmt: skip
_WORDS: Sequence[Any] = ("", "unheard_of", 5, None, _MISSING, [], {}, True)


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Sequence[Any]]]:
    """Yield the places of an object that may be mutated, each with the values to choose from."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        here = (*path, key)
        if key == "metadata":
            yield here, _METADATA
        elif isinstance(value, bool | int | float):
            yield here, _NUMBERS
        elif isinstance(value, str) and key not in ("object", "currency"):
            yield here, _IDS if "_" in value else _WORDS
        yield from _places(value, here)


def mutate(events: Sequence[Json], chosen: random.Random, count: int) -> tuple[list[Json], list[str]]:
    """Return the events with `count` values replaced at random, and a description of each replacement.

    In one of four cases every field of that name in all events gets the new value, so that sums exceed the limit.
    """
    mutated, changes = copy.deepcopy(list(events)), []
    for _ in range(count):
        event = chosen.choice(mutated)
        path, values = chosen.choice(_places_of(event))
        value, everywhere = chosen.choice(values), chosen.random() < 0.25
        for each in mutated if everywhere else [event]:
            same = [other for other, _ in _places_of(each) if other[-1] == path[-1]] if everywhere else [path]
            for place in same:
                _put(each["data"]["object"], place, value)
        event["id"] = f"{event['id'].removesuffix('_')}_"
        changes.append(f"{event['type']} {path}{' everywhere' if everywhere else ''} = {str(value)[:60]}")
    return mutated, changes


def _places_of(event: Json) -> list[tuple[tuple[Any, ...], Sequence[Any]]]:
    """Return the places in the event's object, except its id and type, which every event of Stripe's has."""
    return [place for place in _places(event["data"]["object"]) if place[0] not in (("id",), ("object",))]


def _put(node: Any, path: tuple[Any, ...], value: Any) -> None:
    """Put the value there, unless an earlier mutation has removed the place."""
    for key in path[:-1]:
        try:
            node = node[key]
        except (LookupError, TypeError):
            return
    if value is not _MISSING:
        node[path[-1]] = copy.deepcopy(value)
    elif isinstance(node, dict):
        node.pop(path[-1], None)
