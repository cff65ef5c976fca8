"""Order an object's events by what they changed: where seconds leave the order open, a chain of changes may decide.

A change leads from the state that its previous_attributes restore to the state that it shows. So the changes of a
cluster, which are events that follow each other too closely for their seconds to be trusted, are the edges of a path
through states. In any order, the path ends at the one state that is entered once more than it is left.
`X.created` enters the first state from nowhere. If an event is missing, the count does not work out, and nothing is
decided.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from worker.mirror.fold import Observation, Outcome
from worker.mirror.version import AMBIGUITY_SECONDS, Version
from worker.stripe_api.event import CREATED

# Beyond this distance the later second is surely the later event. Clocks disagree by less; the rest of
# AMBIGUITY_SECONDS allows for the duration of a read.
PAUSE_SECONDS = 6
CLOCKS_SECONDS = 2
LONGEST_SECONDS = AMBIGUITY_SECONDS - CLOCKS_SECONDS
MOST_EVENTS = 200


def cluster(events: Iterable[Observation]) -> list[Observation]:
    """The newest of the events and all before it, back to the first pause; the oldest first."""
    backwards = sorted(events, key=_position, reverse=True)
    for number, (later, earlier) in enumerate(pairwise(backwards), start=1):
        if later.snapshot.created - earlier.snapshot.created > PAUSE_SECONDS:
            return backwards[:number][::-1]
    return backwards[::-1]


def end(events: Sequence[Observation]) -> Observation | None:
    """The event whose object is the final state of a cluster of events; None if they do not decide."""
    shapes = {event.snapshot.shape for event in events}
    if len(shapes) != 1 or any(event.snapshot.deleted or event.snapshot.incomplete for event in events):
        return None
    shown = {event.snapshot.content_hash for event in events}
    ends = shown if len(shown) == 1 else _ends(events)
    last = [event for event in events if ends == {event.snapshot.content_hash}]
    # The creation is the oldest, whatever its second says. A row that claims to hold it would yield to anything.
    return max(last, key=lambda event: (event.snapshot.rank != CREATED, *_position(event)), default=None)


def settle(outcome: Outcome, events: Iterable[Observation]) -> Outcome | None:
    """Settle what the version rule left unsettled, if the object's events decide; returns None if they do not.

    `events` are all known events of the object. Nothing is decided if a read was made near the cluster or after it,
    because its result may be newer than every event that came. Nor for a cluster so long that one of its changes,
    coming late, could be superseded without opening it again: a path that lacks one change may look complete, and end
    elsewhere. Only an `X.created` lifts a tombstone.
    """
    near, row = cluster(events), outcome.version
    if not near or row is None or _was_read(outcome, near):
        return None
    first, newest = near[0].snapshot.created, near[-1].snapshot.created
    if newest - first > LONGEST_SECONDS or (row.deleted and all(seen.snapshot.rank != CREATED for seen in near)):
        return None
    last = end(near)
    if last is None:
        return None
    seen = last.snapshot
    version = replace(
        row,
        observed_at=max(row.observed_at, newest),
        rank=seen.rank,
        observed_in=seen.source,
        content_hash=seen.content_hash,
        shape=seen.shape,
        rev=row.rev + 1,
        unsettled=False,
        final=seen.final,
    )
    is_other = (row.content_hash, row.shape) != (seen.content_hash, seen.shape)
    return replace(outcome, version=version, object=last.object if is_other else outcome.object)


def _ends(events: Sequence[Observation]) -> set[str]:
    """The state that is entered once more than left, alone in a set; an empty set if the path has a gap.

    An event without previous_attributes is a change from an unknown state, or no change. If it shows the final state it
    is none: that state would be entered twice more than left.
    """
    balance: Counter[str] = Counter()
    beside: dict[str, set[str]] = defaultdict(set)
    silent: set[str] = set()
    born = False
    for event in events:
        shown, before = event.snapshot.content_hash, event.snapshot.before()
        if event.snapshot.rank == CREATED:
            born = True
        elif before is None:
            silent.add(shown)
            continue
        else:
            balance[before] -= 1
            beside[before].add(shown)
            beside[shown].add(before)
        balance[shown] += 1
    ends = {state for state, surplus in balance.items() if surplus == 1}
    uneven = sorted(surplus for surplus in balance.values() if surplus)
    if uneven != ([1] if born else [-1, 1]) or not silent <= ends:
        return set()
    return ends if _reached(ends, beside) >= set(balance) else set()


def _reached(start: set[str], beside: dict[str, set[str]]) -> set[str]:
    """All states connected to `start`."""
    reached, fresh = set(start), set(start)
    while fresh:
        fresh = {state for known in fresh for state in beside[known]} - reached
        reached |= fresh
    return reached


def _was_read(outcome: Outcome, near: Sequence[Observation]) -> bool:
    first, newest = near[0].snapshot.created, near[-1].snapshot.created
    # A read may show what happened until some seconds after its own time, for which AMBIGUITY_SECONDS has room.
    held = [version for version in (outcome.before, outcome.version) if version is not None]
    return any(
        version.observed_at > newest or (_is_read(version) and version.observed_at >= first - AMBIGUITY_SECONDS)
        for version in held
    )


def _is_read(version: Version) -> bool:
    return version.observed_in.startswith(("get:", "list:"))


def _position(event: Observation) -> tuple[int, int, str]:
    return (event.snapshot.created, event.snapshot.rank, event.snapshot.source)
