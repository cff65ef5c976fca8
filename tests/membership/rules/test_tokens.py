"""The tokens that paid lines give: each line counts once, and their order does not matter.

With TOKEN_POLICY `reset` a new period replaces what is left of the one before; with `add` it is added.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.membership.rules.paid_lines import (
    ADD,
    BOTH,
    RESET,
    balance,
    granted,
    holding_lines,
)
from tests.membership.rules.people import NOW, POLICIES, day, holding, line, subscribed, user
from worker.membership.rules.access import Policy
from worker.membership.rules.balance import expire
from worker.membership.rules.tokens import grants, source_key

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


def test_a_grant_names_its_line() -> None:
    paid = line("il_7", invoice="in_7", subscription="sub_7", product="prod_max")

    (grant,) = granted(user(lines=[paid]))

    assert grant.source_key == source_key(paid) == "invoice:in_7:line:il_7"
    assert (grant.invoice, grant.subscription, grant.product) == ("in_7", "sub_7", "prod_max")
    assert grant.period_start == paid.period_start


def test_the_quantity_multiplies_the_allowance() -> None:
    (grant,) = granted(user(lines=[line(quantity=3)]))

    assert grant.amount == 3000


@pytest.mark.parametrize("product", ["prod_unknown", None, "prod_none"])
def test_a_line_waits_until_its_product_gives_tokens(product: str | None) -> None:
    assert granted(user(lines=[line(product=product)])) == []


def test_a_line_gives_tokens_once_its_product_is_known() -> None:
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


def test_a_balance_without_an_expiry_is_kept() -> None:
    (grant,) = granted(user(tokens=700, expires=None, lines=[line()]), ADD)

    assert (grant.balance_before, grant.balance_after) == (700, 1700)


@BOTH
def test_two_lines_of_one_invoice_both_count(policy: Policy) -> None:
    lines = [line("il_1"), line("il_2", product="prod_max", item="si_2")]

    assert balance(user(lines=lines), policy)[0] == 6000


@BOTH
def test_a_second_line_of_a_granted_invoice_is_added(policy: Policy) -> None:
    first = holding(user(lines=[line("il_1")]), granted(user(lines=[line("il_1")]), policy))

    (grant,) = granted(holding_lines(first, line("il_2", product="prod_max", item="si_2")), policy)

    assert (grant.balance_before, grant.balance_after) == (1000, 6000)


def test_each_grant_starts_from_the_balance_after_the_previous_grant() -> None:
    lines = [line("il_1"), line("il_2"), line("il_3", invoice="in_2", period_start=day(-1))]

    made = granted(user(tokens=5, expires=day(1), lines=lines))

    assert [grant.balance_before for grant in made] == [5, *(grant.balance_after for grant in made[:-1])]


def test_under_reset_the_newer_period_counts() -> None:
    lines = [
        line("il_2", invoice="in_2", period_start=day(-1), product="prod_max"),
        line("il_1", invoice="in_1", period_start=day(-20)),
    ]

    assert balance(user(lines=lines))[0] == 5000


# Expiry


def test_an_expired_line_gives_nothing_and_is_recorded() -> None:
    old = line(period_start=day(-90), period_end=day(-60))

    (grant,) = granted(user(tokens=50, expires=day(3), lines=[old]))

    assert (grant.amount, grant.balance_before, grant.balance_after) == (0, 50, 50)
    assert grant.expires_at == day(3)


@pytest.mark.parametrize(
    ("period_end", "paid_at", "amount"),
    [(day(-1), day(-29), 1000), (day(-1), day(-30), 0), (NOW, day(-30), 0), (day(1), day(-30), 1000)],
)
def test_a_line_expires_once_its_period_and_its_time_to_live_are_over(
    period_end: datetime, paid_at: datetime, amount: int
) -> None:
    paid_line = line(period_start=day(-40), period_end=period_end, paid_at=paid_at)

    (grant,) = granted(user(subscribed(), lines=[paid_line]))

    assert grant.amount == amount


@BOTH
def test_tokens_that_would_have_expired_already_change_no_balance(policy: Policy) -> None:
    ended = subscribed("sub_year", "canceled")
    year = line(subscription="sub_year", period_start=day(-60), period_end=day(305))

    (grant,) = granted(user(ended, tokens=400, expires=day(9), lines=[year]), policy)

    assert (grant.amount, grant.balance_after, grant.expires_at) == (0, 400, day(9))


def test_under_reset_a_line_older_than_the_granted_period_gives_nothing() -> None:
    newer = user(lines=[line(invoice="in_2", period_start=day(-5))])
    held = holding(newer, granted(newer))

    (grant,) = granted(holding_lines(held, line(invoice="in_1", period_start=day(-20))))

    assert (grant.amount, grant.balance_after) == (0, 1000)


def test_under_add_an_older_line_still_gives_tokens() -> None:
    newer = user(lines=[line(invoice="in_2", period_start=day(-5))])
    held = holding(newer, granted(newer, ADD))

    (grant,) = granted(holding_lines(held, line(invoice="in_1", period_start=day(-20))), ADD)

    assert (grant.amount, grant.balance_after) == (1000, 2000)


def test_a_newer_period_of_another_subscription_does_not_matter() -> None:
    newer = user(lines=[line(invoice="in_2", subscription="sub_2", period_start=day(-5))])
    held = holding(newer, granted(newer))

    (grant,) = granted(holding_lines(held, line(invoice="in_1", subscription="sub_1", period_start=day(-20))))

    assert grant.amount == 1000


@pytest.mark.parametrize(
    ("why", "status", "period_end", "expires_at"),
    [
        ("a day after the period's end, if that is later", "active", day(50), day(51)),
        ("the time to live, if that is later", "active", day(10), day(25)),
        ("only the time to live, if there is no access", "canceled", day(50), day(25)),
    ],
)
def test_tokens_expire_after_the_payment_or_the_period(
    why: str, status: str, period_end: datetime, expires_at: datetime
) -> None:
    paid = line(period_start=day(-6), period_end=period_end, paid_at=day(-5))

    (grant,) = granted(user(subscribed(status=status), lines=[paid]))

    assert grant.expires_at == expires_at, why


@pytest.mark.parametrize("policy", [RESET, ADD])
def test_tokens_granted_before_their_subscription_was_known_are_extended_to_its_period(policy: Policy) -> None:
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


def test_an_ended_subscription_or_an_expired_balance_is_not_extended() -> None:
    paid = line(period_start=day(-40), period_end=day(50), paid_at=day(-5))
    too_early = user(lines=[paid])
    early = holding(too_early, granted(too_early))

    assert granted(replace(early, subscriptions=(subscribed(status="canceled"),))) == []
    assert [each.kind for each in granted(replace(early, subscriptions=(subscribed(),)), now=day(26))] == ["expiry"]


def test_the_operator_sets_the_time_to_live() -> None:
    (grant,) = granted(user(lines=[line(paid_at=NOW)]), Policy(token_ttl=timedelta(days=3)))

    assert grant.expires_at == day(3)


def test_another_subscription_does_not_keep_tokens_alive() -> None:
    paid = line(subscription="sub_1", paid_at=NOW, period_end=day(300))

    (grant,) = granted(user(subscribed("sub_2"), lines=[paid]))

    assert grant.expires_at == day(30)


@pytest.mark.parametrize(("policy", "expires_at"), [(RESET, day(30)), (ADD, day(80))])
def test_only_under_add_the_latest_expiry_counts(policy: Policy, expires_at: datetime) -> None:
    (grant,) = granted(user(tokens=1, expires=day(80), lines=[line(paid_at=NOW)]), policy)

    assert grant.expires_at == expires_at


def test_an_expired_balance_expires_again_only_if_tokens_were_added() -> None:
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
def test_a_balance_that_has_not_expired_is_kept(tokens: int, expires: datetime | None) -> None:
    assert expire(user(tokens=tokens, expires=expires), NOW) is None


# Several subscriptions


def test_each_of_two_subscriptions_renews_its_own_allowance() -> None:
    held = user(lines=[line(invoice="in_1"), line(invoice="in_2", subscription="sub_2", product="prod_max")])
    both = holding(held, granted(held))

    spent = replace(both, tokens=both.tokens - 400)
    renewed = holding_lines(spent, line(invoice="in_3", period_start=day(-1)))

    assert both.tokens == 6000
    assert balance(renewed)[0] == 6000
    assert balance(holding_lines(spent))[0] == 5600


def test_spending_counts_against_the_allowance_that_expires_first() -> None:
    soon = line(invoice="in_1", paid_at=day(-9))
    late = line(invoice="in_2", subscription="sub_2", product="prod_max", paid_at=day(-1))
    held = user(lines=[soon, late])
    both = holding(held, granted(held))

    spent = replace(both, tokens=both.tokens - 1500)

    assert balance(holding_lines(spent, line(invoice="in_3", period_start=day(-1))))[0] == 5500


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
def test_a_free_line_is_a_trial_or_a_gift(
    why: str, amount: int, trial_end: datetime | None, allowance: int, expected: list[tuple[str, int]]
) -> None:
    made = granted(user(subscribed(trial_end=trial_end), lines=[line(amount=amount)]), Policy(trial_tokens=allowance))

    assert [(grant.kind, grant.amount) for grant in made] == expected, why


def test_a_period_before_a_later_trial_does_not_count_as_a_trial() -> None:
    extended = replace(subscribed(trial_end=day(30)), trial_start=day(-1))

    (grant,) = granted(user(extended, lines=[line(amount=0)]))

    assert (grant.kind, grant.amount) == ("start", 1000)


def test_a_free_line_waits_for_its_subscription() -> None:
    assert granted(user(lines=[line(amount=0)])) == []


@BOTH
def test_usage_gives_nothing(policy: Policy) -> None:
    assert granted(user(lines=[line(usage_type="metered", quantity=900)]), policy) == []


@BOTH
def test_a_line_waits_for_its_price(policy: Policy) -> None:
    assert granted(user(lines=[line(price_type=None, quantity=900)]), policy) == []
