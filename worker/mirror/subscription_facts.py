"""Facts for the history of subscriptions: what each snapshot shows about revenue, and which of several states in one
second is the last.

A snapshot that loses against the mirrored row still shows the subscription's state at its second, and its
previous_attributes show the state just before. So every event adds its facts, whatever the version rule decides about
the row.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from worker.mirror.fold import Observation
from worker.mirror.registry import object_type
from worker.mirror.version import put_back
from worker.stripe_api.json_paths import Json, canonical, embedded, fit, reference

SUBSCRIPTION = "subscription"
GONE = "deleted"
# Months in one interval, as docs/revenue.md explains.
_MONTHS = {"day": Decimal(12) / 365, "week": Decimal(12) / 52, "month": Decimal(1), "year": Decimal(12)}
_LONGEST_AMOUNT = Decimal(10) ** 18


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The values that revenue is computed from.

    Times are in unix seconds. `amounts` has one amount for each of `products`: for a month, in minor units, before
    discounts. It is None if the price does not determine it. `discounts` is canonical JSON, or None if there are none.
    """

    customer: str | None = None
    status: str = GONE
    paused: bool = False
    currency: str | None = None
    created: int | None = None
    ended: int | None = None
    trial_end: int | None = None
    products: tuple[str, ...] = ()
    amounts: tuple[Decimal | None, ...] = ()
    months: Decimal | None = None
    discounts: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """The state of a subscription at a second, according to a source. If `before` is true, the state just before that
    second."""

    account: str
    subscription: str
    at: int
    source: str
    before: bool
    rank: int
    state: State
    passed: bool = False

    @property
    def second(self) -> tuple[str, str, int]:
        """The subscription and the second."""
        return (self.account, self.subscription, self.at)


def facts_of(seen: Observation) -> Iterator[Fact]:
    """Yield the facts in an observation of a subscription, nothing for other objects."""
    if seen.key.object != SUBSCRIPTION:
        return
    snapshot = seen.snapshot
    gone = snapshot.deleted or not isinstance(seen.object.get("status"), str)
    state = State() if gone else state_of(seen.object)
    fact = Fact(
        account=seen.key.account,
        subscription=seen.key.id,
        at=_second(seen),
        source=snapshot.source,
        before=False,
        rank=snapshot.rank,
        state=state,
    )
    yield fact
    if seen.previous and not gone:
        before = state_of(put_back(seen.object, seen.previous))
        if before != state:
            yield replace(fact, before=True, state=before)


def _second(seen: Observation) -> int:
    """Return the second of an observation. A read has the real time, so for a test clock the second is taken from the
    object."""
    if seen.previous is None and seen.object.get("test_clock") and seen.snapshot.source.startswith(("get:", "list:")):
        known = (fit("timestamptz", seen.object.get(name)) for name in ("created", "canceled_at", "ended_at"))
        started = (fit("timestamptz", item.get("current_period_start")) for item in embedded(seen.object, "items")[0])
        return max((second for second in (*known, *started) if second is not None), default=seen.snapshot.created)
    return seen.snapshot.created


def state_of(obj: Json) -> State:
    """Return the state of a subscription object of any API version."""
    currency = fit("text", obj.get("currency"))
    items = embedded(obj, "items")[0] or ([obj] if isinstance(obj.get("plan"), dict) else [])
    prices = [_price(item) for item in items]
    currency = currency or next((fit("text", price.get("currency")) for price in prices if price.get("currency")), None)
    sums: dict[str, Decimal | None] = {}
    shown: list[Json] = []
    for item, price in zip(items, prices, strict=True):
        product = reference(price.get("product")) or reference(price) or ""
        known, amount = sums.get(product, Decimal(0)), _monthly(price, item, currency)
        sums[product] = None if known is None or amount is None else known + amount
        shown += [{**discount, "products": [product], "item": True} for discount in _discounts(item)]
    shown += _discounts(obj)
    periods = [months for price in prices if (months := _period(price)) is not None]
    return State(
        customer=reference(obj.get("customer")),
        status=str(obj.get("status")),
        paused=isinstance(obj.get("pause_collection"), dict),
        currency=currency,
        created=fit("timestamptz", obj.get("created")),
        ended=fit("timestamptz", obj.get("ended_at")),
        trial_end=fit("timestamptz", obj.get("trial_end")),
        products=tuple(sorted(sums)),
        amounts=tuple(sums[product] for product in sorted(sums)),
        months=min(periods, default=None),
        discounts=canonical(shown) if shown else None,
    )


def last_of(facts: Sequence[Fact]) -> Fact:
    """Return the last fact of a second, from all known facts of that second.

    A final status is never left, so it comes last. Otherwise each change leads from one state to the next, and the path
    ends at the only state that is entered once more than it is left. If there is no such state, the rank decides, then
    the source.
    """
    after = [fact for fact in facts if not fact.before]
    if final := [fact for fact in after if fact.state.status in object_type(SUBSCRIPTION).final]:
        return max(final, key=_position)
    left = {fact.source: fact.state for fact in facts if fact.before}
    balance: Counter[State] = Counter()
    for fact in after:
        if fact.source in left:
            balance[fact.state] += 1
            balance[left[fact.source]] -= 1
    ends = [state for state, surplus in balance.items() if surplus == 1]
    if len(ends) == 1:
        return max((fact for fact in after if fact.state == ends[0]), key=_position)
    return max(after, key=_position)


def in_their_seconds(facts: Iterable[Fact]) -> list[Fact]:
    """Return the facts. In each second, all states except the last are marked as passed."""
    by_second: dict[tuple[str, str, int], list[Fact]] = {}
    for fact in facts:
        by_second.setdefault(fact.second, []).append(fact)
    marked: list[Fact] = []
    for of_one in by_second.values():
        last = last_of(of_one) if len(of_one) > 1 and any(not fact.before for fact in of_one) else of_one[0]
        marked += [replace(fact, passed=not fact.before and fact.source != last.source) for fact in of_one]
    return marked


def _position(fact: Fact) -> tuple[int, str]:
    return (fact.rank, fact.source)


def _price(item: Json) -> Json:
    price = item.get("price")
    if not isinstance(price, dict):
        price = item.get("plan")
    return price if isinstance(price, dict) else {}


def _recurring(price: Json) -> Json:
    """Return the object with interval, interval_count and usage_type: `recurring` of a price, or the plan itself."""
    recurring = price.get("recurring")
    return recurring if isinstance(recurring, dict) else price


def _period(price: Json) -> Decimal | None:
    recurring = _recurring(price)
    count, months = fit("bigint", recurring.get("interval_count")), _MONTHS.get(str(recurring.get("interval")))
    return None if months is None else months * (count if count and count > 0 else 1)


def _monthly(price: Json, item: Json, currency: str | None) -> Decimal | None:
    """Return an item's monthly amount before discounts; None if the price does not determine it."""
    period = _period(price)
    if _recurring(price).get("usage_type") == "metered" or period is None:
        return Decimal(0)
    given = item.get("quantity")
    quantity = fit("bigint", given) if given is not None else 1
    if quantity is None or (currency is not None and price.get("currency") not in (None, currency)):
        return None
    quantity = _transformed(quantity, price.get("transform_quantity") or price.get("transform_usage"))
    if price.get("billing_scheme") == "tiered":
        amount = _tiered(price.get("tiers"), str(price.get("tiers_mode")), quantity)
    else:
        unit = _number(price.get("unit_amount_decimal") or price.get("amount_decimal"))
        unit = unit if unit is not None else _number(price.get("unit_amount", price.get("amount")))
        amount = None if unit is None else unit * quantity
    if amount is None or abs(amount) > _LONGEST_AMOUNT:
        return None
    return (amount / period).quantize(Decimal("1e-9")).normalize()


def _transformed(quantity: int, transform: Any) -> int:
    divide_by: int | None = fit("bigint", transform.get("divide_by")) if isinstance(transform, dict) else None
    if not divide_by or divide_by < 0:
        return quantity
    return -(-quantity // divide_by) if transform.get("round") == "up" else quantity // divide_by


def _tiered(tiers: Any, mode: str, quantity: int) -> Decimal | None:
    """Return the amount for a quantity. With the mode `volume`, one tier has the price of all units; otherwise each
    tier has the price of its own units. Stripe includes tiers only on request."""
    if not isinstance(tiers, list) or not tiers:
        return None
    total, below = Decimal(0), 0
    for tier in tiers:
        up_to = fit("bigint", tier.get("up_to"))
        end = quantity if up_to is None else min(up_to, quantity)
        unit = _number(tier.get("unit_amount_decimal")) or _number(tier.get("unit_amount")) or Decimal(0)
        flat = _number(tier.get("flat_amount_decimal")) or _number(tier.get("flat_amount")) or Decimal(0)
        if mode == "volume":
            if up_to is None or quantity <= up_to:
                return unit * quantity + flat
        elif end > below:
            total += unit * (end - below) + flat
            below = end
    return total if mode != "volume" else None


def _discounts(holder: Json) -> list[Json]:
    """Return the discounts of a subscription or an item: their ids, and their terms if they were expanded."""
    given = holder.get("discounts")
    if not isinstance(given, list) or not given:
        given = [holder.get("discount")]
    return [known for discount in given if (known := _discount(discount))]


def _discount(discount: Any) -> Json | None:
    if isinstance(discount, str):
        return {"id": discount}
    if not isinstance(discount, dict):
        return None
    source = discount.get("source")
    coupon = discount.get("coupon") or (source.get("coupon") if isinstance(source, dict) else None)
    known: Json = {
        "id": reference(discount),
        "end": fit("timestamptz", discount.get("end")),
        "coupon": reference(coupon),
    }
    if isinstance(coupon, dict):
        known |= {name: coupon.get(name) for name in ("percent_off", "amount_off", "currency", "duration")}
        applies_to = coupon.get("applies_to")
        known["products"] = applies_to.get("products") if isinstance(applies_to, dict) else None
    return {name: value for name, value in known.items() if value is not None}


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
