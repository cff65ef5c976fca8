"""Build the events of one user's life at Stripe, from hand-written days and amounts.

Times are in days from T0, which is an hour ago, so everything has happened already. Prices are per 10 or 30 days, so that
prorations can be computed by hand. Only a yearly price follows the calendar.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests import factories
from tests.factories import DAY, NEW, OLD, Json, event
from worker.membership.rules.access import Policy

T0 = int(time.time()) - 3600
RESET = Policy(token_ttl=timedelta(days=60))
ADD = Policy(token_ttl=timedelta(days=60), tokens_reset=False)
BOTH = {"reset": RESET, "add": ADD}


def at(days: float) -> int:
    """Return the time this many days after T0, in unix seconds."""
    return T0 + round(days * DAY)


# Product: tokens, and its other metadata. Price: product, days of its interval (0 means one-time), minor units.
_PRODUCTS: dict[str, tuple[int, dict[str, str]]] = {
    "basic": (1_000, {}),
    "pro": (5_000, {}),
    "free": (50, {"role": "USER"}),
    "addon": (100, {}),
    "addon_big": (200, {}),
    "pack": (500, {"role": "USER"}),
    "setup": (0, {"role": "USER"}),
    "lifetime": (0, {"access": "lifetime"}),
    "month_pass": (0, {"access": "30"}),
    "huge": (100_000_000, {}),
}
_PRICES: dict[str, tuple[str, int, int]] = {
    "basic": ("basic", 30, 2_000),
    "pro": ("pro", 30, 10_000),
    "basic_year": ("basic", 365, 20_000),
    "pro_year": ("pro", 365, 100_000),
    "free": ("free", 30, 0),
    "addon_10": ("addon", 10, 500),
    "addon_year": ("addon", 365, 5_000),
    "addon_big_year": ("addon_big", 365, 9_000),
    "usage": ("basic", 30, 10),
    "pack": ("pack", 0, 1_500),
    "setup": ("setup", 0, 5_000),
    "lifetime": ("lifetime", 0, 30_000),
    "month_pass": ("month_pass", 0, 3_000),
    "huge": ("huge", 30, 2_000),
}


def price(name: str) -> Json:
    """Return the price, as Stripe embeds it in an item and in old lines."""
    product, days, amount = _PRICES[name]
    interval = {"interval": "year", "interval_count": 1} if days == 365 else {"interval": "day", "interval_count": days}
    return factories.price(
        f"price_{name}",
        product=f"prod_{product}",
        type="recurring" if days else "one_time",
        recurring={**interval, "usage_type": "metered" if name == "usage" else "licensed"} if days else None,
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )


def catalogue(*prices: str) -> list[Json]:
    """Return the events that create these prices and their products."""
    products = dict.fromkeys(_PRICES[name][0] for name in prices)
    return [
        *(product(name) for name in products),
        *(event("price.created", price(name), created=at(-400)) for name in prices),
    ]


def product(name: str, **metadata: str) -> Json:
    """Return the event that creates the product. If no metadata is given, it has the metadata in _PRODUCTS."""
    tokens, own = _PRODUCTS[name]
    made = factories.product(f"prod_{name}", created=at(-400))
    return event("product.created", made | {"metadata": metadata or {"tokens": str(tokens), **own}}, created=at(-400))


def jenny(**more: Any) -> Json:
    """Return the event that creates the customer of the user `jenny`."""
    return event("customer.created", factories.customer("cus_jenny", user_id="jenny", **more), created=at(-400))


def item(name: str, *, id: str = "si_1", quantity: int = 1, created: float = -20, **more: Any) -> Json:
    """Return a subscription item of the price `name`."""
    made = factories.subscription_item(id, price=f"price_{name}", product=f"prod_{_PRICES[name][0]}", quantity=quantity)
    return made | {"price": price(name), "plan": None, "created": at(created)} | more


def subscribed(
    *items: Json,
    when: float,
    begun: float | None = None,
    period: tuple[float, float] | None = None,
    status: str = "active",
    id: str = "sub_1",
    version: str = NEW,
    **more: Any,
) -> Json:
    """Return an event of the day `when` that shows the subscription. Without `begun` the event creates it."""
    start, end = period or (when, when + 30)
    made = factories.subscription(
        id, items=items, status=status, shape=OLD if version < "2024-07" else NEW,
        period_start=at(start), period_end=at(end), created=at(when if begun is None else begun), **more,
    )  # fmt: skip
    type_ = "customer.subscription.created" if begun is None else "customer.subscription.updated"
    return event(type_, made, created=at(when), api_version=version)


def line(
    name: str,
    period: tuple[float, float],
    *,
    id: str,
    amount: int | None = None,
    quantity: int = 1,
    proration: bool = False,
    item: str = "si_1",
    subscription: str = "sub_1",
    shape: str = NEW,
    **more: Any,
) -> Json:
    """Return an invoice's line of the price `name`, for a period in days."""
    product, _, unit_amount = _PRICES[name]
    made = factories.line_item(
        id,
        shape=shape,
        price=f"price_{name}",
        product=f"prod_{product}",
        amount=unit_amount * quantity if amount is None else amount,
        quantity=quantity,
        proration=proration,
        subscription=subscription,
        subscription_item=item,
        period_start=at(period[0]),
        period_end=at(period[1]),
    )
    return made | ({"price": price(name), "plan": None} if shape == OLD else {}) | more


def one_time(name: str, *, id: str, when: float, quantity: int = 1, subscription: str | None = None) -> Json:
    """Return an invoice's line of a one-time price. `subscription` is the invoice's subscription, if any."""
    made = line(name, (when, when), id=id, quantity=quantity, subscription=subscription or "")
    details = {"invoice_item": f"ii_{id}", "proration": False, "subscription": subscription}
    return made | {
        "subscription": subscription,
        "parent": {"type": "invoice_item_details", "invoice_item_details": details},
    }


def invoiced(
    id: str,
    *lines: Json,
    when: float,
    status: str = "paid",
    reason: str | None = "subscription_cycle",
    total: int | None = None,
    shape: str = NEW,
    version: str | None = None,
    seen: float | None = None,
    subscription: str | None = "sub_1",
    **more: Any,
) -> Json:
    """Return the event of an invoice made on the day `when`, and paid on the same day if `status` is `paid`."""
    paid = status == "paid"
    sums: int = sum(line["amount"] for line in lines) if total is None else total
    made = factories.invoice(
        id,
        shape=shape,
        status=status,
        lines=[{**line, "invoice": id} for line in lines],
        billing_reason=reason or "",
        total=sums,
        subscription=subscription,
        payment_intent=f"pi_{id}",
        created=at(when),
        status_transitions={"finalized_at": at(when), "paid_at": at(when) if paid else None},
    )
    made |= {"billing_reason": reason} | more
    type_ = "invoice.paid" if paid else "invoice.finalized"
    return event(type_, made, created=at(when if seen is None else seen), api_version=version or shape)


def payment_of(invoice: str, *, when: float, amount: int) -> list[Json]:
    """Return the events of the payment that paid the invoice, and of that payment's charge."""
    intent, charge = f"pi_{invoice}", f"ch_{invoice}"
    return [
        event(
            "invoice_payment.paid",
            factories.invoice_payment(f"inpay_{invoice}", invoice=invoice, payment_intent=intent),
            created=at(when),
        ),
        event(
            "payment_intent.succeeded",
            factories.payment_intent(intent, amount=amount, latest_charge=charge),
            created=at(when),
        ),
        event(
            "charge.succeeded",
            factories.charge(charge, payment_intent=intent, amount=amount, amount_captured=amount, created=at(when)),
            created=at(when),
        ),
    ]


def refunded(
    payment: str,
    amount: int,
    *,
    id: str = "re_1",
    when: float = 0,
    status: str = "succeeded",
    type: str = "refund.created",
) -> Json:
    """Return the event of a refund of `amount` minor units of the payment's charge."""
    made = factories.refund(
        id, amount=amount, status=status, charge=f"ch_{payment}", payment_intent=f"pi_{payment}", created=at(when)
    )
    return event(type, made, created=at(when))


def checkout(id: str = "cs_1", *, when: float = -1, amount: int = 1_500, **more: Any) -> Json:
    """Return the event of a completed Checkout session in payment mode, without an invoice unless one is given."""
    facts: Json = {"mode": "payment", "subscription": None, "invoice": None, "payment_intent": f"pi_{id}"} | more
    made = factories.checkout_session(id, created=at(when), amount_total=amount, **facts)
    return event("checkout.session.completed", made, created=at(when))


@dataclass(frozen=True, kw_only=True)
class Situation:
    """The events, phase by phase, and the state in which the user must end.

    A phase is a list of events in any order, or a number of tokens that the user spends after the earlier phases.
    The keys of `expected` are columns of the user's row, and `next_change`: the day of the next change, or None.
    """

    name: str
    phases: Sequence[Sequence[Json] | int]
    expected: Mapping[str, Any] = field(default_factory=dict)
    policy: Policy = RESET
