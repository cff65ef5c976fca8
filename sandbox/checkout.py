"""Checkout sessions: opened by the application, completed by the buyer, or left to expire."""

from typing import Any

from sandbox import customers, payments, subscriptions
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.store import Record

_OPEN_SECONDS = 24 * 3600


def open_session(
    account: Account, *, mode: str, prices: list[tuple[str, int]], trial_days: int | None = None, **fields: Any
) -> str:
    """A session that waits for its buyer; returns its id."""
    total = sum(account.get("price", price)["unit_amount"] * quantity for price, quantity in prices)
    id = account.ids.plain("cs_test_a1", 58)
    record = {
        "id": id,
        "amount_subtotal": total,
        "amount_total": 0 if trial_days else total,
        "created": account.now,
        "currency": account.get("price", prices[0][0])["currency"],
        "expires_at": account.now + _OPEN_SECONDS,
        "mode": mode,
        "url": f"https://checkout.stripe.com/c/pay/{id}",
        "_prices": [list(price) for price in prices],
        "_trial_days": trial_days,
        **fields,
    }
    account.create("checkout.session", record)
    return id


def line_item_id(session: Record, index: int) -> str:
    """The id of one of the things that the session sells."""
    return f"li_{session['id'][-22:]}{index:02}"


def complete(
    account: Account,
    id: str,
    *,
    email: str | None = None,
    name: str | None = None,
    coupon: str | None = None,
    customer_metadata: dict[str, str] | None = None,
) -> None:
    """The buyer pays. A customer is made unless the session names one."""
    session = account.get("checkout.session", id)
    if session.get("status", "open") != "open":
        raise invalid("This Checkout Session is no longer open.")
    customer = session.get("customer")
    if customer is None:
        customer = customers.create_customer(account, email=email, name=name, metadata=customer_metadata or {})["id"]
    payer = account.get("customer", customer)
    details: Record = {
        "address": None,
        "business_name": None,
        "email": payer.get("email"),
        "individual_name": None,
        "name": payer.get("name"),
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    card = customers.attach_card(account, customer)["id"]
    buy = _subscribe if session["mode"] == "subscription" else _pay_once
    bought = buy(account, session, customer, card, coupon)
    account.change(
        "checkout.session", id, customer=customer, customer_details=details, status="complete", url=None, **bought
    )
    account.emit("checkout.session.completed", "checkout.session", id)


def expire(account: Account, id: str) -> None:
    """Nobody came."""
    account.change("checkout.session", id, status="expired", url=None)
    account.emit("checkout.session.expired", "checkout.session", id)


def _subscribe(account: Account, session: Record, customer: str, card: str, coupon: str | None) -> dict[str, Any]:
    trial_days = session["_trial_days"]
    subscription = subscriptions.create(
        account,
        customer=customer,
        prices=[(price, quantity) for price, quantity in session["_prices"]],
        trial_end=account.now + trial_days * 24 * 3600 if trial_days else None,
        coupon=coupon,
        default_payment_method=card,
        metadata=session.get("_subscription_metadata", {}),
    )
    invoice = account.get("subscription", subscription)["latest_invoice"]
    total = account.get("invoice", invoice)["total"]
    discount = session["amount_subtotal"] - total if coupon is not None else 0
    return {
        "amount_total": total,
        "invoice": invoice,
        "payment_status": "paid" if total else "no_payment_required",
        "subscription": subscription,
        "total_details": {"amount_discount": discount, "amount_shipping": 0, "amount_tax": 0},
    }


def _pay_once(account: Account, session: Record, customer: str, card: str, coupon: str | None) -> dict[str, Any]:
    intent = payments.create_intent(
        account, amount=session["amount_total"], currency=session["currency"], customer=customer
    )
    account.clock.let_pass(1)
    payments.succeed(account, intent, card)
    return {"payment_intent": intent, "payment_status": "paid"}
