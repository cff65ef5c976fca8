"""Lives of subscriptions as Stripe's events, with the MRR of each day computed by hand.

Each life has its own products, so all of them can be played into one database. Days count from 2026-01-01 UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

from tests.factories import DAY, Json, coupon, customer, discount, event, price, subscription, subscription_item, update

FIRST_DAY = date(2026, 1, 1)
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
DAYS = 130
NOON = 12 * 3600


def noon(day: int) -> int:
    """Return the unix time of noon on a day."""
    return START + day * DAY + NOON


def on(day: int) -> date:
    """Return the date of a day."""
    return FIRST_DAY + timedelta(days=day)


@dataclass
class Subscribed:
    """The present state of a subscription, with the list that each change adds an event to."""

    now: Json
    events: list[Json]

    def change(self, at: int, type_: str = "customer.subscription.updated", **changes: Any) -> None:
        """Change the subscription, with the event that Stripe would send."""
        before, self.now = self.now, {**self.now, **changes}
        made = update if type_.endswith("updated") else lambda kind, _, after, **more: event(kind, after, **more)
        # Later events get smaller ids, so only previous_attributes show which event of the same second is the last.
        self.events.append(
            made(type_, before, self.now, created=at, id=f"evt_{self.now['id']}_{999 - len(self.events)}")
        )

    def end(self, at: int) -> None:
        """End the subscription."""
        self.change(at, "customer.subscription.deleted", status="canceled", ended_at=at, canceled_at=at)


@dataclass
class Life:
    """The events of a life, with the expected MRR and movements.

    `mrr` has a pair for each change of a product's MRR: the day and the new amount. `movements` are of all products together.
    """

    name: str
    events: list[Json] = field(default_factory=list)
    mrr: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    movements: list[tuple[int, str, int]] = field(default_factory=list)
    currency: str = "usd"

    def product(self, kind: str = "") -> str:
        """Return the id of a product of this life."""
        return f"prod_{self.name}{kind}"

    def item(
        self, amount: int | None, *, kind: str = "", per: str = "month", count: int = 1, quantity: int = 1, **more: Any
    ) -> Json:
        """Return an item with a price of this amount."""
        recurring = {"interval": per, "interval_count": count, "usage_type": "licensed", "meter": None}
        made = price(
            f"price_{self.name}{kind}_{amount}_{per}",
            product=self.product(kind),
            unit_amount=amount,
            unit_amount_decimal=None if amount is None else str(amount),
            currency=self.currency,
            recurring=recurring | more.pop("recurring", {}),
            **more.pop("price", {}),
        )
        return {**subscription_item(f"si_{self.name}{kind}", quantity=quantity, **more), "price": made, "plan": None}

    def subscribe(self, at: int, *items: Json, number: int = 1, **more: Any) -> Subscribed:
        """Begin a subscription. Unless another status is given, it is active in the same second, as in a sign-up."""
        id_ = f"sub_{self.name}{number}"
        given: Json = {
            "customer": f"cus_{self.name}",
            "currency": self.currency,
            "created": at,
            "start_date": at,
        } | more
        status = given.pop("status", "active")
        born = subscription(id_, items=items, status="incomplete" if status == "active" else status, **given)
        self.events.append(event("customer.subscription.created", born, created=at))
        made = Subscribed(born, self.events)
        if status == "active":
            made.change(at, status="active")
        return made

    def redeem(
        self, id_: str, at: int, *, end: int | None = None, subscription: str | None = "1", **terms: Any
    ) -> Json:
        """Add a coupon and its discount `id_`: on the subscription with this number, or on the customer if there is none."""
        known = coupon(f"co_{id_}", **{"percent_off": None, "amount_off": None, "currency": None, **terms})
        given = discount(id_, customer=f"cus_{self.name}", start=at, end=end)
        given["subscription"] = subscription and f"sub_{self.name}{subscription}"
        given["source"] = {"type": "coupon", "coupon": known["id"]}
        self.events.append(event("coupon.created", known, created=at))
        self.events.append(event("customer.discount.created", given, created=at))
        return given

    def by_day(self, product: str) -> dict[date, int]:
        """Return the MRR of a product on every day that has any."""
        steps = [*self.mrr[product], (DAYS, 0)]
        return {
            on(day): amount for (since, amount), (until, _) in pairwise(steps) for day in range(since, until) if amount
        }


def with_items(items: Sequence[Json], of: Json) -> Json:
    """Return the embedded list of these items."""
    return {**of["items"], "data": list(items)}


def lives() -> list[Life]:
    """Return new copies of all lives."""
    return [
        _upgrade_on_renewal(), _seats(), _intervals(), _repeating_coupon(), _amount_off(), _once(), _trial(), _dunning(),
        _pause(), _two_subscriptions(), _waiting_cancellation(), _comeback(), _deleted_customer(), _tiers(), _metered(),
        _add_on_with_a_discount(), _customer_s_discount(), _euros(),
    ]  # fmt: skip


def _upgrade_on_renewal() -> Life:
    life = Life("upgrade")
    basic, pro = life.item(1000), life.item(2900, kind="pro")
    it = life.subscribe(noon(0), basic)
    renewed = {**basic, "current_period_start": noon(31), "current_period_end": noon(59)}
    it.change(noon(31), items=with_items([renewed], it.now), latest_invoice="in_2")
    it.change(noon(31), items=with_items([pro], it.now))
    life.mrr = {life.product(): [(0, 1000), (31, 0)], life.product("pro"): [(31, 2900)]}
    life.movements = [(0, "new", 1000), (31, "expansion", 1900)]
    return life


def _seats() -> Life:
    life = Life("seats")
    it = life.subscribe(noon(3), life.item(12000, per="year", quantity=3))
    it.change(noon(40), items=with_items([life.item(12000, per="year", quantity=5)], it.now))
    it.change(noon(50), items=with_items([life.item(12000, per="year", quantity=1)], it.now))
    # Only the end of a day counts.
    it.change(noon(60), items=with_items([life.item(12000, per="year", quantity=9)], it.now))
    it.change(noon(60) + 60, items=with_items([life.item(12000, per="year", quantity=1)], it.now))
    life.mrr = {life.product(): [(3, 3000), (40, 5000), (50, 1000)]}
    life.movements = [(3, "new", 3000), (40, "expansion", 2000), (50, "contraction", -4000)]
    return life


def _intervals() -> Life:
    life = Life("intervals")
    # 700 x 52 / 12 = 3033.33, 100 x 365 / 12 = 3041.67, 3000 / 3 = 1000.
    week, day = life.item(700, kind="week", per="week"), life.item(100, kind="day", per="day")
    life.subscribe(noon(0), week, day, life.item(3000, kind="quarter", count=3))
    life.mrr = {
        life.product("week"): [(0, 3033)],
        life.product("day"): [(0, 3042)],
        life.product("quarter"): [(0, 1000)],
    }
    life.movements = [(0, "new", 7075)]
    return life


def _repeating_coupon() -> Life:
    life = Life("repeating")
    life.redeem("di_repeating", noon(0), end=noon(90), percent_off=25, duration="repeating", duration_in_months=3)
    life.subscribe(noon(0), life.item(2000), discounts=["di_repeating"])
    life.mrr = {life.product(): [(0, 1500), (90, 2000)]}
    life.movements = [(0, "new", 1500), (90, "expansion", 500)]
    return life


def _amount_off() -> Life:
    life = Life("off")
    life.redeem("di_off", noon(10), amount_off=300, currency="usd", duration="forever")
    it = life.subscribe(noon(0), life.item(12000, per="year"))
    it.change(noon(10), discounts=["di_off"])
    life.mrr = {life.product(): [(0, 1000), (10, 975)]}
    life.movements = [(0, "new", 1000), (10, "contraction", -25)]
    return life


def _once() -> Life:
    life = Life("once")
    life.redeem("di_once", noon(0), percent_off=100, duration="once")
    it = life.subscribe(noon(0), life.item(2000), discounts=["di_once"])
    it.change(noon(31), discounts=[])
    life.mrr = {life.product(): [(0, 2000)]}
    life.movements = [(0, "new", 2000)]
    return life


def _trial() -> Life:
    life = Life("trial")
    it = life.subscribe(noon(0), life.item(2000), status="trialing", trial_start=noon(0), trial_end=noon(14))
    it.change(noon(14), status="active")
    life.mrr = {life.product(): [(14, 2000)]}
    life.movements = [(14, "new", 2000)]
    return life


def _dunning() -> Life:
    life = Life("dunning")
    it = life.subscribe(noon(0), life.item(2000))
    it.change(noon(31), status="past_due")
    it.change(noon(45), status="unpaid")
    it.change(noon(50), status="active")
    life.mrr = {life.product(): [(0, 2000), (45, 0), (50, 2000)]}
    life.movements = [(0, "new", 2000), (45, "churn", -2000), (50, "reactivation", 2000)]
    return life


def _pause() -> Life:
    life = Life("pause")
    it = life.subscribe(noon(0), life.item(2000))
    it.change(noon(10), pause_collection={"behavior": "void", "resumes_at": None})
    it.change(noon(20), pause_collection=None)
    it.change(noon(30), status="paused")
    life.mrr = {life.product(): [(0, 2000), (10, 0), (20, 2000), (30, 0)]}
    life.movements = [(0, "new", 2000), (10, "churn", -2000), (20, "reactivation", 2000), (30, "churn", -2000)]
    return life


def _two_subscriptions() -> Life:
    life = Life("two")
    first = life.subscribe(noon(0), life.item(2000))
    second = life.subscribe(noon(5), life.item(500, kind="more"), number=2)
    first.end(noon(9))
    second.end(noon(12))
    life.mrr = {life.product(): [(0, 2000), (9, 0)], life.product("more"): [(5, 500), (12, 0)]}
    life.movements = [(0, "new", 2000), (5, "expansion", 500), (9, "contraction", -2000), (12, "churn", -500)]
    return life


def _waiting_cancellation() -> Life:
    life = Life("waiting")
    it = life.subscribe(noon(0), life.item(2000))
    it.change(noon(10), cancel_at_period_end=True, cancel_at=noon(31), canceled_at=noon(10))
    it.end(noon(31))
    life.mrr = {life.product(): [(0, 2000), (31, 0)]}
    life.movements = [(0, "new", 2000), (31, "churn", -2000)]
    return life


def _comeback() -> Life:
    life = Life("comeback")
    life.subscribe(noon(0), life.item(2000)).end(noon(20))
    life.subscribe(noon(60), life.item(3000), number=2)
    life.mrr = {life.product(): [(0, 2000), (20, 0), (60, 3000)]}
    life.movements = [(0, "new", 2000), (20, "churn", -2000), (60, "reactivation", 3000)]
    return life


def _deleted_customer() -> Life:
    life = Life("deleted")
    it = life.subscribe(noon(0), life.item(2000))
    it.end(noon(7))
    life.events.append(event("customer.deleted", customer("cus_deleted"), created=noon(7)))
    life.mrr = {life.product(): [(0, 2000), (7, 0)]}
    life.movements = [(0, "new", 2000), (7, "churn", -2000)]
    return life


def _tiers() -> Life:
    life = Life("tiers")
    tiers = [
        {"up_to": 5, "unit_amount": 100, "flat_amount": None},
        {"up_to": None, "unit_amount": 50, "flat_amount": 200},
    ]
    graduated = {"billing_scheme": "tiered", "tiers_mode": "graduated", "tiers": tiers}
    volume = {"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": tiers}
    # 5 x 100 + 2 x 50 + 200 = 800; 7 x 50 + 200 = 550. Tiers that Stripe does not show count as 0.
    life.subscribe(
        noon(0),
        life.item(None, kind="graduated", quantity=7, price=graduated),
        life.item(None, kind="volume", quantity=7, price=volume),
        life.item(None, kind="hidden", quantity=7, price={**volume, "tiers": None}),
    )
    life.mrr = {life.product("graduated"): [(0, 800)], life.product("volume"): [(0, 550)], life.product("hidden"): []}
    life.movements = [(0, "new", 1350)]
    return life


def _metered() -> Life:
    life = Life("metered")
    life.subscribe(noon(0), life.item(1000), life.item(5, kind="use", recurring={"usage_type": "metered"}))
    life.mrr = {life.product(): [(0, 1000)], life.product("use"): []}
    life.movements = [(0, "new", 1000)]
    return life


def _add_on_with_a_discount() -> Life:
    life = Life("addon")
    life.redeem("di_addon", noon(0), percent_off=50, duration="forever")
    life.subscribe(noon(0), life.item(1000), life.item(600, kind="add", discounts=["di_addon"]))
    life.mrr = {life.product(): [(0, 1000)], life.product("add"): [(0, 300)]}
    life.movements = [(0, "new", 1300)]
    return life


def _customer_s_discount() -> Life:
    life = Life("loyal")
    plan, add_on = life.item(2000), life.item(600, kind="add", discounts=["di_loyal_add"])
    it = life.subscribe(noon(0), plan, add_on)
    life.redeem("di_loyal_add", noon(0), percent_off=50, duration="forever")
    # 10 % off both products from day 10 on. From day 20 to 30 the subscription's own 25 % applies instead.
    given = life.redeem("di_loyal", noon(10), subscription=None, percent_off=10, duration="forever")
    life.redeem("di_loyal_own", noon(20), end=noon(30), percent_off=25, duration="repeating", duration_in_months=1)
    it.change(noon(20), discounts=["di_loyal_own"])
    it.change(noon(30), discounts=[])
    life.events.append(event("customer.discount.deleted", given, created=noon(40)))
    # Another discount, which is shown by the customer but has no event of its own.
    again = {**given, "id": "di_loyal_again", "start": noon(50), "end": noon(60)}
    life.events.append(event("customer.updated", customer("cus_loyal", discount=again), created=noon(50)))
    life.mrr = {
        life.product(): [(0, 2000), (10, 1800), (20, 1500), (30, 1800), (40, 2000), (50, 1800), (60, 2000)],
        life.product("add"): [(0, 300), (10, 270), (20, 225), (30, 270), (40, 300), (50, 270), (60, 300)],
    }
    life.movements = [
        (0, "new", 2300), (10, "contraction", -230), (20, "contraction", -345), (30, "expansion", 345),
        (40, "expansion", 230), (50, "contraction", -230), (60, "expansion", 230),
    ]  # fmt: skip
    return life


def _euros() -> Life:
    life = Life("euros", currency="eur")
    life.subscribe(noon(0), life.item(1990))
    life.mrr = {life.product(): [(0, 1990)]}
    life.movements = [(0, "new", 1990)]
    return life
