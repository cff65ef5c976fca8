"""Changes of an item in mid-period are prorated, with their sign."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.membership.rules.paid_lines import (
    ADD,
    BOTH,
    RESET,
    UPGRADE,
    balance,
    change,
    granted,
    holding_lines,
    monthly,
)
from tests.membership.rules.people import NOW, day, holding, line, subscribed, user
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import Item


@pytest.mark.parametrize(
    ("policy", "spent", "left"), [(RESET, 0, 3000), (RESET, 900, 2100), (ADD, 0, 3000), (ADD, 900, 2100)]
)
def test_an_upgrade_is_prorated_with_a_charge_and_a_credit(policy: Policy, spent: int, left: int) -> None:
    made = granted(holding_lines(monthly(spent, policy), *UPGRADE), policy)

    assert [(grant.source_key[-4:], grant.amount) for grant in made] == [("il_2", 2500), ("il_1", -500)]
    assert made[-1].balance_after == left


@BOTH
def test_an_upgrade_waits_for_the_period_that_it_changes(policy: Policy) -> None:
    early = user(subscribed(), lines=UPGRADE)

    assert granted(early, policy) == []
    assert balance(holding_lines(early, line("il_0", invoice="in_0"), *UPGRADE), policy)[0] == 3000


@BOTH
def test_a_change_waits_for_the_period_that_contains_its_dates(policy: Policy) -> None:
    before = line("il_b", invoice="in_b", period_start=day(-40), period_end=day(-10), paid_at=day(-20))
    held = user(subscribed(), lines=[before])
    held = holding(held, granted(held, policy))
    early = holding_lines(held, *UPGRADE)

    assert granted(early, policy) == []

    # One allowance of 1,000 or, under add, two. For 15 of 30 days one of them is 5,000, which adds 2,000.
    after = holding_lines(early, line("il_0", invoice="in_0"), *UPGRADE)
    assert balance(after, policy)[0] == (3000 if policy is RESET else 4000)


def test_under_reset_a_change_known_after_the_next_period_changes_nothing() -> None:
    renewed = holding_lines(monthly(), line("il_3", invoice="in_3", period_start=day(20), period_end=day(50)))
    renewed = holding(renewed, granted(renewed, now=day(20)))

    made = granted(holding_lines(renewed, *UPGRADE), now=day(21))

    assert [grant.amount for grant in made] == [0, 0]


def test_under_add_a_change_known_after_the_next_period_counts() -> None:
    renewed = holding_lines(monthly(0, ADD), line("il_3", invoice="in_3", period_start=day(20), period_end=day(50)))
    renewed = holding(renewed, granted(renewed, ADD, now=day(20)))

    made = granted(holding_lines(renewed, *UPGRADE), ADD, now=day(21))

    assert [grant.balance_after for grant in made] == [4500, 4000]


def test_a_downgrade_takes_no_more_than_its_item_has_left() -> None:
    other = holding_lines(
        monthly(), line("il_9", invoice="in_9", subscription="sub_2", product="prod_max", paid_at=day(-1))
    )
    held = holding(other, granted(other))
    held = replace(held, tokens=held.tokens - 800)

    (row,) = granted(holding_lines(held, change("il_1", "prod_pro", -1000)))

    assert (row.amount, row.balance_before, row.balance_after) == (-500, 5200, 5000)


def test_switching_the_interval_resets_to_the_new_allowance() -> None:
    credit = change("il_1", "prod_pro", -1000, days=20)
    year = line("il_2", invoice="in_u", period_start=NOW, period_end=day(365), full_period=timedelta(days=365))

    assert balance(holding_lines(monthly(300), credit, year))[0] == 1000


@BOTH
def test_a_first_period_shortened_by_the_billing_anchor_gives_its_share(policy: Policy) -> None:
    begun = subscribed(created=day(0), period_start=day(0), period_end=day(20))
    stub = change("il_1", "prod_pro", 1333, days=20)

    (grant,) = granted(user(begun, lines=[stub]), policy)

    assert (grant.kind, grant.amount, grant.balance_after) == ("stub", 666, 666)


def test_a_change_in_a_yearly_period_counts_for_the_rest_of_the_current_part() -> None:
    start, end = day(-40), day(325)
    year = line("il_0", invoice="in_y", period_start=start, period_end=end, full_period=timedelta(days=365))
    item = Item(id="si_sub_1", price="price_2", product="prod_max", created=start)
    held = user(subscribed(created=start, period_start=start, period_end=end), lines=[year], running=[year])
    held = holding(held, granted(held))
    rest: dict[str, Any] = {
        "period_start": NOW,
        "period_end": end,
        "full_period": timedelta(days=365),
        "is_whole": False,
    }
    credit = line("il_1", invoice="in_u", proration=True, is_credit=True, amount=-1, **rest)
    charge = line("il_2", invoice="in_u", proration=True, product="prod_max", price="price_2", **rest)
    upgraded = replace(held, subscriptions=(subscribed(created=start, items=[item]),), running=(year, charge))

    after = holding_lines(upgraded, credit, charge)
    made = granted(after)
    later = granted(holding(after, made), now=day(20))

    # Day 40 is the tenth of the current part's 30 days, so 20 are left.
    assert [grant.amount for grant in made] == [3333, -666]
    assert [(grant.kind, grant.amount, grant.balance_after) for grant in later] == [("token_period", 5000, 5000)]
