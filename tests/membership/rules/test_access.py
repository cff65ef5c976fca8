"""A user's role, membership status and product: the table of statuses, and laws for all of them."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.states import MembershipStatus, UserRole
from tests.membership.rules.people import JAN, NOW, POLICIES, day, subscribed, user, with_access
from tests.mirror.histories import LAW
from worker.membership.rules.access import KNOWN_STATUSES, Access, Policy, Rule, decide, is_entitled, project
from worker.membership.rules.facts import LIFETIME, Item, Override, Product, Purchase, Subscription, User, product_of

ACTIVE, INACTIVE = MembershipStatus.ACTIVE, MembershipStatus.INACTIVE
CANCELED, PAST_DUE = MembershipStatus.CANCELED, MembershipStatus.PAST_DUE
USER, PREMIUM, ADMIN, BANNED = UserRole.USER, UserRole.PREMIUM, UserRole.ADMIN, UserRole.BANNED

POLICY = Policy()


def projected(of: User, policy: Policy = POLICY) -> Access:
    return project(of, POLICIES, policy, NOW)


# Each status


@pytest.mark.parametrize(
    ("status", "paused_for", "standing", "role"),
    [
        ("incomplete", None, INACTIVE, USER),
        ("incomplete_expired", None, INACTIVE, USER),
        ("trialing", None, ACTIVE, PREMIUM),
        ("active", None, ACTIVE, PREMIUM),
        ("past_due", None, PAST_DUE, PREMIUM),
        ("unpaid", None, PAST_DUE, USER),
        ("paused", None, INACTIVE, USER),
        ("paused", "trial_end_without_payment_method", INACTIVE, USER),
        ("paused", "pause_requested", INACTIVE, USER),
        ("paused", "system", INACTIVE, USER),
        ("paused", "first_payment_failure", PAST_DUE, USER),
        ("paused", "final_payment_failure", PAST_DUE, USER),
        ("canceled", None, CANCELED, USER),
    ],
)
def test_a_status_decides_the_membership_status_and_access(
    status: str, paused_for: str | None, standing: MembershipStatus, role: UserRole
) -> None:
    access = projected(user(subscribed(status=status, paused_for=paused_for)))

    assert (access.membership_status, access.role) == (standing, role)
    assert access.stripe_product_id == ("prod_pro" if role is PREMIUM else None)
    assert access.by == ("sub_1" if role is PREMIUM else None)


def test_every_known_status_is_in_the_table() -> None:
    assert {
        "incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "paused", "canceled",
    } == KNOWN_STATUSES  # fmt: skip


@pytest.mark.parametrize("status", MembershipStatus)
def test_a_user_without_a_subscription_keeps_their_membership_status_and_loses_premium(
    status: MembershipStatus,
) -> None:
    access = projected(user(role=PREMIUM, status=status, product="prod_pro"))

    assert access == Access(role=USER, membership_status=status, stripe_product_id=None, by=None)


def test_the_end_of_a_period_alone_takes_nothing_away() -> None:
    access = projected(user(subscribed(status="active", period_end=day(-2))))

    assert (access.membership_status, access.role) == (ACTIVE, PREMIUM)


# Unknown statuses


def test_an_unknown_status_changes_nothing() -> None:
    held = user(subscribed(status="hibernating"), role=PREMIUM, status=PAST_DUE, product="prod_max")

    assert projected(held) == Access(role=PREMIUM, membership_status=PAST_DUE, stripe_product_id="prod_max", by=None)


def test_an_unknown_status_does_not_hide_an_active_subscription() -> None:
    access = projected(user(subscribed("sub_1", "hibernating"), subscribed("sub_2", "active"), status=CANCELED))

    assert (access.membership_status, access.role, access.by) == (ACTIVE, PREMIUM, "sub_2")


def test_an_unknown_status_beside_an_ended_subscription_changes_nothing() -> None:
    access = projected(user(subscribed("sub_1", "hibernating"), subscribed("sub_2", "canceled"), role=PREMIUM))

    assert (access.membership_status, access.role) == (ACTIVE, PREMIUM)


# Grace


@pytest.mark.parametrize(
    ("grace", "entitled"),
    [(None, True), (timedelta(days=11), True), (timedelta(days=10), False), (timedelta(0), False)],
)
def test_past_due_gives_access_until_its_grace_is_over(grace: timedelta | None, entitled: bool) -> None:
    late = subscribed(status="past_due", period_start=day(-10))

    access = projected(user(late), Policy(past_due_grace=grace))

    assert access.membership_status is PAST_DUE
    assert access.role is (PREMIUM if entitled else USER)


def test_grace_without_a_period_does_not_end() -> None:
    assert is_entitled(subscribed(status="past_due", period_start=None), Policy(past_due_grace=timedelta(0)), NOW)


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_only_past_due_has_a_grace(status: str) -> None:
    assert is_entitled(subscribed(status=status), Policy(past_due_grace=timedelta(0)), NOW)


# Several subscriptions


@pytest.mark.parametrize(
    ("statuses", "standing"),
    [
        (("canceled", "active"), ACTIVE),
        (("past_due", "active"), ACTIVE),
        (("canceled", "past_due"), PAST_DUE),
        (("incomplete", "canceled"), CANCELED),
        (("incomplete", "incomplete_expired"), INACTIVE),
        (("unpaid", "canceled"), PAST_DUE),
    ],
)
def test_the_best_of_several_statuses_counts(statuses: tuple[str, ...], standing: MembershipStatus) -> None:
    access = projected(user(*(subscribed(f"sub_{n}", status) for n, status in enumerate(statuses))))

    assert access.membership_status is standing


@pytest.mark.parametrize(
    ("why", "better", "worse"),
    [
        ("the higher role", subscribed("sub_b", "past_due"), subscribed("sub_a", product="prod_basic")),
        ("the healthier status", subscribed("sub_b"), subscribed("sub_a", "trialing", product="prod_max")),
        ("trial before past due", subscribed("sub_b", "trialing"), subscribed("sub_a", "past_due")),
        ("the larger allowance", subscribed("sub_b", product="prod_max"), subscribed("sub_a")),
        ("the newer", subscribed("sub_b", created=day(-1)), subscribed("sub_a", created=JAN)),
        ("by id", subscribed("sub_a"), subscribed("sub_b")),
    ],
)
def test_the_best_subscription_gives_the_product(why: str, better: Subscription, worse: Subscription) -> None:
    access = projected(user(worse, better))

    assert access.by == better.id, why
    assert access.stripe_product_id == better.items[0].product


def test_the_best_item_of_a_subscription_gives_the_product() -> None:
    items = [Item(id="si_1", price="p", product="prod_basic"), Item(id="si_2", price="p", product="prod_max")]

    access = projected(user(subscribed(items=items)))

    assert (access.stripe_product_id, access.role) == ("prod_max", PREMIUM)


@pytest.mark.parametrize("items", [[], [Item(id="si_1", price=None, product=None)]])
def test_a_subscription_without_a_product_gives_a_membership_status_but_no_access(items: list[Item]) -> None:
    access = projected(user(subscribed(items=items)))

    assert access == Access(role=USER, membership_status=ACTIVE, stripe_product_id=None, by=None)


def test_a_product_may_give_the_role_user() -> None:
    access = projected(user(subscribed(product="prod_basic"), role=PREMIUM))

    assert (access.role, access.stripe_product_id) == (USER, "prod_basic")


def test_a_product_that_is_not_mirrored_yet_counts_as_one_without_metadata() -> None:
    access = projected(user(subscribed(product="prod_unknown")))

    assert (access.role, access.stripe_product_id) == (PREMIUM, "prod_unknown")


# Operators' decisions


@pytest.mark.parametrize("role", [ADMIN, BANNED])
@pytest.mark.parametrize("status", ["active", "canceled", "hibernating"])
def test_admins_and_banned_users_keep_their_role(role: UserRole, status: str) -> None:
    held = user(subscribed(status=status), role=role, override=Override(role=USER))

    assert projected(held).role is role


def test_the_membership_status_of_an_admin_is_still_updated() -> None:
    assert projected(user(subscribed(status="canceled"), role=ADMIN)).membership_status is CANCELED


@pytest.mark.parametrize(("until", "role"), [(None, PREMIUM), (day(1), PREMIUM), (NOW, USER), (day(-1), USER)])
def test_an_override_counts_until_it_ends(until: datetime | None, role: UserRole) -> None:
    assert projected(user(override=Override(role=PREMIUM, until=until))).role is role


def test_an_override_may_remove_paid_access() -> None:
    access = projected(user(subscribed(), override=Override(role=USER)))

    assert (access.role, access.membership_status, access.stripe_product_id) == (USER, ACTIVE, "prod_pro")


def test_an_override_counts_beside_an_unknown_status() -> None:
    assert projected(user(subscribed(status="hibernating"), override=Override(role=PREMIUM))).role is PREMIUM


# Products' metadata


@pytest.mark.parametrize(
    ("metadata", "role", "tokens", "unclear"),
    [
        (None, PREMIUM, 0, ()),
        ({}, PREMIUM, 0, ()),
        ({"role": "USER", "tokens": "50"}, USER, 50, ()),
        ({"role": " user "}, USER, 0, ()),
        ({"role": "PREMIUM"}, PREMIUM, 0, ()),
        ({"role": "ADMIN"}, USER, 0, ("role",)),
        ({"role": "free"}, USER, 0, ("role",)),
        ({"role": "none"}, USER, 0, ("role",)),
        ({"tokens": " 10_000 "}, PREMIUM, 10_000, ()),
        ({"tokens": "5,000"}, PREMIUM, 5000, ()),
        ({"tokens": "5 000"}, PREMIUM, 5000, ()),
        ({"tokens": "1,234,567"}, PREMIUM, 1_234_567, ()),
        ({"tokens": 7}, PREMIUM, 7, ()),
        ({"tokens": "5,00"}, PREMIUM, 0, ("tokens",)),
        ({"tokens": "1,234 567"}, PREMIUM, 0, ("tokens",)),
        ({"tokens": "10k"}, PREMIUM, 0, ("tokens",)),
        ({"tokens": "unlimited"}, PREMIUM, 0, ("tokens",)),
        ({"tokens": "-5"}, PREMIUM, 0, ("tokens",)),
        ({"tokens": "1.5"}, PREMIUM, 0, ("tokens",)),
        ({"tokens": "５"}, PREMIUM, 0, ("tokens",)),
        ({"tokens": ""}, PREMIUM, 0, ()),
        ({"tokens": "100000000"}, PREMIUM, 100_000_000, ()),
        ({"tokens": "9" * 500}, PREMIUM, 0, ("tokens",)),
        ({"access": "for ever"}, PREMIUM, 0, ("access",)),
    ],
)
def test_product_metadata_sets_the_policy_or_is_reported_as_unclear(
    metadata: dict[str, object] | None, role: UserRole, tokens: int, unclear: tuple[str, ...]
) -> None:
    expected = Product(id="prod_1", role=role, tokens=tokens, unclear=unclear)

    assert product_of("prod_1", metadata) == expected


@pytest.mark.parametrize(("text", "access"), [("lifetime", LIFETIME), ("30", timedelta(days=30)), ("0", None)])
def test_metadata_sets_how_long_a_purchase_gives_access(text: str, access: timedelta | None) -> None:
    assert product_of("prod_1", {"access": text}).access == access


# One-time purchases


@pytest.mark.parametrize(
    ("bought", "days", "returned", "role"),
    [(-1, 30, False, PREMIUM), (-30, 30, False, USER), (-1, 30, True, USER), (-1000, 36_500, False, PREMIUM)],
)
def test_a_purchase_gives_its_role_until_it_ends_or_is_refunded(
    bought: int, days: int, returned: bool, role: UserRole
) -> None:
    products = {"prod_once": Product(id="prod_once", access=timedelta(days=days))}
    purchase = Purchase(source="cs_1", product="prod_once", paid_at=day(bought), is_returned=returned)

    decided = decide(replace(user(), purchases=(purchase,)), products, Policy(), NOW)

    assert decided.access.role is role
    assert decided.access.membership_status is ACTIVE


def test_a_purchase_beside_a_lesser_subscription_gives_the_role() -> None:
    products = {**POLICIES, "prod_once": Product(id="prod_once", access=LIFETIME)}
    purchase = Purchase(source="cs_1", product="prod_once", paid_at=day(-1))
    basic = replace(user(subscribed(product="prod_basic")), purchases=(purchase,))

    decided = decide(basic, products, Policy(), NOW)

    assert (decided.access.role, decided.role) == (PREMIUM, Rule.PURCHASED)
    assert decided.access.stripe_product_id == "prod_basic"


@LAW
@given(st.dictionaries(st.sampled_from(["role", "tokens", "x"]), st.text() | st.integers() | st.none()))
def test_metadata_never_makes_an_admin(metadata: dict[str, object]) -> None:
    subscriptions = product_of("prod_1", metadata)

    assert subscriptions.role in (USER, PREMIUM)
    assert subscriptions.tokens >= 0


# Laws

_statuses = st.sampled_from([*sorted(KNOWN_STATUSES), "hibernating"])
_found = st.builds(
    subscribed,
    st.integers(1, 9).map(lambda number: f"sub_{number}"),
    _statuses,
    product=st.sampled_from(["prod_pro", "prod_max", "prod_basic", "prod_unknown", None]),
    created=st.sampled_from([JAN, NOW]),
    period_start=st.sampled_from([None, JAN, NOW]),
    paused_for=st.sampled_from([None, "pause_requested", "final_payment_failure"]),
)
_several = st.lists(_found, max_size=5, unique_by=lambda subscription: subscription.id)
_overrides = st.none() | st.builds(
    Override, role=st.sampled_from(list(UserRole)), until=st.sampled_from([None, JAN, day(9)])
)
_policies = st.builds(Policy, past_due_grace=st.sampled_from([None, timedelta(0), timedelta(days=20)]))
_roles, _standings = st.sampled_from(list(UserRole)), st.sampled_from(list(MembershipStatus))


@LAW
@given(_several, _roles, _standings, _policies, st.data())
def test_the_order_of_subscriptions_does_not_matter(
    subscriptions: list[Subscription], role: UserRole, status: MembershipStatus, policy: Policy, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(subscriptions))

    assert projected(user(*subscriptions, role=role, status=status), policy) == projected(
        user(*shuffled, role=role, status=status), policy
    )


@LAW
@given(_several, _roles, _standings, _overrides, _policies)
def test_projecting_twice_changes_nothing(
    subscriptions: list[Subscription],
    role: UserRole,
    status: MembershipStatus,
    override: Override | None,
    policy: Policy,
) -> None:
    held = user(*subscriptions, role=role, status=status, override=override)
    once = projected(held, policy)

    assert projected(with_access(held, once), policy) == once


@LAW
@given(_several, _standings, _policies)
def test_payments_never_make_a_user_admin_or_banned(
    subscriptions: list[Subscription], status: MembershipStatus, policy: Policy
) -> None:
    assert projected(user(*subscriptions, status=status), policy).role in (USER, PREMIUM)


@LAW
@given(_several, _roles, _standings, _policies)
def test_access_names_a_product_if_and_only_if_a_subscription_gives_it(
    subscriptions: list[Subscription], role: UserRole, status: MembershipStatus, policy: Policy
) -> None:
    access = projected(user(*subscriptions, role=role, status=status), policy)

    assert (access.stripe_product_id is None) == (access.by is None)
