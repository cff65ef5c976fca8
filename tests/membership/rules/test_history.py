"""A fact that comes to be known late counts at its own time, and all that came after it happens again."""

from dataclasses import replace
from itertools import permutations

import pytest

from tests.membership.rules.paid_lines import (
    ADD,
    BOTH,
    RESET,
    a_year,
    billed,
    change,
    granted,
    holding_lines,
    monthly,
    pack,
    refund,
)
from tests.membership.rules.people import day, holding, line, subscribed, user
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import Item, PaidLine, User


def then(of: User, *lines: PaidLine, policy: Policy = RESET) -> User:
    """The user once these lines are known, one computation for each."""
    for each in lines:
        of = holding_lines(of, *of.paid_lines, each)
        of = holding(of, granted(of, policy))
    return of


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_credit_that_finds_the_balance_empty_does_not_take_from_what_was_paid_later(order: tuple[int, ...]) -> None:
    credit = change("il_1", "prod_max", -5000, days=24)
    later = [replace(credit, paid_at=day(-4)), pack(at=-2), pack("in_q", at=-1)]

    held = then(monthly(900, ADD), *(later[n] for n in order), policy=ADD)

    # 100 are left of the period, and the credit of 4,000 finds no more. Both packs stay.
    assert held.tokens == 2000


@pytest.mark.parametrize("is_late", [False, True])
def test_a_late_credit_takes_what_was_there_at_its_time(is_late: bool) -> None:
    credit = replace(change("il_1", "prod_pro", -1000, days=24), paid_at=day(-4))
    charge = replace(change("il_2", "prod_max", 5000, days=12), invoice="in_v", paid_at=day(-1))

    held = then(monthly(900), *([charge, credit] if is_late else [credit, charge]))

    # 100 are left, of which the credit of 800 takes all; then 12 of 30 days of 5,000.
    assert held.tokens == 2000


def test_a_spend_comes_after_all_that_was_known_when_it_was_seen() -> None:
    held = replace(then(monthly(), pack(at=-2)), tokens=800)

    renewed = then(held, line("il_9", invoice="in_9", period_start=day(-3), period_end=day(27), paid_at=day(-3)))

    # The renewal, three days ago, was before the spend of 1,200: it takes 1,000 of the new period, and 200 of the pack.
    assert renewed.tokens == 800
    assert {lot.bill: lot.left for lot in renewed.lots} == {"in_9": 0, "in_p": 800}


def test_a_refund_is_as_old_as_it_was_made() -> None:
    held = replace(then(monthly(), pack(at=-2)), tokens=1500)
    held = then(held, line("il_9", invoice="in_9", period_start=day(0), period_end=day(30)))
    back = replace(refund(2000), at=day(-1))

    (row,) = granted(billed(held, back, bill="in_0"))

    # The day before the renewal 500 were left of the period that the refund is for, and 500 were missing: the pack gives them.
    assert (row.balance_before, row.balance_after) == (2000, 1500)


@BOTH
def test_an_item_that_was_gone_before_a_part_ends_it_without_a_line(policy: Policy) -> None:
    held = a_year(40)
    held = holding(held, granted(held, policy))
    other = Item(id="si_sub_1", price="price_1", product="prod_pro", quantity=2)
    before, after = (replace(subscribed(items=[other]), observed_at=at) for at in (day(-11), day(-9)))

    (row,) = granted(replace(held, subscriptions=(before,)), policy)

    # The part began ten days ago. Under reset the first one is back; a snapshot from after its begin says nothing of it.
    assert (row.kind, row.balance_after) == ("undone", 1000)
    assert granted(replace(held, subscriptions=(after,)), policy) == []


def test_the_history_holds_what_came_to_be_known_within_a_month() -> None:
    held = then(monthly(400), pack(at=-2))
    held = holding_lines(held, line("il_9", invoice="in_9", period_start=day(20), period_end=day(50)))
    held = holding(held, granted(held, now=day(20)))

    (row,) = granted(holding_lines(held, pack("in_q", at=32)), now=day(32))

    assert row.history is not None
    assert [entry.source for entry in row.history.entries] == ["invoice:in_9:line:il_9", "invoice:in_q:line:il_p"]
    assert {lot.bill: lot.left for lot in row.history.base.lots} == {"in_0": 600, "in_p": 1000}
    assert row.balance_after == 3000


def test_a_row_of_the_ledger_without_a_history_begins_one() -> None:
    held = replace(monthly(400), history=None)

    after = then(held, pack(at=-1))

    assert after.tokens == 1600
    assert {lot.bill: lot.left for lot in after.lots} == {"in_0": 600, "in_p": 1000}


@BOTH
@pytest.mark.parametrize("invoice", ["in_a", "in_z"])
def test_a_change_paid_in_the_very_second_of_its_period_counts_after_it(invoice: str, policy: Policy) -> None:
    period = line("il_0", invoice="in_m")
    changes = [
        replace(change(id_, product, amount, days=30), invoice=invoice, paid_at=period.paid_at)
        for id_, product, amount in (("il_1", "prod_pro", -1000), ("il_2", "prod_max", 5000))
    ]
    for invoices in ([[period, *changes]], [[period], changes], [changes, [period]]):
        held = user(subscribed())
        for lines in invoices:
            held = holding_lines(held, *held.paid_lines, *lines)
            held = holding(held, granted(held, policy))

        assert held.tokens == 5000
