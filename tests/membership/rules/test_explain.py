"""Explanations: one example for each rule, and laws for all of them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from schema.states import MembershipStatus, UserRole
from tests.membership.rules.paid_lines import a_year, change
from tests.membership.rules.people import JAN, NOW, POLICIES, day, holding, line, someone, subscribed, user, with_access
from tests.mirror.histories import LAW
from worker.membership.rules import outcome
from worker.membership.rules.access import Policy, Rule, Service
from worker.membership.rules.evidence import Customer, Entry, Evidence, Heard, Note, Schedule, Source
from worker.membership.rules.explain import NO_CUSTOMER, Explanation, explain
from worker.membership.rules.facts import Item, Override, PaidLine, Subscription, User
from worker.membership.rules.tokens import NoGrant
from worker.membership.rules.wording import source

ACTIVE, PAST_DUE, CANCELED = MembershipStatus.ACTIVE, MembershipStatus.PAST_DUE, MembershipStatus.CANCELED
USER, PREMIUM, ADMIN, BANNED = UserRole.USER, UserRole.PREMIUM, UserRole.ADMIN, UserRole.BANNED

ENTITLED, NOTHING_ENTITLES = Rule.ENTITLED, Rule.NOTHING_ENTITLES
OVERRIDE, UNTOUCHED = Rule.OVERRIDE, Rule.UNTOUCHED
BEST_STANDING, NEVER_SUBSCRIBED, UNKNOWN_STATUS = Rule.BEST_STANDING, Rule.NEVER_SUBSCRIBED, Rule.UNKNOWN_STATUS

GRACE = Policy(past_due_grace=timedelta(days=14))
SHORT_GRACE = Policy(past_due_grace=timedelta(days=3))


def why(of: User, policy: Policy | None = None, evidence: Evidence | None = None) -> Explanation:
    """Explain a user who has a linked customer."""
    return explain(replace(of, is_linked=True), POLICIES, policy or Policy(), NOW, evidence or Evidence())


def settled(of: User, policy: Policy | None = None) -> User:
    """The user after a computation is written to their row."""
    made = outcome.compute(of, POLICIES, policy or Policy(), NOW)
    return holding(with_access(of, made.access), made.grants)


def member(*shared: Subscription, own: tuple[Subscription, ...] = (), of: str = "org_1") -> User:
    """A user of org_1, which has the shared subscriptions. An earlier computation made the user a member of organization `of`."""
    return replace(user(*own), organization_id="org_1", organization_subscriptions=shared, member_of=of)


UNPAID_PAUSE = subscribed(status="paused", paused_for="final_payment_failure")
COMPED = Override(role=PREMIUM, until=day(30))
OVER = Override(role=PREMIUM, until=day(-1))


@pytest.mark.parametrize(
    ("of", "rule", "gives", "says"),
    [
        (user(subscribed()), ENTITLED, PREMIUM, "sub_1 is active, and product prod_pro gives PREMIUM"),
        (user(subscribed(status="trialing")), ENTITLED, PREMIUM, "sub_1 is trialing"),
        (user(subscribed(product="prod_basic")), ENTITLED, USER, "product prod_basic gives USER"),
        (user(subscribed(product="prod_new")), ENTITLED, PREMIUM, "which is not mirrored yet, gives PREMIUM"),
        (user(subscribed(status="canceled")), NOTHING_ENTITLES, USER, "No subscription gives service: sub_1 is canceled"),
        (user(), NOTHING_ENTITLES, USER, "No subscription gives service: there is none"),
        (user(subscribed(status="hibernating"), role=PREMIUM), UNKNOWN_STATUS, PREMIUM, "sub_1 is hibernating: everything stays"),
        (user(override=COMPED), OVERRIDE, PREMIUM, "gave PREMIUM, until 2026-12-20 00:00 UTC; payments alone would give USER"),
        (user(subscribed(), override=Override(role=USER)), OVERRIDE, USER, "removed; payments alone would give PREMIUM"),
        (user(subscribed(), override=OVER), ENTITLED, PREMIUM, "An operator's PREMIUM ended on 2026-11-19"),
        (user(subscribed(), role=ADMIN), UNTOUCHED, ADMIN, "never changed here; payments alone would give PREMIUM"),
        (user(role=BANNED, override=COMPED), UNTOUCHED, BANNED, "payments alone would give USER"),
        (user(subscribed(items=[Item(id="si_1", price="p", product=None)])), NOTHING_ENTITLES, USER, "sub_1 is active"),
        (member(subscribed()), ENTITLED, PREMIUM, "sub_1 of organization org_1 is active, and product prod_pro gives PREMIUM"),
        (member(subscribed(), own=(subscribed(),)), ENTITLED, PREMIUM, "sub_1 is active, and product"),
        (member(subscribed(status="canceled")), NOTHING_ENTITLES, USER, "sub_1 of organization org_1 is canceled"),
    ],
)  # fmt: skip
def test_a_role_is_explained_by_the_rule_that_decided_it(of: User, rule: Rule, gives: UserRole, says: str) -> None:
    role = why(of).role

    assert (role.rule, role.computed) == (rule, gives)
    assert says in role.because


@pytest.mark.parametrize(
    ("of", "rule", "gives", "says"),
    [
        (user(subscribed(status="past_due")), BEST_STANDING, PAST_DUE, "sub_1 is past_due, which means PAST_DUE"),
        (user(UNPAID_PAUSE), BEST_STANDING, PAST_DUE, "sub_1 is paused for final_payment_failure, which means PAST_DUE"),
        (user(subscribed("sub_1", "canceled"), subscribed("sub_2")), BEST_STANDING, ACTIVE, "means ACTIVE, the best of 2"),
        (user(status=CANCELED), NEVER_SUBSCRIBED, CANCELED, "never had a subscription"),
        (member(subscribed(status="past_due")), BEST_STANDING, PAST_DUE, "sub_1 of organization org_1 is past_due"),
        (member(of="org_gone"), Rule.MEMBERSHIP_ENDED, CANCELED, "membership through organization org_gone has ended"),
        (user(subscribed(status="hibernating"), status=PAST_DUE), UNKNOWN_STATUS, PAST_DUE, "is unknown"),
    ],
)  # fmt: skip
def test_a_membership_status_is_explained_by_the_subscription_that_decided_it(
    of: User, rule: Rule, gives: MembershipStatus, says: str
) -> None:
    status = why(of).membership_status

    assert (status.rule, status.computed) == (rule, gives)
    assert says in status.because


@pytest.mark.parametrize(
    ("better", "worse", "says"),
    [
        (
            subscribed("sub_2", product="prod_none"),
            subscribed("sub_1", product="prod_basic"),
            "whose product does not give PREMIUM",
        ),
        (subscribed("sub_2"), subscribed("sub_1", "past_due"), "whose status is worse"),
        (subscribed("sub_2", product="prod_max"), subscribed("sub_1"), "whose allowance is smaller"),
        (subscribed("sub_2", created=day(-9)), subscribed("sub_1"), "which is older"),
        (subscribed("sub_1"), subscribed("sub_2"), "which is equal except for its id"),
    ],
)
def test_the_best_subscription_is_explained_by_the_first_difference_from_the_others(
    better: Subscription, worse: Subscription, says: str
) -> None:
    explained = why(user(worse, better))

    assert explained.stripe_product_id.subscription == better.id
    assert f"It comes before {worse.id}" in explained.role.because
    assert says in explained.role.because
    assert says in explained.stripe_product_id.because
    assert [(standing.id, standing.place) for standing in explained.subscriptions] == [(better.id, 1), (worse.id, 2)]
    assert f"behind {better.id}" in explained.subscriptions[1].because


@pytest.mark.parametrize(
    ("status", "policy", "service", "says"),
    [
        ("active", Policy(), Service.ACTIVE, "gives service"),
        ("past_due", Policy(), Service.PAST_DUE, "until Stripe ends it"),
        ("past_due", GRACE, Service.IN_GRACE, "in its grace, until 2026-11-24 00:00 UTC"),
        ("past_due", SHORT_GRACE, Service.GRACE_OVER, "the grace ended on 2026-11-13 00:00 UTC"),
        ("unpaid", Policy(), Service.NONE, "gives no service"),
        ("hibernating", Policy(), Service.UNKNOWN_STATUS, "is unknown"),
    ],
)
def test_the_explanation_names_what_each_subscription_gives(
    status: str, policy: Policy, service: Service, says: str
) -> None:
    (standing,) = why(user(subscribed(status=status)), policy).subscriptions

    assert standing.service is service
    assert says in standing.because


def test_a_user_without_a_customer_stays_unchanged() -> None:
    explained = explain(user(role=PREMIUM, product="prod_pro", status=CANCELED), POLICIES, Policy(), NOW, Evidence())

    assert {explained.role.rule, explained.membership_status.rule, explained.stripe_product_id.rule} == {NO_CUSTOMER}
    assert explained.role.computed is PREMIUM
    assert "No customer is linked" in explained.role.because
    assert (explained.differs, explained.fix) == ({}, None)


def test_a_linked_customer_that_is_not_mirrored_yet_is_named() -> None:
    written = Evidence(customers=(Customer(id="cus_1", source=None, linked_at=None),))

    explained = explain(user(), POLICIES, Policy(), NOW, written)

    assert "cus_1, which Stripe has not sent yet" in explained.role.because


def test_an_operator_s_note_is_shown() -> None:
    noted = Evidence(note=Note(text="a friend", given_at=day(-2)))

    assert "on 2026-11-18 00:00 UTC (a friend)" in why(user(override=COMPED), evidence=noted).role.because


# Organizations

TEAM = subscribed("sub_team", product="prod_max")


def within(of: User, *subscriptions: Subscription, member_of: str | None = None) -> User:
    return replace(of, organization_id="org", organization_subscriptions=subscriptions, member_of=member_of)


def test_the_explanation_names_the_organization_whose_subscription_counts() -> None:
    explained = explain(within(user(subscribed()), TEAM), POLICIES, Policy(), NOW, Evidence())

    assert explained.role.subscription == "sub_team"
    assert "sub_team of organization org is active, and product prod_max gives PREMIUM" in explained.role.because
    assert "It comes before sub_1" in explained.role.because
    assert (
        "sub_team of organization org is active, which means ACTIVE, the best of 2"
        in explained.membership_status.because
    )
    assert [standing.id for standing in explained.subscriptions] == ["sub_team", "sub_1"]


def test_a_member_without_a_customer_is_computed() -> None:
    explained = explain(within(user(), TEAM), POLICIES, Policy(), NOW, Evidence())

    assert (explained.role.rule, explained.differs["role"]) == (ENTITLED, (USER, PREMIUM))


def test_an_ended_membership_is_shown_with_its_organization() -> None:
    explained = explain(replace(user(), member_of="org_old"), POLICIES, Policy(), NOW, Evidence())

    assert (explained.membership_status.rule, explained.membership_status.computed) == (Rule.MEMBERSHIP_ENDED, CANCELED)
    assert "The membership through organization org_old has ended" in explained.membership_status.because


def test_the_end_of_the_organization_s_subscription_is_shown_with_its_effect() -> None:
    seen = Evidence(schedules={"sub_team": Schedule(cancel_at=day(2))})
    member = within(user(role=PREMIUM, product="prod_max"), TEAM, member_of="org")

    ends, _ = explain(member, POLICIES, Policy(), NOW, seen).next

    assert {column: change.new for column, change in ends.changes.items()} == GONE


# The row


def test_a_row_that_was_edited_by_hand_comes_with_its_fix() -> None:
    explained = why(user(subscribed(), role=USER, product="prod_pro"))

    assert explained.differs == {"role": (USER, PREMIUM)}
    assert explained.fix == "stripe-sync membership apply user_1"


@LAW
@given(someone)
def test_a_row_that_was_just_computed_shows_no_difference(anyone: User) -> None:
    explained = why(settled(anyone))

    assert (explained.differs, explained.fix, explained.tokens.due) == ({}, None, ())


@LAW
@given(someone)
def test_the_explanation_equals_the_computation(anyone: User) -> None:
    explained, made = why(anyone), outcome.compute(replace(anyone, is_linked=True), POLICIES, Policy(), NOW)

    assert explained.differs == made.changes
    assert explained.tokens.due == made.grants
    assert (explained.role.computed, explained.membership_status.computed, explained.stripe_product_id.computed) == (
        made.access.role,
        made.access.membership_status,
        made.access.stripe_product_id,
    )


# Tokens


def entry(kind: str = "renewal", **more: object) -> Entry:
    return Entry(
        **{
            "source_key": "invoice:in_1:line:il_1",
            "kind": kind,
            "amount": 1000,
            "balance_before": 17,
            "balance_after": 1000,
            "expires_at": day(20),
            "product": "prod_pro",
            "subscription": "sub_1",
            "invoice": "in_1",
            "created_at": day(-1),
            **more,
        }  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("tokens", "expires", "ledger", "says"),
    [
        (0, None, (), "Nothing was granted yet."),
        (50, None, (), "The daemon never changed it."),
        (1000, day(20), (entry(),), "A new period of sub_1, paid by in_1 left 1,000 on 2026-11-19 00:00 UTC; nothing"),
        (300, day(20), (entry(),), "700 were spent since"),
        (1200, day(20), (entry(),), "200 were added since, but not by the daemon"),
        (300, day(-1), (entry(),), "it reads as 0"),
        (0, day(-1), (entry("expiry", balance_after=0),), "The expiry of the balance left 0"),
        (900, day(20), (entry("refund", balance_after=900),), "A refund of in_1 left 900"),
    ],
)  # fmt: skip
def test_a_balance_is_explained_by_the_last_ledger_row_and_later_spending(
    tokens: int, expires: datetime | None, ledger: tuple[Entry, ...], says: str
) -> None:
    explained = why(user(tokens=tokens, expires=expires), evidence=Evidence(ledger=ledger)).tokens

    assert says in explained.because
    assert explained.spendable == (tokens if expires is None or expires > NOW else 0)


def test_a_balance_is_explained_lot_by_lot() -> None:
    packs = line("il_2", invoice="in_2", subscription=None, price_type="one_time")
    paid = settled(user(subscribed(), lines=[line(), packs]))

    explained = why(paid).tokens

    assert [(lot.bill, lot.left, lot.pack) for lot in explained.lots] == [("in_1", 1000, False), ("in_2", 1000, True)]


@pytest.mark.parametrize(
    ("paid", "policy", "says"),
    [
        (line(product="prod_new"), Policy(), "waits for product prod_new"),
        (line(product="prod_none"), Policy(), "product prod_none has no `tokens`"),
        (line(usage_type="metered"), Policy(), "metered usage"),
        (line(proration=True, is_credit=True), Policy(), "waits for the invoice of the period that it changes"),
        (line(price_type=None), Policy(), "waits for price price_1"),
        (line(amount=0, subscription="sub_9"), Policy(), "waits for sub_9, which is not mirrored yet"),
        (line(amount=0, period_end=day(3)), Policy(), "TRIAL_TOKENS is 0"),
        (line(price=None, price_type=None), Policy(), "an amount without a price"),
    ],
)
def test_a_paid_line_that_gave_nothing_is_explained(paid: PaidLine, policy: Policy, says: str) -> None:
    (passed,) = why(user(subscribed(trial_end=day(3)), lines=[paid]), policy).tokens.ungranted

    assert passed.source_key == "invoice:in_1:line:il_1"
    assert says in passed.because


def test_a_credit_that_waits_for_its_charge_is_explained() -> None:
    held = settled(user(subscribed(), lines=[line("il_0", invoice="in_0")]))
    both = [change("il_1", "prod_pro", -1000), change("il_2", "prod_new", 5000)]

    passed = why(replace(held, paid_lines=tuple(both))).tokens.ungranted

    assert {each.source_key[-4:]: each.why for each in passed} == {
        "il_1": NoGrant.WAITS_FOR_CHANGE,
        "il_2": NoGrant.WAITS_FOR_PRODUCT,
    }


def test_lines_that_wait_for_the_rest_of_their_change_are_explained() -> None:
    held = settled(a_year(40))
    facts: dict[str, Any] = {
        "period_start": day(-20),
        "period_end": day(325),
        "full_period": timedelta(days=365),
        "is_whole": False,
    }
    rest = facts | {"invoice": "in_u", "proration": True}
    credit, charge = (
        line("il_1", is_credit=True, amount=-9, **rest),
        line("il_2", product="prod_max", price="p2", **rest),
    )
    changed = replace(held, paid_lines=(credit, charge), running=(*held.running, charge))

    passed = why(changed).tokens.ungranted

    assert {(each.source_key[-4:], each.why) for each in passed} == {
        ("il_1", NoGrant.WAITS_FOR_CHANGE),
        ("il_2", NoGrant.WAITS_FOR_CHANGE),
    }
    assert "waits for the rest of its change" in passed[0].because


def test_due_grants_are_shown() -> None:
    explained = why(user(subscribed(), lines=[line()]))

    assert [(grant.source_key, grant.amount) for grant in explained.tokens.due] == [("invoice:in_1:line:il_1", 1000)]
    assert explained.fix is not None


# The next changes


def next_of(of: User, policy: Policy | None = None, **schedule: object) -> list[tuple[str, int, dict[str, object]]]:
    """The next changes, each with the days until it and the new values of the changed columns."""
    seen = Evidence(schedules={"sub_1": Schedule(**schedule)})  # type: ignore[arg-type]
    return [
        (each.what, (each.at - NOW).days, {column: change.new for column, change in each.changes.items()})
        for each in why(settled(of, policy), policy, seen).next
    ]


GONE = {"role": USER, "membership_status": CANCELED, "stripe_product_id": None}


def test_a_subscription_renews_and_its_tokens_expire() -> None:
    assert next_of(user(subscribed(), lines=[line()])) == [
        ("renews", 20, {}),
        ("tokens_expire", 21, {"tokens": 0}),
    ]


def test_a_subscription_set_to_end_removes_access_at_the_end_of_its_period() -> None:
    assert next_of(user(subscribed()), cancel_at_period_end=True) == [("ends", 20, GONE)]


def test_a_subscription_set_to_end_in_a_later_period_renews_first() -> None:
    assert next_of(user(subscribed()), cancel_at=day(50)) == [("renews", 20, {}), ("ends", 50, GONE)]


def test_the_end_of_one_subscription_keeps_the_other() -> None:
    both = user(subscribed("sub_1", product="prod_max"), subscribed("sub_2"))

    ends, *_ = next_of(both, cancel_at=day(2))

    assert ends == ("ends", 2, {"stripe_product_id": "prod_pro"})


def test_a_trial_ends() -> None:
    assert next_of(user(subscribed(status="trialing", trial_end=day(3)))) == [("trial_ends", 3, {})]


def test_a_payment_is_retried_before_the_grace_ends() -> None:
    late = user(subscribed(status="past_due"))

    assert next_of(late, GRACE, next_payment_attempt=day(1)) == [
        ("payment_is_tried", 1, {}),
        ("grace_ends", 4, {"role": USER, "stripe_product_id": None}),
        ("renews", 20, {}),
    ]


def test_an_override_ends() -> None:
    assert next_of(user(override=COMPED)) == [("override_ends", 30, {"role": USER})]


def test_the_role_ends_with_an_override_that_outlives_the_subscription() -> None:
    held = user(subscribed(), override=COMPED)

    assert next_of(held, cancel_at=day(9)) == [
        ("ends", 9, {"membership_status": CANCELED, "stripe_product_id": None}),
        ("renews", 20, {}),
        ("override_ends", 30, {"role": USER}),
    ]


def test_a_paid_year_is_renewed_in_parts() -> None:
    year = line(period_start=day(-10), period_end=day(355))

    assert next_of(user(subscribed(period_end=day(355)), lines=[year], running=[year]))[0] == ("tokens_renewed", 20, {})


@pytest.mark.parametrize("status", ["canceled", "incomplete_expired"])
def test_an_ended_subscription_has_no_next_changes(status: str) -> None:
    assert next_of(user(subscribed(status=status)), cancel_at=day(9)) == []


# Sources of objects

EVENT = Heard(id="evt_1", type="invoice.paid", created=JAN, received_at=JAN)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (None, "not in the mirror"),
        (Source(read=None, observed_at=JAN, event=EVENT), "from invoice.paid evt_1 of 2026-01-01 00:00 UTC, received at"),
        (Source(read=None, observed_at=JAN, event=Heard(id="evt_1")), "from evt_1, which the inbox no longer holds"),
        (Source(read="get", observed_at=JAN, event=None), "read from Stripe at 2026-01-01 00:00 UTC"),
        (Source(read="list", observed_at=JAN, event=EVENT), "'s list at 2026-01-01 00:00 UTC, last event invoice.paid"),
        (Source(read=None, observed_at=JAN, event=EVENT, uncertain=True), "; uncertain, so it will be read from Stripe again"),
    ],
)  # fmt: skip
def test_an_object_is_shown_with_its_event_or_read(seen: Source | None, says: str) -> None:
    assert says in source(seen)
