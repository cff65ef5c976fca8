"""Writing one user: only differences are written, and nothing the second time."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.states import UserRole
from tests.membership.rules.people import NOW, POLICIES, day, holding, line, someone, subscribed, user, with_access
from tests.mirror.histories import LAW
from worker.membership.rules import outcome
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import User

POLICY = Policy()


def written(of: User, made: outcome.Outcome) -> User:
    """The user after the outcome is written."""
    return holding(with_access(of, made.access), made.grants)


@LAW
@given(someone, st.booleans(), st.sampled_from([None, timedelta(days=3)]))
def test_computing_again_what_was_written_changes_nothing(anyone: User, resets: bool, grace: timedelta | None) -> None:
    policy = Policy(tokens_reset=resets, past_due_grace=grace)
    after = written(anyone, outcome.compute(anyone, POLICIES, policy, NOW))

    again = outcome.compute(after, POLICIES, policy, NOW)

    assert again.changes == {}
    assert again.grants == ()


def test_every_changed_column_is_returned_with_its_old_value() -> None:
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
def test_the_roles_admin_and_banned_are_never_changed(role: UserRole) -> None:
    made = outcome.compute(user(subscribed(), role=role), POLICIES, POLICY, NOW)

    assert made.changes.keys() == {"stripe_product_id"}
