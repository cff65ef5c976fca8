"""Linking a customer to a user: the first rule that names a user wins."""

from dataclasses import replace

import pytest

from worker.membership.rules.link import Candidates, Link, LinkSource, choose

EVERY_RULE = Candidates(
    customer="cus_1",
    by_application="user_application",
    by_customer_metadata="user_metadata",
    by_client_reference="user_reference",
    by_subscription_metadata="user_subscription",
    by_email=("user_email",),
)
IN_ORDER = [
    ("by_application", LinkSource.APPLICATION, "user_application"),
    ("by_customer_metadata", LinkSource.CUSTOMER_METADATA, "user_metadata"),
    ("by_client_reference", LinkSource.CLIENT_REFERENCE_ID, "user_reference"),
    ("by_subscription_metadata", LinkSource.SUBSCRIPTION_METADATA, "user_subscription"),
    ("by_email", LinkSource.EMAIL, "user_email"),
]


@pytest.mark.parametrize("number", range(len(IN_ORDER)))
def test_the_first_rule_that_names_a_user_wins(number: int) -> None:
    silent = {field: () if field == "by_email" else None for field, _, _ in IN_ORDER[:number]}
    _, source, user = IN_ORDER[number]

    assert choose(replace(EVERY_RULE, **silent)) == Link("cus_1", user, source)  # type: ignore[arg-type]  # by its name


@pytest.mark.parametrize(("field", "source", "user"), IN_ORDER)
def test_each_rule_alone_links_the_customer(field: str, source: LinkSource, user: str) -> None:
    named = {field: getattr(EVERY_RULE, field)}

    assert choose(Candidates(customer="cus_1", **named)) == Link("cus_1", user, source)


def test_an_address_of_two_users_links_neither() -> None:
    assert choose(Candidates(customer="cus_1", by_email=("user_1", "user_2"))) is None


def test_a_customer_without_a_matching_rule_stays_unlinked() -> None:
    assert choose(Candidates(customer="cus_1")) is None


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_user_id_is_ignored(empty: str | None) -> None:
    choice = choose(Candidates(customer="cus_1", by_customer_metadata=empty, by_subscription_metadata="user_1"))

    assert choice == Link("cus_1", "user_1", LinkSource.SUBSCRIPTION_METADATA)
