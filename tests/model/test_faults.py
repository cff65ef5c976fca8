"""The comparison with the model finds faults that these tests plant in the rules."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.model.test_model import Apply, live
from worker.membership.rules import tokens
from worker.membership.rules.balance import Book
from worker.membership.rules.lots import Lot

LIVES = 30


def a_credit_that_gives(patch: pytest.MonkeyPatch) -> None:
    def reduce(self: Book, row: Any, change: Lot, amount: int, at: Any) -> None:
        self.add(row, replace(change, granted=amount, left=amount), at)

    patch.setattr(Book, "reduce", reduce)


def a_refund_that_takes_the_whole_grant(patch: pytest.MonkeyPatch) -> None:
    share = Book._returned_share
    patch.setattr(Book, "_returned_share", lambda self, lot: lot.granted if share(self, lot) else 0)


def a_year_without_later_parts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tokens, "due_parts", lambda *_, **__: [])


# Begin with a life that is known to show the fault, which saves time.
@pytest.mark.parametrize(
    ("plant", "first"),
    [(a_credit_that_gives, 1), (a_refund_that_takes_the_whole_grant, 2), (a_year_without_later_parts, 16)],
)
def test_a_planted_fault_is_found(
    conn: psycopg.Connection,
    apply: Apply,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    first: int,
) -> None:
    plant(monkeypatch)

    for number in range(first, first + LIVES):
        with conn.transaction(force_rollback=True):
            held, wanted = live(conn, apply, f"fault {number}", is_reset=True)
            if held != wanted:
                return
    pytest.fail(f"the fault was not found in {LIVES} lives")
