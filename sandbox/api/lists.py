"""Lists as Stripe returns them: newest first, in pages, with cursors."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.api.params import Params
from sandbox.errors import invalid, missing
from sandbox.kinds import Kind
from sandbox.store import Key, Shelf, View, values_of

_ENDLESS = 1 << 62


@dataclass(frozen=True, slots=True)
class Cursor:
    """The requested page."""

    limit: int
    starting_after: str | None
    ending_before: str | None
    created_from: int
    created_before: int


def read_cursor(params: Params, *, with_created: bool = True) -> Cursor:
    """The paging parameters, checked."""
    limit = params.integer("limit")
    limit = 10 if limit is None else limit
    if not 1 <= limit <= 100:
        too = "greater than or equal to 1" if limit < 1 else "less than or equal to 100"
        raise invalid(f"Invalid integer: limit must be {too}.", "limit", "parameter_invalid_integer")
    after, before = params.text("starting_after"), params.text("ending_before")
    if after is not None and before is not None:
        raise invalid("You cannot parameterize both starting_after and ending_before.")
    low, high = _created(params) if with_created else (0, _ENDLESS)
    return Cursor(limit, after, before, low, high)


def walk(
    order: Sequence[Key], cursor: Cursor, key_of: Callable[[str, str], Key], accept: Callable[[str], bool]
) -> tuple[list[str], bool]:
    """The ids of one page of an ordered list, newest first, and whether the list continues in that direction."""
    low = bisect_left(order, (cursor.created_from, 0, ""))
    high = bisect_left(order, (cursor.created_before, 0, ""))
    indexes: Sequence[int]
    if cursor.ending_before is not None:
        low = max(low, bisect_right(order, key_of(cursor.ending_before, "ending_before")))
        indexes = range(low, high)
    else:
        if cursor.starting_after is not None:
            high = min(high, bisect_left(order, key_of(cursor.starting_after, "starting_after")))
        indexes = range(high - 1, low - 1, -1)
    ids: list[str] = []
    for index in indexes:
        id = order[index][2]
        if not accept(id):
            continue
        if len(ids) == cursor.limit:
            return _newest_first(ids, cursor), True
        ids.append(id)
    return _newest_first(ids, cursor), False


def of_kind(
    view: View, kind: Kind, cursor: Cursor, filters: dict[str, Any], hidden: dict[str, tuple[str, ...]]
) -> tuple[list[str], bool]:
    """One page of the list of a kind. If the value of a filter is a tuple, an object matches with any of its members."""
    shelf = view.store.shelves[kind.kept_as]
    owners = {name for name, _ in shelf.kind.owners}
    order: Sequence[Key] = shelf.order
    for name, value in filters.items():
        if name in owners and not isinstance(value, tuple):
            order = shelf.owned(name, value)
            break
    # A cursor must exist, and not be hidden from the list: https://github.com/stripe/stripe-node/issues/2368
    find = _finder(shelf, kind, _filter(view, shelf, {}, hidden))
    return walk(order, cursor, find, _filter(view, shelf, filters, hidden))


def of_members(members: list[dict[str, Any]], cursor: Cursor, kind: str) -> tuple[list[dict[str, Any]], bool]:
    """One page of a list embedded in an object, in its order."""
    places = {member["id"]: index for index, member in enumerate(members)}
    named = cursor.starting_after or cursor.ending_before
    if named is not None and named not in places:
        raise missing(kind, named, status=400)
    if cursor.ending_before is not None:
        rest = members[: places[cursor.ending_before]]
        return rest[-cursor.limit :], len(rest) > cursor.limit
    rest = members[places[cursor.starting_after] + 1 :] if cursor.starting_after is not None else members
    return rest[: cursor.limit], len(rest) > cursor.limit


def answer(path: str, data: list[Any], has_more: bool) -> dict[str, Any]:
    """The list object."""
    return {"object": "list", "data": data, "has_more": has_more, "url": path}


def _newest_first(ids: list[str], cursor: Cursor) -> list[str]:
    return ids[::-1] if cursor.ending_before is not None else ids


def _created(params: Params) -> tuple[int, int]:
    """The half-open range of seconds in `created`."""
    low, high = 0, _ENDLESS
    if "created" not in params:
        return low, high
    if not params.has_nested("created"):
        exactly = params.integer("created")
        return (exactly, exactly + 1) if exactly is not None else (low, high)
    bounds = params.nested("created")
    assert bounds is not None
    for name, value in bounds.take(gt="integer", gte="integer", lt="integer", lte="integer").items():
        if name in ("gt", "gte"):
            low = max(low, value + (name == "gt"))
        else:
            high = min(high, value + (name == "lte"))
    bounds.refuse_rest()
    return low, high


def _finder(shelf: Shelf, kind: Kind, is_listed: Callable[[str], bool]) -> Callable[[str, str], Key]:
    def key_of(id: str, param: str) -> Key:
        entry = shelf.entries.get(id)
        if entry is None or not is_listed(id):
            raise missing(kind.name, id, param=param, status=400)
        return entry.key

    return key_of


def _filter(
    view: View, shelf: Shelf, filters: dict[str, Any], hidden: dict[str, tuple[str, ...]]
) -> Callable[[str], bool]:
    """A function that returns whether an object exists and matches. It compares stored values, and does not read the object."""
    places = {name: index for index, (name, _) in enumerate(shelf.kind.filters)}
    wanted = [(places[name], value) for name, value in filters.items()]
    unwanted = [(places[name], values) for name, values in hidden.items()]
    newest = view.number >= view.store.number

    def accept(id: str) -> bool:
        entry = shelf.entries[id]
        version = entry.versions[-1] if newest else entry.at(view.number)
        if version is None or version.body is None:
            return False
        values = entry.values if version is entry.versions[-1] else values_of(shelf.kind, version.record())
        return all(_suits(values[place], value) for place, value in wanted) and not any(
            values[place] in excluded for place, excluded in unwanted
        )

    return accept


def _suits(kept: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return kept in wanted
    return bool(wanted in kept if isinstance(kept, tuple) else kept == wanted)
