"""The last state of a cluster of events, derived from their previous_attributes."""

from dataclasses import replace
from itertools import pairwise, permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import NEW, NOW, OLD, Json, customer, event, stub, subscription, update
from tests.mirror.histories import LAW, row
from tests.mirror.simulation import MADE_ONCE, REBORN, shown
from worker.mirror.event_chain import LONGEST_SECONDS, PAUSE_SECONDS, cluster, end, settle
from worker.mirror.fold import Key, Observation, Outcome, observe
from worker.mirror.version import DELETED_HASH, Version
from worker.stripe_api.event import CREATED, DELETED, read_event


def path(states: str, at: int = 100, *, born: bool = True, key: Key = MADE_ONCE) -> list[Observation]:
    """The events of an object that had these states within one second. Their ids have no order."""
    steps = [shown(states[0], at, key=key, rank=CREATED, source="evt_5")] if born else []
    for number, (before, after) in enumerate(pairwise(states)):
        steps.append(shown(after, at, key=key, source=f"evt_{(7 * number + 3) % 10}", before=before))
    return steps


def state(seen: Observation | None) -> str | None:
    return None if seen is None else str(seen.object["state"])


def guessed(version: Version | None = None, before: Version | None = None, key: Key = MADE_ONCE) -> Outcome:
    return Outcome(key, before, version or row("?", 100, unsettled=True, rev=3))


# The last state of a chain


@pytest.mark.parametrize("states", ["a", "ab", "aba", "abc", "abca", "abab", "abcab", "ababcb"])
def test_a_chain_with_its_creation_has_a_last_state_in_any_order(states: str) -> None:
    steps = path(states)

    for number in range(50):
        Random(number).shuffle(steps)
        assert state(end(steps)) == states[-1]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_chain_without_its_creation_has_a_last_state_if_it_differs_from_the_first(order: tuple[int, ...]) -> None:
    steps = path("abac", born=False)

    assert state(end([steps[number] for number in order])) == "c"


def test_a_chain_that_returns_to_its_first_state_needs_its_creation() -> None:
    assert end(path("aba", born=False)) is None


@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_event_leaves_the_last_state_unknown(missing: int) -> None:
    steps = path("abcd")
    del steps[missing]

    assert end(steps) is None


def test_two_separate_chains_have_no_last_state() -> None:
    assert end([*path("ab"), *path("xyx", born=False)]) is None


def test_two_creations_have_no_last_state() -> None:
    assert end([shown("a", 100, rank=CREATED, source="evt_1"), shown("b", 100, rank=CREATED, source="evt_2")]) is None


def test_an_event_without_previous_attributes_may_show_the_last_state() -> None:
    assert state(end([*path("abc"), shown("c", 100, source="evt_paid")])) == "c"


@pytest.mark.parametrize("shows", ["a", "b", "d"])
def test_an_event_without_previous_attributes_that_shows_another_state_leaves_the_last_state_unknown(
    shows: str,
) -> None:
    assert end([*path("abc"), shown(shows, 100, source="evt_paid")]) is None


def test_events_that_all_show_one_state_end_in_that_state() -> None:
    assert state(end([shown("a", 100, source="evt_1"), shown("a", 101, source="evt_2")])) == "a"


@pytest.mark.parametrize("at", [99, 100, 101])
def test_a_deletion_leaves_the_last_state_unknown(at: int) -> None:
    gone = shown(DELETED_HASH, at, key=REBORN, rank=DELETED, source="evt_gone")

    assert end([*path("ab", key=REBORN), gone]) is None


def test_two_api_shapes_leave_the_last_state_unknown() -> None:
    first, last = path("ab")

    assert end([first, replace(last, snapshot=replace(last.snapshot, shape="2024-06-20"))]) is None


def test_a_truncated_list_leaves_the_last_state_unknown() -> None:
    first, last = path("ab")

    assert end([first, replace(last, snapshot=replace(last.snapshot, incomplete=True))]) is None


def test_no_events_have_no_last_state() -> None:
    assert end([]) is None


def test_the_newest_event_that_shows_the_last_state_is_returned_but_never_the_creation() -> None:
    born, away, back = path("aba")
    late = replace(born, snapshot=replace(born.snapshot, created=105))

    assert end([late, away, back]) == back


@LAW
@given(st.text("abc", min_size=1, max_size=9).map(lambda text: _stepping(text)), st.data())
def test_a_complete_chain_has_its_true_last_state_or_none(states: str, data: st.DataObject) -> None:
    born = data.draw(st.booleans())
    steps = data.draw(st.permutations(path(states, born=born)))

    final = state(end(steps))

    assert final == states[-1] or (not born and final is None and states[0] == states[-1])


def _stepping(text: str) -> str:
    """The states without immediate repetitions, because every change differs from the state before."""
    return "".join(after for before, after in zip(" " + text, text, strict=False) if before != after)


# The cluster


def test_a_cluster_is_the_newest_events_back_to_the_first_pause() -> None:
    moments = [100, 107, 113, 119, 119]
    events = [shown("a", at, source=f"evt_{number}") for number, at in enumerate(moments)]
    Random(1).shuffle(events)

    assert [seen.snapshot.created for seen in cluster(events)] == [107, 113, 119, 119]
    assert PAUSE_SECONDS == 6


def test_no_events_make_an_empty_cluster() -> None:
    assert cluster([]) == []


# The row afterwards


def test_the_row_takes_the_object_of_the_last_state_and_is_settled() -> None:
    outcome = guessed(row("b", 100, rev=3, unsettled=True))

    settled = settle(outcome, path("abc"))

    assert settled is not None
    assert settled.version == row("c", 100, source="evt_0", rev=4)
    assert settled.object == {"id": "cus_1", "state": "c"}


def test_a_correctly_guessed_row_keeps_its_object() -> None:
    outcome = guessed(row("c", 100, rev=3, unsettled=True))

    settled = settle(outcome, path("abc"))

    assert settled is not None
    assert settled.object is None
    assert settled.version is not None
    assert (settled.version.unsettled, settled.version.rev) == (False, 4)


def test_events_older_than_the_pause_do_not_matter() -> None:
    older = [shown("x", 90, source="evt_x"), shown("y", 93, source="evt_y")]
    outcome = guessed()

    settled = settle(outcome, [*older, *path("ab", born=False)])

    assert settled is not None
    assert state(Observation(MADE_ONCE, older[0].snapshot, settled.object or {})) == "b"


@pytest.mark.parametrize(("seconds", "settled"), [(LONGEST_SECONDS, True), (LONGEST_SECONDS + 1, False)])
def test_a_cluster_longer_than_the_limit_settles_nothing(seconds: int, settled: bool) -> None:
    events = [
        shown("a", 100, rank=CREATED, source="evt_1"),
        shown("b", 103, source="evt_2", before="a"),
        shown("c", 100 + seconds, source="evt_3", before="b"),
    ]

    assert (settle(guessed(row("b", 100 + seconds, unsettled=True)), events) is not None) == settled


@pytest.mark.parametrize("source", ["get:100", "list:95"])
@pytest.mark.parametrize("which", ["row", "before"])
def test_a_read_during_the_cluster_leaves_the_row_unsettled(source: str, which: str) -> None:
    read = row("d", int(source.rpartition(":")[2]), source=source, unsettled=True)
    outcome = guessed(read) if which == "row" else guessed(before=read)

    assert not settle(outcome, path("abc"))


def test_a_read_long_before_the_cluster_does_not_matter() -> None:
    assert settle(guessed(before=row("a", 92, source="list:92")), path("abc"))


def test_a_row_observed_after_every_event_stays_unsettled() -> None:
    assert not settle(guessed(row("b", 101, unsettled=True)), path("abc"))


@pytest.mark.parametrize(("born", "settled"), [(True, True), (False, False)])
def test_only_a_creation_restores_a_deleted_object(born: bool, settled: bool) -> None:
    tombstone = row(DELETED_HASH, 100, rank=DELETED, unsettled=True)

    assert (settle(guessed(tombstone, key=REBORN), path("ab", born=born, key=REBORN)) is not None) == settled


# Stripe's own events


def _seen(*bodies: Json) -> list[Observation]:
    observations = [observe(read_event(body)) for body in bodies]
    return [seen for seen in observations if seen is not None]


def test_previous_attributes_link_the_events_of_a_chain() -> None:
    names = [customer(name=name) for name in ("a", "b", "c")]
    bodies = [event("customer.created", names[0], created=NOW)]
    bodies += [update("customer.updated", before, after) for before, after in pairwise(names)]

    last = end(_seen(*reversed(bodies)))

    assert last is not None
    assert last.object == names[2]


@pytest.mark.parametrize(
    "bodies",
    [
        [event("customer.created", customer()), event("customer.deleted", stub(customer()))],
        [event("customer.created", customer()), update("customer.updated", customer(), customer(name="b"), api_version=OLD)],
        [event("customer.subscription.created", subscription(has_more=True), api_version=NEW)],
        [event("customer.created", customer(test_clock="clock_1"))],
    ],
)  # fmt: skip
def test_deletions_mixed_shapes_truncated_lists_and_test_clocks_leave_the_last_state_unknown(
    bodies: list[Json],
) -> None:
    assert end(_seen(*bodies)) is None
