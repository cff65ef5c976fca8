"""Erase a person: blank personal data in users, mirror and inbox, but keep amounts, states and the ledger.

First, the list of erased objects is committed. Then the job waits until every writer that has not seen the list has ended,
and blanks the stored data in batches, one transaction each. Later writers consult the list (`worker.privacy.guard`). The
list records which objects are swept, so a periodic job can continue an interrupted sweep.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
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
from worker.stripe_api.event import NotAnEvent, ObjectRef, read_event

_log = log.get("erasure")

BATCH = 200
CURSOR = "erasure"
OUTAGE_SECONDS = 60
_NAMED = re.compile(r'"([a-z_]+_[A-Za-z0-9_]+)"')
FINAL = tuple(sorted(TYPES["subscription"].final))


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The objects to erase, and the number of rows by table. `user` is empty for customers without a user."""

    user: str
    email: str | None
    customers: tuple[str, ...]
    same_email: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    live: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def objects(self) -> set[ObjectRef]:
        customers = {ObjectRef("customer", id_) for id_ in (*self.customers, *self.same_email)}
        return customers | {ObjectRef("checkout.session", id_) for id_ in self.sessions}


def look(conn: psycopg.Connection, *, user: str, email: str | None, customers: Collection[str] = ()) -> Person:
    """The objects of this person, and the rows that would be blanked. Nothing is written."""
    own, same, sessions = list(customers), list[str](), list[str]()
    if user:
        own, same = privacy_store.customers_of(conn, user, email)
        sessions = privacy_store.guest_sessions(conn, user, email)
    rows = privacy_store.user_rows(conn, user, email) if user else {}
    person = Person(user=user, email=email, customers=tuple(own), same_email=tuple(same), sessions=tuple(sessions))
    reached = _reach(conn, person.objects)
    keys = {*references.mirrored(conn, reached), *references.children_of(conn, reached)} if reached else set()
    mirrored = Counter(f"mirror.{key.table}" for key in keys)
    events = sum(1 for _ in _events(conn, reached))
    return replace(
        person,
        live=privacy_store.live_subscriptions(conn, {*own, *same}, final=FINAL),
        rows={**rows, **dict(sorted(mirrored.items())), "sync.events": events},
    )


def erase(
    conn: psycopg.Connection, person: Person, *, progress: Callable[[int, int], None] = lambda done, of: None
) -> Counter[str]:
    """Erase the person. Returns the number of changed rows by table."""
    done: Counter[str] = Counter()
    with conn.transaction():
        if person.user:
            load_facts.lock_users(conn, [person.user])
        privacy_store.add_person(conn, person.user, person.objects)
        if person.user:
            done.update(privacy_store.blank_user(conn, person.user, person.email))

    def blank_stored_data() -> None:
        privacy_store.barrier(conn)
        # A writer that had not seen the list may have added objects of this person.
        now = person.objects | _objects(conn, person.user, person.email)
        privacy_store.add(conn, _reach(conn, now))
        # A live subscription may still create objects. The periodic job sweeps the objects that are listed from now on.
        sweep(conn, should_continue=lambda: True, before=privacy_store.now(conn), done=done, progress=progress)

    # After a deadlock with a worker, the sweep is repeated. It skips finished work.
    outlive(blank_stored_data, seconds=OUTAGE_SECONDS, waiting=_waiting)
    _log.info("person.erased", user_id=person.user, customers=len(person.customers))
    return done


def sweep(
    conn: psycopg.Connection,
    *,
    should_continue: Callable[[], bool],
    before: datetime | None = None,
    done: Counter[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Counter[str]:
    """Blank the stored data of listed objects that are not swept yet. Returns `done`, the changed rows by table.

    Objects that were listed later than `before` are skipped.
    """
    done = Counter() if done is None else done
    while should_continue() and (batch := privacy_store.unswept(conn, limit=BATCH, before=before)):
        privacy_store.barrier(conn)
        listed = [ObjectRef(*one[:3]) for one in batch if one[0] != privacy_store.USER]
        requested = sorted(id_ for _, id_, _, by_person in batch if by_person)
        for user in {id_ for object_, id_, _, _ in batch if object_ == privacy_store.USER}:
            privacy_store.add(conn, _reach(conn, _objects(conn, user, None)))
        _blank_mirror(conn, listed, done)
        _blank_events(conn, listed, done)
        if requested and not _blank_scattered(
            conn, requested, done, should_continue=should_continue, progress=progress
        ):
            return done
        with conn.transaction():
            privacy_store.swept(conn, batch)
    return done


def sweep_parked(conn: psycopg.Connection) -> int:
    """Blank the parked events of erased people, because no worker applies them. Returns how many changed."""
    if not privacy_store.any_listed(conn):
        return 0
    with conn.transaction():
        return _replace(conn, [event for event in references.parked(conn) if _concerns(conn, event[1])])


def _objects(conn: psycopg.Connection, user: str, email: str | None) -> set[ObjectRef]:
    """The customers and guest Checkout sessions of the user."""
    if not user:
        return set()
    own, same = privacy_store.customers_of(conn, user, email)
    sessions = privacy_store.guest_sessions(conn, user, email)
    return {ObjectRef("customer", id_) for id_ in (*own, *same)} | {
        ObjectRef("checkout.session", id_) for id_ in sessions
    }


def _reach(conn: psycopg.Connection, objects: Iterable[ObjectRef]) -> set[ObjectRef]:
    """These objects, and all objects that belong to them, directly or indirectly."""
    reached: set[ObjectRef] = set()
    fresh = set(objects)
    while fresh:
        reached |= fresh
        fresh = _next(conn, fresh) - reached
    return reached


def _next(conn: psycopg.Connection, objects: Collection[ObjectRef]) -> set[ObjectRef]:
    keys = references.mirrored(conn, objects)
    return {key.ref for key in keys} | references.paid_by_guests(conn, objects)


def _blank_mirror(conn: psycopg.Connection, objects: Sequence[ObjectRef], done: Counter[str]) -> None:
    # Objects are first added to the list of erased objects, then locked. Writers use the same order.
    privacy_store.add(conn, _next(conn, objects))
    keys = sorted({*references.mirrored(conn, objects), *references.children_of(conn, objects)})
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        with conn.transaction():
            for table in sorted({key.table for key in batch}):
                of_table = [key for key in batch if key.table == table]
                done[f"mirror.{table}"] += mirror.rewrite(conn, of_table, blank)


def _events(conn: psycopg.Connection, objects: Collection[ObjectRef]) -> Iterable[tuple[str, str]]:
    after = ""
    while batch := references.events_of(conn, objects, after=after, limit=BATCH):
        yield from batch
        after = batch[-1][0]


def _blank_events(conn: psycopg.Connection, objects: Sequence[ObjectRef], done: Counter[str]) -> None:
    after = ""
    while True:
        with conn.transaction():
            batch = references.events_of(conn, objects, after=after, limit=BATCH)
            done["sync.events"] += _replace(conn, batch)
        if len(batch) < BATCH:
            return
        after = batch[-1][0]


def _blank_scattered(
    conn: psycopg.Connection,
    requested: Sequence[str],
    done: Counter[str],
    *,
    should_continue: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> bool:
    """Read both tables completely, because no index helps, one range of blocks at a time.

    If time runs out, the position is saved, and False is returned.
    """
    cursor = cursors.read(conn, CURSOR)
    start = cursor["block"] if cursor is not None and cursor["asked"] == list(requested) else 0
    others = references.block_count(conn, "mirror.objects") // references.BLOCKS + 1
    events = references.block_count(conn, "sync.events") // references.BLOCKS + 1
    for number in range(start, others + events):
        if not should_continue():
            cursors.save(conn, CURSOR, {"asked": list(requested), "block": number})
            return False
        progress(number, others + events)
        if number < others:
            candidates = references.others_naming(conn, requested, block=number * references.BLOCKS)
            with conn.transaction():
                hits = concerned(conn, [(key.id, key.account, data) for key, data in candidates])
            keys = [candidates[n][0] for n in sorted(hits)]
            privacy_store.add(conn, [key.ref for key in keys])
            with conn.transaction():
                done["mirror.objects"] += mirror.rewrite(conn, keys, blank)
        else:
            with conn.transaction():
                bodies = references.events_naming(conn, requested, block=(number - others) * references.BLOCKS)
                done["sync.events"] += _replace(conn, [event for event in bodies if _concerns(conn, event[1])])
    progress(others + events, others + events)
    cursors.drop(conn, CURSOR)
    return True


def _concerns(conn: psycopg.Connection, body: str) -> bool:
    """Whether the event's object belongs to an erased person. If the body is unreadable: whether it contains an erased id."""
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
