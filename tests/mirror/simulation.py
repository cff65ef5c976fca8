"""A simulation of one object: Stripe changes it, events and answers travel, and a mirror interprets them.

The rule, the fold and the event chain are the real code, and everything around them is simulated. The only clock is
Stripe's. All random choices come from one `Random`, either seeded or Hypothesis's.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from worker.mirror import event_chain
from worker.mirror.fold import Key, Observation, fold, traits_of
from worker.mirror.version import DELETED_HASH, Snapshot, Version, settle
from worker.stripe_api.event import CREATED, DELETED, UPDATED

MADE_ONCE = Key("customers", "customer", "cus_1", "")
REBORN = Key("products", "product", "prod_1", "")

# The daemon's delays: before an object is read, and before the next read if the answer did not settle it.
PAUSE, MOVED, TOO_EARLY, SECOND_MISS = 6, 1, 5, 10
# The time at which lost events are found in Stripe's list: after everything else.
CATCH_UP = 20_000.0


@dataclass(frozen=True, kw_only=True)
class Weather:
    """The conditions of a simulated world.

    Numbers are probabilities, except `replica_lag` and `skew`, which are seconds. `silent` events have no
    previous_attributes. An object that was not `born` here is older than its first event.
    """

    has_key: bool = True
    uses_chain: bool = True
    lost: float = 0
    catches_up: bool = True
    fails: float = 0
    replica_lag: float = 0
    pages: float = 0
    silent: float = 0
    born: float = 0.9
    skew: float = 0


WEATHERS = {
    "with a key": Weather(),
    "with a key, no event chain": Weather(uses_chain=False),
    "replicas lag 4 s, 60 % of fetches fail": Weather(replica_lag=4, fails=0.6),
    "lists are read meanwhile": Weather(pages=0.7, replica_lag=2),
    "clocks off by 1 s": Weather(skew=1, replica_lag=2, pages=0.3),
    "10 % lost, before catch-up": Weather(lost=0.1, catches_up=False),
    "10 % lost, caught up": Weather(lost=0.1, pages=0.3),
    "without a key": Weather(has_key=False),
    "without a key, no event chain": Weather(has_key=False, uses_chain=False),
    "without a key, clocks off by 1 s": Weather(has_key=False, skew=1),
    "without a key, a tenth has no attributes": Weather(has_key=False, silent=0.1),
}


@dataclass(frozen=True)
class Story:
    """The states of one object: `made` holds each state's start time and the event that reports it."""

    key: Key
    made: tuple[tuple[float, Observation], ...]

    @property
    def last(self) -> str:
        return self.made[-1][1].snapshot.content_hash

    def at(self, moment: float) -> str | None:
        """The state at that moment, None before the first state."""
        known = [seen.snapshot.content_hash for begun, seen in self.made if begun <= moment]
        return known[-1] if known else None


@dataclass(frozen=True)
class End:
    """The end of a simulated life, with the numbers of reads from Stripe and of events."""

    story: Story
    row: Version | None
    fetches: int
    events: int

    @property
    def right(self) -> bool:
        return self.row is not None and self.row.content_hash == self.story.last

    @property
    def unsettled(self) -> bool:
        return self.row is not None and self.row.unsettled


def shown(
    state: str,
    at: int,
    *,
    key: Key = MADE_ONCE,
    rank: int = UPDATED,
    source: str = "evt_1",
    before: str | None = None,
    final: bool = False,
) -> Observation:
    """An event. `before` is the state that its previous_attributes restore."""
    snapshot = Snapshot(
        created=at,
        rank=rank,
        source=source,
        content_hash=state,
        shape="" if state == DELETED_HASH else "endive",
        final=final,
        before=lambda: before,
    )
    return Observation(key, snapshot, {"id": key.id, "state": state})


def answered(key: Key, state: str | None, read_at: int, *, listed: bool = False) -> Observation:
    """Stripe's answer, or list entry, for an object in that state. With state None, Stripe has no such object."""
    gone = state is None or state == DELETED_HASH
    source = f"{'list' if listed else 'get'}:{read_at}"
    seen = shown(
        DELETED_HASH if gone else str(state), read_at, key=key, rank=DELETED if gone else UPDATED, source=source
    )
    return replace(seen, snapshot=replace(seen.snapshot, listed=listed))


@dataclass
class Mirror:
    """The daemon's state of the object: its row, its events in the inbox, and whether a read is due."""

    key: Key
    uses_chain: bool = True
    row: Version | None = None
    state: str | None = None
    inbox: dict[str, Observation] = field(default_factory=dict)
    fetch_event_at: int | None = None

    @property
    def rev(self) -> int:
        return self.row.rev if self.row else 0

    def store(self, events: Iterable[Observation]) -> None:
        self.inbox |= {event.snapshot.source: event for event in events}

    def apply(self, observations: Sequence[Observation], *, is_page: bool = False) -> None:
        """Apply one batch, as in one transaction."""
        rows = {} if self.row is None else {self.key: self.row}
        (outcome,) = fold(observations, rows)
        if self.uses_chain and not is_page and outcome.version is not None and outcome.version.unsettled:
            outcome = event_chain.settle(outcome, self.inbox.values()) or outcome
        if outcome.object is not None:
            self.state = outcome.object["state"]
        self.row = outcome.version
        if self.row is not None and not self.row.unsettled:
            self.fetch_event_at = None
        elif self.row is not None and outcome.touched:
            self.fetch_event_at = max(self.row.observed_at, self.fetch_event_at or 0)
        self._check()

    def answer(self, seen: Observation, *, rev: int) -> bool | None:
        """Apply an answer requested when the row was at `rev`.

        Return whether it settled the row, or None if the row has changed since.
        """
        version = settle(self.row, seen.snapshot, rev=rev, traits=traits_of(self.key), event_at=self.fetch_event_at)
        if version is None:
            return None
        self.row = version
        if version.content_hash == seen.snapshot.content_hash:
            self.state = seen.object["state"]
        if not version.unsettled:
            self.fetch_event_at = None
        self._check()
        return not version.unsettled

    def _check(self) -> None:
        """Assert that the stored state has the content hash of the row."""
        assert self.row is None or self.state == self.row.content_hash


def draw_story(chance: Random, weather: Weather = WEATHERS["with a key"]) -> Story:
    """Draw an object's life: bursts within a second, pauses, contents that return, deletion and re-creation."""
    key = REBORN if chance.random() < 0.2 else MADE_ONCE
    size, toggles = chance.randint(1, 7), chance.random() < 0.6
    ends_final = chance.random() < 0.15
    ids = chance.sample(range(100, 999), size)
    moment, state = 1_000 + chance.random(), None if chance.random() < weather.born else "before"
    made: list[tuple[float, Observation]] = []
    for number in range(size):
        within_a_second, soon, later = chance.random(), chance.uniform(1, 9), chance.uniform(9, 60)
        moment += chance.choice([within_a_second, within_a_second, within_a_second, soon, later])
        choices = [content for content in ("abc" if toggles else [f"version {number}"]) if content != state]
        if state == DELETED_HASH or (state is None and not made):
            rank, next_ = CREATED, chance.choice(choices)
        elif chance.random() < 0.06:
            rank, next_ = DELETED, DELETED_HASH
        else:
            rank, next_ = UPDATED, chance.choice(choices)
        # An event without previous_attributes may report a change, or an occurrence that changed nothing.
        silent = rank == UPDATED and chance.random() < weather.silent
        if silent and chance.random() < 0.7:
            next_ = state or next_
        created = math.floor(moment + chance.uniform(-weather.skew, weather.skew))
        event = shown(
            next_,
            created,
            key=key,
            rank=rank,
            source=f"evt_{ids[number]}",
            before=state if rank == UPDATED and not silent else None,
            final=ends_final and number == size - 1 and rank == UPDATED,
        )
        made.append((moment, event))
        state = next_
        if state == DELETED_HASH and key == MADE_ONCE:
            break
    return Story(key, tuple(made))


def simulate(story: Story, weather: Weather, chance: Random) -> End:
    """Run deliveries, drains, fetches and pages in the order of their times until nothing is left to do."""
    return _World(story, weather, chance).run()


class _World:
    def __init__(self, story: Story, weather: Weather, chance: Random) -> None:
        self.story, self.weather, self.chance = story, weather, chance
        self.mirror = Mirror(story.key, uses_chain=weather.uses_chain)
        self.pending: list[Observation] = []
        self.fetches = self.attempts = 0
        self.fetching = self.missed = False
        self.now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def run(self) -> End:
        for moment, event in self.story.made:
            self._send(moment, event)
        if self.weather.has_key and self.chance.random() < self.weather.pages:
            for _ in range(self.chance.randint(1, 3)):
                first, last = self.story.made[0][0], self.story.made[-1][0]
                self._at(self.chance.uniform(first, last + 20), self._begin_page)
        while self._agenda:
            self.now, _, happen = heapq.heappop(self._agenda)
            happen()
        return End(self.story, self.mirror.row, self.fetches, len(self.story.made))

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._numbers), happen))

    def _send(self, moment: float, event: Observation) -> None:
        """Deliver the event soon, late, very late or twice. A lost event is found by catch-up, if there is one."""
        arrives = moment + self.chance.uniform(*self.chance.choice([(0, 1.5), (0, 1.5), (0, 30), (0, 7_200)]))
        if self.chance.random() < self.weather.lost:
            if not self.weather.catches_up:
                return
            arrives = CATCH_UP
        self._at(arrives, lambda: self._arrive(event))
        if self.chance.random() < 0.2:
            self._at(arrives + self.chance.uniform(0, 60), lambda: self._arrive(event))

    def _arrive(self, event: Observation) -> None:
        self.mirror.store([event])
        self.pending.append(event)
        self._at(self.now + self.chance.choice([0.05, 0.5, 2]), self._drain)

    def _drain(self) -> None:
        batch, self.pending = self.pending, []
        if batch:
            self.mirror.apply(batch)
            self._schedule_fetch()

    def _schedule_fetch(self) -> None:
        event_at = self.mirror.fetch_event_at
        if event_at is not None and self.weather.has_key and not self.fetching:
            self.fetching, self.attempts, self.missed = True, 0, False
            self._at(max(self.now + 1, min(self.now, event_at) + PAUSE), self._begin_fetch)

    def _begin_fetch(self) -> None:
        if self.mirror.fetch_event_at is None:
            self.fetching = False
            return
        self.fetches += 1
        self.attempts += 1
        state, read_at, arrives = self._read()
        if self.chance.random() < self.weather.fails:
            self._at(arrives + min(2**self.attempts, 300), self._begin_fetch)
            return
        rev, deleted = self.mirror.rev, self.mirror.row is not None and self.mirror.row.deleted
        self._at(arrives, lambda: self._end_fetch(state, read_at, rev, deleted))

    def _end_fetch(self, state: str | None, read_at: int, rev: int, deleted: bool) -> None:
        if self.mirror.fetch_event_at is None:
            self.fetching = False
        elif state in (None, DELETED_HASH) and not deleted and not self.missed:
            self.missed = True
            self._at(self.now + SECOND_MISS, self._begin_fetch)
        elif settled := self.mirror.answer(answered(self.story.key, state, read_at), rev=rev):
            self.fetching = False
        else:
            self._at(self.now + (MOVED if settled is None else TOO_EARLY), self._begin_fetch)

    def _begin_page(self) -> None:
        state, read_at, arrives = self._read()
        if state is not None and state != DELETED_HASH:
            page = answered(self.story.key, state, read_at, listed=True)
            self._at(arrives + self.chance.random(), lambda: self._end_page(page))

    def _end_page(self, page: Observation) -> None:
        self.mirror.apply([page], is_page=True)
        self._schedule_fetch()

    def _read(self) -> tuple[str | None, int, float]:
        """Read the object now. Return its state, a lower bound for the time of the read, and when the answer arrives.

        The Date header is some moment between the read and the answer. The replica may lag.
        """
        elapsed = self.chance.choice([0.05, 0.3, 4])
        read = self.now + self.chance.uniform(0, elapsed)
        date = math.floor(self.chance.uniform(read, self.now + elapsed))
        lag = self.chance.uniform(0, self.weather.replica_lag)
        return self.story.at(read - lag), math.floor(date - elapsed), self.now + elapsed
