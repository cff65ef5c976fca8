"""File names of the write-ahead log: the segments that base backups need, and those that none of them needs."""

import pytest

from worker.backup import wal
from worker.backup.wal import Span

SIZE = 16 << 20


def segment(number: int, timeline: int = 1) -> str:
    return wal.segment(timeline, number * SIZE, SIZE)


def archived(*numbers: int, timeline: int = 1) -> list[str]:
    return [f"{segment(number, timeline)}.gz" for number in numbers]


def base(first: int, last: int, timeline: int = 1) -> Span:
    return Span(timeline, first * SIZE + 40, last * SIZE + 80)


@pytest.mark.parametrize(
    ("lsn", "size", "named"),
    [
        ("0/2000028", SIZE, "000000010000000000000002"),
        ("0/FFFFFFFF", SIZE, "0000000100000000000000FF"),
        ("1/0", SIZE, "000000010000000100000000"),
        ("1A/2B3C4D5E", SIZE, "000000010000001A0000002B"),
        ("1/40000000", 1 << 30, "000000010000000100000001"),
    ],
)
def test_the_segment_of_a_position_in_the_log(lsn: str, size: int, named: str) -> None:
    assert wal.segment(1, wal.position(lsn), size) == named


def test_wal_older_than_the_oldest_base_is_removed_on_every_timeline_but_histories_stay() -> None:
    old = [*archived(1, 2), *archived(2, timeline=2), f"{segment(2)}.00000028.backup.gz", f"{segment(2)}.partial.gz"]
    young = [*archived(3, 4), *archived(3, timeline=2), "00000002.history.gz", "README", f"{segment(1)}.part"]

    assert wal.obsolete([*old, *young], oldest=segment(3)) == set(old)


def test_the_chain_of_segments_ends_before_a_missing_segment() -> None:
    assert wal.chain_end(archived(2, 3, 4), base(2, 2), SIZE) == (segment(4), False)
    assert wal.chain_end(archived(2, 3, 5), base(2, 2), SIZE) == (segment(3), True)
    assert wal.chain_end(archived(1, 3), base(2, 2), SIZE) == (None, True)
    assert wal.chain_end([], base(2, 2), SIZE) == (None, False)


def test_the_chain_of_segments_continues_after_segment_255() -> None:
    assert wal.chain_end(archived(255, 256), base(255, 255), SIZE) == (segment(256), False)


def test_the_chain_of_segments_continues_on_a_timeline_that_forks_from_it() -> None:
    held = [*archived(2, 3), *archived(3, 4, timeline=2), "00000002.history.gz", f"{segment(3)}.partial.gz"]

    assert wal.chain_end(held, base(2, 2), SIZE) == (segment(4, timeline=2), False)


HISTORY = "1\t0/3000100\tbefore 2026-11-23 02:36:40+00\n\n2\t0/7000000\tno recovery target specified\n"


@pytest.mark.parametrize(
    ("held", "leads"),
    [
        (base(2, 2), True),
        (Span(1, wal.position("0/3000028"), wal.position("0/3000100")), True),
        (Span(1, wal.position("0/3000028"), wal.position("0/3000101")), False),
        (base(4, 4), False),  # on an abandoned part of the timeline
        (base(4, 4, timeline=2), True),
        (base(8, 8, timeline=2), False),
        (base(9, 9, timeline=3), True),
        (base(1, 1, timeline=4), False),
    ],
)
def test_a_base_leads_to_the_timelines_that_fork_after_it(held: Span, leads: bool) -> None:
    assert wal.is_ancestor(held, 3, wal.read_history(HISTORY)) is leads


def test_timelines_are_read_from_their_history_files() -> None:
    assert wal.timelines([*archived(1), "00000002.history.gz", "0000000A.history.gz"]) == {2, 10}
