"""A fact that becomes known late counts at its own time, and everything after it is computed again."""

from dataclasses import replace
from datetime import timedelta
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
    yearly,
)
from tests.membership.rules.people import day, holding, line, subscribed, user
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import Item, PaidLine, Subscription, User


def then(of: User, *lines: PaidLine, policy: Policy = RESET) -> User:
    """The user after these lines become known one by one, with a computation after each."""
    for each in lines:
        of = holding_lines(of, *of.paid_lines, each)
        of = holding(of, granted(of, policy))
    return of


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_a_credit_does_not_take_tokens_that_were_paid_for_later(order: tuple[int, ...]) -> None:
    credit = change("il_1", "prod_max", -5000, days=24)
    later = [replace(credit, paid_at=day(-4)), pack(at=-2), pack("in_q", at=-1)]

    held = then(monthly(900, ADD), *(later[n] for n in order), policy=ADD)

    # 100 tokens of the period are left. The credit of 4,000 takes only these, and both packs stay.
    assert held.tokens == 2000


@pytest.mark.parametrize("is_late", [False, True])
def test_a_credit_counts_before_the_period_on_its_invoice_even_if_its_price_becomes_known_later(is_late: bool) -> None:
    credit = replace(change("il_1", "prod_pro", -1000, days=21), invoice="in_s", paid_at=day(-1))
    period = line("il_9", invoice="in_s", period_start=day(-1), period_end=day(29), paid_at=day(-1), has_changes=True)
    held = monthly(1000, ADD)

    for known in ([period, replace(credit, price_type=None)], [credit]) if is_late else ([period, credit],):
        held = holding_lines(held, *known)
        held = holding(held, granted(held, ADD))

    # Nothing of the old period was left, so the credit takes nothing. The new period keeps its whole allowance.
    assert held.tokens == 1000


@pytest.mark.parametrize("is_late", [False, True])
def test_a_late_credit_takes_from_the_balance_at_its_own_time(is_late: bool) -> None:
    credit = replace(change("il_1", "prod_pro", -1000, days=24), paid_at=day(-4))
    charge = replace(change("il_2", "prod_max", 5000, days=12), invoice="in_v", paid_at=day(-1))

    held = then(monthly(900), *([charge, credit] if is_late else [credit, charge]))

    # 100 tokens are left, and the credit of 800 takes all of them. Then the charge adds 12/30 of 5,000.
    assert held.tokens == 2000


def test_spending_counts_after_everything_known_when_it_was_observed() -> None:
    held = replace(then(monthly(), pack(at=-2)), tokens=800)

    renewed = then(held, line("il_9", invoice="in_9", period_start=day(-3), period_end=day(27), paid_at=day(-3)))

    # The 1,200 tokens were spent after the renewal of three days ago: 1,000 of the new period, and 200 of the pack.
    assert renewed.tokens == 800
    assert {lot.bill: lot.left for lot in renewed.lots} == {"in_9": 0, "in_p": 800}


def test_a_late_refund_counts_at_the_time_it_was_made() -> None:
    held = replace(then(monthly(), pack(at=-2)), tokens=1500)
    held = then(held, line("il_9", invoice="in_9", period_start=day(0), period_end=day(30)))
    back = replace(refund(2000), at=day(-1))

    (row,) = granted(billed(held, back, bill="in_0"))

    # On the day before the renewal, 500 of the refunded period were left. The other 500 are taken from the pack.
    assert (row.balance_before, row.balance_after) == (2000, 1500)


@BOTH
def test_a_part_is_undone_if_its_item_was_gone_before_the_part_began(policy: Policy) -> None:
    held = a_year(40)
    held = holding(held, granted(held, policy))
    other = Item(id="si_sub_1", price="price_1", product="prod_pro", quantity=2)
    before, after = (replace(subscribed(items=[other]), observed_at=at) for at in (day(-11), day(-9)))

    (row,) = granted(replace(held, subscriptions=(before,)), policy)

    # The part began ten days ago. Only a snapshot from before that proves that the item was gone. Then the part is undone,
    # and under reset the first part is restored.
    assert (row.kind, row.balance_after) == ("undone", 1000)
    assert granted(replace(held, subscriptions=(after,)), policy) == []


def _known(of: User, policy: Policy, snapshot: Subscription, *changes: PaidLine) -> int:
    """Let these changes of the year and this snapshot become known, and return the tokens.

    Another subscription has a newer snapshot, which must not count.
    """
    shown = (snapshot, replace(subscribed("sub_2"), observed_at=day(-1)))
    of = replace(holding_lines(of, *changes), running=(*of.running, *changes), subscriptions=shown)
    return holding(of, granted(of, policy)).tokens


@BOTH
@pytest.mark.parametrize("seen", [-21, -18, -5])
def test_changes_wait_until_a_snapshot_is_newer_than_all_of_them(seen: int, policy: Policy) -> None:
    held = a_year(40)
    held = holding(held, granted(held, policy))
    gone, gone_again = (_of_the_year(bill, at, amount=-1, quantity=1) for bill, at in (("in_u", -20), ("in_v", -15)))

    tokens = _known(held, policy, replace(subscribed(), observed_at=day(seen)), gone, gone_again)

    # The item left 20 and 15 days ago, with 10 and 5 of its 30 days left: 1,000 - 333 - 166. A snapshot that is newer than
    # both shows that it came back without an invoice. Until then the part of ten days ago stays.
    assert tokens == (501 if seen == -5 else held.tokens)


@BOTH
def test_a_change_paid_late_counts_if_the_snapshot_shows_a_changed_item(policy: Policy) -> None:
    held = a_year(40)
    held = holding(held, granted(held, policy))
    credit = replace(_of_the_year("in_u", -20, amount=-1, quantity=1), paid_at=day(-7))

    # The snapshot is newer than the part of ten days ago, and older than the payment.
    assert _known(held, policy, replace(subscribed(items=[]), observed_at=day(-9)), credit) == 667


def test_changes_count_if_the_last_change_paid_for_the_item_as_it_is_now() -> None:
    held = a_year(40)
    held = holding(held, granted(held, ADD))
    more = [_of_the_year("in_u", -20, amount=n, quantity=abs(n)) for n in (-1, 2)]
    fewer = [_of_the_year("in_v", -15, amount=n, quantity=abs(n)) for n in (-2, 1)]

    # Two items for the last 10 days of the first part: + 666 - 333. One item again for its last 5 days: + 166 - 333.
    # The first part and the part of ten days ago give 1,000 each.
    assert _known(held, ADD, replace(subscribed(), observed_at=day(-21)), *more, *fewer) == 2166


@BOTH
def test_a_change_waits_for_the_product_of_its_other_line(policy: Policy) -> None:
    held = a_year(40)
    held = holding(held, granted(held, policy))
    credit, charge = (_of_the_year("in_u", -20, amount=n, quantity=1) for n in (-1, 1))
    other = replace(charge, product="prod_new", price="price_2")
    item = Item(id="si_sub_1", price="price_2", product="prod_new")

    tokens = _known(held, policy, replace(subscribed(items=[item]), observed_at=day(-5)), credit, other)

    assert tokens == held.tokens


def test_a_change_in_the_second_of_a_part_comes_after_the_part() -> None:
    held = a_year(40)
    held = holding(held, granted(held))
    more = [_of_the_year("in_u", -10, amount=n, quantity=abs(n)) for n in (-1, 5)]
    items = [Item(id="si_sub_1", price="price_1", product="prod_pro", quantity=5)]

    held = replace(holding_lines(held, *more), running=(*held.running, *more), subscriptions=(subscribed(items=items),))
    held = holding(held, granted(held))

    # The year pays for the part of 1,000. The change adds 5,000 and takes 1,000 of its own, for all of the 30 days.
    assert {lot.bill: lot.left for lot in held.lots if lot.left} == {"in_y": 1000, "in_u": 4000}


def test_the_history_holds_the_entries_of_the_last_month() -> None:
    held = then(monthly(400), pack(at=-2))
    held = holding_lines(held, line("il_9", invoice="in_9", period_start=day(20), period_end=day(50)))
    held = holding(held, granted(held, now=day(20)))

    (row,) = granted(holding_lines(held, pack("in_q", at=32)), now=day(32))

    assert row.history is not None
    assert [entry.source for entry in row.history.entries] == ["invoice:in_9:line:il_9", "invoice:in_q:line:il_p"]
    assert {lot.bill: lot.left for lot in row.history.base.lots} == {"in_0": 600, "in_p": 1000}
    assert row.balance_after == 3000


def test_a_ledger_without_a_history_starts_one() -> None:
    held = replace(monthly(400), history=None)

    after = then(held, pack(at=-1))

    assert after.tokens == 1600
    assert {lot.bill: lot.left for lot in after.lots} == {"in_0": 600, "in_p": 1000}


@BOTH
@pytest.mark.parametrize("invoice", ["in_a", "in_z"])
def test_a_change_paid_in_the_same_second_as_its_period_counts_after_it(invoice: str, policy: Policy) -> None:
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


def test_a_part_that_replaces_a_wrong_one_counts_although_a_newer_period_has_begun() -> None:
    month, seats = Item(id="si_sub_1", price="price_1", product="prod_pro", quantity=1), replace(yearly(40), quantity=5)
    held = user(subscribed(items=[replace(month, quantity=5)]), lines=[seats], running=[seats])
    held = holding(held, granted(held))
    held = replace(then(held, pack(at=-5)), subscriptions=(subscribed(items=[month]),))
    fewer = [_of_the_year("in_u", -20, amount=-5, quantity=5), _of_the_year("in_u", -20, amount=1, quantity=1)]
    switch = [
        _of_the_year("in_s", -1, amount=-1, quantity=1),
        line("il_9", invoice="in_s", period_start=day(-1), period_end=day(29), paid_at=day(-1)),
    ]
    spent = replace(held, tokens=held.tokens - 1500)

    for known, lines in ((switch, switch), ([*switch, *fewer], fewer)):
        spent = replace(holding_lines(spent, *lines), running=(seats, *known))
        spent = holding(spent, granted(spent))

    # The part that began ten days ago gave 1,000 tokens, and not 5,000. These and 500 of the pack were spent before the
    # month began.
    assert held.tokens == 6000
    assert {lot.bill: lot.left for lot in spent.lots if lot.left} == {"in_p": 500, "in_s": 1000}


def test_every_wrong_part_is_replaced_even_if_it_is_over() -> None:
    seat = Item(id="si_sub_1", price="price_1", product="prod_pro", quantity=1)
    seats, lasting = replace(yearly(45), quantity=5), Policy(token_ttl=timedelta(days=60))
    held = user(subscribed(items=[replace(seat, quantity=5)]), lines=[seats], running=[seats])
    held = holding(held, granted(held, lasting, day(-14)))
    held = holding_lines(held, pack(at=-14))
    held = holding(held, granted(held, lasting, day(-14)))
    held = replace(held, tokens=held.tokens - 1500)
    held = holding(held, granted(held, lasting, day(16)))
    fewer = [_of_the_year("in_u", -20, amount=n, quantity=abs(n), age=45) for n in (-5, 1)]

    known = replace(holding_lines(held, *fewer), running=(seats, *fewer), subscriptions=(subscribed(items=[seat]),))
    known = holding(known, granted(known, lasting, day(16)))

    # The parts that began on day -15 and day 15 give 1,000 tokens each. The first part and 500 of the pack were spent.
    assert {lot.bill: lot.left for lot in held.lots if lot.left} == {"in_p": 1000, "in_y": 5000}
    assert {lot.bill: lot.left for lot in known.lots if lot.left} == {"in_p": 500, "in_u": 1000}


@pytest.mark.parametrize("other", ["si_0", "si_z"])
def test_spending_counts_after_a_part_of_the_same_second_even_if_the_part_becomes_known_later(other: str) -> None:
    plan, more = yearly(40), replace(yearly(40), line="il_2", item=other, price="price_2")
    items = [
        Item(id=id_, price=price, product="prod_pro") for id_, price in (("si_sub_1", "price_1"), (other, "price_2"))
    ]
    held = user(subscribed(items=items), lines=[plan], running=[plan])
    held = holding(held, granted(held))
    spent = replace(held, tokens=held.tokens - 700)

    known = replace(holding_lines(spent, more), running=(plan, more))
    known = holding(known, granted(known))

    # Ten days ago a part of each item began: 1,000 + 1,000 - 700.
    assert known.tokens == 1300


def _of_the_year(invoice: str, since: int, *, amount: int, quantity: int, age: int = 40) -> PaidLine:
    """A proration of the year that was paid `age` days ago."""
    return line(
        f"il_{amount}", invoice=invoice, period_start=day(since), period_end=day(365 - age), proration=True, amount=amount,
        is_credit=amount < 0 or None, quantity=quantity, full_period=timedelta(days=365),
    )  # fmt: skip
