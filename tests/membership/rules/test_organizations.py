"""Access through an organization's subscription, in addition to the users' own payments."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.states import MembershipStatus, UserRole
from tests.membership.rules.people import NOW, POLICIES, day, line, subscribed, user, with_access
from tests.mirror.histories import LAW
from worker.membership.rules.access import (
    KNOWN_STATUSES,
    Access,
    Policy,
    Rule,
    decide,
    is_concerned,
    is_member,
    project,
)
from worker.membership.rules.facts import Override, Subscription, User
from worker.membership.rules.next_change import next_look
from worker.membership.rules.tokens import grants

ACTIVE, INACTIVE = MembershipStatus.ACTIVE, MembershipStatus.INACTIVE
CANCELED, PAST_DUE = MembershipStatus.CANCELED, MembershipStatus.PAST_DUE
USER, PREMIUM, ADMIN, BANNED = UserRole.USER, UserRole.PREMIUM, UserRole.ADMIN, UserRole.BANNED

PRO, MAX = "prod_pro", "prod_max"
POLICY = Policy()


def within(
    of: User, *subscriptions: Subscription, of_before: str | None = None, organization: str | None = "org"
) -> User:
    """The user in an organization with these subscriptions. `of_before` is the organization of the last computation."""
    return replace(of, organization_id=organization, organization_subscriptions=subscriptions, member_of=of_before)


def team(status: str = "active", *, product: str = PRO, id: str = "sub_team") -> Subscription:
    return subscribed(id, status, product=product)


def projected(of: User, policy: Policy = POLICY) -> Access:
    return project(of, POLICIES, policy, NOW)


def remembered(of: User) -> User:
    """The user after the organization membership is written, if there is one."""
    return replace(of, member_of=of.organization_id) if is_member(of) else of


# For each case: the user, and the expected role, membership status, product and deciding subscription.
CASES: dict[str, tuple[User, tuple[UserRole, MembershipStatus, str | None, str | None]]] = {
    "joined": (within(user(), team()), (PREMIUM, ACTIVE, PRO, "sub_team")),
    "trial of the organization": (within(user(), team("trialing")), (PREMIUM, ACTIVE, PRO, "sub_team")),
    "organization past due": (within(user(), team("past_due")), (PREMIUM, PAST_DUE, PRO, "sub_team")),
    "organization unpaid": (within(user(), team("unpaid"), of_before="org"), (USER, PAST_DUE, None, None)),
    "organization canceled": (within(user(), team("canceled"), of_before="org"), (USER, CANCELED, None, None)),
    "organization paused": (within(user(), team("paused"), of_before="org"), (USER, INACTIVE, None, None)),
    "organization's first payment pending": (within(user(), team("incomplete")), (USER, INACTIVE, None, None)),
    "organization has nothing": (within(user()), (USER, ACTIVE, None, None)),
    "own is better": (
        within(user(subscribed("sub_own", product=MAX)), team()),
        (PREMIUM, ACTIVE, MAX, "sub_own"),
    ),
    "organization's is better": (
        within(user(subscribed("sub_own")), team(product=MAX)),
        (PREMIUM, ACTIVE, MAX, "sub_team"),
    ),
    "own ended, organization's continues": (
        within(user(subscribed("sub_own", "canceled")), team()),
        (PREMIUM, ACTIVE, PRO, "sub_team"),
    ),
    "own continues, organization's ended": (
        within(user(subscribed("sub_own")), team("canceled"), of_before="org"),
        (PREMIUM, ACTIVE, PRO, "sub_own"),
    ),
    "own past due, organization's active": (
        within(user(subscribed("sub_own", "past_due", product=MAX)), team()),
        (PREMIUM, ACTIVE, PRO, "sub_team"),
    ),
    "the best of two of the organization": (
        within(user(), team("canceled"), team(product=MAX, id="sub_more")),
        (PREMIUM, ACTIVE, MAX, "sub_more"),
    ),
    "buyer who is a member": (within(user(team()), team()), (PREMIUM, ACTIVE, PRO, "sub_team")),
    "buyer who is not a member": (user(team()), (PREMIUM, ACTIVE, PRO, "sub_team")),
    "product that gives no role": (
        within(user(), team(product="prod_basic")),
        (USER, ACTIVE, "prod_basic", "sub_team"),
    ),
    "administrator": (within(user(role=ADMIN), team()), (ADMIN, ACTIVE, PRO, "sub_team")),
    "banned": (within(user(role=BANNED), team()), (BANNED, ACTIVE, PRO, "sub_team")),
    "override": (within(user(override=Override(role=USER)), team()), (USER, ACTIVE, PRO, "sub_team")),
    "override that is over": (
        within(user(override=Override(role=USER, until=day(-1))), team()),
        (PREMIUM, ACTIVE, PRO, "sub_team"),
    ),
    "left": (
        within(user(role=PREMIUM, product=PRO), of_before="org", organization=None),
        (USER, CANCELED, None, None),
    ),
    "left, and still pays": (
        within(user(subscribed("sub_own"), product=PRO), of_before="org", organization=None),
        (PREMIUM, ACTIVE, PRO, "sub_own"),
    ),
    "left, with a first payment pending": (
        within(user(subscribed("sub_own", "incomplete")), of_before="org", organization=None),
        (USER, CANCELED, None, None),
    ),
    "left, comped": (
        within(user(override=Override(role=PREMIUM), product=PRO), of_before="org", organization=None),
        (PREMIUM, CANCELED, None, None),
    ),
    "left, banned": (within(user(role=BANNED), of_before="org", organization=None), (BANNED, CANCELED, None, None)),
    "moved to an organization that pays": (
        within(user(), team(product=MAX), of_before="old"),
        (PREMIUM, ACTIVE, MAX, "sub_team"),
    ),
    "moved to an organization that does not pay": (
        within(user(role=PREMIUM, product=PRO), of_before="old"),
        (USER, CANCELED, None, None),
    ),
    "the subscription names another organization now": (
        within(user(role=PREMIUM, product=PRO), of_before="org"),
        (USER, CANCELED, None, None),
    ),
    "unknown status, already a member": (
        within(user(role=PREMIUM, status=PAST_DUE, product=MAX), team("hibernating"), of_before="org"),
        (PREMIUM, PAST_DUE, MAX, None),
    ),
    "unknown status, just joined": (
        within(user(role=PREMIUM, product=MAX), team("hibernating"), of_before="old"),
        (USER, CANCELED, None, None),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_access_is_the_best_of_the_user_s_and_the_organization_s_payments(case: str) -> None:
    of, (role, standing, product, by) = CASES[case]

    access = projected(of)

    assert access == Access(role=role, membership_status=standing, stripe_product_id=product, by=by)


@pytest.mark.parametrize(
    ("case", "rules", "of"),
    [
        ("joined", (Rule.ENTITLED, Rule.BEST_STANDING), "sub_team"),
        ("left", (Rule.NOTHING_ENTITLES, Rule.MEMBERSHIP_ENDED), None),
        ("left, and still pays", (Rule.ENTITLED, Rule.BEST_STANDING), "sub_own"),
        ("left, with a first payment pending", (Rule.NOTHING_ENTITLES, Rule.MEMBERSHIP_ENDED), None),
        ("unknown status, just joined", (Rule.NOTHING_ENTITLES, Rule.MEMBERSHIP_ENDED), None),
        ("organization has nothing", (Rule.NOTHING_ENTITLES, Rule.NEVER_SUBSCRIBED), None),
    ],
)
def test_a_decision_names_its_rule(case: str, rules: tuple[Rule, Rule], of: str | None) -> None:
    decision = decide(CASES[case][0], POLICIES, POLICY, NOW)

    assert (decision.role, decision.membership_status) == rules
    assert (decision.standing_of and decision.standing_of.id) == of


@pytest.mark.parametrize("case", CASES)
def test_computing_written_access_again_changes_nothing(case: str) -> None:
    of, _ = CASES[case]

    first = projected(of)
    again = projected(remembered(with_access(of, first)))

    assert again == first


@pytest.mark.parametrize(
    ("of", "member"),
    [
        (within(user(), team()), True),
        (within(user(), team("past_due")), True),
        (within(user(), team("canceled")), True),
        (within(user(), team("incomplete")), False),
        (within(user(), team("incomplete_expired")), False),
        (within(user(), team("hibernating")), False),
        (within(user()), False),
        (within(user(team()), team()), False),
        (user(team()), False),
    ],
)
def test_a_user_is_a_member_if_another_user_s_subscription_decides_their_status(of: User, member: bool) -> None:
    assert is_member(of) is member


@pytest.mark.parametrize(
    ("of", "concerned"),
    [
        (user(), False),
        (within(user()), False),
        (within(user(), team("incomplete")), True),
        (within(user(), of_before="org", organization=None), True),
        (replace(user(), is_linked=True), True),
        (user(override=Override(role=PREMIUM)), True),
    ],
)
def test_a_user_without_stripe_objects_is_not_computed(of: User, concerned: bool) -> None:
    assert is_concerned(of) is concerned


def test_only_the_buyer_gets_tokens() -> None:
    member = within(user(), team())
    buyer = replace(user(team(), lines=[line(subscription="sub_team")]))

    assert grants(member, POLICIES, POLICY, NOW) == []
    assert [grant.amount for grant in grants(buyer, POLICIES, POLICY, NOW)] == [1000]


def test_users_are_due_again_when_the_organization_s_grace_ends() -> None:
    policy = Policy(past_due_grace=timedelta(days=14))
    late = within(user(), subscribed("sub_team", "past_due", period_start=day(-10)))

    assert next_look(late, POLICIES, policy, NOW) == day(4)
    assert next_look(late, POLICIES, POLICY, NOW) is None


_subscriptions = st.builds(
    subscribed,
    st.sampled_from(["sub_1", "sub_2", "sub_3"]),
    st.sampled_from(sorted(KNOWN_STATUSES)),
    product=st.sampled_from([PRO, MAX, "prod_basic", None]),
)
_some = st.lists(_subscriptions, max_size=3, unique_by=lambda each: each.id)


@LAW
@given(_some, _some, st.sampled_from([None, "org", "old"]))
def test_the_order_of_facts_does_not_matter_and_each_counts_once(
    own: Sequence[Subscription], shared: Sequence[Subscription], of_before: str | None
) -> None:
    there = within(user(*own), *shared, of_before=of_before)
    turned = within(user(*reversed(own)), *reversed(shared), of_before=of_before)
    doubled = within(user(*own), *own, *shared, of_before=of_before)

    assert projected(turned) == projected(there)
    if shared:
        assert projected(doubled) == projected(there)


@LAW
@given(_some, _some, st.sampled_from([ADMIN, BANNED]))
def test_an_organization_never_changes_an_admin_or_a_banned_user(
    own: Sequence[Subscription], shared: Sequence[Subscription], role: UserRole
) -> None:
    assert projected(within(user(*own, role=role), *shared)).role is role


@LAW
@given(_some, _some)
def test_an_organization_never_reduces_a_user_s_access(
    own: Sequence[Subscription], shared: Sequence[Subscription]
) -> None:
    alone, together = projected(user(*own)), projected(within(user(*own), *shared))

    assert alone.role is USER or together.role is PREMIUM
    if own:
        best = [ACTIVE, PAST_DUE, CANCELED, INACTIVE]
        assert best.index(together.membership_status) <= best.index(alone.membership_status)
