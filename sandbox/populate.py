"""Create many objects at once, without events, as in an account that existed before the daemon."""

import random
from typing import Any

from sandbox.account import Account
from sandbox.periods import period_end
from sandbox.store import Record

_YEAR = 365 * 24 * 3600
_STATUSES = ("active",) * 90 + ("past_due",) * 3 + ("canceled",) * 4 + ("trialing",) * 2 + ("unpaid",)


def populate(
    account: Account,
    *,
    products: int = 3,
    customers: int = 0,
    subscriptions: int = 0,
    invoices: bool = False,
    charges: int = 0,
    seed: int = 0,
    user_prefix: str = "user_",
) -> dict[str, Any]:
    """Create these numbers of objects, spread over the last year.

    Returns the ids of the products, and the number of objects of each type. The subscriptions are given to the customers in
    turn. Customer n belongs to the user `user_prefix` + n.
    """
    chance = random.Random(seed)
    now = account.now
    prices = [_product(account, number, now - _YEAR) for number in range(max(products, 1))]
    first = len(account.store.shelves["customer"].entries)
    count = customers or (1 if subscriptions or charges else 0)
    made = [
        _customer(account, f"{user_prefix}{first + number}", now - _YEAR + number * _YEAR // (count + 1))
        for number in range(count)
    ]
    for number in range(subscriptions):
        created = now - _YEAR + number * _YEAR // (subscriptions + 1)
        _subscription(account, made[number % count], chance.choice(prices), created, chance.choice(_STATUSES), invoices)
    for number in range(charges):
        _charge(account, made[number % count], now - _YEAR + number * _YEAR // (charges + 1))
    return {
        "products": [price["product"] for price in prices],
        "prices": [price["id"] for price in prices],
        "customers": count,
        "subscriptions": subscriptions,
        "invoices": subscriptions if invoices else 0,
        "charges": charges,
    }


def _product(account: Account, number: int, created: int) -> Record:
    tokens = str(1000 * (number + 1))
    product = {
        "id": account.ids.plain("prod_"),
        "created": created,
        "metadata": {"role": "PREMIUM", "tokens": tokens},
        "name": f"Plan {number}",
        "updated": created,
    }
    price = {
        "id": account.ids.timed("price_", created),
        "created": created,
        "currency": "usd",
        "product": product["id"],
        "recurring": {
            "interval": "month",
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "type": "recurring",
        "unit_amount": 900 + 100 * number,
        "unit_amount_decimal": str(900 + 100 * number),
    }
    account.create("product", product)
    return account.create("price", price)


def _customer(account: Account, user_id: str, created: int) -> str:
    record = {
        "id": account.ids.plain("cus_"),
        "created": created,
        "currency": "usd",
        "email": f"{user_id}@example.com",
        "invoice_prefix": account.ids.characters(8).upper(),
        "metadata": {"user_id": user_id},
    }
    return str(account.create("customer", record)["id"])


def _subscription(
    account: Account, customer: str, price: Record, created: int, status: str, with_invoice: bool
) -> None:
    now = account.now
    start, end = _current_period(created, now, ended=status == "canceled")
    item = {
        "id": account.ids.plain("si_"),
        "created": created,
        "current_period_end": end,
        "current_period_start": start,
        "metadata": {},
        "price": price["id"],
        "quantity": 1,
    }
    record: Record = {
        "id": account.ids.timed("sub_", created),
        "billing_cycle_anchor": created,
        "created": created,
        "currency": "usd",
        "customer": customer,
        "items": [item],
        "metadata": {},
        "start_date": created,
        "status": status,
    }
    if status == "canceled":
        record.update(canceled_at=end, ended_at=end)
    elif status == "trialing":
        record.update(trial_start=start, trial_end=end)
    if with_invoice:
        record["latest_invoice"] = _invoice(account, record, price, start)
    account.create("subscription", record)


def _invoice(account: Account, subscription: Record, price: Record, at: int) -> str:
    item = subscription["items"][0]
    amount = 0 if subscription["status"] == "trialing" else price["unit_amount"]
    paid = subscription["status"] in ("active", "canceled", "trialing")
    line = {
        "id": account.ids.timed("il_", at),
        "amount": amount,
        "description": "Trial period" if amount == 0 else "1 × membership",
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "price": price["id"],
        "product": price["product"],
        "proration": False,
        "quantity": 1,
        "subscription_item": item["id"],
        "unit_amount": amount,
        "_means": "trial" if amount == 0 else "period",
        "_share": [1, 1],
    }
    record = {
        "id": account.ids.timed("in_", at),
        "amount_due": amount,
        "amount_paid": amount if paid else 0,
        "amount_remaining": 0 if paid else amount,
        "attempt_count": 1,
        "attempted": True,
        "auto_advance": not paid,
        "billing_reason": "subscription_create" if at == subscription["created"] else "subscription_cycle",
        "created": at,
        "currency": "usd",
        "customer": subscription["customer"],
        "effective_at": at,
        "ending_balance": 0,
        "lines": [line],
        "number": f"{account.ids.characters(8).upper()}-0001",
        "period_end": at,
        "period_start": at,
        "starting_balance": 0,
        "status": "paid" if paid else "open",
        "status_transitions": {
            "finalized_at": at,
            "marked_uncollectible_at": None,
            "paid_at": at if paid else None,
            "voided_at": None,
        },
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "_charge": None,
        "_payment_intent": None,
        "_subscription": subscription["id"],
        "_subscription_metadata": {},
    }
    return str(account.create("invoice", record)["id"])


def _charge(account: Account, customer: str, created: int) -> None:
    record = {
        "id": account.ids.of_payment("ch_", created),
        "amount": 900,
        "amount_captured": 900,
        "created": created,
        "currency": "usd",
        "customer": customer,
        "_invoice": None,
    }
    account.create("charge", record)


def _current_period(created: int, now: int, *, ended: bool) -> tuple[int, int]:
    """The period that contains `now`, or the first period of a subscription that has ended with that period."""
    start, end = created, period_end(created, "month", 1, anchor=created)
    while end <= now and not ended:
        start, end = end, period_end(end, "month", 1, anchor=created)
    return start, end
