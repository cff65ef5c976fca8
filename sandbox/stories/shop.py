"""The shop of the stories: memberships, add-ons and one-time products, each created when a story first needs it."""

from dataclasses import dataclass
from typing import Any

from sandbox import catalog, customers
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.store import Record
from sandbox.stories import expected


@dataclass(frozen=True, slots=True)
class _Ware:
    name: str
    metadata: dict[str, str]
    prices: dict[str, tuple[int, str | None]]


_WARES = (
    _Ware(
        "Starter",
        {"role": "PREMIUM", "tokens": "1000"},
        {"starter_monthly": (900, "month"), "starter_yearly": (9000, "year")},
    ),
    _Ware(
        "Pro", {"role": "PREMIUM", "tokens": "5000"}, {"pro_monthly": (2900, "month"), "pro_yearly": (29000, "year")}
    ),
    _Ware("Free", {"role": "USER", "tokens": "50"}, {"free_monthly": (0, "month")}),
    _Ware("Extra", {"tokens": "100"}, {"extra_monthly": (300, "month"), "extra_yearly": (3000, "year")}),
    _Ware("Metered", {"tokens": "1000"}, {"metered_monthly": (1, "month")}),
    _Ware("Token pack", {"tokens": "500"}, {"token_pack": (500, None)}),
    _Ware("Set-up", {"role": "USER"}, {"setup_fee": (1500, None)}),
    _Ware("Lifetime", {"role": "PREMIUM", "access": "lifetime"}, {"lifetime": (19900, None)}),
    _Ware("Month pass", {"role": "PREMIUM", "access": "30"}, {"month_pass": (3900, None)}),
)


def price_named(account: Account, name: str) -> Record:
    """The price with this id or lookup key. The shop's own prices are created when they are first used."""
    price = account.find("price", name)
    if price is not None:
        return price
    for record in reversed(account.view.owned("price", "lookup_keys", name)):
        if record.get("active", True):
            return record
    for ware in _WARES:
        if name in ware.prices:
            return _stock(account, ware)[name]
    raise invalid(f"No such price: '{name}'", "price", "resource_missing")


def customer_of(account: Account, user_id: str, email: str | None = None, name: str | None = None) -> str:
    """The user's newest customer; creates one if there is none."""
    known = [record for record in expected.customers_of(account, user_id) if account.find("customer", record["id"])]
    if known:
        return str(known[-1]["id"])
    record = customers.create_customer(
        account, email=email or f"{user_id}@example.com", name=name, metadata={"user_id": user_id}
    )
    return str(record["id"])


def live_subscription(account: Account, user_id: str | None, subscription: str | None) -> Record:
    """The subscription that a story continues: the given one, or the user's newest that has not ended."""
    if subscription is not None:
        return account.require("subscription", subscription, param="subscription")
    if user_id is None:
        raise invalid("Name the user or the subscription: user_id or subscription.", "user_id", "parameter_missing")
    for record in reversed(expected.subscriptions_of(account, user_id)):
        if record["status"] not in ("canceled", "incomplete_expired"):
            return record
    raise invalid(f"User {user_id} has no subscription that has not ended.", "user_id", "resource_missing")


def user_of(account: Account, customer: str) -> str | None:
    """The user of a customer."""
    record = account.get("customer", customer)
    user_id = record.get("metadata", {}).get("user_id")
    if user_id is not None:
        return str(user_id)
    for session in account.view.owned("checkout.session", "customer", customer):
        if session.get("client_reference_id") is not None:
            return str(session["client_reference_id"])
    return None


def paid_by(account: Account, invoice: str) -> dict[str, Any]:
    """Return the ids of objects that belong to an invoice."""
    record = account.get("invoice", invoice)
    return {"invoice": invoice, "payment_intent": record["_payment_intent"], "charge": record["_charge"]}


def made(account: Account, subscription: str) -> dict[str, Any]:
    """Return the ids of a subscription's objects and its latest invoice's."""
    record = account.get("subscription", subscription)
    item = record["items"][0]
    ids = {
        "customer": record["customer"],
        "subscription": subscription,
        "subscription_item": item["id"],
        "price": item["price"],
        "product": account.get("price", item["price"])["product"],
        **paid_by(account, record["latest_invoice"]),
    }
    user_id = user_of(account, record["customer"])
    return ids if user_id is None else {**ids, "user_id": user_id}


def wait_until(account: Account, second: int) -> None:
    """Advance the clock to a time, unless that time has passed."""
    if account.now < second:
        account.clock.advance(second - account.clock.precise())


def _stock(account: Account, ware: _Ware) -> dict[str, Record]:
    with account.requested(account.request_id()):
        product = catalog.create_product(
            account, name=ware.name, description=f"{ware.name} of the sandbox", metadata=ware.metadata
        )
    stock = {}
    for key, (amount, interval) in ware.prices.items():
        with account.requested(account.request_id()):
            stock[key] = catalog.create_price(
                account,
                product=product["id"],
                unit_amount=amount,
                interval=interval,
                usage_type="metered" if key.startswith("metered") else "licensed",
                lookup_key=key,
            )
    first = next(iter(stock.values()))["id"]
    catalog.update_product(account, product["id"], default_price=first)
    return stock
