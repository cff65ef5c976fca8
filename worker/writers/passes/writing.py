"""The threads of a pass write through one or two shared connections, several pages of a list in one transaction.

A page of 100 objects takes about fifteen statements, whose fixed cost is as high as the cost of its rows. So a
connection writes several waiting pages together. If Stripe is slower than Postgres, each page is written alone.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg

from worker.membership.rules.access import Policy
from worker.mirror import absences, shards
from worker.mirror.shards import Shard
from worker.observe import log, trace
from worker.postgres import plans
from worker.postgres.pool import OTHER_SCHEMA, UNAVAILABLE
from worker.stripe_api.answers import Page
from worker.writers.list_pass import Listing, Place, absent_of, record_pages
from worker.writers.passes.plan import Options, Shape

_log = log.get("pass")

WRITE_ATTEMPTS = 5
# The most pages in one transaction, of 100 objects each. With five pages the process needs 10 MiB more and is not
# faster.
MOST_PAGES = 3


class Ended(Exception):
    """The pass is closed. A thread that has read a page too late can't write it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The result of writing a page. `gte` is the present start of the shard's span."""

    gte: int | None
    tally: dict[str, int]


@dataclass(slots=True, eq=False)
class ReadPage:
    """A page that a thread has read: its shard, the positions before and after the page, and the tally before it."""

    shard: Shard
    shape: Shape
    listing: Listing
    page: Page
    place: Place
    tally: Mapping[str, int]
    written: threading.Event = field(default_factory=threading.Event)
    saved: Saved | None = None
    error: BaseException | None = None
    _following: Place | None = field(default=None, init=False)

    @property
    def following(self) -> Place:
        """The position after the page. Reading it decodes the page, so it is not used while the page waits."""
        if self._following is None:
            self._following = self.place.following(self.page, by_created=self.shape.by_created)
        return self._following


class _Connections:
    """Connections that are lent in the order of requests, so that writers do not block the thread that looks for work.

    After the pass was closed, `take` returns None.
    """

    def __init__(self, connections: Sequence[psycopg.Connection]) -> None:
        self._lock, self._free = threading.Lock(), list[psycopg.Connection | None](connections)
        self._turns = deque[queue.SimpleQueue[psycopg.Connection | None]]()

    def take(self) -> psycopg.Connection | None:
        """Wait for a connection."""
        with self._lock:
            if self._free:
                return self._free.pop()
            turn = queue.SimpleQueue[psycopg.Connection | None]()
            self._turns.append(turn)
        try:
            return turn.get()
        except BaseException:  # raised by a signal
            with self._lock:
                is_waiting = turn in self._turns
                if is_waiting:
                    self._turns.remove(turn)
            if not is_waiting:
                self.give(turn.get())
            raise

    def give(self, conn: psycopg.Connection | None) -> None:
        """Give the connection to the thread that has waited longest, or put it back."""
        with self._lock:
            if self._turns:
                self._turns.popleft().put(conn)
            else:
                self._free.append(conn)


class Writer:
    """The writers of one process in a run, and their connections. Thread-safe. Call `close` to stop all writing."""

    def __init__(
        self, connections: Sequence[psycopg.Connection], policy: Policy, run: int, options: Options, owner: str
    ) -> None:
        self._policy, self._run, self._options, self._owner = policy, run, options, owner
        self._number, self._connections = len(connections), _Connections(connections)
        self.waiting: list[ReadPage] = []
        self._changed, self._closed = threading.Condition(), False
        for number in range(self._number):
            threading.Thread(target=trace.carry(self._write_pages), name=f"writer {number}", daemon=True).start()

    def close(self) -> None:
        """Wait for the writers, and take the connections back."""
        for _ in range(self._number):
            self._connections.take()
        self._connections.give(None)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """Lend one of the connections for the block. Raises Ended if the pass is closed."""
        conn = self._connections.take()
        try:
            if conn is None:
                raise Ended
            yield conn
        finally:
            self._connections.give(conn)

    def transaction(self, work: Callable[[psycopg.Connection], Any]) -> Any:
        """Run `work` in a transaction, and again after a serialization conflict or deadlock; returns its result."""
        for attempt in range(WRITE_ATTEMPTS):
            with self.connection() as conn:
                try:
                    return _in_transaction(conn, work)
                except UNAVAILABLE:
                    if conn.closed or attempt + 1 == WRITE_ATTEMPTS:
                        raise
            time.sleep(0.05 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def write_page(self, read: ReadPage) -> Saved | None:
        """Write a page and save the position after it. If the shard is no longer ours, write nothing and return
        None."""
        with self._changed:
            if self._closed:
                raise Ended
            self.waiting.append(read)
            self._changed.notify()
        read.written.wait()
        if read.error is not None:
            raise read.error
        return read.saved

    def _write_pages(self) -> None:
        """Write waiting pages, several pages of one list at a time. Each writer thread runs this until the pass is
        closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.waiting or self._closed)
                if not self.waiting:
                    return
            some: list[ReadPage] = []
            try:
                with self.connection() as conn:
                    some = self._take()
                    together = self._write_together(conn, some) if some else None
                if together is None:
                    for read in some:
                        read.saved = self.transaction(partial(self._save_page, read))
                        read.written.set()
                else:
                    for read, saved in zip(some, together, strict=True):
                        read.saved = saved
            except BaseException as error:  # noqa: BLE001 - raised again by the threads that have read the pages
                some = some or self._take()
                for read in some:
                    read.error = error if not read.written.is_set() else None
            for read in some:
                read.written.set()

    def _take(self) -> list[ReadPage]:
        with self._changed:
            some = [each for each in self.waiting if each.shard.list == self.waiting[0].shard.list][:MOST_PAGES]
            self.waiting = [each for each in self.waiting if each not in some]
        return some

    def _write_together(self, conn: psycopg.Connection, some: Sequence[ReadPage]) -> list[Saved] | None:
        """Write pages of one list in one transaction. If that fails, return None: then each page must be written
        alone."""
        if some[0].shape.record is not None:
            return None
        try:
            return _in_transaction(conn, lambda conn: self._save_pages(conn, some))  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001
            _log.info("pages.divided", list=some[0].shard.list, error=type(error).__name__)
            return None

    def _save_pages(self, conn: psycopg.Connection, reads: Sequence[ReadPage]) -> list[Saved]:
        """Record pages of one list. Rolls back if a shard is no longer ours."""
        pages = [(read.listing, read.page) for read in reads]
        tallies = record_pages(conn, pages, self._policy, users_later=self._options.users_later)
        done = [_sum(read.tally, {"pages": 1, **tally.as_dict()}) for read, tally in zip(reads, tallies, strict=True)]
        return self._save_places(conn, reads, done)

    def _save_page(self, read: ReadPage, conn: psycopg.Connection) -> Saved:
        done = self.record(conn, read.shape, read.listing, read.page, read.tally)
        return self._save_places(conn, [read], [done])[0]

    def _save_places(
        self, conn: psycopg.Connection, reads: Sequence[ReadPage], done: Sequence[dict[str, int]]
    ) -> list[Saved]:
        for read in reads:
            if read.listing.object is not None and read.shape.by_created:
                absent = absent_of(conn, read.listing, read.page, read.place, read.following)
                absences.add(conn, self._run, read.shard.list, read.listing.object, read.listing.account, absent)
        places = [(read.shard.id, read.following.as_json(), tally) for read, tally in zip(reads, done, strict=True)]
        spans = shards.save_all(conn, places, owner=self._owner)
        if len(spans) < len(reads):
            raise psycopg.Rollback
        for read in reads:
            if not read.page.has_more:
                shards.finish(conn, read.shard.id, owner=self._owner)
        return [Saved(spans[read.shard.id], tally) for read, tally in zip(reads, done, strict=True)]

    def record(
        self, conn: psycopg.Connection, shape: Shape, listing: Listing, page: Page, before: Mapping[str, int]
    ) -> dict[str, int]:
        """Record a page; returns the tally including it. If an object can't be recorded, the others still are."""
        total = _sum(before, {"pages": 1})
        try:
            with conn.transaction():
                return _sum(total, self._recorded(conn, shape, listing, page))
        except (*UNAVAILABLE, *OTHER_SCHEMA):
            raise
        except Exception as error:  # noqa: BLE001 - an error caused by one object must not stop the others
            _log.warning("page.divided", list=listing.path, error=type(error).__name__)
        for obj in page.data:
            try:
                with conn.transaction():
                    alone = Page([obj], False, page.read_at, page.shape)
                    total = _sum(total, self._recorded(conn, shape, listing, alone))
            except (*UNAVAILABLE, *OTHER_SCHEMA):
                raise
            except Exception as error:  # noqa: BLE001
                total = _sum(total, {"refused": 1})
                id_, what = obj.get("id"), f"{type(error).__name__}: {error}".strip()
                _log.error("object.not_recorded", object_id=id_, list=listing.path, error=what)
        return total

    def _recorded(self, conn: psycopg.Connection, shape: Shape, listing: Listing, page: Page) -> dict[str, int]:
        if shape.record is not None:
            return shape.record(conn, page)
        [tally] = record_pages(conn, [(listing, page)], self._policy, users_later=self._options.users_later)
        return tally.as_dict()


def _in_transaction(conn: psycopg.Connection, work: Callable[[psycopg.Connection], Any]) -> Any:
    """Run `work` in a transaction; returns its result, or None if it raises Rollback. Its statements find rows by
    key."""
    result = None
    with conn.transaction():
        plans.by_key(conn)
        result = work(conn)
    return result  # noqa: RET504 - if `work` raises Rollback, the result is None


def _sum(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    total = dict(before)
    for name, number in more.items():
        total[name] = total.get(name, 0) + number
    return total
