"""Record a page of one of Stripe's lists, and find mirrored objects that the page should contain but does not.

A page shows the state at the second of its request. Lists are sorted by `created`, newest first, so consecutive pages
cover a span of `created` completely. If a mirrored object of that span is not in the list, it was deleted or has left
the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import msgspec
import psycopg

from worker.membership.rules.access import Policy
from worker.mirror import absences, drift
from worker.mirror import store as mirror
from worker.mirror.drift import Drift
from worker.mirror.fold import Key, Observation, Outcome, listed, retrieved
from worker.mirror.registry import object_type
from worker.mirror.version import AMBIGUITY_SECONDS
from worker.observe import log
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.json_paths import Json
from worker.writers.record import Answered, record, record_answers

_log = log.get("list_pass")

# At most this many ids of one second are kept. An import can create more objects in a second. In such a second, the
# pass does not look for absent objects.
MOST_OF_A_SECOND = 5_000


class Source(Protocol):
    """The methods of `stripe_api.client.Stripe` that a pass uses. Several threads call them at once."""

    def page(self, path: str, params: Mapping[str, Any] | None = None) -> Page: ...

    def retrieve(self, path: str) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list, or the part of a list with `created` in [gte, lt) (unix seconds).

    The list may leave out objects with a `final` status.
    """

    object: str | None
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    account: str = ""
    final: tuple[str, ...] = ()
    gte: int | None = None
    lt: int | None = None

    @property
    def query(self) -> dict[str, Any]:
        bounds = {"created[gte]": self.gte, "created[lt]": self.lt}
        return {**self.params, **{name: value for name, value in bounds.items() if value is not None}}

    def narrowed(self, *, gte: int | None, lt: int | None) -> "Listing":
        """The part of the list with `created` in [gte, lt)."""
        return replace(self, gte=gte, lt=lt)


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """The position of a pass in one shard, saved as JSON.

    `after`: the object after which the next page begins. `down_to`: all objects created after this second were seen.
    `of_that_second`: the ids seen so far of the second `down_to`, or None if there are too many to keep. `span`: how
    many seconds of `created` the last page covered. For a list under parents, the parents up to the id `parent` and the
    parents in `ahead` are done. `open` holds the positions in lists that are partly read.
    """

    after: str | None = None
    down_to: int | None = None
    of_that_second: tuple[str, ...] | None = ()
    span: int | None = None
    parent: str = ""
    ahead: tuple[str, ...] = ()
    open: dict[str, str] = {}

    @classmethod
    def from_json(cls, value: Any) -> "Place":
        """The place that `as_json` has written. The beginning if the value is None or written by an incompatible
        release."""
        try:
            return cls() if value is None else msgspec.convert(value, cls)
        except msgspec.ValidationError:
            return cls()

    def as_json(self) -> dict[str, Any]:
        """The place as a JSON object."""
        value: dict[str, Any] = msgspec.to_builtins(self)
        return value

    def query(self, listing: Listing) -> dict[str, Any]:
        """The parameters of the next page."""
        if self.after is not None:
            return {**listing.query, "starting_after": self.after}
        if self.down_to is not None:
            return listing.narrowed(gte=listing.gte, lt=self.down_to + 1).query
        return listing.query

    def without_cursor(self, *, by_created: bool) -> "Place":
        """The position to continue from if the object `after` was deleted: the start of its second, or of the whole
        list."""
        return msgspec.structs.replace(self, after=None) if by_created else Place()

    def following(self, page: Page, *, by_created: bool) -> "Place":
        """The position after the page. The next page may contain more objects of the page's last second."""
        if not page.data:
            return self
        if not by_created:
            return Place(after=page.data[-1]["id"])
        first, second = _created(page.data[0]), _created(page.data[-1])
        same: tuple[str, ...] | None = tuple(obj["id"] for obj in page.data if _created(obj) == second)
        if second == self.down_to and same is not None:
            same = None if self.of_that_second is None else self.of_that_second + same
        if same is not None and len(same) > MOST_OF_A_SECOND:
            same = None
        return Place(page.data[-1]["id"], second, same, max(first - second, 1))


@dataclass(slots=True)
class Tally:
    """The result of a pass as numbers of objects."""

    listed: int = 0
    written: int = 0
    unchanged: int = 0
    repaired: int = 0
    marked_deleted: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def add(self, other: Mapping[str, int]) -> None:
        for name, number in other.items():
            if hasattr(self, name):
                setattr(self, name, getattr(self, name) + number)


def record_page(
    conn: psycopg.Connection, listing: Listing, page: Page, policy: Policy, tally: Tally, *, users_later: bool = False
) -> None:
    """Write the objects of a page in one transaction, and record repairs as drift. For `users_later` see `record`."""
    [recorded] = record_pages(conn, [(listing, page)], policy, users_later=users_later)
    tally.add(recorded.as_dict())


def record_pages(
    conn: psycopg.Connection, pages: Sequence[tuple[Listing, Page]], policy: Policy, *, users_later: bool = False
) -> list[Tally]:
    """Write the objects of several pages of one list in one transaction; returns the tally of each page."""
    tallies, page_of = [Tally(listed=len(page.data)) for _, page in pages], dict[Key, int]()
    seen: list[Observation] = []
    for number, (listing, page) in enumerate(pages):
        for obj in page.data:
            one = listed(obj, read_at=page.read_at, shape=page.shape, account=listing.account)
            if one is not None:
                seen.append(one)
                page_of[one.key] = number
    repaired: list[Drift] = []
    with conn.transaction():
        own = {each.key: each.snapshot.content_hash for each in seen if each.key.account == ""}
        held = mirror.differing(conn, own)
        for outcome in record(conn, seen, policy, users_later=users_later):
            number = page_of.get(outcome.key, 0)
            tally, read_at = tallies[number], pages[number][1].read_at
            if outcome.object is None:
                tally.unchanged += 1
            elif outcome.before is None:
                tally.written += 1
            else:
                tally.repaired += 1
                repaired.append(_drift(outcome.key, *held.get(outcome.key, ({}, read_at)), outcome.object, read_at))
        drift.keep(conn, repaired, by=f"list of {pages[0][0].path}")
    for each in repaired:
        _log.info("object.corrected", object_id=each.object_id, object_type=each.object, fields=each.fields)
    return tallies


def _drift(key: Key, held: Json, observed_at: int, now: Json, read_at: int) -> Drift:
    differing = sorted(name for name in held.keys() | now.keys() if held.get(name) != now.get(name))
    return Drift(key.object, key.id, tuple(differing), read_at - observed_at)


def absent_of(
    conn: psycopg.Connection, listing: Listing, page: Page, place: Place, following: Place
) -> list[tuple[str, int]]:
    """The ids and revs of mirrored objects that lie in the page's span but are not on the page.

    Objects observed around the time of the page are left out, because they may have been created or deleted just then.
    """
    if listing.object is None:
        return []
    above = following.down_to if page.has_more else None if listing.gte is None else listing.gte - 1
    upto = None if listing.lt is None else listing.lt - 1
    if place.down_to is not None:
        upto = place.down_to - (place.of_that_second is None)
    shown = {obj["id"] for obj in page.data} | set(place.of_that_second or ())
    expected = absences.expected(
        conn,
        listing.object,
        account=listing.account,
        above=above,
        upto=upto,
        before=page.read_at - AMBIGUITY_SECONDS,
        final=listing.final,
    )
    return [(id_, rev) for id_, rev in expected if id_ not in shown]


def read_absent(stripe: Source, key: Key) -> Answer:
    """Read an object that was absent from a list."""
    url = object_type(key.object).url
    assert url is not None
    return stripe.retrieve(url.format(id=key.id))


def record_absent(
    conn: psycopg.Connection, answers: Sequence[tuple[Key, Answer, int]], policy: Policy, tally: Tally
) -> None:
    """Write Stripe's answers about objects that were absent from a list, in one transaction. Each answer comes with the
    revision of its row."""
    # The object was absent from a list that was read to its end, and a GET, if the type has one, did not find it. This
    # proves the deletion.
    asked = [Answered(retrieved(key, a.object, read_at=a.read_at, shape=a.shape), rev) for key, a, rev in answers]
    changed: list[tuple[Outcome, Answer]] = []
    with conn.transaction():
        outcomes = record_answers(conn, asked, policy)
        for (_, answer, _), outcome in zip(answers, outcomes, strict=True):
            if outcome is not None and outcome.object is not None:
                changed.append((outcome, answer))
        repaired = [
            Drift(
                outcome.key.object,
                outcome.key.id,
                ("deleted",) if answer.deleted else ("left the list",),
                answer.read_at - outcome.before.observed_at,
            )
            for outcome, answer in changed
            if outcome.before is not None
        ]
        drift.keep(conn, repaired, by="absence")
    for outcome, answer in changed:
        if answer.deleted:
            tally.marked_deleted += 1
        else:
            tally.repaired += 1
        key = outcome.key
        _log.info("object.corrected", object_id=key.id, object_type=key.object, deleted=answer.deleted)


def _created(obj: Mapping[str, Any]) -> int:
    created = obj.get("created", obj.get("date"))
    return created if isinstance(created, int) else 0
