"""Situations of subscriptions that change: interval, plan, seats, add-ons.

The numbers are computed by hand: a plan `basic` of 1,000 tokens and a plan `pro` of 5,000, per 30 days or per year.
"""

from datetime import timedelta

from tests.factories import Json
from tests.membership.situations.life import (
    BOTH,
    Situation,
    at,
    catalogue,
    invoiced,
    item,
    jenny,
    line,
    subscribed,
)
from worker.membership.rules.access import Policy

YEAR = 365


def basic(*, since: float = -15) -> list[Json]:
    """A month of the plan `basic` that was paid on its first day: 1,000 tokens."""
    return [
        jenny(),
        *catalogue("basic", "pro"),
        subscribed(item("basic", created=since), when=since),
        invoiced("in_1", line("basic", (since, since + 30), id="il_1"), when=since, reason="subscription_create"),
    ]


def switch_to_year() -> Situation:
    """The credit for half a month does not matter, because the year's first part replaces the allowance."""
    credit = line("basic", (0, 15), id="il_2", amount=-1000, proration=True)
    year = line("basic_year", (0, YEAR), id="il_3")
    return Situation(
        name="1 monthly to yearly resets to the allowance now and every 30 days",
        phases=[
            basic(),
            300,
            [
                *catalogue("basic_year"),
                subscribed(item("basic_year", created=-15), when=0, begun=-15, period=(0, YEAR)),
                invoiced("in_2", credit, year, when=0, reason="subscription_update"),
            ],
        ],
        expected={"tokens": 1000, "next_change": 30},
    )


def free_to_paid(*, is_flagged: bool) -> Situation:
    credit = line("free", (0, 15), id="il_2", amount=0, proration=True)
    month = line("basic", (0, 30), id="il_3", proration=is_flagged)
    return Situation(
        name=f"2 free to paid with a new anchor gives the role and the allowance, flagged {is_flagged}",
        phases=[
            [
                jenny(),
                *catalogue("free"),
                subscribed(item("free", created=-15), when=-15),
                invoiced("in_1", line("free", (-15, 15), id="il_1"), when=-15, reason="subscription_create"),
            ],
            20,
            [
                *catalogue("basic"),
                subscribed(item("basic", created=-15), when=0, begun=-15, period=(0, 30)),
                invoiced("in_2", credit, month, when=0, reason="subscription_update"),
            ],
        ],
        expected={"tokens": 1000, "role": "PREMIUM", "stripe_product_id": "prod_basic"},
    )


def year_to_month(*, is_paid: bool) -> Situation:
    """The year began 45 days ago: its second part of 1,000 was due 15 days ago."""
    changed = [
        *catalogue("basic"),
        subscribed(item("basic", created=-45), when=0, begun=-45, period=(0, 30)),
    ]
    paid = invoiced("in_2", line("basic", (0, 30), id="il_2"), when=0)
    return Situation(
        name=f"3 yearly to monthly ends the year's parts, the month paid: {is_paid}",
        phases=[
            [
                jenny(),
                *catalogue("basic_year"),
                subscribed(item("basic_year", created=-45), when=-45, period=(-45, YEAR - 45)),
                invoiced("in_1", line("basic_year", (-45, YEAR - 45), id="il_1"), when=-45),
            ],
            400,
            [*changed, paid] if is_paid else changed,
        ],
        expected={"tokens": 1000 if is_paid else 600, "next_change": None},
    )


def upgrade_charged_at_once(policy: str) -> Situation:
    """Half of the month is left: 5,000 / 2 more, 1,000 / 2 less."""
    credit = line("basic", (0, 15), id="il_2", amount=-1000, proration=True)
    charge = line("pro", (0, 15), id="il_3", amount=5000, proration=True)
    return Situation(
        name=f"4 an upgrade charged at once gives the difference by time, {policy}",
        phases=[
            basic(),
            300,
            [
                subscribed(item("pro", created=-15), when=0, begun=-15, period=(-15, 15)),
                invoiced("in_2", credit, charge, when=0, reason="subscription_update"),
            ],
        ],
        expected={"tokens": 1000 - 300 + 2500 - 500},
        policy=BOTH[policy],
    )


def upgrade_in_the_first_minute(policy: str) -> Situation:
    """A minute of the month is over, and 200 of its 1,000 tokens are left. The charge adds 4,999, and the credit takes 999."""
    since, end = -15 + 1 / 1440, 15
    credit = line("basic", (since, end), id="il_2", amount=-1999, proration=True)
    charge = line("pro", (since, end), id="il_3", amount=9999, proration=True)
    return Situation(
        name=f"4 an upgrade within the first minute of the item is a change, {policy}",
        phases=[
            basic(),
            800,
            [
                subscribed(item("pro", created=-15), when=since, begun=-15, period=(-15, 15)),
                invoiced("in_2", credit, charge, when=since, reason="subscription_update"),
            ],
        ],
        expected={"tokens": 200 + 4999 - 999},
        policy=BOTH[policy],
    )


def downgrade_in_the_first_hour(policy: str) -> Situation:
    """Half an hour of the month is over, and 500 of its 5,000 tokens are left. The charge adds 999, and the credit takes all."""
    since, end = -15 + 1 / 48, 15
    credit = line("pro", (since, end), id="il_2", amount=-9993, proration=True)
    charge = line("basic", (since, end), id="il_3", amount=1999, proration=True)
    return Situation(
        name=f"4 a downgrade within the first hour is a change, {policy}",
        phases=[
            [
                jenny(),
                *catalogue("basic", "pro"),
                subscribed(item("pro", created=-15), when=-15),
                invoiced("in_1", line("pro", (-15, 15), id="il_1"), when=-15, reason="subscription_create"),
            ],
            4_500,
            [
                subscribed(item("basic", created=-15), when=since, begun=-15, period=(-15, 15)),
                invoiced("in_2", credit, charge, when=since, reason="subscription_update"),
            ],
        ],
        expected={"tokens": 0},
        policy=BOTH[policy],
    )


def more_seats(policy: str) -> Situation:
    credit = line("basic", (0, 15), id="il_2", amount=-1000, proration=True)
    charge = line("basic", (0, 15), id="il_3", amount=5000, quantity=5, proration=True)
    return Situation(
        name=f"4 seats from 1 to 5 give the difference by time, {policy}",
        phases=[
            basic(),
            300,
            [
                subscribed(item("basic", quantity=5, created=-15), when=0, begun=-15, period=(-15, 15)),
                invoiced("in_2", credit, charge, when=0, reason="subscription_update"),
            ],
        ],
        expected={"tokens": 1000 - 300 + 2500 - 500},
        policy=BOTH[policy],
    )


def upgrade_charged_with_the_next_cycle(policy: str) -> Situation:
    """Under reset the new period replaces the changed one. Under add all three lines count."""
    credit = line("basic", (-15, 0), id="il_2", amount=-1000, proration=True)
    charge = line("pro", (-15, 0), id="il_3", amount=5000, proration=True)
    cycle = line("pro", (0, 30), id="il_4")
    return Situation(
        name=f"5 an upgrade on the next cycle's invoice counts with the cycle, {policy}",
        phases=[
            basic(since=-30),
            [
                subscribed(item("pro", created=-30), when=-15, begun=-30, period=(-30, 0)),
                subscribed(item("pro", created=-30), when=0, begun=-30, period=(0, 30)),
                invoiced("in_2", credit, charge, cycle, when=0),
            ],
        ],
        expected={"tokens": 5000 if policy == "reset" else 1000 - 500 + 2500 + 5000},
        policy=BOTH[policy],
    )


def yearly_add_on_removed(*, is_swapped: bool) -> Situation:
    """The add-on is removed after 15 of its part's 30 days, so 50 of its 100 tokens are taken.

    If it is swapped, an add-on of 200 replaces it. Its first part is granted at once, and the next part 30 days later.
    """
    swapped = [item("addon_big_year", id="si_3", created=0)] if is_swapped else []
    credit = line("addon_year", (0, YEAR - 15), id="il_3", amount=-4795, proration=True, item="si_2")
    charge = line("addon_big_year", (0, YEAR - 15), id="il_4", amount=8630, proration=True, item="si_3")
    return Situation(
        name=f"14 a yearly add-on that is removed ends its parts, swapped: {is_swapped}",
        phases=[
            [
                *basic(),
                *catalogue("addon_year"),
                subscribed(
                    item("basic", created=-15), item("addon_year", id="si_2", created=-15), when=-15 + 0.01, begun=-15,
                    period=(-15, 15),
                ),
                invoiced("in_2", line("addon_year", (-15, YEAR - 15), id="il_2", item="si_2"), when=-15),
            ],
            [
                *catalogue("addon_big_year"),
                subscribed(item("basic", created=-15), *swapped, when=0, begun=-15, period=(-15, 15)),
                invoiced("in_3", credit, *([charge] if is_swapped else []), when=0, reason="subscription_update"),
            ],
        ],
        expected={"tokens": 1250 if is_swapped else 1050, "next_change": 30 if is_swapped else None},
    )  # fmt: skip


def yearly_plan_with_a_renewed_add_on(spent: int) -> Situation:
    """Tokens are spent from the add-on's 100 first, because these expire first. Its renewal restores them."""
    plan, add_on = item("pro_year", created=-10), item("addon_10", id="si_2", created=-10)
    return Situation(
        name=f"15 an add-on's renewal does not touch the yearly plan's part, {spent} spent",
        phases=[
            [
                jenny(),
                *catalogue("pro_year", "addon_10"),
                subscribed(plan, add_on, when=-10, period=(-10, 0)),
                invoiced(
                    "in_1",
                    line("pro_year", (-10, YEAR - 10), id="il_1"),
                    line("addon_10", (-10, 0), id="il_2", item="si_2"),
                    when=-10,
                    reason="subscription_create",
                ),
            ],
            *([spent] if spent else []),
            [
                subscribed(plan, add_on, when=0, begun=-10, period=(0, 10)),
                invoiced("in_2", line("addon_10", (0, 10), id="il_3", item="si_2"), when=0),
            ],
        ],
        expected={"tokens": 5100},
        policy=Policy(token_ttl=timedelta(days=30)),
    )


def upgrade_reversed(policy: str) -> Situation:
    """The upgrade adds 4,000 for 20 of 30 days, and its reversal takes 4,000 for 10 of 30 days. Each line is rounded down."""
    up = [
        line("basic", (-10, 10), id="il_2", amount=-1333, proration=True),
        line("pro", (-10, 10), id="il_3", amount=6667, proration=True),
    ]
    down = [
        line("pro", (0, 10), id="il_4", amount=-3333, proration=True),
        line("basic", (0, 10), id="il_5", amount=667, proration=True),
    ]
    return Situation(
        name=f"an upgrade that is reversed counts for the days between, {policy}",
        phases=[
            basic(since=-20),
            [
                subscribed(item("pro", created=-20), when=-10, begun=-20, period=(-20, 10)),
                invoiced("in_2", *up, when=-10, reason="subscription_update"),
            ],
            [
                subscribed(item("basic", created=-20), when=0, begun=-20, period=(-20, 10)),
                invoiced("in_3", *down, when=0, reason="subscription_update"),
            ],
        ],
        expected={"tokens": 1000 - 666 + 3333 - 1666 + 333},
        policy=BOTH[policy],
    )


def _years(*prices: str) -> list[Json]:
    """Yearly items `si_1` and up, paid 45 days ago. Their second part was due 15 days ago."""
    named = [(name, f"si_{n}") for n, name in enumerate(prices, 1)]
    return [
        jenny(),
        *catalogue(*prices),
        subscribed(
            *(item(name, id=id_, created=-45) for name, id_ in named), when=-45, period=(-45, YEAR - 45)
        ),
        invoiced("in_1", *(line(name, (-45, YEAR - 45), id=f"il_{id_}", item=id_) for name, id_ in named), when=-45),
    ]  # fmt: skip


def year_upgraded(policy: str, *, is_late: bool) -> Situation:
    """The upgrade came 20 days after the start, with a third of the first part left. The second part is the new plan's.

    Reset: the second part of 5,000, less the 400 spent. Add: 1,000 - 333 + 1,666 + 5,000 - 400.
    """
    up = [
        *catalogue("pro_year"),
        subscribed(item("pro_year", created=-45), when=-25, begun=-45, period=(-45, YEAR - 45)),
        invoiced(
            "in_2",
            line("basic_year", (-25, YEAR - 45), id="il_2", amount=-18_904, proration=True),
            line("pro_year", (-25, YEAR - 45), id="il_3", amount=94_521, proration=True),
            when=-25,
            reason="subscription_update",
        ),
    ]
    return Situation(
        name=f"a yearly plan's upgrade before its second part counts the same, known only after it: {is_late}, {policy}",
        phases=[_years("basic_year"), 400, up] if is_late else [[*_years("basic_year"), *up], 400],
        expected={"tokens": 4600 if policy == "reset" else 6933, "next_change": 15},
        policy=BOTH[policy],
    )


def yearly_add_on_removed_before_its_second_part(policy: str, *, is_late: bool) -> Situation:
    """The add-on is removed with a third of its first part left, so it loses 33. Only the plan has a second part.

    Reset: 1,000 and 67. Add: 1,000 twice and 67.
    """
    removed = [
        subscribed(item("basic_year", created=-45), when=-25, begun=-45, period=(-45, YEAR - 45)),
        invoiced(
            "in_2",
            line("addon_year", (-25, YEAR - 45), id="il_2", amount=-4726, proration=True, item="si_2"),
            when=-25,
            reason="subscription_update",
        ),
    ]
    years = _years("basic_year", "addon_year")
    return Situation(
        name=f"a yearly add-on's removal before its second part counts the same, known only after it: {is_late}, {policy}",
        phases=[years, 50, removed] if is_late else [[*years, *removed], 50],
        expected={"tokens": (1067 if policy == "reset" else 2067) - 50},
        policy=BOTH[policy],
    )


def year_switched_to_month(policy: str, *, is_late: bool) -> Situation:
    """The month began 25 days ago, so the year's second part never became due.

    Reset: the month's 1,000, less 400. Add: 1,000 - 333 + 1,000 - 400.
    """
    month = [
        *catalogue("basic"),
        subscribed(item("basic", created=-45), when=-25, begun=-45, period=(-25, 5)),
        invoiced(
            "in_2",
            line("basic_year", (-25, YEAR - 45), id="il_2", amount=-18_904, proration=True),
            line("basic", (-25, 5), id="il_3"),
            when=-25,
            reason="subscription_update",
        ),
    ]
    return Situation(
        name=f"a year switched to a month before its second part counts the same, known only after it: {is_late}, {policy}",
        phases=[_years("basic_year"), 400, month] if is_late else [[*_years("basic_year"), *month], 400],
        expected={"tokens": 600 if policy == "reset" else 1267},
        policy=BOTH[policy],
    )


def year_canceled(policy: str, *, is_late: bool) -> Situation:
    """The subscription ended 20 days after its start. Its first part stays, and its second part never became due."""
    shown = subscribed(
        item("basic_year", created=-45), when=-25, begun=-45, period=(-45, YEAR - 45), status="canceled",
        ended_at=at(-25), canceled_at=at(-25),
    )  # fmt: skip
    ended = [shown | {"type": "customer.subscription.deleted"}]
    return Situation(
        name=f"a year canceled before its second part gives no second part, known only after it: {is_late}, {policy}",
        phases=[_years("basic_year"), 400, ended] if is_late else [[*_years("basic_year"), *ended], 400],
        expected={"tokens": 600},
        policy=BOTH[policy],
    )


def year_upgraded_after_a_missed_part(policy: str) -> Situation:
    """Nothing was computed when the second part became due. At the upgrade two thirds of that part were left.

    Reset: 1,000 - 666 + 3,333. Add: 1,000 more, from the first part.
    """
    return Situation(
        name=f"a part missed before an upgrade is granted for the old item, {policy}",
        phases=[
            [
                *_years("basic_year"),
                *catalogue("pro_year"),
                subscribed(item("pro_year", created=-45), when=-5, begun=-45, period=(-45, YEAR - 45)),
                invoiced(
                    "in_2",
                    line("basic_year", (-5, YEAR - 45), id="il_2", amount=-17_808, proration=True),
                    line("pro_year", (-5, YEAR - 45), id="il_3", amount=89_041, proration=True),
                    when=-5,
                    reason="subscription_update",
                ),
            ]
        ],
        expected={"tokens": 3667 if policy == "reset" else 4667, "next_change": 15},
        policy=BOTH[policy],
    )


SITUATIONS = [
    switch_to_year(),
    *(free_to_paid(is_flagged=is_flagged) for is_flagged in (False, True)),
    *(year_to_month(is_paid=is_paid) for is_paid in (False, True)),
    *(
        make(policy)
        for make in (
            upgrade_charged_at_once,
            upgrade_in_the_first_minute,
            downgrade_in_the_first_hour,
            more_seats,
        )
        for policy in BOTH
    ),
    *(upgrade_charged_with_the_next_cycle(policy) for policy in BOTH),
    *(yearly_add_on_removed(is_swapped=is_swapped) for is_swapped in (False, True)),
    *(yearly_plan_with_a_renewed_add_on(spent) for spent in (0, 50)),
    *(upgrade_reversed(policy) for policy in BOTH),
    *(
        make(policy, is_late=is_late)
        for make in (
            year_upgraded,
            yearly_add_on_removed_before_its_second_part,
            year_switched_to_month,
            year_canceled,
        )
        for policy in BOTH
        for is_late in (False, True)
    ),
    *(year_upgraded_after_a_missed_part(policy) for policy in BOTH),
]
