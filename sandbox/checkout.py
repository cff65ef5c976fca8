"""Checkout sessions: opened by the application, completed by the buyer, or expired."""

from collections.abc import Sequence
from typing import Any

from sandbox import customers, discounts, invoices, payments, subscriptions
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.store import Record

_OPEN_SECONDS = 24 * 3600
_NO_DETAILS: Record = {
    "address": None,
    "business_name": None,
    "email": None,
    "individual_name": None,
    "name": None,
    "phone": None,
    "tax_exempt": "none",
    "tax_ids": [],
}


def open_session(
    account: Account,
    *,
    mode: str,
    prices: list[tuple[str, int]],
    trial_days: int | None = None,
    anchor: int | None = None,
    flagged: bool = True,
    once: Sequence[tuple[str, int]] = (),
    reason: str = "subscription_create",
    **fields: Any,
) -> str:
    """Open a session for a buyer, and return its id. `anchor`, `flagged`, `once` and `reason` are for
    `subscriptions.create`."""
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
        "_subscribed": {"anchor": anchor, "flagged": flagged, "once": [list(sold) for sold in once], "reason": reason},
        **fields,
    }
    account.create("checkout.session", record)
    return id


def line_item_id(session: Record, index: int) -> str:
    """The id of one of the session's line items."""
    return f"li_{session['id'][-22:]}{index:02}"


def complete(
    account: Account,
    id: str,
    *,
    email: str | None = None,
    name: str | None = None,
    coupon: str | None = None,
    customer_metadata: dict[str, str] | None = None,
    guest: bool = False,
    with_invoice: bool = False,
) -> None:
    """The buyer pays.

    A customer is created unless the session names a customer or the buyer is a `guest`. With `with_invoice` a payment gets
    an invoice, like a session with `invoice_creation` in payment mode.
    """
    session = account.get("checkout.session", id)
    if session.get("status", "open") != "open":
        raise invalid("This Checkout Session is no longer open.")
    customer = session.get("customer")
    if guest:
        bought = _pay_as_guest(account, session)
        details = {**_NO_DETAILS, "email": email, "name": name}
        account.change("checkout.session", id, customer_details=details, status="complete", url=None, **bought)
        account.emit("checkout.session.completed", "checkout.session", id)
        return
    if customer is None:
        customer = customers.create_customer(account, email=email, name=name, metadata=customer_metadata or {})["id"]
    payer = account.get("customer", customer)
    details = {**_NO_DETAILS, "email": payer.get("email"), "name": payer.get("name")}
    card = customers.attach_card(account, customer)["id"]
    if session["mode"] == "subscription":
        bought = _subscribe(account, session, customer, card, coupon)
    elif with_invoice:
        bought = _pay_invoice(account, session, customer, card, coupon)
    else:
        bought = _pay_once(account, session, customer, card, coupon)
    account.change(
        "checkout.session", id, customer=customer, customer_details=details, status="complete", url=None, **bought
    )
    account.emit("checkout.session.completed", "checkout.session", id)


def expire(account: Account, id: str) -> None:
    """The session expires without a payment."""
    account.change("checkout.session", id, status="expired", url=None)
    account.emit("checkout.session.expired", "checkout.session", id)


def _subscribe(account: Account, session: Record, customer: str, card: str, coupon: str | None) -> dict[str, Any]:
    trial_days = session["_trial_days"]
    subscription = subscriptions.create(
        account,
        customer=customer,
        prices=[(price, quantity) for price, quantity in session["_prices"]],
        trial_end=account.now + trial_days * 24 * 3600 if trial_days else None,
        **session["_subscribed"],
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
    if coupon is not None:
        return _for_nothing(session)
    intent = payments.create_intent(
        account, amount=session["amount_total"], currency=session["currency"], customer=customer
    )
    account.clock.let_pass(1)
    payments.succeed(account, intent, card)
    return {"payment_intent": intent, "payment_status": "paid"}


def _pay_as_guest(account: Account, session: Record) -> dict[str, Any]:
    intent = payments.create_intent(
        account, amount=session["amount_total"], currency=session["currency"], customer=None
    )
    account.clock.let_pass(1)
    payments.succeed(account, intent, None)
    return {"payment_intent": intent, "payment_status": "paid"}


def _pay_invoice(account: Account, session: Record, customer: str, card: str, coupon: str | None) -> dict[str, Any]:
    """Pay by an invoice. In payment mode a coupon reduces the amount to zero."""
    now = account.now
    id = account.ids.timed("in_", now)
    lines = [
        invoices.line(
            account,
            account.get("price", price),
            quantity,
            (now, now),
            means="pack",
        )
        for price, quantity in session["_prices"]
    ]
    taken = [discounts.give(account, coupon, customer=customer, invoice=id)] if coupon else []
    invoices.draft(
        account,
        id=id,
        customer=customer,
        currency=session["currency"],
        reason="manual",
        lines=lines,
        period=(now, now),
        discounts=taken,
    )
    invoices.finalize(account, id)
    invoices.pay(account, id, card)
    bought = {"payment_intent": account.get("invoice", id)["_payment_intent"], "payment_status": "paid"}
    return {"invoice": id, **(_for_nothing(session) if coupon else bought)}


def _for_nothing(session: Record) -> dict[str, Any]:
    """Return the fields of a session in payment mode that a coupon of 100 % made free."""
    taken = {"amount_discount": session["amount_subtotal"], "amount_shipping": 0, "amount_tax": 0}
    return {"amount_total": 0, "payment_status": "no_payment_required", "total_details": taken}
