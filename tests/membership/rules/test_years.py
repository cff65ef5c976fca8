"""Yearly payments are granted in parts, one every thirty days."""

from dataclasses import replace
from datetime import timedelta

import pytest

from schema.states import UserRole
from tests.membership.rules.paid_lines import (
    ADD,
    RESET,
    a_year,
    granted,
    yearly,
)
from tests.membership.rules.people import NOW, POLICIES, day, holding, line, subscribed, user
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import Item, Override
from worker.membership.rules.next_change import next_look


@pytest.mark.parametrize(("age", "numbers"), [(29, []), (30, [1]), (59, [1]), (60, [2]), (359, [11]), (364, [12])])
def test_a_year_is_renewed_every_thirty_days_from_its_start(age: int, numbers: list[int]) -> None:
    first, *renewals = granted(a_year(age))

    start = int(day(-age).timestamp())
    assert first.source_key == "invoice:in_y:line:il_1"
    assert [made.source_key for made in renewals] == [f"part:si_sub_1:{start}:{number}" for number in numbers]
    assert all(made.balance_after == 1000 for made in renewals)


def test_under_add_all_missed_renewals_count() -> None:
    made = granted(a_year(95), ADD)

    assert [grant.balance_after for grant in made] == [1000, 2000, 3000, 4000]


def test_a_renewal_happens_once() -> None:
    held = a_year(65)
    after = holding(held, granted(held))

    assert granted(after) == []
    assert [made.amount for made in granted(after, now=day(24))] == []
    assert [made.balance_before for made in granted(replace(after, tokens=1), now=day(25))] == [1]


@pytest.mark.parametrize("status", ["canceled", "unpaid", "paused"])
def test_a_subscription_without_access_renews_nothing(status: str) -> None:
    held = a_year(65, status=status)

    assert "token_period" not in [made.kind for made in granted(held)]


def test_a_month_is_not_renewed() -> None:
    paid = line(period_start=day(-30), period_end=day(1))

    assert len(granted(user(subscribed(), lines=[paid], running=[paid]))) == 1


@pytest.mark.parametrize(
    ("why", "item"),
    [
        ("another price", Item(id="si_sub_1", price="price_2", product="prod_pro")),
        ("another quantity", Item(id="si_sub_1", price="price_1", product="prod_pro", quantity=2)),
        ("another item", Item(id="si_2", price="price_1", product="prod_pro")),
    ],
)
def test_changing_an_item_ends_its_parts(why: str, item: Item) -> None:
    paid = yearly(31)

    made = granted(user(subscribed(items=[item]), lines=[paid], running=[paid]))

    assert [grant.amount for grant in made] == [1000], why


@pytest.mark.parametrize(("age", "due"), [(10, 20), (30, 30), (65, 25), (361, None)])
def test_the_next_renewal_is_known_ahead(age: int, due: int | None) -> None:
    assert next_look(a_year(age), POLICIES, RESET, NOW) == (None if due is None else day(due))


def test_the_end_of_an_override_or_a_grace_is_known_ahead() -> None:
    late = subscribed(status="past_due", period_start=day(-2))
    comped = Override(role=UserRole.PREMIUM, until=day(9))

    assert next_look(user(override=comped), POLICIES, RESET, NOW) == day(9)
    assert next_look(user(late, override=comped), POLICIES, Policy(past_due_grace=timedelta(days=5)), NOW) == day(3)
    assert next_look(user(late), POLICIES, RESET, NOW) is None
