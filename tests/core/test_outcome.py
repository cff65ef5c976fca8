"""What is written of one user: what differs, and the second time nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.membership import MembershipStatus, UserRole
from tests.core.histories import LAW
from tests.core.people import NOW, POLICIES, day, holding, line, subscribed, user, with_access
from worker.core.membership import outcome
from worker.core.membership.access import KNOWN_STATUSES, Policy
from worker.core.membership.facts import Override, PaidLine, Subscription, User

POLICY = Policy()

_subscriptions = st.builds(
    subscribed,
    st.sampled_from(["sub_1", "sub_2", "sub_3"]),
    st.sampled_from([*sorted(KNOWN_STATUSES), "hibernating"]),
    product=st.sampled_from([*POLICIES, None, "prod_unknown"]),
)
_lines = st.builds(
    line,
    st.sampled_from(["il_1", "il_2", "il_3"]),
    invoice=st.sampled_from(["in_1", "in_2"]),
    billing_reason=st.sampled_from(["subscription_create", "subscription_cycle", "subscription_update", "manual"]),
    product=st.sampled_from([*POLICIES, "prod_unknown"]),
    subscription=st.sampled_from(["sub_1", "sub_2"]),
    proration=st.booleans(),
    period_start=st.sampled_from([day(-40), day(-10), day(-1)]),
    price_type=st.sampled_from(["recurring", "one_time"]),
    full_period=st.sampled_from([None, timedelta(days=30)]),
    amount=st.sampled_from([-500, 500]),
)


def _unlike(found: list[Subscription]) -> tuple[Subscription, ...]:
    return tuple({each.id: each for each in found}.values())


def _once(found: list[PaidLine]) -> tuple[PaidLine, ...]:
    return tuple({(each.invoice, each.line): each for each in found}.values())


_users = st.builds(
    lambda subscriptions, lines, **more: user(*_unlike(subscriptions), lines=_once(lines), **more),
    st.lists(_subscriptions, max_size=3),
    st.lists(_lines, max_size=4),
    role=st.sampled_from(UserRole),
    status=st.sampled_from(MembershipStatus),
    product=st.sampled_from([None, "prod_pro"]),
    tokens=st.integers(0, 3000),
    expires=st.sampled_from([None, day(-3), day(9)]),
    override=st.sampled_from([None, Override(role=UserRole.PREMIUM), Override(role=UserRole.USER, until=day(-1))]),
)


def written(of: User, made: outcome.Outcome) -> User:
    """The user once the outcome is in the database."""
    return holding(with_access(of, made.access), made.grants)


@LAW
@given(_users, st.booleans(), st.sampled_from([None, timedelta(days=3)]))
def test_computing_again_what_was_written_changes_nothing(someone: User, resets: bool, grace: timedelta | None) -> None:
    policy = Policy(tokens_reset=resets, past_due_grace=grace)
    after = written(someone, outcome.compute(someone, POLICIES, policy, NOW))

    again = outcome.compute(after, POLICIES, policy, NOW)

    assert again.changes == {}
    assert again.grants == ()


def test_every_column_that_changes_is_told_with_what_it_was() -> None:
    made = outcome.compute(user(subscribed(), lines=[line()]), POLICIES, POLICY, NOW)

    assert made.changes_access
    assert made.changes == {
        "role": (UserRole.USER, UserRole.PREMIUM),
        "stripe_product_id": (None, "prod_pro"),
        "tokens": (0, 1000),
        "tokens_expires_at": (None, day(21)),
    }


def test_a_user_who_only_spent_changes_nothing() -> None:
    first = user(subscribed(), lines=[line()])
    paid = written(first, outcome.compute(first, POLICIES, POLICY, NOW))

    made = outcome.compute(replace(paid, tokens=17), POLICIES, POLICY, NOW)

    assert (made.changes, made.grants) == ({}, ())


@pytest.mark.parametrize("role", [UserRole.ADMIN, UserRole.BANNED])
def test_the_role_of_admin_and_banned_is_no_change(role: UserRole) -> None:
    made = outcome.compute(user(subscribed(), role=role), POLICIES, POLICY, NOW)

    assert made.changes.keys() == {"stripe_product_id"}
