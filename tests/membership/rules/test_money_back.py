"""Returned money takes its share of the tokens that it paid for, once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.membership.rules.paid_lines import (
    ADD,
    BOTH,
    RESET,
    a_year,
    balance,
    billed,
    granted,
    holding_lines,
    paid_up,
    refund,
)
from tests.membership.rules.people import NOW, POLICIES, day, holding, line, subscribed, user
from tests.mirror.histories import LAW
from worker.membership.rules.access import Policy
from worker.membership.rules.balance import Grant
from worker.membership.rules.facts import Bill, Product, Restored
from worker.membership.rules.tokens import grants


def failed(row: Grant) -> Restored:
    key = row.source_key.replace("refund:", "refund_failed:")
    return Restored(
        source_key=key, kind="refund_failed", bill=row.invoice or "", money=row.money, taken_by=row.source_key
    )


@pytest.mark.parametrize(
    ("amount", "spent", "worth", "left"),
    [(2000, 0, -1000, 0), (500, 0, -250, 750), (999, 0, -499, 501), (2000, 800, -1000, 0), (500, 800, -250, 0),
     (9000, 0, -1000, 0), (1, 0, 0, 1000)],
)  # fmt: skip
def test_a_refund_takes_its_share_of_the_grant_but_never_more_than_the_balance(
    amount: int, spent: int, worth: int, left: int
) -> None:
    (row,) = granted(billed(paid_up(spent), refund(amount)))

    assert (row.kind, row.source_key, row.amount) == ("refund", "refund:re_1", worth)
    assert (row.balance_before, row.balance_after) == (1000 - spent, left)


def test_refunds_and_a_lost_dispute_never_take_more_than_was_granted() -> None:
    other = line("il_2", invoice="in_2", subscription="sub_2", product="prod_max")

    made = granted(billed(paid_up(0, other), refund(1500), refund(2000, id="du_1", kind="dispute")))

    assert [(row.kind, row.amount) for row in made] == [("refund", -750), ("dispute", -250)]
    assert made[-1].balance_after == 5000


def test_money_reported_by_a_second_object_is_not_taken_twice() -> None:
    held = billed(paid_up(), refund(500, id="ch_1:500", kind="charge"))
    held = holding(held, granted(held))
    again = Bill(id="in_1", total=2000, returned=500, accounted=500, sources=(refund(500),))

    (row,) = granted(replace(held, bills=(again,)))

    assert (row.source_key, row.amount, row.balance_after) == ("refund:re_1", 0, 750)


def test_a_refund_waits_for_its_invoice() -> None:
    assert granted(billed(user(subscribed()), refund())) == []
    assert [row.balance_after for row in granted(billed(user(subscribed(), lines=[line()]), refund()))] == [1000, 0]


def test_a_refund_waits_until_its_whole_invoice_is_granted() -> None:
    held = billed(user(subscribed(), lines=[line(), line("il_2", product="prod_late", item="si_2")]), refund())

    late = grants(held, {**POLICIES, "prod_late": Product(id="prod_late", tokens=10)}, RESET, NOW)

    assert [row.kind for row in granted(held)] == ["start"]
    assert [row.amount for row in late] == [1000, 10, -1010]


@pytest.mark.parametrize("refunded_first", [True, False])
def test_a_refund_of_a_period_renewed_since_takes_nothing(refunded_first: bool) -> None:
    held, renewal = paid_up(), line("il_2", invoice="in_2", period_start=day(-1))

    if refunded_first:
        held = billed(held, refund())
        held = replace(holding(held, granted(held)), bills=())
        held = holding_lines(held, renewal)
    else:
        held = billed(holding_lines(held, renewal), refund())

    assert balance(held)[0] == 1000


@BOTH
@given(spent=st.integers(0, 1000), amount=st.integers(1, 2000), meanwhile=st.integers(0, 1000))
@LAW
def test_a_failed_refund_gives_back_exactly_what_it_took(
    policy: Policy, spent: int, amount: int, meanwhile: int
) -> None:
    held = billed(paid_up(spent), refund(amount))
    (row,) = granted(held, policy)
    held = replace(holding(held, [row]), bills=())
    held = replace(held, tokens=max(held.tokens - meanwhile, 0))

    (back,) = granted(replace(held, restored=(failed(row),)), policy)

    assert back.balance_after - back.balance_before == row.balance_before - row.balance_after
    assert sum(lot.taken_back for lot in back.lots) == 0
    assert sum(lot.left for lot in back.lots) == back.balance_after
    assert back.money == -row.money


def test_a_refund_that_replaces_a_failed_one_takes_its_full_share() -> None:
    held = billed(paid_up(), refund(500))
    (row,) = granted(held)
    held = holding(held, [row])
    bill = Bill(id="in_1", total=2000, returned=500, accounted=500, sources=(refund(500, id="re_2"),))

    made = granted(replace(held, bills=(bill,), restored=(failed(row),)))

    assert [(grant.kind, grant.balance_after) for grant in made] == [("refund_failed", 1000), ("refund", 750)]


@pytest.mark.parametrize(("policy", "back_again"), [(RESET, 0), (ADD, 250)])
def test_a_failed_refund_gives_back_only_what_no_renewal_replaced(policy: Policy, back_again: int) -> None:
    held = billed(paid_up(), refund(500))
    (row,) = granted(held, policy)
    held = holding_lines(replace(holding(held, [row]), bills=()), line("il_2", invoice="in_2", period_start=day(-1)))
    renewed = holding(held, granted(held, policy))

    (back,) = granted(replace(renewed, restored=(failed(row),)), policy)

    assert back.balance_after - back.balance_before == back_again


@BOTH
@pytest.mark.parametrize(("returned", "part"), [(1000, 500), (2000, 0)])
def test_a_refund_of_a_year_reduces_its_later_parts(policy: Policy, returned: int, part: int) -> None:
    held = a_year(10)
    held = holding(held, granted(held, policy))

    taken = granted(billed(held, refund(returned), bill="in_y"), policy)
    after = billed(holding(held, taken), bill="in_y", accounted=returned)
    (later,) = granted(after, policy, now=day(21))
    again = granted(holding(after, [later]), policy, now=day(22))

    assert taken[-1].balance_after == part
    assert (later.kind, later.amount, later.balance_after - later.balance_before) == (
        "token_period",
        part,
        0 if policy is RESET else part,
    )
    assert again == []


def test_a_failed_refund_restores_the_parts_it_reduced() -> None:
    held = a_year(10)
    held = holding(held, granted(held))
    (row,) = granted(billed(held, refund(1000), bill="in_y"))
    after = billed(holding(held, [row]), bill="in_y", accounted=1000)
    after = holding(after, granted(after, now=day(21)))

    (back,) = granted(replace(after, restored=(failed(row),)), now=day(22))

    assert (back.kind, back.amount, back.balance_after) == ("refund_failed", 500, 1000)


def test_a_refund_takes_its_share_of_each_grant() -> None:
    both = user(subscribed(), lines=[line(), line("il_2", item="si_2", product="prod_max")])
    held = holding(both, granted(both))

    taken = holding(held, granted(billed(held, refund(1000))))
    renewed = granted(holding_lines(taken, line("il_3", invoice="in_2", period_start=day(0))))

    assert {lot.owner: lot.left for lot in taken.lots} == {"si_sub_1": 500, "si_2": 2500}
    assert renewed[-1].balance_after == 1000 + 2500


def test_a_spent_share_is_taken_from_the_other_grants() -> None:
    both = user(subscribed(), lines=[line(), line("il_2", item="si_2", product="prod_max")])
    held = holding(both, granted(both))
    spent = replace(held, tokens=held.tokens - 1000)

    (row,) = granted(billed(spent, refund(1000)))

    assert (row.amount, row.balance_before, row.balance_after) == (-3000, 5000, 2000)
    assert sum(lot.left for lot in row.lots) == 2000


@pytest.mark.parametrize(("policy", "left"), [(RESET, 0), (ADD, 1000)])
def test_a_period_without_seats_ends_the_previous_allowance(policy: Policy, left: int) -> None:
    held = paid_up()

    emptied = holding_lines(held, line("il_2", invoice="in_2", period_start=day(0), quantity=0))

    assert balance(emptied, policy)[0] == left
    assert balance(user(subscribed(), lines=[*emptied.paid_lines, line()]), policy)[0] == left
