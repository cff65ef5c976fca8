"""Which tokens the paid lines give: each once, and the same whatever the order in which they are seen."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.states import UserRole
from tests.membership.rules.people import JAN, NOW, POLICIES, day, holding, line, subscribed, user
from tests.mirror.histories import LAW
from worker.membership.rules.access import Policy
from worker.membership.rules.balance import Grant, expire
from worker.membership.rules.facts import Bill, Item, MoneyBack, Override, PaidLine, Product, Restored, User
from worker.membership.rules.next_change import next_look
from worker.membership.rules.tokens import grants, source_key

RESET = Policy()
ADD = Policy(tokens_reset=False)
BOTH = pytest.mark.parametrize("policy", [RESET, ADD], ids=["reset", "add"])


def granted(of: User, policy: Policy = RESET, now: datetime = NOW) -> list[Grant]:
    return grants(of, POLICIES, policy, now)


def balance(of: User, policy: Policy = RESET) -> tuple[int, datetime | None]:
    after = holding(of, granted(of, policy))
    return after.tokens, after.tokens_expires_at


def holding_lines(of: User, *lines: PaidLine) -> User:
    """The same user, with these lines paid and not in the ledger yet."""
    return replace(of, paid_lines=lines)


# The tokens of a line


@BOTH
def test_a_period_gives_the_products_allowance(policy: Policy) -> None:
    (grant,) = granted(user(lines=[line()]), policy)

    assert (grant.kind, grant.amount, grant.balance_before, grant.balance_after) == ("start", 1000, 0, 1000)


def test_a_later_period_of_the_same_item_is_a_renewal() -> None:
    first = user(lines=[line()])
    held = holding(first, granted(first))

    (grant,) = granted(holding_lines(held, line(invoice="in_2", period_start=day(-1))))

    assert (grant.kind, grant.owner) == ("renewal", "si_sub_1")


def test_a_grant_names_the_line_it_comes_from() -> None:
    paid = line("il_7", invoice="in_7", subscription="sub_7", product="prod_max")

    (grant,) = granted(user(lines=[paid]))

    assert grant.source_key == source_key(paid) == "invoice:in_7:line:il_7"
    assert (grant.invoice, grant.subscription, grant.product) == ("in_7", "sub_7", "prod_max")
    assert grant.period_start == paid.period_start


def test_the_quantity_multiplies_the_allowance() -> None:
    (grant,) = granted(user(lines=[line(quantity=3)]))

    assert grant.amount == 3000


@pytest.mark.parametrize("product", ["prod_unknown", None, "prod_none"])
def test_a_line_waits_for_a_product_that_gives_tokens(product: str | None) -> None:
    assert granted(user(lines=[line(product=product)])) == []


def test_a_line_whose_product_came_late_gives_then() -> None:
    waiting = user(lines=[line(product="prod_unknown")])

    (grant,) = grants(waiting, {"prod_unknown": POLICIES["prod_pro"]}, RESET, NOW)

    assert grant.amount == 1000


# The balance


def test_a_reset_replaces_what_is_left() -> None:
    assert balance(user(tokens=700, expires=day(5), lines=[line()]))[0] == 1000


def test_an_addition_keeps_what_is_left() -> None:
    assert balance(user(tokens=700, expires=day(5), lines=[line()]), ADD)[0] == 1700


@BOTH
def test_an_expired_balance_counts_as_nothing(policy: Policy) -> None:
    ended, grant = granted(user(tokens=700, expires=NOW, lines=[line()]), policy)

    assert (ended.kind, ended.amount, ended.balance_before, ended.balance_after) == ("expiry", -700, 700, 0)
    assert (grant.balance_before, grant.balance_after) == (0, 1000)


def test_a_balance_that_never_expires_is_left_over() -> None:
    (grant,) = granted(user(tokens=700, expires=None, lines=[line()]), ADD)

    assert (grant.balance_before, grant.balance_after) == (700, 1700)


@BOTH
def test_two_lines_of_one_invoice_both_count(policy: Policy) -> None:
    lines = [line("il_1"), line("il_2", product="prod_max", item="si_2")]

    assert balance(user(lines=lines), policy)[0] == 6000


@BOTH
def test_a_line_of_an_invoice_that_granted_already_is_added(policy: Policy) -> None:
    first = holding(user(lines=[line("il_1")]), granted(user(lines=[line("il_1")]), policy))

    (grant,) = granted(holding_lines(first, line("il_2", product="prod_max", item="si_2")), policy)

    assert (grant.balance_before, grant.balance_after) == (1000, 6000)


def test_each_grant_begins_with_what_the_one_before_it_left() -> None:
    lines = [line("il_1"), line("il_2"), line("il_3", invoice="in_2", period_start=day(-1))]

    made = granted(user(tokens=5, expires=day(1), lines=lines))

    assert [grant.balance_before for grant in made] == [5, *(grant.balance_after for grant in made[:-1])]


def test_the_newer_period_is_the_one_that_counts_under_reset() -> None:
    lines = [
        line("il_2", invoice="in_2", period_start=day(-1), product="prod_max"),
        line("il_1", invoice="in_1", period_start=day(-20)),
    ]

    assert balance(user(lines=lines))[0] == 5000


# Expiry


def test_a_line_that_is_over_gives_nothing_and_is_remembered() -> None:
    old = line(period_start=day(-90), period_end=day(-60))

    (grant,) = granted(user(tokens=50, expires=day(3), lines=[old]))

    assert (grant.amount, grant.balance_before, grant.balance_after) == (0, 50, 50)
    assert grant.expires_at == day(3)


@pytest.mark.parametrize(
    ("period_end", "paid_at", "amount"),
    [(day(-1), day(-29), 1000), (day(-1), day(-30), 0), (NOW, day(-30), 0), (day(1), day(-30), 1000)],
)
def test_a_line_is_over_once_its_period_and_its_time_to_live_are(
    period_end: datetime, paid_at: datetime, amount: int
) -> None:
    paid_line = line(period_start=day(-40), period_end=period_end, paid_at=paid_at)

    (grant,) = granted(user(subscribed(), lines=[paid_line]))

    assert grant.amount == amount


@BOTH
def test_tokens_that_would_have_expired_already_touch_no_balance(policy: Policy) -> None:
    ended = subscribed("sub_year", "canceled")
    year = line(subscription="sub_year", period_start=day(-60), period_end=day(305))

    (grant,) = granted(user(ended, tokens=400, expires=day(9), lines=[year]), policy)

    assert (grant.amount, grant.balance_after, grant.expires_at) == (0, 400, day(9))


def test_a_line_that_is_overtaken_gives_nothing_under_reset() -> None:
    newer = user(lines=[line(invoice="in_2", period_start=day(-5))])
    held = holding(newer, granted(newer))

    (grant,) = granted(holding_lines(held, line(invoice="in_1", period_start=day(-20))))

    assert (grant.amount, grant.balance_after) == (0, 1000)


def test_nothing_is_overtaken_where_balances_add_up() -> None:
    newer = user(lines=[line(invoice="in_2", period_start=day(-5))])
    held = holding(newer, granted(newer, ADD))

    (grant,) = granted(holding_lines(held, line(invoice="in_1", period_start=day(-20))), ADD)

    assert (grant.amount, grant.balance_after) == (1000, 2000)


def test_a_subscription_is_overtaken_by_itself_alone() -> None:
    newer = user(lines=[line(invoice="in_2", subscription="sub_2", period_start=day(-5))])
    held = holding(newer, granted(newer))

    (grant,) = granted(holding_lines(held, line(invoice="in_1", subscription="sub_1", period_start=day(-20))))

    assert grant.amount == 1000


# Expiry


@pytest.mark.parametrize(
    ("why", "status", "period_end", "expires_at"),
    [
        ("the period's end and a day, where that is later", "active", day(50), day(51)),
        ("the time to live, where that is later", "active", day(10), day(25)),
        ("the time to live alone, once nothing entitles", "canceled", day(50), day(25)),
    ],
)
def test_tokens_live_from_the_payment_on(why: str, status: str, period_end: datetime, expires_at: datetime) -> None:
    paid = line(period_start=day(-6), period_end=period_end, paid_at=day(-5))

    (grant,) = granted(user(subscribed(status=status), lines=[paid]))

    assert grant.expires_at == expires_at, why


@pytest.mark.parametrize("policy", [RESET, ADD])
def test_tokens_granted_before_their_subscription_was_known_last_as_long_as_others(policy: Policy) -> None:
    paid = line(period_start=day(-6), period_end=day(50), paid_at=day(-5))
    too_early = user(lines=[paid])
    early = holding(too_early, granted(too_early, policy))
    known = replace(early, subscriptions=(subscribed(),))

    (extension,) = granted(known, policy)
    after = holding(known, [extension])

    assert early.tokens_expires_at == day(25)
    assert (extension.kind, extension.amount, extension.balance_after) == ("extension", 0, 1000)
    assert extension.source_key == "extension:invoice:in_1:line:il_1"
    assert (after.tokens, after.tokens_expires_at) == (1000, day(51))
    assert granted(after, policy) == []


def test_a_subscription_that_does_not_entitle_or_is_over_extends_nothing() -> None:
    paid = line(period_start=day(-40), period_end=day(50), paid_at=day(-5))
    too_early = user(lines=[paid])
    early = holding(too_early, granted(too_early))

    assert granted(replace(early, subscriptions=(subscribed(status="canceled"),))) == []
    assert [each.kind for each in granted(replace(early, subscriptions=(subscribed(),)), now=day(26))] == ["expiry"]


def test_the_time_to_live_is_the_operators() -> None:
    (grant,) = granted(user(lines=[line(paid_at=NOW)]), Policy(token_ttl=timedelta(days=3)))

    assert grant.expires_at == day(3)


def test_another_subscription_does_not_keep_tokens_alive() -> None:
    paid = line(subscription="sub_1", paid_at=NOW, period_end=day(300))

    (grant,) = granted(user(subscribed("sub_2"), lines=[paid]))

    assert grant.expires_at == day(30)


@pytest.mark.parametrize(("policy", "expires_at"), [(RESET, day(30)), (ADD, day(80))])
def test_the_latest_expiry_holds_only_where_balances_add_up(policy: Policy, expires_at: datetime) -> None:
    (grant,) = granted(user(tokens=1, expires=day(80), lines=[line(paid_at=NOW)]), policy)

    assert grant.expires_at == expires_at


def test_a_balance_ends_once_and_again_where_somebody_added_to_it() -> None:
    held = user(tokens=700, expires=day(-1))
    ended = expire(held, NOW)
    assert ended is not None
    key = f"expiry:user_1:{int(day(-1).timestamp())}"

    after = holding(held, [ended])
    again = expire(replace(after, tokens=5), NOW)

    assert (ended.source_key, ended.expires_at) == (key, day(-1))
    assert expire(after, NOW) is None
    assert again is not None
    assert again.source_key == f"{key}#2"


@pytest.mark.parametrize(("tokens", "expires"), [(0, day(-1)), (7, day(1)), (7, None)])
def test_a_balance_that_is_not_over_does_not_end(tokens: int, expires: datetime | None) -> None:
    assert expire(user(tokens=tokens, expires=expires), NOW) is None


# Several subscriptions


def test_two_subscriptions_have_an_allowance_each_and_renew_their_own() -> None:
    held = user(lines=[line(invoice="in_1"), line(invoice="in_2", subscription="sub_2", product="prod_max")])
    both = holding(held, granted(held))

    spent = replace(both, tokens=both.tokens - 400)
    renewed = holding_lines(spent, line(invoice="in_3", period_start=day(-1)))

    assert both.tokens == 6000
    assert balance(renewed)[0] == 6000
    assert balance(holding_lines(spent))[0] == 5600


def test_spending_counts_against_the_allowance_that_lapses_first() -> None:
    soon = line(invoice="in_1", paid_at=day(-9))
    late = line(invoice="in_2", subscription="sub_2", product="prod_max", paid_at=day(-1))
    held = user(lines=[soon, late])
    both = holding(held, granted(held))

    spent = replace(both, tokens=both.tokens - 1500)

    assert balance(holding_lines(spent, line(invoice="in_3", period_start=day(-1))))[0] == 5500


# Renewals of what was paid for longer than a month


def yearly(age: int, **more: Any) -> PaidLine:
    """A year that was paid so many days ago."""
    facts: dict[str, Any] = {"full_period": timedelta(days=365)} | more
    return line(invoice="in_y", period_start=day(-age), period_end=day(365 - age), **facts)


def a_year(age: int, *, status: str = "active", **more: Any) -> User:
    paid = yearly(age, **more)
    return user(subscribed(status=status), lines=[paid], running=[paid])


@pytest.mark.parametrize(("age", "numbers"), [(29, []), (30, [1]), (59, [1]), (60, [2]), (359, [11]), (364, [12])])
def test_a_year_is_renewed_every_thirty_days_from_its_start(age: int, numbers: list[int]) -> None:
    first, *renewals = granted(a_year(age))

    start = int(day(-age).timestamp())
    assert first.source_key == "invoice:in_y:line:il_1"
    assert [made.source_key for made in renewals] == [f"part:si_sub_1:{start}:{number}" for number in numbers]
    assert all(made.balance_after == 1000 for made in renewals)


def test_all_missed_renewals_count_where_balances_add_up() -> None:
    made = granted(a_year(95), ADD)

    assert [grant.balance_after for grant in made] == [1000, 2000, 3000, 4000]


def test_a_renewal_happens_once() -> None:
    held = a_year(65)
    after = holding(held, granted(held))

    assert granted(after) == []
    assert [made.amount for made in granted(after, now=day(24))] == []
    assert [made.balance_before for made in granted(replace(after, tokens=1), now=day(25))] == [1]


@pytest.mark.parametrize("status", ["canceled", "unpaid", "paused"])
def test_a_status_that_does_not_entitle_renews_nothing(status: str) -> None:
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
def test_an_item_that_changed_ends_its_parts(why: str, item: Item) -> None:
    paid = yearly(31)

    made = granted(user(subscribed(items=[item]), lines=[paid], running=[paid]))

    assert [grant.amount for grant in made] == [1000], why


@pytest.mark.parametrize(("age", "due"), [(10, 20), (30, 30), (65, 25), (361, None)])
def test_the_next_renewal_is_known_ahead(age: int, due: int | None) -> None:
    assert next_look(a_year(age), POLICIES, RESET, NOW) == (None if due is None else day(due))


def test_an_override_and_a_grace_end_by_themselves() -> None:
    late = subscribed(status="past_due", period_start=day(-2))
    comped = Override(role=UserRole.PREMIUM, until=day(9))

    assert next_look(user(override=comped), POLICIES, RESET, NOW) == day(9)
    assert next_look(user(late, override=comped), POLICIES, Policy(past_due_grace=timedelta(days=5)), NOW) == day(3)
    assert next_look(user(late), POLICIES, RESET, NOW) is None


# Trials, coupons, usage


@pytest.mark.parametrize(
    ("why", "amount", "trial_end", "allowance", "expected"),
    [
        ("a trial without an allowance", 0, day(20), 0, []),
        ("a trial", 0, day(20), 50, [("trial", 50)]),
        ("a trial that was cut short", 0, day(-9), 50, [("trial", 50)]),
        ("a coupon of 100 %: the amount is before discounts", 2000, None, 50, [("start", 1000)]),
        ("a price of nothing", 0, None, 50, [("start", 1000)]),
        ("a first period after a trial that ended", 0, day(-10), 50, [("start", 1000)]),
    ],
)
def test_a_line_that_costs_nothing_is_a_trial_or_a_gift(
    why: str, amount: int, trial_end: datetime | None, allowance: int, expected: list[tuple[str, int]]
) -> None:
    made = granted(user(subscribed(trial_end=trial_end), lines=[line(amount=amount)]), Policy(trial_tokens=allowance))

    assert [(grant.kind, grant.amount) for grant in made] == expected, why


def test_a_period_before_a_later_trial_is_no_trial() -> None:
    extended = replace(subscribed(trial_end=day(30)), trial_start=day(-1))

    (grant,) = granted(user(extended, lines=[line(amount=0)]))

    assert (grant.kind, grant.amount) == ("start", 1000)


def test_a_line_that_costs_nothing_waits_for_its_subscription() -> None:
    assert granted(user(lines=[line(amount=0)])) == []


@BOTH
def test_usage_gives_nothing(policy: Policy) -> None:
    assert granted(user(lines=[line(usage_type="metered", quantity=900)]), policy) == []


@BOTH
def test_a_line_waits_for_its_price(policy: Policy) -> None:
    assert granted(user(lines=[line(price_type=None, quantity=900)]), policy) == []


# Changes in mid-period


def change(id: str, product: str, amount: int, *, days: int = 15, **more: Any) -> PaidLine:
    """A proration of so many days of the 30 that end on day 20."""
    return line(
        id, invoice="in_u", product=product, proration=True, amount=amount, is_credit=amount < 0 or None,
        period_start=day(20 - days), period_end=day(20), paid_at=NOW, **more,
    )  # fmt: skip


UPGRADE = [change("il_1", "prod_pro", -1000), change("il_2", "prod_max", 5000)]


def monthly(spent: int = 0, policy: Policy = RESET) -> User:
    """A user in the middle of a month of 1,000 tokens that was paid on its first day."""
    held = user(subscribed(), lines=[line("il_0", invoice="in_0")])
    held = holding(held, granted(held, policy))
    return replace(held, tokens=held.tokens - spent)


@pytest.mark.parametrize(
    ("policy", "spent", "left"), [(RESET, 0, 3000), (RESET, 900, 2100), (ADD, 0, 3000), (ADD, 900, 2100)]
)
def test_an_upgrade_counts_for_its_part_with_its_sign(policy: Policy, spent: int, left: int) -> None:
    made = granted(holding_lines(monthly(spent, policy), *UPGRADE), policy)

    assert [(grant.source_key[-4:], grant.amount) for grant in made] == [("il_2", 2500), ("il_1", -500)]
    assert made[-1].balance_after == left


@BOTH
def test_an_upgrade_seen_before_the_period_it_changes_waits_for_it(policy: Policy) -> None:
    early = user(subscribed(), lines=UPGRADE)

    assert granted(early, policy) == []
    assert balance(holding_lines(early, line("il_0", invoice="in_0"), *UPGRADE), policy)[0] == 3000


def test_under_reset_a_change_that_comes_after_the_next_period_does_nothing() -> None:
    renewed = holding_lines(monthly(), line("il_3", invoice="in_3", period_start=day(20), period_end=day(50)))
    renewed = holding(renewed, granted(renewed, now=day(20)))

    made = granted(holding_lines(renewed, *UPGRADE), now=day(21))

    assert [grant.amount for grant in made] == [0, 0]


def test_under_add_a_change_that_comes_after_the_next_period_counts() -> None:
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


def test_a_switch_of_interval_resets_to_the_new_allowance() -> None:
    credit = change("il_1", "prod_pro", -1000, days=20)
    year = line("il_2", invoice="in_u", period_start=NOW, period_end=day(365), full_period=timedelta(days=365))

    assert balance(holding_lines(monthly(300), credit, year))[0] == 1000


@BOTH
def test_the_first_line_of_a_later_anchor_gives_its_share(policy: Policy) -> None:
    begun = subscribed(created=day(0), period_start=day(0), period_end=day(20))
    stub = change("il_1", "prod_pro", 1333, days=20)

    (grant,) = granted(user(begun, lines=[stub]), policy)

    assert (grant.kind, grant.amount, grant.balance_after) == ("stub", 666, 666)


def test_a_change_within_a_year_counts_for_the_rest_of_its_part() -> None:
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

    # Day 40 is the tenth of the part's 30 days: 20 are left.
    assert [grant.amount for grant in made] == [3333, -666]
    assert [(grant.kind, grant.amount, grant.balance_after) for grant in later] == [("token_period", 5000, 5000)]


# Packs


def pack(invoice: str = "in_p", *, at: int = -1, **more: Any) -> PaidLine:
    when = day(at)
    facts = {"price_type": "one_time", "subscription": None} | more
    return line("il_p", invoice=invoice, period_start=when, period_end=when, **facts)


@BOTH
@pytest.mark.parametrize("bought", [pack(), pack(subscription="sub_1"), pack(at=-29)])
def test_a_pack_is_added(policy: Policy, bought: PaidLine) -> None:
    (grant,) = granted(user(tokens=300, expires=day(9), lines=[bought]), policy)

    assert (grant.kind, grant.amount, grant.balance_after) == ("pack", 1000, 1300)


def test_a_session_of_packs_is_keyed_by_itself_and_says_what_it_sold() -> None:
    sold = replace(pack("cs_1", price_type=None), is_checkout=True, line="", product=None, tokens=77)

    (grant,) = granted(user(lines=[sold]))

    assert (grant.source_key, grant.kind, grant.amount) == ("cs:cs_1", "pack", 77)


@pytest.mark.parametrize("paid", [pack(price_type=None), pack(price=None, price_type=None), pack(product=None)])
def test_an_amount_without_a_known_price_or_product_gives_nothing(paid: PaidLine) -> None:
    assert granted(user(lines=[paid])) == []


def test_a_pack_whose_time_is_over_gives_nothing_and_is_remembered() -> None:
    assert [(grant.kind, grant.amount) for grant in granted(user(lines=[pack(at=-30)]))] == [("pack", 0)]


@pytest.mark.parametrize(("spent", "left"), [(0, 2000), (600, 2000), (1000, 2000), (1400, 1600), (2000, 1000)])
def test_packs_survive_a_reset_and_the_allowance_is_spent_first(spent: int, left: int) -> None:
    held = paid_up(0, pack())
    held = replace(held, tokens=held.tokens - spent)

    renewed = holding_lines(held, line("il_2", invoice="in_2", period_start=day(-1)))

    assert balance(renewed)[0] == left


def test_a_pack_whose_time_is_over_does_not_survive_a_reset() -> None:
    held = paid_up(0, pack(at=-20))

    renewed = holding_lines(held, line("il_2", invoice="in_2", period_start=day(11), period_end=day(41)))
    last = granted(renewed, now=day(12))[-1]

    assert last.balance_after == 1000


def test_a_sum_that_javascript_cannot_hold_is_capped() -> None:
    huge = user(lines=[line(quantity=10**18), line("il_2", invoice="in_2", item="si_2", quantity=10**18)])

    assert balance(huge, ADD)[0] == 2**53 - 1
    assert balance(user(lines=[line(quantity=-5)]))[0] == 0


# Money back


def refund(amount: int = 2000, *, id: str = "re_1", kind: str = "refund") -> MoneyBack:
    return MoneyBack(source_key=f"{kind}:{id}", kind=kind, amount=amount)


def billed(of: User, *sources: MoneyBack, bill: str = "in_1", accounted: int = 0) -> User:
    """The user, with this money of a bill of 2,000 that went back."""
    returned = accounted + sum(source.amount for source in sources)
    return replace(of, bills=(Bill(id=bill, total=2000, returned=returned, accounted=accounted, sources=sources),))


def failed(row: Grant) -> Restored:
    key = row.source_key.replace("refund:", "refund_failed:")
    return Restored(source_key=key, kind="refund_failed", bill=row.invoice or "", money=row.money)


def paid_up(spent: int = 0, *more: PaidLine) -> User:
    held = user(subscribed(), lines=[line(), *more])
    held = holding(held, granted(held))
    return replace(held, tokens=held.tokens - spent)


@pytest.mark.parametrize(
    ("amount", "spent", "worth", "left"),
    [(2000, 0, -1000, 0), (500, 0, -250, 750), (999, 0, -499, 501), (2000, 800, -1000, 0), (500, 800, -250, 0),
     (9000, 0, -1000, 0), (1, 0, 0, 1000)],
)  # fmt: skip
def test_a_refund_takes_its_part_of_the_grant_and_no_more_than_there_is(
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


def test_money_that_another_object_told_of_takes_nothing_again() -> None:
    held = billed(paid_up(), refund(500, id="ch_1:500", kind="charge"))
    held = holding(held, granted(held))
    again = Bill(id="in_1", total=2000, returned=500, accounted=500, sources=(refund(500),))

    (row,) = granted(replace(held, bills=(again,)))

    assert (row.source_key, row.amount, row.balance_after) == ("refund:re_1", 0, 750)


def test_a_refund_before_its_invoice_waits_for_it() -> None:
    assert granted(billed(user(subscribed()), refund())) == []
    assert [row.balance_after for row in granted(billed(user(subscribed(), lines=[line()]), refund()))] == [1000, 0]


def test_a_refund_waits_until_all_of_its_invoice_is_granted() -> None:
    held = billed(user(subscribed(), lines=[line(), line("il_2", product="prod_late", item="si_2")]), refund())

    late = grants(held, {**POLICIES, "prod_late": Product(id="prod_late", tokens=10)}, RESET, NOW)

    assert [row.kind for row in granted(held)] == ["start"]
    assert [row.amount for row in late] == [1000, 10, -1010]


@pytest.mark.parametrize("refunded_first", [True, False])
def test_a_refund_of_a_period_that_was_renewed_since_takes_nothing(refunded_first: bool) -> None:
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
def test_a_refund_that_failed_gives_back_exactly_what_it_took(
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


def test_a_refund_that_replaces_a_failed_one_is_taken_in_full() -> None:
    held = billed(paid_up(), refund(500))
    (row,) = granted(held)
    held = holding(held, [row])
    bill = Bill(id="in_1", total=2000, returned=500, accounted=500, sources=(refund(500, id="re_2"),))

    made = granted(replace(held, bills=(bill,), restored=(failed(row),)))

    assert [(grant.kind, grant.balance_after) for grant in made] == [("refund_failed", 1000), ("refund", 750)]


@pytest.mark.parametrize(("policy", "back_again"), [(RESET, 0), (ADD, 250)])
def test_a_failed_refund_gives_back_what_the_renewal_has_not_replaced(policy: Policy, back_again: int) -> None:
    held = billed(paid_up(), refund(500))
    (row,) = granted(held, policy)
    held = holding_lines(replace(holding(held, [row]), bills=()), line("il_2", invoice="in_2", period_start=day(-1)))
    renewed = holding(held, granted(held, policy))

    (back,) = granted(replace(renewed, restored=(failed(row),)), policy)

    assert back.balance_after - back.balance_before == back_again


@BOTH
@pytest.mark.parametrize(("returned", "part"), [(1000, 500), (2000, 0)])
def test_later_parts_of_a_refunded_year_are_smaller(policy: Policy, returned: int, part: int) -> None:
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


def test_a_part_that_a_failed_refund_made_smaller_is_whole_again() -> None:
    held = a_year(10)
    held = holding(held, granted(held))
    (row,) = granted(billed(held, refund(1000), bill="in_y"))
    after = billed(holding(held, [row]), bill="in_y", accounted=1000)
    after = holding(after, granted(after, now=day(21)))

    (back,) = granted(replace(after, restored=(failed(row),)), now=day(22))

    assert (back.kind, back.amount, back.balance_after) == ("refund_failed", 500, 1000)


def test_a_refund_takes_each_grant_s_own_share() -> None:
    both = user(subscribed(), lines=[line(), line("il_2", item="si_2", product="prod_max")])
    held = holding(both, granted(both))

    taken = holding(held, granted(billed(held, refund(1000))))
    renewed = granted(holding_lines(taken, line("il_3", invoice="in_2", period_start=day(0))))

    assert {lot.owner: lot.left for lot in taken.lots} == {"si_sub_1": 500, "si_2": 2500}
    assert renewed[-1].balance_after == 1000 + 2500


def test_a_share_that_was_spent_is_taken_from_the_others() -> None:
    both = user(subscribed(), lines=[line(), line("il_2", item="si_2", product="prod_max")])
    held = holding(both, granted(both))
    spent = replace(held, tokens=held.tokens - 1000)

    (row,) = granted(billed(spent, refund(1000)))

    assert (row.amount, row.balance_before, row.balance_after) == (-3000, 5000, 2000)
    assert sum(lot.left for lot in row.lots) == 2000


@pytest.mark.parametrize(("policy", "left"), [(RESET, 0), (ADD, 1000)])
def test_a_period_of_no_seats_ends_the_allowance_before_it(policy: Policy, left: int) -> None:
    held = paid_up()

    emptied = holding_lines(held, line("il_2", invoice="in_2", period_start=day(0), quantity=0))

    assert balance(emptied, policy)[0] == left
    assert balance(user(subscribed(), lines=[*emptied.paid_lines, line()]), policy)[0] == left


# Laws


@st.composite
def paid(draw: st.DrawFn, *, subscriptions: int = 2) -> list[PaidLine]:
    """Lines of some invoices of some subscriptions; each invoice has its own period, the older ones may be over."""
    lines: list[PaidLine] = []
    starts = draw(st.lists(st.integers(-120, 0), max_size=4, unique=True))
    for number, start in enumerate(starts):
        subscription = f"sub_{draw(st.integers(1, subscriptions))}"
        for part in range(draw(st.integers(1, 2))):
            lines.append(
                line(
                    f"il_{number}_{part}",
                    invoice=f"in_{number}",
                    subscription=subscription,
                    product=draw(st.sampled_from(["prod_pro", "prod_max", "prod_none", "prod_unknown"])),
                    item=f"si_{subscription}_{part}",
                    quantity=draw(st.integers(1, 3)),
                    proration=draw(st.booleans()),
                    period_start=day(start),
                    period_end=day(start + 30),
                )
            )
    return lines + [pack(f"in_p{n}", at=-n) for n in draw(st.lists(st.integers(0, 40), max_size=2, unique=True))]


@LAW
@given(paid(), st.sampled_from([RESET, ADD]), st.data())
def test_the_order_in_which_lines_are_read_does_not_matter(
    lines: list[PaidLine], policy: Policy, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(lines))

    assert granted(user(lines=shuffled), policy) == granted(user(lines=lines), policy)


@LAW
@given(paid(), st.sampled_from([RESET, ADD]))
def test_a_line_in_the_ledger_is_not_granted_again(lines: list[PaidLine], policy: Policy) -> None:
    first = user(subscribed(), lines=lines)

    held = holding(first, granted(first, policy))

    assert granted(held, policy) == []


@LAW
@given(paid(), st.data())
def test_invoices_seen_one_by_one_in_any_order_end_in_the_same_balance(
    lines: list[PaidLine], data: st.DataObject
) -> None:
    subscriptions = (subscribed("sub_1"), subscribed("sub_2"))
    held = user(*subscriptions)

    for each in data.draw(st.permutations(lines)):
        held = holding_lines(held, *held.paid_lines, each)
        held = holding(held, granted(held))

    assert (held.tokens, held.tokens_expires_at) == balance(user(*subscriptions, lines=lines))


@LAW
@given(paid(), st.sampled_from([RESET, ADD]), st.integers(0, 5000), st.lists(st.integers(1, 2000), max_size=3))
def test_the_lots_always_say_what_the_ledger_says(
    lines: list[PaidLine], policy: Policy, spent: int, amounts: list[int]
) -> None:
    held = holding(user(lines=lines), granted(user(lines=lines), policy))
    held = replace(held, tokens=max(held.tokens - spent, 0))
    held = billed(held, *(refund(amount, id=f"re_{n}") for n, amount in enumerate(amounts)), bill="in_0")

    for row in granted(held, policy):
        assert sum(lot.left for lot in row.lots) == row.balance_after >= 0
        assert all(0 <= lot.taken_back <= lot.granted and lot.left >= 0 for lot in row.lots)


@LAW
@given(paid())
def test_a_ledger_that_adds_up_gives_the_balance(lines: list[PaidLine]) -> None:
    made = granted(user(lines=lines), ADD)

    assert balance(user(lines=lines), ADD)[0] == sum(grant.amount for grant in made)


@LAW
@given(paid(), st.integers(0, 10_000), st.sampled_from([None, JAN, day(4)]), st.sampled_from([RESET, ADD]))
def test_no_grant_takes_a_balance_below_zero_or_lets_it_expire_sooner_than_now(
    lines: list[PaidLine], tokens: int, expires: datetime | None, policy: Policy
) -> None:
    for grant in granted(user(tokens=tokens, expires=expires, lines=lines), policy):
        assert grant.balance_after >= 0
        if grant.kind in ("expiry", "ended"):
            assert grant.amount <= 0
            continue
        assert grant.amount >= 0
        assert grant.amount == 0 or (grant.expires_at is not None and grant.expires_at > NOW)
