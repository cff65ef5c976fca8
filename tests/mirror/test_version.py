"""Which of two snapshots wins: the rule as examples."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.factories import NOW, invoice, previous_attributes, subscription
from tests.mirror.histories import (
    GONE_FOR_GOOD,
    LAW,
    NOT_FETCHABLE,
    REBORN,
    after,
    row,
    rows,
    seen,
    snapshots,
)
from worker.mirror.version import (
    AMBIGUITY_SECONDS,
    DELETED_HASH,
    Snapshot,
    Verdict,
    Version,
    content_hash,
    decide,
    put_back,
    settle,
    take,
    takes_content,
)
from worker.stripe_api.event import CREATED, DELETED, UPDATED

W = AMBIGUITY_SECONDS
gone = seen(DELETED_HASH, 100, rank=DELETED)
tombstones = rows.map(lambda held: replace(held, content_hash=DELETED_HASH))


# Rules 1 to 4


def test_the_first_snapshot_of_an_object_is_written() -> None:
    snapshot = seen("b", 100, source="evt_first")

    verdict = decide(None, snapshot, GONE_FOR_GOOD)

    assert verdict is Verdict.WRITTEN
    assert take(None, snapshot, verdict, GONE_FOR_GOOD) == row("b", 100, source="evt_first", rev=1)


@pytest.mark.parametrize(
    ("seconds_later", "verdict"),
    [
        (W + 1, Verdict.WRITTEN),
        (W, Verdict.GUESSED_NEWER),
        (1, Verdict.GUESSED_NEWER),
        (-1, Verdict.GUESSED_OLDER),
        (-W, Verdict.GUESSED_OLDER),
        (-W - 1, Verdict.SUPERSEDED),
    ],
)
def test_a_later_second_is_certain_only_outside_the_window(seconds_later: int, verdict: Verdict) -> None:
    assert decide(row("a", 100), seen("b", 100 + seconds_later), GONE_FOR_GOOD) is verdict


def test_a_surely_newer_snapshot_settles_the_row() -> None:
    version = after(row("a", 100, unsettled=True, rev=4), [seen("b", 108, source="evt_b")])

    assert version == row("b", 108, source="evt_b", rev=5)


def test_same_content_raises_only_observed_at_and_rev() -> None:
    held = row("a", 100, source="evt_a", unsettled=True)

    version = after(held, [seen("a", 99, source="evt_b")])

    assert version == row("a", 100, source="evt_a", rev=2, unsettled=True)


def test_same_content_seen_later_moves_observed_at() -> None:
    version = after(row("a", 100, rank=CREATED, source="evt_a"), [seen("a", 105, source="evt_b")], REBORN)

    assert version == row("a", 105, rank=UPDATED, source="evt_b", rev=2)


def test_same_content_from_an_earlier_second_still_replaces_the_creation() -> None:
    version = after(row("a", 101, rank=CREATED, source="evt_a"), [seen("a", 100, source="evt_b")])

    assert version == row("a", 101, rank=UPDATED, source="evt_b", rev=2)


def test_same_content_from_long_ago_is_not_superseded() -> None:
    assert decide(row("a", 100), seen("a", 10), GONE_FOR_GOOD) is Verdict.SAME


def test_a_superseded_snapshot_leaves_the_row_untouched() -> None:
    snapshot = seen("b", 92)

    assert take(row("a", 100), snapshot, decide(row("a", 100), snapshot, REBORN), REBORN) is None


@pytest.mark.parametrize("at", [95, 100, 105])
def test_an_ambiguous_snapshot_leaves_the_row_unsettled(at: int) -> None:
    assert after(row("a", 100), [seen("b", at)]).unsettled


def test_an_ambiguous_older_snapshot_raises_rev_and_keeps_the_content() -> None:
    version = after(row("a", 100, source="evt_a", rev=3), [seen("b", 95)])

    assert version == row("a", 100, source="evt_a", rev=4, unsettled=True)


def test_a_row_that_cannot_be_fetched_is_never_unsettled() -> None:
    version = after(row("a", 100), [seen("b", 101), seen("c", 101, incomplete=True), seen("d", 300)], NOT_FETCHABLE)

    assert not version.unsettled


# The guess of rule 4


@pytest.mark.parametrize(
    ("why", "held", "snapshot", "verdict"),
    [
        ("the later second", row("a", 100), seen("b", 101), Verdict.GUESSED_NEWER),
        ("a deletion is last in its second", row("a", 100), gone, Verdict.GUESSED_NEWER),
        ("a creation is first in its second", row("a", 100), seen(rank=CREATED), Verdict.GUESSED_OLDER),
        ("a final status is never left", row("a", 100, final=True), seen("b", 105), Verdict.GUESSED_OLDER),
        ("a final status wins in any second", row("a", 100), seen("b", 95, final=True), Verdict.GUESSED_NEWER),
        ("it restores the row's content", row("a", source="evt_9"), seen(source="evt_1", before="a"), Verdict.GUESSED_NEWER),
        ("it restores other content", row("a", source="evt_9"), seen(source="evt_1", before="c"), Verdict.GUESSED_OLDER),
        ("the greater event id", row("a", source="evt_1"), seen(source="evt_2"), Verdict.GUESSED_NEWER),
        ("the smaller event id", row("a", source="evt_2"), seen(source="evt_1"), Verdict.GUESSED_OLDER),
    ],
)  # fmt: skip
def test_a_guess_within_the_window_follows_the_strongest_evidence(
    why: str, held: Version, snapshot: Snapshot, verdict: Verdict
) -> None:
    assert decide(held, snapshot, REBORN) is verdict, why


def test_previous_attributes_count_only_within_one_api_shape() -> None:
    held = row("a", source="evt_9", shape="2024-06-20")

    assert decide(held, seen(source="evt_1", shape="endive", before="a"), REBORN) is Verdict.GUESSED_OLDER


def test_equal_content_in_another_shape_is_ambiguous() -> None:
    assert decide(row("a", 100, shape="2024-06-20"), seen("a", 100, shape="endive"), GONE_FOR_GOOD).ambiguous


# X.created


def test_a_late_creation_is_superseded_and_leaves_the_row_settled() -> None:
    held = row("b", 100)

    assert after(held, [seen("a", 100, rank=CREATED)]) == held


def test_any_other_event_in_the_second_of_the_creation_is_certainly_newer() -> None:
    version = after(None, [seen("a", 100, rank=CREATED, source="evt_2"), seen("b", 100, source="evt_1")])

    assert version == row("b", 100, source="evt_1", rev=2)


def test_a_creation_with_a_wrong_time_is_still_the_oldest() -> None:
    assert decide(row("b", 100), seen("a", 100 + W + 1, rank=CREATED), GONE_FOR_GOOD) is Verdict.SUPERSEDED


@LAW
@given(rows, st.integers(0, 1_000))
def test_a_creation_never_wins_if_ids_are_not_reused(held: Version, at: int) -> None:
    assume(held.rank != CREATED)

    assert after(held, [seen("born", at, rank=CREATED)]) == held


# Deletion


@pytest.mark.parametrize("seconds_earlier", [0, W, W + 1, 1_000_000])
def test_a_deletion_always_wins_if_ids_are_not_reused(seconds_earlier: int) -> None:
    held = row("a", 100, final=True)

    version = after(held, [seen(DELETED_HASH, 100 - seconds_earlier, rank=DELETED, source="evt_gone")])

    assert version == row(DELETED_HASH, 100, rank=DELETED, source="evt_gone", rev=2)


@LAW
@given(tombstones, st.lists(snapshots, max_size=6))
def test_a_deletion_is_final_if_ids_are_not_reused(held: Version, events: list[Snapshot]) -> None:
    assert after(held, events).deleted


@LAW
@given(tombstones, st.lists(snapshots, max_size=6))
def test_only_a_creation_restores_a_deleted_object_if_ids_are_reused(held: Version, events: list[Snapshot]) -> None:
    later = [event for event in events if event.rank != CREATED]

    assert after(held, later, REBORN).deleted


@pytest.mark.parametrize(
    ("at", "verdict"), [(101, Verdict.GUESSED_NEWER), (100 + W + 1, Verdict.WRITTEN), (92, Verdict.SUPERSEDED)]
)
def test_a_creation_after_the_deletion_restores_the_object_if_ids_are_reused(at: int, verdict: Verdict) -> None:
    tombstone = row(DELETED_HASH, 100, rank=DELETED)

    assert decide(tombstone, seen("a", at, rank=CREATED), REBORN) is verdict


@pytest.mark.parametrize("at", [101, 1_000])
def test_a_change_after_the_deletion_leaves_the_row_unsettled_if_ids_are_reused(at: int) -> None:
    version = after(row(DELETED_HASH, 100, rank=DELETED), [seen("a", at)], REBORN)

    assert version.deleted
    assert version.unsettled


def test_a_deletion_with_the_whole_object_keeps_its_shape() -> None:
    version = after(row("a", 100), [seen(DELETED_HASH, 101, rank=DELETED, shape="endive")])

    assert version.deleted
    assert version.shape == "endive"


def test_a_deletion_with_the_whole_object_completes_a_bare_deletion() -> None:
    bare = row(DELETED_HASH, 100, rank=DELETED, shape="")
    whole = seen(DELETED_HASH, 100, rank=DELETED, shape="endive")

    verdict = decide(bare, whole, GONE_FOR_GOOD)
    version = take(bare, whole, verdict, GONE_FOR_GOOD)

    assert verdict is Verdict.SAME
    assert takes_content(bare, whole, verdict)
    assert version is not None
    assert version.shape == "endive"


def test_a_bare_deletion_does_not_replace_the_whole_object() -> None:
    whole = row(DELETED_HASH, 100, rank=DELETED, shape="endive")
    bare = seen(DELETED_HASH, 101, rank=DELETED, shape="")

    verdict = decide(whole, bare, GONE_FOR_GOOD)
    version = take(whole, bare, verdict, GONE_FOR_GOOD)

    assert not takes_content(whole, bare, verdict)
    assert version is not None
    assert version.shape == "endive"


# Snapshots that cannot settle


def test_a_certainly_newer_snapshot_with_a_truncated_list_leaves_the_row_unsettled() -> None:
    assert after(row("a", 100), [seen("b", 200, incomplete=True)]).unsettled


def test_a_truncated_list_leaves_the_row_unsettled_even_if_its_content_is_the_same() -> None:
    settled = row("a", 100)

    assert after(settled, [seen("a", 101, incomplete=True)]).unsettled


# Lists that are read repeatedly


def test_a_page_with_the_same_content_writes_nothing() -> None:
    held = row("a", 100)
    page = replace(seen("a", 5_000), listed=True)

    assert after(held, [page]) == held
    assert not takes_content(held, page, decide(held, page, GONE_FOR_GOOD))


def test_a_page_read_after_the_window_settles_an_unsettled_row() -> None:
    version = after(row("a", 100, unsettled=True), [replace(seen("a", 108), listed=True)])

    assert not version.unsettled


def test_a_page_read_within_the_window_settles_nothing() -> None:
    assert after(row("a", 100, unsettled=True), [replace(seen("a", 104), listed=True)]).unsettled


def test_a_page_with_other_content_follows_the_rule_for_events() -> None:
    assert after(row("a", 100), [replace(seen("b", 108), listed=True)]).content_hash == "b"
    assert after(row("a", 100), [replace(seen("b", 104), listed=True)]).unsettled


# Rule 5: Stripe's answer to a read


def test_an_answer_is_discarded_if_an_event_arrived_after_the_request() -> None:
    held = row("a", 100, rev=3, unsettled=True)

    assert settle(held, seen("b", 500), rev=2, traits=GONE_FOR_GOOD) is None


def test_an_answer_is_discarded_if_the_row_was_created_after_the_request() -> None:
    assert settle(row("a", 100), seen("b", 500), rev=0, traits=GONE_FOR_GOOD) is None


def test_an_answer_about_an_object_that_is_not_mirrored_yet_is_written() -> None:
    version = settle(None, seen("b", 500, source="get:500"), rev=0, traits=GONE_FOR_GOOD)

    assert version == row("b", 500, source="get:500", rev=1)


@pytest.mark.parametrize(
    ("at", "observed_at", "unsettled"),
    [(99, 100, True), (104, 100, True), (105, 105, False), (500, 500, False)],
)
def test_an_answer_settles_the_row_if_every_replica_had_the_newest_event_by_then(
    at: int, observed_at: int, unsettled: bool
) -> None:
    version = settle(row("a", 100, unsettled=True), seen("b", at, source="get"), rev=1, traits=GONE_FOR_GOOD)

    assert version == row("b", observed_at, source="get", rev=2, unsettled=unsettled)


def test_an_answer_with_a_truncated_list_settles_nothing() -> None:
    version = settle(row("a", 100), seen("b", 500, incomplete=True), rev=1, traits=GONE_FOR_GOOD)

    assert version is not None
    assert version.unsettled


# Toggles: a chain is evidence, not proof


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_b_a_ends_at_a_or_unsettled(order: tuple[int, ...]) -> None:
    made = [
        seen("a", 100, rank=CREATED, source="evt_1"),
        seen("b", 103, source="evt_2", before="a"),
        seen("a", 106, source="evt_3", before="b"),
    ]

    version = after(None, [made[number] for number in order])

    assert version.content_hash == "a" or version.unsettled


def test_a_b_a_within_one_second_is_unsettled_although_its_chain_looks_complete() -> None:
    held = row("a", 100, source="evt_0")

    version = after(held, [seen("b", 100, source="evt_1", before="a"), seen("a", 100, source="evt_2", before="b")])

    assert version.unsettled


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_a_b_c_a_ends_at_a_or_unsettled(order: tuple[int, ...]) -> None:
    made = [
        seen("a", 100, source="evt_4"),
        seen("b", 100, source="evt_2", before="a"),
        seen("c", 104, source="evt_3", before="b"),
        seen("a", 109, source="evt_1", before="c"),
    ]

    version = after(None, [made[number] for number in order], REBORN)

    assert version.content_hash == "a" or version.unsettled


# Content


def test_fields_that_change_between_reads_do_not_count_as_content() -> None:
    read = invoice()
    again = read | {"hosted_invoice_url": "https://invoice.stripe.com/i/acct_1/test_y?s=ap", "invoice_pdf": "https://x"}

    assert content_hash(read) == content_hash(again)


def test_any_other_field_counts_as_content() -> None:
    assert content_hash(subscription()) != content_hash(subscription(status="past_due"))


def test_the_order_of_keys_does_not_matter() -> None:
    assert content_hash({"id": "x", "n": {"a": 1, "b": 2}}) == content_hash({"n": {"b": 2, "a": 1}, "id": "x"})


def test_no_object_has_the_hash_of_a_deletion() -> None:
    assert content_hash({"id": "deleted", "deleted": True}) != DELETED_HASH


def test_putting_back_previous_attributes_restores_the_state_before() -> None:
    before = subscription(status="incomplete", user_id="user_1", cancel_at=NOW)
    now = subscription(status="active", user_id="user_2", quantity=3)

    assert put_back(now, previous_attributes(before, now)) == before


def test_putting_back_does_not_change_the_object_itself() -> None:
    now = subscription(user_id="user_2")

    put_back(now, {"metadata": {"user_id": "user_1"}, "items": {"data": []}})

    assert now == subscription(user_id="user_2")
