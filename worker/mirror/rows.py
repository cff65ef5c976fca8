"""Turn an object into rows of the mirror: its typed values, and the rows of its children."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from worker.mirror.registry import Children, ObjectType, is_preview
from worker.stripe_api.json_paths import Json, embedded, fit


@dataclass(frozen=True, slots=True)
class Family:
    """The children of one parent by key, and whether they are complete."""

    children: Children
    members: dict[str, Json]
    complete: bool


def values(type_: ObjectType, obj: Json) -> tuple[Any, ...]:
    """The values of the object's typed columns in the registry's order. None if a field is missing or has another
    kind."""
    return tuple([None if (value := column.read(obj)) is None else fit(column.kind, value) for column in type_.columns])


def families(type_: ObjectType, obj: Json, *, deleted: bool) -> Iterator[Family]:
    """The embedded lists of an object. Children of a deleted parent are deleted with it. The children of a preview are
    ignored."""
    if is_preview(str(obj.get("id"))):
        return
    for children in type_.children:
        if deleted:
            yield Family(children, {}, complete=True)
            continue
        members, more = embedded(obj, children.field)
        parent = obj.get("id")
        # In most API versions, but not in all, a child names its parent. `mirror.objects` has a column for the parent.
        apart = children.type.table.name == "objects"
        named = {
            children.id(obj, member): member
            if apart or member.get(children.parent)
            else {**member, children.parent: parent}
            for member in members
        }
        yield Family(children, named, complete=not more)
