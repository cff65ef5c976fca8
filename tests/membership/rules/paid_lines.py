"""Users and paid lines shared by the tests of tokens."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.membership.rules.people import NOW, POLICIES, day, holding, line, subscribed, user
from worker.membership.rules.access import Policy
from worker.membership.rules.balance import Grant
from worker.membership.rules.facts import Bill, MoneyBack, PaidLine, User
from worker.membership.rules.tokens import grants

RESET = Policy()
ADD = Policy(tokens_reset=False)
BOTH = pytest.mark.parametrize("policy", [RESET, ADD], ids=["reset", "add"])


def granted(of: User, policy: Policy = RESET, now: datetime = NOW) -> list[Grant]:
    return grants(of, POLICIES, policy, now)


def balance(of: User, policy: Policy = RESET) -> tuple[int, datetime | None]:
    after = holding(of, granted(of, policy))
    return after.tokens, after.tokens_expires_at


def holding_lines(of: User, *lines: PaidLine) -> User:
    """The same user with these lines paid but not in the ledger yet."""
    return replace(of, paid_lines=lines)


def yearly(age: int, **more: Any) -> PaidLine:
    """A yearly line paid `age` days ago."""
    facts: dict[str, Any] = {"full_period": timedelta(days=365)} | more
    return line(invoice="in_y", period_start=day(-age), period_end=day(365 - age), **facts)


def a_year(age: int, *, status: str = "active", **more: Any) -> User:
    paid = yearly(age, **more)
    return user(subscribed(status=status), lines=[paid], running=[paid])


def change(id: str, product: str, amount: int, *, days: int = 15, **more: Any) -> PaidLine:
    """A proration for the last `days` days of a 30-day period that ends on day 20."""
    return line(
        id, invoice="in_u", product=product, proration=True, amount=amount, is_credit=amount < 0 or None,
        period_start=day(20 - days), period_end=day(20), paid_at=NOW, **more,
    )  # fmt: skip


UPGRADE = [change("il_1", "prod_pro", -1000), change("il_2", "prod_max", 5000)]


def monthly(spent: int = 0, policy: Policy = RESET) -> User:
    """A user in the middle of a month that gave 1,000 tokens and was paid on its first day."""
    held = user(subscribed(), lines=[line("il_0", invoice="in_0")])
    held = holding(held, granted(held, policy))
    return replace(held, tokens=held.tokens - spent)


def pack(invoice: str = "in_p", *, at: int = -1, **more: Any) -> PaidLine:
    when = day(at)
    facts = {"price_type": "one_time", "subscription": None} | more
    return line("il_p", invoice=invoice, period_start=when, period_end=when, **facts)


def refund(amount: int = 2000, *, id: str = "re_1", kind: str = "refund") -> MoneyBack:
    return MoneyBack(source_key=f"{kind}:{id}", kind=kind, amount=amount)


def billed(of: User, *sources: MoneyBack, bill: str = "in_1", accounted: int = 0) -> User:
    """The user with these refunds of a bill of 2,000."""
    returned = accounted + sum(source.amount for source in sources)
    return replace(of, bills=(Bill(id=bill, total=2000, returned=returned, accounted=accounted, sources=sources),))


def paid_up(spent: int = 0, *more: PaidLine) -> User:
    held = user(subscribed(), lines=[line(), *more])
    held = holding(held, granted(held))
    return replace(held, tokens=held.tokens - spent)
