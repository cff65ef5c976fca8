"""Laws of grants for any payments, read in any order."""

from dataclasses import replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from tests.membership.rules.paid_lines import (
    ADD,
    RESET,
    balance,
    billed,
    granted,
    holding_lines,
    pack,
    refund,
)
from tests.membership.rules.people import JAN, NOW, day, holding, line, subscribed, user
from tests.mirror.histories import LAW
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import PaidLine


@st.composite
def paid(draw: st.DrawFn, *, subscriptions: int = 2) -> list[PaidLine]:
    """Lines of several invoices and subscriptions. Each invoice has its own period, and old periods may be over."""
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
def test_lots_always_add_up_to_the_balance(
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
