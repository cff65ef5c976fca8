"""All that a batch says of one object, folded into one outcome."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from worker.core.event import DELETED, Event
from worker.core.paths import Json, embedded
from worker.core.registry import ObjectType, is_preview, object_type
from worker.core.version import (
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

__all__ = ["Key", "Observation", "Outcome", "fold", "observe"]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which row of the mirror: the table, then what is unique in it. Rows are locked in the order of their keys."""

    table: str
    object: str
    id: str
    account: str


@dataclass(frozen=True, slots=True)
class Observation:
    """An object as somebody saw it: the snapshot for the rule, the object for the row."""

    key: Key
    snapshot: Snapshot
    object: Json

    @property
    def type(self) -> ObjectType:
        return object_type(self.key.object)


@dataclass(slots=True)
class Outcome:
    """What a batch makes of one object. `object` is None where the row's content stays as it is."""

    key: Key
    before: Version | None
    version: Version | None = None
    object: Json | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def touched(self) -> bool:
        return self.version is not None and self.version != self.before

    @property
    def type(self) -> ObjectType:
        return object_type(self.key.object)


def observe(event: Event) -> Observation | None:
    """What a snapshot event shows; None where it shows nothing that could be kept under an id."""
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
        final=not deleted and obj.get("status") in type_.final,
        incomplete=not deleted and is_incomplete(type_, obj),
        before=lambda: _before(event),
    )
    key = Key(type_.table.name, type_.name, event.object_id, event.account)
    return Observation(key, snapshot, obj)


def is_incomplete(type_: ObjectType, obj: Json) -> bool:
    """Whether only a read can tell the object's whole state: a list was cut short, or a test clock makes its time."""
    return bool(obj.get("test_clock")) or any(embedded(obj, children.field)[1] for children in type_.children)


def fold(observations: Iterable[Observation], rows: Mapping[Key, Version]) -> list[Outcome]:
    """One outcome per object, in the order of the keys: its observations through the rule, from the locked row on."""
    outcomes: dict[Key, Outcome] = {}
    ordered = sorted(
        observations, key=lambda seen: (seen.key, seen.snapshot.created, seen.snapshot.rank, seen.snapshot.source)
    )
    for seen in ordered:
        before = rows.get(seen.key)
        outcome = outcomes.setdefault(seen.key, Outcome(seen.key, before, version=before))
        traits = Traits(fetchable=is_fetchable(seen.type, seen.key.id), reborn=seen.type.reborn)
        current = outcome.version
        verdict = decide(current, seen.snapshot, traits)
        outcome.verdicts[seen.snapshot.source] = verdict
        if takes_content(current, seen.snapshot, verdict):
            outcome.object = seen.object
        outcome.version = take(current, seen.snapshot, verdict, traits) or current
    return list(outcomes.values())


def is_fetchable(type_: ObjectType, id_: str) -> bool:
    """Whether Stripe can be asked for it."""
    return type_.fetchable and not is_preview(id_)


def _before(event: Event) -> str | None:
    return content_hash(put_back(event.object, event.previous)) if event.previous else None
