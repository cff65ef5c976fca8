"""The features of a user, computed from facts without a database."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.states import UserRole
from tests.membership.rules.people import NOW, day, subscribed, user
from worker.membership.rules import outcome
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import LIFETIME, Feature, Item, Product, Purchase, Subscription, User, product_of
from worker.membership.rules.features import project


def person(**facts: Any) -> User:
    return replace(user(), **facts)


PRODUCTS = {
    product.id: product
    for product in (
        Product(id="prod_pro", features=("api", "export")),
        Product(id="prod_addon", role=UserRole.USER, features=("export",)),
        Product(id="prod_pass", features=("export",), access=timedelta(days=30)),
        Product(id="prod_life", features=("export",), access=LIFETIME),
    )
}
GRACE = Policy(past_due_grace=timedelta(days=3))


@pytest.mark.parametrize(
    ("metadata", "attached", "features", "unclear"),
    [
        ({}, (), (), ()),
        ({"features": "export, api"}, (), ("api", "export"), ()),
        ({"features": ' ["api", "export"] '}, (), ("api", "export"), ()),
        ({"features": " , export,,export "}, (), ("export",), ()),
        ({"features": '["api", 7]'}, (), (), ("features",)),
        ({"features": '{"api": true}'}, (), (), ("features",)),
        ({"features": '["api"'}, (), (), ("features",)),
        ({"features": "old"}, ("api", "export"), ("api", "export"), ()),
    ],
)
def test_attached_features_take_precedence_over_metadata(
    metadata: dict[str, str], attached: tuple[str, ...], features: tuple[str, ...], unclear: tuple[str, ...]
) -> None:
    product = product_of("prod_1", metadata, attached)

    assert (product.features, product.unclear) == (features, unclear)


ADDON = Item(id="si_2", price="price_2", product="prod_addon")


@pytest.mark.parametrize(
    ("subscription", "expected"),
    [
        (subscribed(), ["api", "export"]),
        (subscribed(status="trialing"), ["api", "export"]),
        (subscribed(items=[*subscribed().items, ADDON]), ["api", "export"]),
        (subscribed(product="prod_unknown"), []),
        (subscribed(product=None), []),
        *((subscribed(status=status), []) for status in ("unpaid", "paused", "canceled", "incomplete")),
    ],
)
def test_a_subscription_with_access_gives_the_features_of_its_items(
    subscription: Subscription, expected: list[str]
) -> None:
    assert project(person(subscriptions=(subscription,)), PRODUCTS, Policy(), NOW) == tuple(
        Feature(name, "sub_1") for name in expected
    )


def test_features_end_with_the_grace() -> None:
    late = replace(subscribed(status="past_due"), unpaid_since=day(-1))

    assert project(person(subscriptions=(late,)), PRODUCTS, GRACE, NOW) == (
        Feature("api", "sub_1", day(2)),
        Feature("export", "sub_1", day(2)),
    )
    assert project(person(subscriptions=(late,)), PRODUCTS, GRACE, day(2)) == ()


@pytest.mark.parametrize(
    ("product", "is_returned", "until"),
    [
        ("prod_pass", False, day(20)),
        ("prod_life", False, None),
        ("prod_pass", True, "none"),
        ("prod_pro", False, "none"),
    ],
)
def test_a_purchase_gives_features_while_it_gives_access(
    product: str, is_returned: bool, until: datetime | str | None
) -> None:
    bought = Purchase(source="cs_1", product=product, paid_at=day(-10), is_returned=is_returned)

    projected = project(person(purchases=(bought,)), PRODUCTS, Policy(), NOW)

    assert projected == (() if isinstance(until, str) else (Feature("export", "cs_1", until),))
    if isinstance(until, datetime):
        assert project(person(purchases=(bought,)), PRODUCTS, Policy(), until) == ()


def test_an_organization_and_an_operator_give_features_beside_the_user_s_own() -> None:
    someone = person(
        subscriptions=(subscribed(product="prod_addon"),),
        organization_id="org",
        organization_subscriptions=(subscribed("sub_org"),),
        given_features=(Feature("beta", "override", day(5)), Feature("old", "override", day(-1))),
    )

    assert project(someone, PRODUCTS, Policy(), NOW) == (
        Feature("api", "sub_org"),
        Feature("beta", "override", day(5)),
        Feature("export", "sub_1"),
        Feature("export", "sub_org"),
    )
    assert outcome.compute(someone, PRODUCTS, Policy(), NOW).next_look == day(5)


@pytest.mark.parametrize("role", [UserRole.ADMIN, UserRole.BANNED])
def test_admins_and_banned_users_keep_their_features(role: UserRole) -> None:
    held = (Feature("export", "sub_old"),)

    assert project(person(role=role, features=held, subscriptions=(subscribed(),)), PRODUCTS, Policy(), NOW) == held


def test_an_unknown_status_keeps_the_subscription_s_features() -> None:
    held = (Feature("export", "sub_1"), Feature("export", "sub_gone"))
    strange = subscribed(status="hibernating")

    assert project(person(features=held, subscriptions=(strange,)), PRODUCTS, Policy(), NOW) == held[:1]


_features = st.lists(
    st.builds(
        Feature,
        st.sampled_from(["api", "export"]),
        st.sampled_from(["sub_1", "override", "cs_1"]),
        st.none() | st.integers(-9, 9).map(day),
    )
).map(lambda drawn: tuple({each[:2]: each for each in drawn}.values()))


@given(_features, _features, st.sampled_from(["active", "past_due", "canceled", "strange"]), st.integers(-9, 9))
def test_computing_features_again_changes_nothing(
    held: tuple[Feature, ...], given_: tuple[Feature, ...], status: str, at: int
) -> None:
    someone = person(
        features=tuple(sorted(held, key=lambda each: each[:2])),
        given_features=tuple(each._replace(source="override") for each in given_),
        subscriptions=(subscribed(status=status),),
        purchases=(Purchase(source="cs_1", product="prod_pass", paid_at=day(-10)),),
    )

    first = project(someone, PRODUCTS, GRACE, day(at))

    assert project(replace(someone, features=first), PRODUCTS, GRACE, day(at)) == first
    assert len({each[:2] for each in first}) == len(first)
    assert all(
        each.until is None or each.until > day(at) for each in first if each.source != "sub_1" or status != "strange"
    )
