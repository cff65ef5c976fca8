"""The version rule: decide which of two snapshots of one object is newer.

Snapshots have no version number, and the times of events are whole seconds. `decide` is the whole rule, and `take`
applies its verdict to the row. Both are pure, and every writer uses them. AMBIGUITY_SECONDS is longer than the
difference between Stripe's clocks plus the duration of a read. If two snapshots are further apart, the one with the
later second is newer. If not, the order is unknown: the better guess is stored, and the row is marked `unsettled`.
"""

import base64
import enum
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from worker.mirror.registry import object_type
from worker.stripe_api.event import CREATED
from worker.stripe_api.json_paths import Json, canonical

AMBIGUITY_SECONDS = 7
REPLICA_LAG_SECONDS = 5

DELETED_HASH = "deleted"
# The number of letters in each half of a hash, with six bits in a letter.
_HALF = 20

# Fields that differ between two reads of an unchanged object: signed addresses, and the progress of deliveries.
_VOLATILE = ("hosted_invoice_url", "invoice_pdf", "receipt_url", "webhooks_delivered_at", "pending_webhooks")


class Verdict(enum.StrEnum):
    """The verdict on a snapshot, as the log and `sync.events.outcome` name it."""

    WRITTEN = "written"
    SAME = "same"
    SUPERSEDED = "superseded"
    GUESSED_NEWER = "guessed_newer"
    GUESSED_OLDER = "guessed_older"

    @property
    def applies(self) -> bool:
        """Whether the row gets the content of the snapshot."""
        return self in (Verdict.WRITTEN, Verdict.GUESSED_NEWER)

    @property
    def ambiguous(self) -> bool:
        return self in (Verdict.GUESSED_NEWER, Verdict.GUESSED_OLDER)


@dataclass(frozen=True, slots=True)
class Traits:
    """The traits of an object type that the version rule depends on."""

    fetchable: bool
    reborn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The mirror's bookkeeping for one object, without the object. Times are by Stripe's clock, in unix seconds."""

    observed_at: int
    rank: int
    observed_in: str
    content_hash: str
    shape: str
    rev: int
    unsettled: bool
    final: bool

    @property
    def deleted(self) -> bool:
        return self.content_hash == DELETED_HASH

    @property
    def deciding_hash(self) -> str:
        """The hash of the fields that users are computed from."""
        return self.content_hash[:_HALF]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One observation of an object, by an event or a read.

    `incomplete` is true if the observation can't settle the object (an embedded list was truncated, or the object is on
    a test clock). `listed` is true if the observation comes from a list. Lists are read repeatedly, so nothing is
    written if the observation equals the row. `before` returns the hash of the state that previous_attributes restores,
    or None without previous_attributes.
    """

    created: int
    rank: int
    source: str
    content_hash: str
    shape: str
    final: bool
    incomplete: bool = False
    listed: bool = False
    before: Callable[[], str | None] = lambda: None

    @property
    def deleted(self) -> bool:
        return self.content_hash == DELETED_HASH

    @property
    def bare(self) -> bool:
        """A deletion that contained only the id."""
        return self.deleted and not self.shape


def decide(row: Version | None, snapshot: Snapshot, traits: Traits) -> Verdict:
    """The verdict on a snapshot, compared with the row. The order of the conditions matters."""
    if row is None:
        return Verdict.WRITTEN
    if not traits.reborn and row.deleted != snapshot.deleted:
        # If an id can't be created again, a deletion is final, in whatever order the two arrive.
        return Verdict.WRITTEN if snapshot.deleted else Verdict.SUPERSEDED
    if snapshot.listed and not row.unsettled and _same(row, snapshot):
        return Verdict.SAME
    made_once = not traits.reborn and row.rank != snapshot.rank
    if made_once and snapshot.rank == CREATED:
        # An object is created once, so its X.created is the oldest event, whatever its second is.
        return Verdict.SUPERSEDED
    lifts = row.deleted and not snapshot.deleted and snapshot.rank != CREATED
    if snapshot.created > row.observed_at + AMBIGUITY_SECONDS:
        return Verdict.GUESSED_OLDER if lifts else Verdict.WRITTEN
    if _same(row, snapshot):
        return Verdict.SAME
    if snapshot.created < row.observed_at - AMBIGUITY_SECONDS:
        return Verdict.SUPERSEDED
    if made_once and row.rank == CREATED:
        return Verdict.WRITTEN
    if lifts:
        return Verdict.GUESSED_OLDER
    return Verdict.GUESSED_NEWER if _likely_newer(row, snapshot) else Verdict.GUESSED_OLDER


def take(row: Version | None, snapshot: Snapshot, verdict: Verdict, traits: Traits) -> Version | None:
    """The version of the row after the verdict; None if the row does not change."""
    if verdict is Verdict.SUPERSEDED:
        return None
    if row is None or verdict is Verdict.WRITTEN:
        return Version(
            observed_at=max(snapshot.created, row.observed_at if row else snapshot.created),
            rank=snapshot.rank,
            observed_in=snapshot.source,
            content_hash=snapshot.content_hash,
            shape=snapshot.shape,
            rev=row.rev + 1 if row else 1,
            unsettled=snapshot.incomplete and traits.fetchable,
            final=snapshot.final,
        )
    later = replace(row, observed_at=max(row.observed_at, snapshot.created), rev=row.rev + 1)
    if verdict is Verdict.SAME:
        if snapshot.listed:
            return None
        if snapshot.incomplete and traits.fetchable:
            # Items beyond the end of a truncated list may have changed, even if the items in it have not.
            later = replace(later, unsettled=True)
        outlived = not traits.reborn and row.rank == CREATED != snapshot.rank
        if outlived or _position(snapshot) > _position(row):
            # A later event has the content of X.created again. The row gets its rank, because with the rank of
            # X.created it would yield to any other event.
            later = replace(later, rank=snapshot.rank, observed_in=snapshot.source)
        return replace(later, shape=snapshot.shape) if _completes(row, snapshot) else later
    if verdict is Verdict.GUESSED_NEWER:
        later = replace(
            later,
            rank=snapshot.rank,
            observed_in=snapshot.source,
            content_hash=snapshot.content_hash,
            shape=snapshot.shape,
            final=snapshot.final,
        )
    return replace(later, unsettled=traits.fetchable)


def takes_content(row: Version | None, snapshot: Snapshot, verdict: Verdict) -> bool:
    """Whether to write the snapshot's object: it won, or it adds the content that a bare deletion did not contain."""
    if verdict.applies:
        return row is None or not (snapshot.listed and _same(row, snapshot))
    return verdict is Verdict.SAME and not snapshot.listed and row is not None and _completes(row, snapshot)


def settle(
    row: Version | None, answer: Snapshot, *, rev: int, traits: Traits, event_at: int | None = None
) -> Version | None:
    """The version of the row after a read that began while the row had the revision `rev` (0: there was no row).

    None if an event was applied in the meantime: the answer may be older, and the object must be read again. The read
    settles the row if all of Stripe's replicas had the newest event by then. That is the case if the read was made
    REPLICA_LAG_SECONDS or more after `event_at` (or, without `event_at`, after the row's `observed_at`). Otherwise the
    row stays unsettled.
    """
    if (row.rev if row else 0) != rev:
        return None
    if row is not None and row.deleted and not answer.deleted and not _may_live_again(row, traits):
        return replace(row, rev=rev + 1, unsettled=False)
    newest = event_at if event_at is not None else row.observed_at if row else answer.created - REPLICA_LAG_SECONDS
    settled = answer.created >= newest + REPLICA_LAG_SECONDS
    # A read that does not settle the row proves nothing about its own second.
    proved = answer.created if settled else min(answer.created, newest)
    return Version(
        observed_at=max(proved, row.observed_at) if row else proved,
        rank=answer.rank,
        observed_in=answer.source,
        content_hash=answer.content_hash,
        shape=answer.shape,
        rev=rev + 1,
        unsettled=traits.fetchable and (answer.incomplete or not settled),
        final=answer.final,
    )


def _may_live_again(row: Version, traits: Traits) -> bool:
    """Whether a deleted object may exist again.

    Its id can be created again, or the deletion is known only from a read: the replica may not have had the object yet.
    """
    return traits.reborn or row.observed_in.startswith("get:")


def content_hash(obj: Json) -> str:
    """A hash of the object, without fields that differ between reads and without the refunds of a charge.

    Refunds have rows of their own, and only some API versions and reads contain them. The first half of the hash covers
    the fields that users are computed from, and the second half all other fields.
    """
    name = obj.get("object")
    deciding, elsewhere = _split_by(name if isinstance(name, str) else None)
    first = {key: obj[key] for key in deciding if key in obj}
    second = {key: value for key, value in obj.items() if key not in elsewhere}
    return _digest(first) + _digest(second)


@cache
def _split_by(name: str | None) -> tuple[frozenset[str], frozenset[str]]:
    """The fields in the first half of the hash, and all fields that are not in the second half."""
    deciding = object_type(name).deciding if name is not None else frozenset[str]()
    return deciding, deciding.union(_VOLATILE, ("refunds",) if name == "charge" else ())


def _digest(fields: Json) -> str:
    made = hashlib.blake2b(canonical(fields).encode(), digest_size=_HALF * 6 // 8).digest()
    return base64.b64encode(made).decode()


def put_back(obj: Any, previous: Mapping[str, Any]) -> Json:
    """The state before an event. previous_attributes holds the old values, nested; arrays are replaced as a whole."""
    state = dict(obj) if isinstance(obj, dict) else {}
    for key, value in previous.items():
        nested = isinstance(value, dict) and isinstance(state.get(key), dict)
        state[key] = put_back(state[key], value) if nested else value
    return state


def _same(row: Version, snapshot: Snapshot) -> bool:
    if row.content_hash != snapshot.content_hash:
        return False
    return snapshot.deleted or row.shape == snapshot.shape


def _completes(row: Version, snapshot: Snapshot) -> bool:
    return row.deleted and not row.shape and snapshot.deleted and not snapshot.bare


def _position(of: Version | Snapshot) -> tuple[int, int, str]:
    if isinstance(of, Version):
        return (of.observed_at, of.rank, of.observed_in)
    return (of.created, of.rank, of.source)


def _likely_newer(row: Version, snapshot: Snapshot) -> bool:
    """Whether the snapshot is the better guess.

    A final status decides first, because it is never left. Then the second and the rank decide, then whether
    previous_attributes lead back to the row's state, and then the id of the event.
    """
    if row.final != snapshot.final:
        return snapshot.final
    if (snapshot.created, snapshot.rank) != (row.observed_at, row.rank):
        return (snapshot.created, snapshot.rank) > (row.observed_at, row.rank)
    if row.shape == snapshot.shape and snapshot.before() == row.content_hash:
        return True
    return snapshot.source > row.observed_in
