"""One pass over one of Stripe's lists: each page is recorded, and what a page should have shown and did not is asked for.

A page is true of the second in which it was requested. Lists come newest first, so two pages in a row bound a span of
`created` that is known completely: a mirrored row of that span that was not listed is gone, or has left the list.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import psycopg

from worker.membership.rules.access import Policy
from worker.mirror import drift
from worker.mirror import store as mirror
from worker.mirror.drift import Drift
from worker.mirror.fold import Key, listed, retrieved
from worker.mirror.registry import object_type
from worker.mirror.version import AMBIGUITY_SECONDS
from worker.observe import log
from worker.stripe_api.client import Answer, Page
from worker.stripe_api.json_paths import Json
from worker.writers.record import record, record_answer

_log = log.get("listing")


class Source(Protocol):
    """What a pass wants of `stripe_api.Stripe`."""

    def page(self, path: str, params: Mapping[str, Any] | None = None) -> Page: ...

    def retrieve(self, path: str) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list, or the part of it created in [gte, lt) (unix seconds). Objects in a `final` status need not be in it."""

    object: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    final: tuple[str, ...] = ()
    gte: int | None = None
    lt: int | None = None

    @property
    def query(self) -> dict[str, Any]:
        bounds = {"created[gte]": self.gte, "created[lt]": self.lt}
        return {**self.params, **{name: value for name, value in bounds.items() if value is not None}}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pass stands: after which object, down to which second everything was seen, and who was seen of that second."""

    after: str | None = None
    down_to: int | None = None
    of_that_second: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """What a pass did, in objects."""

    listed: int = 0
    written: int = 0
    unchanged: int = 0
    repaired: int = 0
    marked_deleted: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def add(self, other: Mapping[str, int]) -> None:
        for name, number in other.items():
            setattr(self, name, getattr(self, name) + number)


def pass_over(
    conn: psycopg.Connection,
    stripe: Source,
    listing: Listing,
    policy: Policy,
    tally: Tally,
    *,
    place: Place | None = None,
    after_page: Callable[[Place], bool] = lambda _: True,
) -> Place | None:
    """Read the list from `place` on, page by page; returns None once it is complete, else where to go on.

    Each page is a transaction of its own, so whatever stops a pass leaves whole pages. `after_page` says whether to go on.
    Stripe is never called while one is open.
    """
    place = place or Place()
    while True:
        query = listing.query if place.after is None else {**listing.query, "starting_after": place.after}
        page = stripe.page(listing.path, query)
        record_page(conn, listing, page, policy, tally)
        following = _advance(page, place)
        _ask_for_absent(conn, stripe, listing, page, place, following, policy, tally)
        if not page.has_more:
            return None
        place = following
        if not after_page(place):
            return place


def read_whole(
    conn: psycopg.Connection,
    stripe: Source,
    listings: Iterable[Listing],
    policy: Policy,
    tally: Tally,
    *,
    seen: Callable[[], None] = lambda: None,
) -> None:
    """Each of the lists from its beginning to its end; `tally` says how far it is whenever `seen` is called."""

    def after_page(_: Place) -> bool:
        seen()
        return True

    for listing in listings:
        pass_over(conn, stripe, listing, policy, tally, after_page=after_page)
        seen()


def record_page(conn: psycopg.Connection, listing: Listing, page: Page, policy: Policy, tally: Tally) -> None:
    """Write what a page shows, in a transaction of its own; what it repaired is kept as drift."""
    observations = [
        seen for obj in page.data if (seen := listed(obj, read_at=page.read_at, shape=page.shape)) is not None
    ]
    found: list[Drift] = []
    with conn.transaction():
        held = mirror.differing(
            conn,
            object_type(listing.object).table.name,
            {seen.key.id: seen.snapshot.content_hash for seen in observations},
        )
        outcomes = record(conn, observations, policy)
        for outcome in outcomes:
            if outcome.object is None:
                tally.unchanged += 1
            elif outcome.before is None:
                tally.written += 1
            else:
                tally.repaired += 1
                found.append(
                    _drift(outcome.key, *held.get(outcome.key.id, ({}, page.read_at)), outcome.object, page.read_at)
                )
        drift.keep(conn, found, by=f"list of {listing.path}")
    tally.listed += len(page.data)
    for one in found:
        _log.info(f"{one.object}.corrected", object_id=one.object_id, object_type=one.object, fields=one.fields)


def _drift(key: Key, held: Json, observed_at: int, now: Json, read_at: int) -> Drift:
    differing = sorted(name for name in held.keys() | now.keys() if held.get(name) != now.get(name))
    return Drift(key.object, key.id, tuple(differing), read_at - observed_at)


def _advance(page: Page, place: Place) -> Place:
    """The place after the page. Objects of its last second may go on in the next one."""
    if not page.data:
        return place
    last = page.data[-1]
    second = _created(last)
    same = tuple(obj["id"] for obj in page.data if _created(obj) == second)
    if second == place.down_to:
        same = place.of_that_second + same
    return Place(last["id"], second, same)


def _ask_for_absent(
    conn: psycopg.Connection,
    stripe: Source,
    listing: Listing,
    page: Page,
    place: Place,
    following: Place,
    policy: Policy,
    tally: Tally,
) -> None:
    """Ask for the mirrored objects that this page's span should have shown; what Stripe has no more is marked deleted."""
    table = object_type(listing.object).table.name
    above = following.down_to if page.has_more else None if listing.gte is None else listing.gte - 1
    upto = place.down_to if place.down_to is not None else None if listing.lt is None else listing.lt - 1
    seen = {obj["id"] for obj in page.data} | set(place.of_that_second)
    # Who was heard of around the time of the page may have come, or gone, just then.
    before = page.read_at - AMBIGUITY_SECONDS
    wanted = mirror.expected(conn, table, above=above, upto=upto, before=before, final=listing.final)
    for key, rev in wanted:
        if key.id not in seen:
            _ask(conn, stripe, key, rev, policy, tally)


def _ask(conn: psycopg.Connection, stripe: Source, key: Key, rev: int, policy: Policy, tally: Tally) -> None:
    url = object_type(key.object).url
    assert url is not None
    record_absent(conn, key, stripe.retrieve(url.format(id=key.id)), policy, tally, rev=rev)


def record_absent(
    conn: psycopg.Connection, key: Key, answer: Answer, policy: Policy, tally: Tally, *, rev: int
) -> None:
    """Write what Stripe answered of an object that a complete list did not show, its row then standing at `rev`."""
    # Not listed by a complete pass, and then not found: two witnesses that it is gone.
    seen = retrieved(key, None if answer.deleted else answer.object, read_at=answer.read_at, shape=answer.shape)
    with conn.transaction():
        outcome = record_answer(conn, seen, policy, rev=rev)
        if outcome is not None and outcome.object is not None and outcome.before is not None:
            behind = answer.read_at - outcome.before.observed_at
            gone = Drift(key.object, key.id, ("deleted",) if answer.deleted else ("left the list",), behind)
            drift.keep(conn, [gone], by="absence")
    if outcome is not None and outcome.object is not None:
        if answer.deleted:
            tally.marked_deleted += 1
        else:
            tally.repaired += 1
        _log.info(f"{key.object}.corrected", object_id=key.id, object_type=key.object, deleted=answer.deleted)


def _created(obj: Mapping[str, Any]) -> int:
    created = obj.get("created")
    return created if isinstance(created, int) else 0


def narrowed(listing: Listing, *, gte: int | None, lt: int | None) -> Listing:
    """The part of a list that was created in [gte, lt)."""
    return replace(listing, gte=gte, lt=lt)
