"""Packs are added to the balance, and survive resets until they expire."""

from dataclasses import replace

import pytest

from tests.membership.rules.paid_lines import (
    ADD,
    BOTH,
    balance,
    granted,
    holding_lines,
    pack,
    paid_up,
)
from tests.membership.rules.people import day, line, user
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import PaidLine


@BOTH
@pytest.mark.parametrize("bought", [pack(), pack(subscription="sub_1"), pack(at=-29)])
def test_a_pack_is_added(policy: Policy, bought: PaidLine) -> None:
    (grant,) = granted(user(tokens=300, expires=day(9), lines=[bought]), policy)

    assert (grant.kind, grant.amount, grant.balance_after) == ("pack", 1000, 1300)


def test_a_session_of_packs_has_its_own_source_key_and_names_its_products() -> None:
    sold = replace(pack("cs_1", price_type=None), is_checkout=True, line="", product=None, tokens=77)

    (grant,) = granted(user(lines=[sold]))

    assert (grant.source_key, grant.kind, grant.amount) == ("cs:cs_1", "pack", 77)


@pytest.mark.parametrize("paid", [pack(price_type=None), pack(price=None, price_type=None), pack(product=None)])
def test_an_amount_without_a_known_price_or_product_gives_nothing(paid: PaidLine) -> None:
    assert granted(user(lines=[paid])) == []


def test_an_expired_pack_gives_nothing_and_is_recorded() -> None:
    assert [(grant.kind, grant.amount) for grant in granted(user(lines=[pack(at=-30)]))] == [("pack", 0)]


@pytest.mark.parametrize(("spent", "left"), [(0, 2000), (600, 2000), (1000, 2000), (1400, 1600), (2000, 1000)])
def test_packs_survive_a_reset_and_are_spent_after_the_allowance(spent: int, left: int) -> None:
    held = paid_up(0, pack())
    held = replace(held, tokens=held.tokens - spent)

    renewed = holding_lines(held, line("il_2", invoice="in_2", period_start=day(-1)))

    assert balance(renewed)[0] == left


def test_an_expired_pack_does_not_survive_a_reset() -> None:
    held = paid_up(0, pack(at=-20))

    renewed = holding_lines(held, line("il_2", invoice="in_2", period_start=day(11), period_end=day(41)))
    last = granted(renewed, now=day(12))[-1]

    assert last.balance_after == 1000


def test_a_balance_too_large_for_javascript_is_capped() -> None:
    huge = user(lines=[line(quantity=10**18), line("il_2", invoice="in_2", item="si_2", quantity=10**18)])

    assert balance(huge, ADD)[0] == 2**53 - 1
    assert balance(user(lines=[line(quantity=-5)]))[0] == 0
