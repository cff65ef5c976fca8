"""Which of two snapshots wins: the guarantees of the rule as laws, on random histories."""

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.mirror.histories import (
    GONE_FOR_GOOD,
    LAW,
    NOT_FETCHABLE,
    REBORN,
    THE_LAW,
    History,
    after,
    histories,
    rows,
    seen,
    snapshots,
)
from worker.mirror.version import (
    AMBIGUITY_SECONDS,
    REPLICA_LAG_SECONDS,
    Snapshot,
    Traits,
    Version,
    settle,
)
from worker.stripe_api.event import UPDATED

traits_of_types = st.builds(Traits, fetchable=st.booleans(), reborn=st.booleans())


@LAW
@given(st.none() | rows, snapshots, traits_of_types)
def test_repeating_a_snapshot_changes_at_most_rev(held: Version | None, snapshot: Snapshot, traits: Traits) -> None:
    once = after(held, [snapshot], traits)

    twice = after(once, [snapshot], traits)

    assert (twice.observed_at, twice.rank, twice.observed_in) == (once.observed_at, once.rank, once.observed_in)
    assert (twice.content_hash, twice.shape, twice.final) == (once.content_hash, once.shape, once.final)
    assert twice.unsettled == once.unsettled
    assert twice.rev in (once.rev, once.rev + 1)


@LAW
@given(rows, st.lists(snapshots, min_size=1, max_size=6), traits_of_types)
def test_observed_at_and_rev_never_fall(held: Version, events: list[Snapshot], traits: Traits) -> None:
    version = after(held, events, traits)

    assert version.observed_at >= held.observed_at
    assert version.rev >= held.rev


@LAW
@given(histories(), st.integers(0, 40))
def test_an_answer_read_well_after_the_last_event_settles_the_row(history: History, seconds_later: int) -> None:
    held = after(None, history.delivered, REBORN)
    answer = seen(history.last.content_hash, held.observed_at + seconds_later, rank=UPDATED, source="get:1")

    version = settle(held, answer, rev=held.rev, traits=REBORN)

    assert version is not None
    assert version.content_hash == history.last.content_hash
    assert version.unsettled == (seconds_later < REPLICA_LAG_SECONDS)


@LAW
@given(rows, snapshots, traits_of_types)
def test_every_change_of_the_row_raises_rev(held: Version, snapshot: Snapshot, traits: Traits) -> None:
    version = after(held, [snapshot], traits)

    assert version.rev > held.rev or version == held


@THE_LAW
@given(histories(), st.sampled_from([GONE_FOR_GOOD, REBORN]))
def test_no_order_with_duplicates_ends_wrong_and_settled(history: History, traits: Traits) -> None:
    version = after(None, history.delivered, traits)

    assert version.content_hash == history.last.content_hash or version.unsettled


@THE_LAW
@given(histories(contents=["a", "b", "c"]), st.sampled_from([GONE_FOR_GOOD, REBORN]))
def test_content_that_returns_never_ends_wrong_and_settled(history: History, traits: Traits) -> None:
    version = after(None, history.delivered, traits)

    assert version.content_hash == history.last.content_hash or version.unsettled


@THE_LAW
@given(histories(least_gap=AMBIGUITY_SECONDS + 1, ends_deleted=False), st.sampled_from([GONE_FOR_GOOD, REBORN]))
def test_versions_further_apart_than_the_window_end_settled_at_the_last_version(
    history: History, traits: Traits
) -> None:
    version = after(None, history.delivered, traits)

    assert (version.content_hash, version.unsettled) == (history.last.content_hash, False)
    assert version.observed_at == history.last.created


@LAW
@given(histories(ends_deleted=True))
def test_a_deleted_object_ends_deleted_and_settled_in_any_order(history: History) -> None:
    assume(len(history.made) > 1)

    version = after(None, history.delivered)

    assert version.deleted
    assert not version.unsettled


@LAW
@given(histories(ends_deleted=False))
def test_versions_of_distinct_seconds_delivered_in_order_end_at_the_last_version(history: History) -> None:
    assume(len({snapshot.created for snapshot in history.made}) == len(history.made))
    assume(len({snapshot.final for snapshot in history.made}) == 1)

    assert after(None, history.made).content_hash == history.last.content_hash


@LAW
@given(histories())
def test_no_row_is_unsettled_if_it_cannot_be_fetched(history: History) -> None:
    assert not after(None, history.delivered, NOT_FETCHABLE).unsettled
