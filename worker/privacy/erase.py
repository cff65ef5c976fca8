"""Erasing a person: what is personal goes from users, mirror and inbox; amounts, states and the ledger stay.

First the list is committed, then everybody who writes without having seen it is waited for, then what is held is blanked, a
batch a transaction. Whoever writes from then on blanks by themselves (`worker.privacy.guard`). A sweep that is cut short is gone
on with by the beat: the list says what is still to be swept.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import psycopg

from worker.inbox import store as inbox
from worker.membership.store import load_facts
from worker.mirror import store as mirror
from worker.mirror.registry import TYPES
from worker.observe import log
from worker.postgres import cursors
from worker.postgres.pool import outlive
from worker.privacy import references
from worker.privacy import store as privacy_store
from worker.privacy.blanking import blank, blank_text
from worker.privacy.guard import concerned
from worker.privacy.references import Listed
from worker.stripe_api.event import NotAnEvent, read_event

_log = log.get("erasure")

BATCH = 200
CURSOR = "erasure"
OUTAGE_SECONDS = 60
_NAMED = re.compile(r'"([a-z_]+_[A-Za-z0-9_]+)"')
FINAL = tuple(sorted(TYPES["subscription"].final))


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom an erasure concerns, and how many rows of which tables. `user` is empty for customers who are nobody."""

    user: str
    email: str | None
    customers: tuple[str, ...]
    same_email: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    live: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def objects(self) -> set[tuple[str, str]]:
        customers = {("customer", id_) for id_ in (*self.customers, *self.same_email)}
        return customers | {("checkout.session", id_) for id_ in self.sessions}


def look(conn: psycopg.Connection, *, user: str, email: str | None, customers: Collection[str] = ()) -> Person:
    """Whom it concerns, and what would be blanked; nothing is written."""
    own, same, sessions = list(customers), list[str](), list[str]()
    if user:
        own, same = privacy_store.customers_of(conn, user, email)
        sessions = privacy_store.guest_sessions(conn, user, email)
    rows = privacy_store.user_rows(conn, user, email) if user else {}
    found = Person(user=user, email=email, customers=tuple(own), same_email=tuple(same), sessions=tuple(sessions))
    reached = _reach(conn, found.objects)
    keys = {*references.mirrored(conn, reached), *references.children_of(conn, reached)} if reached else set()
    mirrored = Counter(f"mirror.{key.table}" for key in keys)
    events = sum(1 for _ in _events(conn, reached))
    return Person(
        user=user,
        email=email,
        customers=found.customers,
        same_email=found.same_email,
        sessions=found.sessions,
        live=privacy_store.live_subscriptions(conn, {*own, *same}, final=FINAL),
        rows={**rows, **dict(sorted(mirrored.items())), "sync.events": events},
    )


def erase(
    conn: psycopg.Connection, person: Person, *, progress: Callable[[int, int], None] = lambda done, of: None
) -> Counter[str]:
    """The person is erased; returns how many rows of which tables were changed."""
    done: Counter[str] = Counter()
    with conn.transaction():
        if person.user:
            load_facts.lock_users(conn, [person.user])
        privacy_store.add_person(conn, person.user, person.objects)
        if person.user:
            done.update(privacy_store.blank_user(conn, person.user, person.email))

    def go_through() -> None:
        privacy_store.barrier(conn)
        # Who was looked at may have become more since: what a writer had begun then is there now.
        now = person.objects | _objects(conn, person.user, person.email)
        privacy_store.add(conn, _reach(conn, now))
        # Who is subscribed still may be paying just now: what is listed from here on is the beat's to sweep.
        sweep(conn, go_on=lambda: True, before=privacy_store.now(conn), done=done, progress=progress)

    # A deadlock with a worker costs a pause. What was done is done: to sweep again goes on.
    outlive(go_through, seconds=OUTAGE_SECONDS, waiting=_waiting)
    _log.info("person.erased", user_id=person.user, customers=len(person.customers))
    return done


def sweep(
    conn: psycopg.Connection,
    *,
    go_on: Callable[[], bool],
    before: datetime | None = None,
    done: Counter[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Counter[str]:
    """Blank what is held of those who were listed and not yet swept; counts in `done` how many rows of which tables.

    Of those listed later than `before` nothing is said.
    """
    done = Counter() if done is None else done
    while go_on() and (found := privacy_store.unswept(conn, limit=BATCH, before=before)):
        privacy_store.barrier(conn)
        listed = [one[:3] for one in found if one[0] != privacy_store.USER]
        asked = sorted(id_ for _, id_, _, by_person in found if by_person)
        for user in {id_ for object_, id_, _, _ in found if object_ == privacy_store.USER}:
            privacy_store.add(conn, _reach(conn, _objects(conn, user, None)))
        _blank_mirror(conn, listed, done)
        _blank_events(conn, listed, done)
        if asked and not _blank_scattered(conn, asked, done, go_on=go_on, progress=progress):
            return done
        with conn.transaction():
            privacy_store.swept(conn, found)
    return done


def sweep_parked(conn: psycopg.Connection) -> int:
    """Events that nobody could apply are not blanked by whoever applies them: those of erased people are blanked here."""
    if not privacy_store.any_listed(conn):
        return 0
    with conn.transaction():
        return _replace(conn, [event for event in references.parked(conn) if _concerns(conn, event[1])])


def _objects(conn: psycopg.Connection, user: str, email: str | None) -> set[tuple[str, str]]:
    """The customers, and the sessions of nobody's, that are the user's."""
    if not user:
        return set()
    own, same = privacy_store.customers_of(conn, user, email)
    sessions = privacy_store.guest_sessions(conn, user, email)
    return {("customer", id_) for id_ in (*own, *same)} | {("checkout.session", id_) for id_ in sessions}


def _reach(conn: psycopg.Connection, objects: Iterable[tuple[str, str]]) -> set[Listed]:
    """These objects, and all that belongs to them, as far as it goes."""
    reached: set[Listed] = set()
    fresh: set[Listed] = {(object_, id_, "") for object_, id_ in objects}
    while fresh:
        reached |= fresh
        fresh = _next(conn, fresh) - reached
    return reached


def _next(conn: psycopg.Connection, found: Collection[Listed]) -> set[Listed]:
    keys = references.mirrored(conn, found)
    return {(key.object, key.id, key.account) for key in keys} | references.paid_by_guests(conn, found)


def _blank_mirror(conn: psycopg.Connection, found: Sequence[Listed], done: Counter[str]) -> None:
    # Listed before they are locked: a writer lists first as well, and locks then.
    privacy_store.add(conn, _next(conn, found))
    keys = sorted({*references.mirrored(conn, found), *references.children_of(conn, found)})
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        with conn.transaction():
            for table in sorted({key.table for key in batch}):
                of_table = [key for key in batch if key.table == table]
                done[f"mirror.{table}"] += mirror.rewrite(conn, of_table, blank)


def _events(conn: psycopg.Connection, found: Collection[Listed]) -> Iterable[tuple[str, str]]:
    after = ""
    while batch := references.events_of(conn, found, after=after, limit=BATCH):
        yield from batch
        after = batch[-1][0]


def _blank_events(conn: psycopg.Connection, found: Sequence[Listed], done: Counter[str]) -> None:
    after = ""
    while True:
        with conn.transaction():
            batch = references.events_of(conn, found, after=after, limit=BATCH)
            done["sync.events"] += _replace(conn, batch)
        if len(batch) < BATCH:
            return
        after = batch[-1][0]


def _blank_scattered(
    conn: psycopg.Connection,
    asked: Sequence[str],
    done: Counter[str],
    *,
    go_on: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> bool:
    """What no index finds: each stretch of both tables is looked through; False where time was up, and the place is kept."""
    place = cursors.read(conn, CURSOR)
    start = place["block"] if place is not None and place["asked"] == list(asked) else 0
    others = references.block_count(conn, "mirror.objects") // references.BLOCKS + 1
    events = references.block_count(conn, "sync.events") // references.BLOCKS + 1
    for number in range(start, others + events):
        if not go_on():
            cursors.save(conn, CURSOR, {"asked": list(asked), "block": number})
            return False
        progress(number, others + events)
        if number < others:
            found = references.others_naming(conn, asked, block=number * references.BLOCKS)
            with conn.transaction():
                hits = concerned(conn, [(key.id, key.account, data) for key, data in found])
            keys = [found[n][0] for n in sorted(hits)]
            privacy_store.add(conn, [(key.object, key.id, key.account) for key in keys])
            with conn.transaction():
                done["mirror.objects"] += mirror.rewrite(conn, keys, blank)
        else:
            with conn.transaction():
                bodies = references.events_naming(conn, asked, block=(number - others) * references.BLOCKS)
                done["sync.events"] += _replace(conn, [event for event in bodies if _concerns(conn, event[1])])
    progress(others + events, others + events)
    cursors.drop(conn, CURSOR)
    return True


def _concerns(conn: psycopg.Connection, body: str) -> bool:
    """Whether the event shows an object of somebody who was erased; in a body that can't be read, whether it names one."""
    try:
        event = read_event(msgspec.json.decode(body))
    except (NotAnEvent, msgspec.DecodeError, AttributeError, RecursionError):
        return bool(privacy_store.among(conn, {(id_, "") for id_ in _NAMED.findall(body)}, ())[0])
    return bool(concerned(conn, [(event.object_id or "", event.account, event.object or {})]))


def _replace(conn: psycopg.Connection, events: Sequence[tuple[str, str]]) -> int:
    now = {id_: blanked for id_, body in events if (blanked := blank_text(body)) != body}
    if now:
        inbox.replace_bodies(conn, now)
    return len(now)


def _waiting(error: Exception, pause: float) -> None:
    _log.warning("erasure.waiting", error=type(error).__name__, retry_in_seconds=pause)
