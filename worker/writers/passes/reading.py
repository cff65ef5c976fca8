"""The threads of one process in a pass: each reads one shard, page by page, and writes each page.

Many threads can wait for Stripe at once, so the speed of a pass depends on Stripe's rate limit and not on the latency
of requests. The threads share one or two connections to Postgres. No thread calls Stripe while it holds a connection.
If a list hangs, it blocks only its own threads.
"""

import itertools
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from worker.config.errors import Permanent, Temporary
from worker.membership.rules.access import Policy
from worker.membership.store import product_changes
from worker.mirror import absences, shards
from worker.mirror.absences import Absence
from worker.mirror.registry import object_type
from worker.mirror.shards import Shard, Standing
from worker.observe import log, trace
from worker.postgres.pool import UNAVAILABLE
from worker.stripe_api.answers import Page
from worker.stripe_api.errors import BadKey, CursorGone, InvalidRequest, MissingPermission
from worker.writers.list_pass import (
    Place,
    Source,
    Tally,
    read_absent,
    record_absent,
)
from worker.writers.passes import deletions
from worker.writers.passes.parents import Step, Walk
from worker.writers.passes.plan import Options, Shape
from worker.writers.passes.writing import Ended, ReadPage, Writer

_log = log.get("pass")
_numbers = itertools.count()

RENEW_SECONDS, LOOK_SECONDS, ENDING_SECONDS = 10.0, 0.2, 5.0
# The interval at which a step runs while lists are still being read.
STEP_SECONDS = 1.0
# The pause before reading a failed list again doubles up to this value.
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class _State:
    """The state that the threads of a pass share, under one lock."""

    active: Counter[str] = field(default_factory=Counter)
    held: set[int] = field(default_factory=set)
    threads: int = 0
    pages: int = 0
    error: BaseException | None = None
    stopping: bool = False


class Reading:
    """The part of one process in a run. Call `work`, and always call `close` afterwards."""

    def __init__(
        self,
        conn: psycopg.Connection,
        stripe: Source,
        policy: Policy,
        run: int,
        shapes: Mapping[str, Shape],
        options: Options,
        should_continue: Callable[[], bool],
        connect: Callable[[], psycopg.Connection] | None,
    ) -> None:
        self._stripe, self._policy, self._run, self._shapes, self._options = stripe, policy, run, shapes, options
        self._should_continue = should_continue
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{next(_numbers)}"
        self._conn, self._extra = conn, connect() if connect is not None else None
        connections = [each for each in (conn, self._extra) if each is not None]
        self._writer = Writer(connections, policy, run, options, self._owner)
        self._state, self._changed = _State(), threading.Condition()
        self._renewed_at = float("-inf")

    @property
    def pages_read(self) -> int:
        return self._state.pages

    def work(self) -> None:
        """Start threads while there is something to read, and wait until they have ended."""
        while True:
            self._raise_error_of_a_thread()
            if not self._renewed():
                self._stop()
            started = False if self._is_stopping() else self._start()
            if not started and self._state.threads == 0 and (self._state.stopping or not self._waits()):
                break
            if not started:
                with self._changed:
                    self._changed.wait(LOOK_SECONDS)
        self._raise_error_of_a_thread()

    def _waits(self) -> bool:
        """Whether a failed list or an absent object will soon be read again."""
        with self._writer.connection() as conn:
            return shards.any_put_off(conn, self._run) or absences.any_put_off(conn, self._run)

    def _is_stopping(self) -> bool:
        budget = self._options.pages
        if not self._state.stopping and (
            not self._should_continue() or (budget is not None and self._state.pages >= budget)
        ):
            self._stop()
        return self._state.stopping

    def _stop(self) -> None:
        with self._changed:
            self._state.stopping = True

    def close(self) -> None:
        """Take the connections back, and end the leases.

        If a thread still waits for Stripe, its result is not written.
        """
        with self._changed:
            self._state.stopping = True
            self._changed.wait_for(lambda: self._state.threads == 0, timeout=ENDING_SECONDS)
        self._writer.close()
        try:
            if not self._conn.closed:
                shards.release(self._conn, self._state.held, owner=self._owner)
        except UNAVAILABLE:
            _log.warning("pass.leases_kept", run=self._run)  # they run out by themselves
        finally:
            if self._extra is not None:
                self._extra.close()

    def _start(self) -> bool:
        """Start threads for shards without a reader and for absent objects; returns whether there were any."""
        idle = self._options.threads - self._state.threads
        if idle <= 0:
            return False
        with self._writer.connection() as conn:
            standings = shards.standings(conn, self._run)
            deletions.guard(conn, self._run, standings, self._shapes, self._options)
            absent = absences.lease(conn, self._run, limit=max(idle // 2, 1))
            idle -= len(absent)
            room = self._room(standings)
            leased = shards.lease(conn, self._run, room, owner=self._owner, limit=idle) if idle > 0 and room else []
            idle -= len(leased)
            added = self._split(conn, room, idle) if self._options.splits and idle > 0 else 0
        for absence in absent:
            self._spawn("", self._ask_for, absence)
        for shard in leased:
            self._read_shard(shard, idle)
        return bool(leased or absent or added)

    def _split(self, conn: psycopg.Connection, room: Mapping[str, int], idle: int) -> int:
        """Divide the unread rest of the longest shards, so that idle threads have something to read."""
        splittable = {name: most for name, most in room.items() if self._shapes[name].by_created}
        fair, active = max(1, self._options.threads // max(len(splittable), 1)), self._state.active
        # Stripe limits each list separately, so the lists with the fewest threads come first.
        parts = {
            name: min(splittable[name], fair - active[name]) for name in sorted(splittable, key=active.__getitem__)
        }
        return shards.split(conn, self._run, parts, limit=idle)

    def _room(self, standings: Mapping[str, Standing]) -> dict[str, int]:
        """How many more threads each list may have now. A list whose `after` names an unfinished list may have none."""
        open_lists = {name for name, standing in standings.items() if standing.unfinished}
        return {
            name: self._options.threads_per_list - self._state.active[name]
            for name in standings
            if name in open_lists
            and name in self._shapes
            and self._state.active[name] < self._options.threads_per_list
            and not open_lists.intersection(self._shapes[name].after)
        }

    def _read_shard(self, shard: Shard, idle: int) -> None:
        shape = self._shapes[shard.list]
        with self._changed:
            self._state.held.add(shard.id)
        if shape.parents is None:
            self._spawn(shard.list, self._read_pages if shape.step is None else self._take_steps, shard, shape)
            return
        walk = shape.parents.walk(Place.from_json(shard.place), shard.tally)
        number = max(1, min(self._options.threads_per_list, idle + 1))
        left = [number]
        for _ in range(number):
            self._spawn(shard.list, self._read_parents, shard, shape, walk, left)

    def _spawn(self, list_: str, work: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                work(*arguments)
            except Ended:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again by `work`
                with self._changed:
                    self._state.error = self._state.error or error
            finally:
                with self._changed:
                    self._state.threads -= 1
                    self._state.active[list_] -= 1
                    self._changed.notify_all()

        with self._changed:
            self._state.threads += 1
            self._state.active[list_] += 1
        threading.Thread(target=trace.carry(run), name=f"pass {list_}", daemon=True).start()

    def _read_pages(self, shard: Shard, shape: Shape) -> None:
        """Read a shard from its position to its end, or until the pass stops."""
        place, gte, tally = Place.from_json(shard.place), shard.gte, dict(shard.tally)
        try:
            while not self._state.stopping:
                listing = shape.listing.narrowed(gte=gte, lt=shard.lt)
                try:
                    page = self._stripe.page(listing.path, place.query(listing))
                except CursorGone:
                    place = place.without_cursor(by_created=shape.by_created)
                    continue
                read = ReadPage(shard, shape, listing, page, place, tally)
                saved = self._writer.write_page(read)
                self._count_page()
                if saved is None or not page.has_more:
                    self._forget(shard)
                    return
                gte, tally, place = saved.gte, saved.tally, read.following
                page.forget()
        except (Temporary, Permanent) as error:
            self._put_off_or_fail(shard, error)
            return
        self._give_back(shard)

    def _take_steps(self, shard: Shard, shape: Shape) -> None:
        """Do the steps of work without Stripe, one transaction each, until nothing is left."""
        tally = dict(shard.tally)
        while not self._state.stopping:

            def write(conn: psycopg.Connection, before: dict[str, int] = tally) -> dict[str, int]:
                assert shape.step is not None
                number = shape.step(conn)
                done = {**before, shard.list: before.get(shard.list, 0) + number}
                if shards.save(conn, shard.id, {}, done, owner=self._owner) is None:
                    raise psycopg.Rollback
                if not number and shards.is_last(conn, self._run, shard.list):
                    shards.finish(conn, shard.id, owner=self._owner)
                elif not number:  # lists that are still being read may add more work
                    shards.put_off(conn, shard.id, seconds=STEP_SECONDS, owner=self._owner)
                return done

            done = self._writer.transaction(write)
            if done is None or done == tally:
                self._forget(shard)
                return
            tally = done
        self._give_back(shard)

    def _read_parents(self, shard: Shard, shape: Shape, walk: Walk, left: list[int]) -> None:
        """Read the lists of the parents, one parent after another. Several threads share the parents."""
        try:
            while not self._state.stopping:
                with self._writer.connection() as conn:
                    step = walk.next(conn)
                if step is None:
                    break
                path, params = step.request
                try:
                    page: Page | None = self._stripe.page(path, params)
                except CursorGone:
                    walk.begin_again(step)
                    continue
                except Permanent as error:
                    if error.ids.get("code") != "resource_missing":
                        raise
                    page = None  # the parent was deleted in the meantime, together with its children

                def write(conn: psycopg.Connection, step: Step = step, page: Page | None = page) -> dict[str, int]:
                    done = dict(walk.tally)
                    if page is not None:
                        walk.name_parent(step, page)
                        done = self._writer.record(conn, shape, shape.listing, walk.recorded(conn, step, page), done)
                        walk.file(conn, step, page)
                        absent = walk.absent(conn, step, page)
                        if shape.listing.object is not None:
                            # Objects of some types can't be read by id. For them the complete list of the parent proves
                            # the deletion.
                            fetchable = object_type(shape.listing.object).fetchable
                            absences.add(
                                conn,
                                self._run,
                                shard.list,
                                shape.listing.object,
                                shape.listing.account,
                                absent,
                                read_at=None if fetchable else page.read_at,
                            )
                        if walk.is_of_our_products and not page.has_more:
                            product_changes.mark_read(conn, step.parent)
                    place = walk.after(step, page)
                    if shards.save(conn, shard.id, place.as_json(), done, owner=self._owner) is None:
                        raise psycopg.Rollback
                    return done

                with walk.lock:
                    done = self._writer.transaction(write)
                    if done is None:
                        return
                    walk.accept(step, page, done)
                self._count_page()
        except (Temporary, Permanent) as error:
            self._put_off_or_fail(shard, error)
            walk.end()
            return
        finally:
            with walk.lock:
                left[0] -= 1
                is_last = left[0] == 0
        if is_last and walk.is_complete:
            with self._writer.connection() as conn:
                shards.finish(conn, shard.id, owner=self._owner)
            self._forget(shard)
        elif is_last:
            self._give_back(shard)

    def _ask_for(self, absence: Absence) -> None:
        """Read an object that was absent from a list.

        If it exists, it is written at once. If not, it is recorded, and marked deleted after the whole list was read.
        """
        try:
            answer = read_absent(self._stripe, absence.key)
        except Temporary as error:
            # The object is read again when its lease ends.
            _log.warning("object.not_read", object_id=absence.id, object_type=absence.object, error=str(error))
            return
        except BadKey:
            raise
        except Permanent as error:
            self._fail(absence.list, error)
            return

        def write(conn: psycopg.Connection) -> None:
            if answer.deleted:
                absences.missing(conn, self._run, absence, read_at=answer.read_at)
                return
            tally = Tally()
            record_absent(conn, [(absence.key, answer, absence.rev)], self._policy, tally)
            shards.count(conn, self._run, absence.list, {"repaired": tally.repaired, "found": 1})
            absences.drop(conn, self._run, [absence])

        self._writer.transaction(write)

    def _put_off_or_fail(self, shard: Shard, error: Temporary | Permanent) -> None:
        """Read the shard again later, or give up its list."""
        if isinstance(error, BadKey):
            raise error
        if isinstance(error, Permanent) or shard.failures + 1 >= self._options.failures:
            self._fail(shard.list, error)
        else:
            pause = min(2.0**shard.failures, LONGEST_PAUSE_SECONDS)
            with self._writer.connection() as conn:
                shards.put_off(conn, shard.id, seconds=pause, owner=self._owner)
            _log.warning("list.put_off", list=shard.list, error=str(error), retry_in_seconds=pause, **error.ids)
        self._forget(shard)

    def _fail(self, list_: str, error: Temporary | Permanent) -> None:
        with self._writer.connection() as conn:
            refused = isinstance(error, MissingPermission | InvalidRequest)
            shards.fail(conn, self._run, list_, str(error), refused=refused)
        _log.warning("list.given_up", list=list_, run=self._run, error=str(error), **error.ids)

    def _renewed(self) -> bool:
        """Renew the leases of the run every few seconds; returns False if the run is over."""
        if time.monotonic() - self._renewed_at < RENEW_SECONDS:
            return True
        self._renewed_at = time.monotonic()
        with self._writer.connection() as conn:
            return shards.renew(conn, self._run, owner=self._owner)

    def _count_page(self) -> None:
        with self._changed:
            self._state.pages += 1

    def _give_back(self, shard: Shard) -> None:
        with self._writer.connection() as conn:
            shards.release(conn, [shard.id], owner=self._owner)
        self._forget(shard)

    def _forget(self, shard: Shard) -> None:
        with self._changed:
            self._state.held.discard(shard.id)

    def _raise_error_of_a_thread(self) -> None:
        if self._state.error is not None:
            raise self._state.error
