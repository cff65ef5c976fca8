"""Fold all observations of one object in a batch into one outcome."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple

from worker.mirror.registry import ObjectType, is_preview, object_type
from worker.mirror.version import (
    DELETED_HASH,
    Snapshot,
    Traits,
    Verdict,
    Version,
    content_hash,
    decide,
    put_back,
    take,
    takes_content,
)
from worker.stripe_api.event import DELETED, UPDATED, Event, ObjectRef, object_id
from worker.stripe_api.json_paths import Json, embedded, reference


class Key(NamedTuple):
    """A row of the mirror: its table and its unique key. Rows are locked in the order of their keys."""

    table: str
    object: str
    id: str
    account: str

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.object, self.id, self.account)


@dataclass(frozen=True, slots=True)
class Observation:
    """An observed object: the snapshot for the version rule, and the object for the row.

    If `completed` is true, truncated lists were read to their end, so `object` contains more than the hash covers. It
    is written even if the row has the same hash, and `shown` is the object that the hash covers. `previous` is the
    previous_attributes of an event. If `erased` is true, the owner is erased, and the object is blanked.
    """

    key: Key
    snapshot: Snapshot
    object: Json
    completed: bool = False
    shown: Json | None = None
    previous: Mapping[str, Any] | None = None
    erased: bool = False

    @property
    def type(self) -> ObjectType:
        return object_type(self.key.object)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a batch for one object.

    `object` is None if the content of the row stays. `erased` and `completed` are taken from the observations.
    """

    key: Key
    before: Version | None
    version: Version | None = None
    object: Json | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    erased: bool = False
    completed: bool = False

    @property
    def touched(self) -> bool:
        return self.version is not None and self.version != self.before

    @property
    def moves_users(self) -> bool:
        """Whether a value that users are computed from has changed.

        If an object has no creation time, users are computed from the time of its last observation. Every event changes
        that time.
        """
        if not self.type.decides_users or self.version is None:
            return False
        was, now = self.before, self.version
        if was is None or was.unsettled != now.unsettled:
            return True
        if self.object is None:
            return False
        is_undated = not isinstance(self.object.get("created"), int)
        return self.completed or now.deleted or is_undated or was.deciding_hash != now.deciding_hash

    @property
    def type(self) -> ObjectType:
        return object_type(self.key.object)


def observe(event: Event) -> Observation | None:
    """The observation of a snapshot event; None if it contains no object with an id."""
    if event.object is None or event.object_type is None or event.object_id is None:
        return None
    obj, deleted = event.object, event.deletes
    type_ = object_type(event.object_type)
    bare = deleted and len(obj) <= 4  # {id, object, deleted}, sometimes with livemode
    snapshot = Snapshot(
        created=event.created,
        rank=DELETED if deleted else event.rank,
        source=event.id,
        content_hash=DELETED_HASH if deleted else content_hash(obj),
        shape="" if bare else event.shape,
        final=not deleted and _is_final(type_, obj),
        incomplete=not deleted and (is_incomplete(type_, obj) or type_.lacks(obj)),
        before=lambda: _before(event),
    )
    key = Key(type_.table.name, type_.name, event.object_id, event.account)
    return Observation(key, snapshot, obj, previous=event.previous)


def listed(obj: Json, *, read_at: int, shape: str, account: str = "") -> Observation | None:
    """The observation of one object on a page of a list; None if the object has no id."""
    name = obj.get("object")
    if not isinstance(name, str) or (id_ := object_id(obj)) is None:
        return None
    type_ = object_type(name)
    snapshot = Snapshot(
        created=read_at,
        rank=UPDATED,
        source=f"list:{read_at}",
        content_hash=content_hash(obj),
        shape=shape,
        final=_is_final(type_, obj),
        incomplete=is_incomplete(type_, obj),
        listed=True,
    )
    return Observation(Key(type_.table.name, type_.name, id_, account), snapshot, obj)


def retrieved(key: Key, obj: Json | None, *, read_at: int, shape: str, whole: Json | None = None) -> Observation:
    """The observation of the answer to a GET. `obj` is None or a stub if Stripe no longer has the object.

    `whole` is the object with its embedded lists read to their end. `whole` is written, but the hash is computed from
    `obj`. So an event with the same object and the same truncated lists is recognised as equal.
    """
    type_ = object_type(key.object)
    gone = obj is None or obj.get("deleted") is True
    snapshot = Snapshot(
        created=read_at,
        rank=DELETED if gone else UPDATED,
        source=f"get:{read_at}",
        content_hash=DELETED_HASH if obj is None or gone else content_hash(obj),
        shape="" if gone else shape,
        final=obj is not None and not gone and _is_final(type_, obj),
        incomplete=obj is not None and not gone and _is_cut(type_, whole or obj),
    )
    bare = {"id": key.id, "object": key.object, "deleted": True}
    completed = whole is not None and whole is not obj
    return Observation(key, snapshot, whole or obj or bare, completed=completed, shown=obj if completed else None)


def is_incomplete(type_: ObjectType, obj: Json) -> bool:
    """Whether the object can't be settled by this observation: an embedded list is truncated, or the object is on a
    test clock."""
    return bool(obj.get("test_clock")) or _is_cut(type_, obj)


def _is_cut(type_: ObjectType, obj: Json) -> bool:
    """Whether Stripe has more children than the object contains."""
    return any(children.is_cut(obj) for children in type_.children)


def fold(observations: Iterable[Observation], rows: Mapping[Key, Version]) -> list[Outcome]:
    """Apply the version rule to the observations of each object, beginning with its locked row.

    Returns one outcome for each object, in the order of the keys.
    """
    ordered = sorted(
        observations, key=lambda seen: (seen.key, seen.snapshot.created, seen.snapshot.rank, seen.snapshot.source)
    )
    return [_fold_one(key, rows.get(key), list(of_one)) for key, of_one in groupby(ordered, key=lambda seen: seen.key)]


def _fold_one(key: Key, before: Version | None, observations: Sequence[Observation]) -> Outcome:
    traits, version, written = traits_of(key), before, None
    verdicts: dict[str, Verdict] = {}
    for seen in observations:
        verdict = verdicts[seen.snapshot.source] = decide(version, seen.snapshot, traits)
        if takes_content(version, seen.snapshot, verdict):
            written = seen.object
        version = take(version, seen.snapshot, verdict, traits) or version
    return Outcome(
        key,
        before,
        version,
        written,
        verdicts,
        erased=any(seen.erased for seen in observations),
        completed=any(seen.completed for seen in observations),
    )


def traits_of(key: Key) -> Traits:
    """The traits of the object's type for the version rule. A preview can't be read, whatever its type."""
    type_ = object_type(key.object)
    return Traits(fetchable=type_.fetchable and not is_preview(key.id), reborn=type_.reborn)


def _is_final(type_: ObjectType, obj: Json) -> bool:
    status = obj.get("status")
    return isinstance(status, str) and status in type_.final


def _before(event: Event) -> str | None:
    return content_hash(put_back(event.object, event.previous)) if event.previous else None


# Objects with rows of their own that another object contains: the type that contains them, the field, and their type.
# In old API versions no other event reports refunds. No event reports the balance transactions of a payout. A discount
# can't be read by its id.
_SHOWN_WITH = (
    ("charge", "refunds", "refund"),
    ("payout", "balance_transactions", "balance_transaction"),
    ("customer", "discount", "discount"),
)


def with_members(observations: Sequence[Observation]) -> list[Observation]:
    """The observations, and one for each contained object that has a row of its own."""
    shown = [
        Observation(
            Key(type_.table.name, type_.name, member["id"], seen.key.account),
            replace(
                seen.snapshot,
                source=f"{seen.snapshot.source}#{member['id']}",
                rank=UPDATED,
                content_hash=content_hash(member),
                final=_is_final(type_, member),
                incomplete=False,
                before=lambda: None,
            ),
            member,
            erased=seen.erased,
        )
        for of, field_, name in _SHOWN_WITH
        for type_ in [object_type(name)]
        for seen in observations
        if seen.key.object == of and not seen.snapshot.deleted
        for member in _shown(seen.object, field_)
    ]
    return [*observations, *shown]


def _shown(obj: Json, field_: str) -> list[Json]:
    """The objects in a field that contains a list or one object."""
    value = obj.get(field_)
    if isinstance(value, dict) and reference(value):
        return [value]
    return embedded(obj, field_)[0]
