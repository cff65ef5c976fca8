"""Situations in which subscriptions start and invoices are reported: stubs, trials, usage, old API versions.

The numbers are computed by hand: a plan `basic` of 1,000 tokens and a plan `pro` of 5,000, per 30 days.
"""

from datetime import timedelta

from tests.factories import OLD
from tests.membership.situations.changes import basic
from tests.membership.situations.life import (
    ADD,
    BOTH,
    Situation,
    at,
    catalogue,
    invoiced,
    item,
    jenny,
    line,
    one_time,
    subscribed,
)
from worker.membership.rules.access import Policy


def stub(policy: str, *, is_flagged: bool) -> Situation:
    """The first period has 20 of 30 days, so it gives two thirds of 1,000 tokens, rounded down."""
    first = line("basic", (-1, 19), id="il_1", amount=1333, proration=is_flagged)
    return Situation(
        name=f"6 a first period that a later billing anchor shortens gives its share, flagged {is_flagged}, {policy}",
        phases=[
            [
                jenny(),
                *catalogue("basic"),
                subscribed(item("basic", created=-1), when=-1, period=(-1, 19)),
                invoiced("in_1", first, when=-1, reason="subscription_create"),
            ]
        ],
        expected={"tokens": 666},
        policy=BOTH[policy],
    )


def trial_with_a_setup_fee() -> Situation:
    return Situation(
        name="7 a trial with a paid set-up fee on the same invoice gives nothing",
        phases=[
            [
                jenny(),
                *catalogue("basic", "setup"),
                subscribed(
                    item("basic", created=-1), when=-1, period=(-1, 13), status="trialing",
                    trial_start=at(-1), trial_end=at(13),
                ),
                invoiced(
                    "in_1",
                    line("basic", (-1, 13), id="il_1", amount=0),
                    one_time("setup", id="il_2", when=-1, subscription="sub_1"),
                    when=-1,
                    reason="subscription_create",
                ),
            ]
        ],
        expected={"tokens": 0, "role": "PREMIUM"},
    )  # fmt: skip


def trial_ended_early(*, is_paid: bool) -> Situation:
    month = line("basic", (0, 30), id="il_2")
    status = "active" if is_paid else "past_due"
    return Situation(
        name=f"8 a trial that ends early gives nothing until it is paid, paid: {is_paid}",
        phases=[
            [
                jenny(),
                *catalogue("basic"),
                subscribed(
                    item("basic", created=-5), when=-5, period=(-5, 9), status="trialing",
                    trial_start=at(-5), trial_end=at(9),
                ),
                invoiced("in_1", line("basic", (-5, 9), id="il_1", amount=0), when=-5, reason="subscription_create"),
            ],
            [
                subscribed(
                    item("basic", created=-5), when=0, begun=-5, status=status, trial_start=at(-5), trial_end=at(0)
                ),
                invoiced("in_2", month, when=0, status="paid" if is_paid else "open", reason="subscription_update"),
            ],
        ],
        expected={"tokens": 1000 if is_paid else 0},
    )  # fmt: skip


def metered(*, is_price_known: bool) -> Situation:
    known = catalogue("usage") if is_price_known else catalogue("usage")[:-1]
    return Situation(
        name=f"9 metered usage gives nothing, its price known: {is_price_known}",
        phases=[
            [
                jenny(),
                invoiced("in_1", line("usage", (-30, 0), id="il_1", quantity=900), when=0),
                *([subscribed(item("usage", created=-30), when=-30)] if is_price_known else []),
                *known,
            ]
        ],
        expected={"tokens": 0},
    )


def the_same_line_under_another_id(*, has_unique_id: bool) -> Situation:
    old = line("basic", (-15, 15), id="sli_1" if has_unique_id else "sub_1", shape=OLD)
    old |= {"unique_id": "il_1"} if has_unique_id else {}
    return Situation(
        name=f"16 the same line under an old and a new id gives tokens once, unique_id: {has_unique_id}",
        phases=[
            [
                *basic(),
                invoiced(
                    "in_1", old, when=-15, seen=-14, shape=OLD, version="2018-11-08", reason="subscription_create"
                ),
            ]
        ],
        expected={"tokens": 1000},
        policy=ADD,
    )


def line_ids_that_repeat() -> Situation:
    first, second = (line("basic", period, id="sub_1", shape=OLD) for period in ((-30, 0), (0, 30)))
    return Situation(
        name="17 lines with the same id on two invoices give tokens once for each invoice",
        phases=[
            [
                jenny(),
                *catalogue("basic"),
                subscribed(item("basic", created=-30), when=-30),
                invoiced("in_1", first, when=-30, shape=OLD, version="2018-05-01"),
                invoiced("in_2", second, when=0, shape=OLD, version="2018-05-01"),
            ]
        ],
        expected={"tokens": 2000},
        policy=ADD,
    )


def first_invoice_with_reason(reason: str | None) -> Situation:
    first = line("basic", (-15, 15), id="il_1", shape=OLD)
    return Situation(
        name=f"18 a first invoice whose billing_reason is {reason} begins a period",
        phases=[
            [
                jenny(),
                *catalogue("basic"),
                subscribed(item("basic", created=-15), when=-15),
                invoiced("in_1", first, when=-15, shape=OLD, version="2018-05-21", reason=reason),
            ]
        ],
        expected={"tokens": 1000, "role": "PREMIUM"},
    )


def a_plan_without_a_product() -> Situation:
    plan = {"id": "price_basic", "object": "plan", "amount": 2000, "interval": "month", "interval_count": 1}
    old = {name: value for name, value in item("basic", created=-15).items() if name != "price"} | {"plan": plan}
    return Situation(
        name="19 an event whose plan names no product does not clear the known product",
        phases=[[*basic(), subscribed(old, when=0, begun=-15, period=(-15, 15), version="2017-08-15")]],
        expected={"tokens": 1000, "role": "PREMIUM", "stripe_product_id": "prod_basic"},
    )


def unpaid_for_two_cycles(first: str) -> Situation:
    """The first cycle's invoice is from day -10, the second one's from day -3. The grace is 7 days.

    `first` is the last status of the first cycle's invoice. A void invoice is no longer owed, an uncollectible one still is.
    """
    is_unpaid = first in ("open", "uncollectible")
    cycles = [
        invoiced("in_2", line("addon_10", (-10, 0), id="il_2"), when=-10, status="open"),
        invoiced("in_3", line("addon_10", (0, 10), id="il_3"), when=-3, status="open"),
    ]
    late = [invoiced("in_2", line("addon_10", (-10, 0), id="il_2"), when=-10, seen=-1, status=first)]
    return Situation(
        name=f"20 the grace counts from the first unpaid invoice of the streak, the first is {first}",
        phases=[
            [
                jenny(),
                *catalogue("addon_10"),
                subscribed(item("addon_10", created=-20), when=-20, period=(-20, -10)),
                invoiced("in_1", line("addon_10", (-20, -10), id="il_1"), when=-20),
                subscribed(
                    item("addon_10", created=-20), when=-3, begun=-20, period=(-3, 7), status="past_due"
                ),
                *cycles,
                *(late if first != "open" else []),
            ]
        ],
        expected={
            "role": "USER" if is_unpaid else "PREMIUM",
            "membership_status": "PAST_DUE",
            "next_change": None if is_unpaid else 4,
        },
        policy=Policy(past_due_grace=timedelta(days=7)),
    )  # fmt: skip


def huge(quantity: int, tokens: int) -> Situation:
    month = line("huge", (-15, 15), id="il_1", amount=2000, quantity=quantity)
    return Situation(
        name=f"21 100,000,000 tokens times {quantity} fit",
        phases=[
            [
                jenny(),
                *catalogue("huge"),
                subscribed(item("huge", quantity=quantity, created=-15), when=-15),
                invoiced("in_1", month, when=-15),
            ]
        ],
        expected={"tokens": tokens, "role": "PREMIUM"},
    )


def upgraded_trial() -> Situation:
    """Within the trial all lines cost nothing. The first paid period is for the new plan."""
    return Situation(
        name="a trial that is upgraded gives the new plan's allowance once paid",
        phases=[
            [
                jenny(),
                *catalogue("basic", "pro"),
                subscribed(
                    item("basic", created=-14), when=-14, period=(-14, 0), status="trialing",
                    trial_start=at(-14), trial_end=at(0),
                ),
                invoiced("in_1", line("basic", (-14, 0), id="il_1", amount=0), when=-14, reason="subscription_create"),
                subscribed(
                    item("pro", created=-14), when=-7, begun=-14, period=(-14, 0), status="trialing",
                    trial_start=at(-14), trial_end=at(0),
                ),
                invoiced(
                    "in_2", line("pro", (-7, 0), id="il_2", amount=0, proration=True), when=-7,
                    reason="subscription_update",
                ),
                subscribed(
                    item("pro", created=-14), when=0, begun=-14, trial_start=at(-14), trial_end=at(0)
                ),
                invoiced("in_3", line("pro", (0, 30), id="il_3"), when=0),
            ]
        ],
        expected={"tokens": 5000, "stripe_product_id": "prod_pro"},
    )  # fmt: skip


def price_known_only_from_the_item() -> Situation:
    """No price event ever comes: the item embeds the price, and that is enough."""
    known = [made for made in basic() if made["type"] != "price.created"]
    return Situation(
        name="a price that only the item embeds is known", phases=[known], expected={"tokens": 1000, "role": "PREMIUM"}
    )


SITUATIONS = [
    *(stub(policy, is_flagged=is_flagged) for policy in BOTH for is_flagged in (False, True)),
    trial_with_a_setup_fee(),
    *(trial_ended_early(is_paid=is_paid) for is_paid in (False, True)),
    *(metered(is_price_known=is_known) for is_known in (False, True)),
    *(the_same_line_under_another_id(has_unique_id=has) for has in (False, True)),
    line_ids_that_repeat(),
    *(first_invoice_with_reason(reason) for reason in ("subscription_update", None, "invented_later")),
    a_plan_without_a_product(),
    *(unpaid_for_two_cycles(first) for first in ("open", "paid", "void", "uncollectible")),
    huge(30, 3_000_000_000),
    huge(10**18, 2**53 - 1),
    huge(13_580_246_790, 2**53 - 1),
    upgraded_trial(),
    price_known_only_from_the_item(),
]
