"""The table of paid lines is complete, and each line matches one row."""

import itertools

from worker.membership.rules.lines import TABLE, Answer, Price, Traits

TRUTHS = (True, False)
EVERY_LINE = [
    Traits(price=price, trial=trial, proration=proration, credit=credit, whole=whole, first=first)
    for price, trial, proration, credit, whole, first in itertools.product(
        Price, Answer, TRUTHS, TRUTHS, TRUTHS, Answer
    )
]


def test_each_line_matches_exactly_one_row() -> None:
    assert {len([row for row in TABLE if row.matches(traits)]) for traits in EVERY_LINE} == {1}


def test_each_row_has_lines_and_a_unique_name() -> None:
    assert all(any(row.matches(traits) for traits in EVERY_LINE) for row in TABLE)
    assert len({row.name for row in TABLE}) == len(TABLE)
