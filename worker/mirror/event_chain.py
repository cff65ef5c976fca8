"""Find an object's final state from the changes in its events, if their times do not decide.

Each event leads from the state before it (restored by previous_attributes) to the state it contains. A cluster is a
group of events so close in time that their order is unknown. Regardless of their order, the events of a cluster lead
into its final state once more than out of it. `X.created` leads into the first state, from no other state. If an event
is missing, the numbers usually do not match, and nothing is decided.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from worker.mirror.fold import Observation, Outcome
from worker.mirror.version import AMBIGUITY_SECONDS, Version
from worker.stripe_api.event import CREATED

# Events further apart than this are in the order of their seconds, because Stripe's clocks differ by less. The rest of
# AMBIGUITY_SECONDS allows for the duration of a read.
PAUSE_SECONDS = 6
CLOCKS_SECONDS = 2
LONGEST_SECONDS = AMBIGUITY_SECONDS - CLOCKS_SECONDS
MOST_EVENTS = 200


def cluster(events: Iterable[Observation]) -> list[Observation]:
    """The newest event and all events before it up to the first pause; the oldest comes first."""
    backwards = sorted(events, key=_position, reverse=True)
    for number, (later, earlier) in enumerate(pairwise(backwards), start=1):
        if later.snapshot.created - earlier.snapshot.created > PAUSE_SECONDS:
            return backwards[:number][::-1]
    return backwards[::-1]


def end(events: Sequence[Observation]) -> Observation | None:
    """The event of a cluster that contains the final state; None if the events do not decide."""
    shapes = {event.snapshot.shape for event in events}
    if len(shapes) != 1 or any(event.snapshot.deleted or event.snapshot.incomplete for event in events):
        return None
    shown = {event.snapshot.content_hash for event in events}
    ends = shown if len(shown) == 1 else _ends(events)
    last = [event for event in events if ends == {event.snapshot.content_hash}]
    # Prefer another event to `X.created`, which counts as the oldest at any second. A row with the rank of `X.created`
    # would yield to any other event.
    return max(last, key=lambda event: (event.snapshot.rank != CREATED, *_position(event)), default=None)


def settle(outcome: Outcome, events: Iterable[Observation]) -> Outcome | None:
    """Settle an outcome that the version rule left unsettled; returns None if the object's events do not decide.

    `events` are all known events of the object. Nothing is decided if the object was read near the cluster or after it,
    because the read may show a state newer than all events. Nothing is decided if the cluster is too long. If an event
    is missing, the path may look complete but end in another state. In a long cluster, the missing event might then
    arrive so late that it is superseded, and the error would stay. A deleted object only lives again if there is an
    `X.created`.
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
    """A set with the final state: the state with one more event leading into it than out of it.

    The set is empty if the events do not form one connected path. An event without previous_attributes is a change from
    an unknown state, or no change at all. It is accepted only if it contains the final state. Then it was no change,
    because otherwise two more events would lead into that state than out of it.
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
    # A read may contain changes of the seconds after its own time. AMBIGUITY_SECONDS allows for them.
    held = [version for version in (outcome.before, outcome.version) if version is not None]
    return any(
        version.observed_at > newest or (_is_read(version) and version.observed_at >= first - AMBIGUITY_SECONDS)
        for version in held
    )


def _is_read(version: Version) -> bool:
    return version.observed_in.startswith(("get:", "list:"))


def _position(event: Observation) -> tuple[int, int, str]:
    return (event.snapshot.created, event.snapshot.rank, event.snapshot.source)
