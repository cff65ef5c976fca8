"""Invoices: drafted, finalised, paid or not."""

from collections.abc import Sequence
from typing import Any, Literal

from sandbox import payments
from sandbox.account import Account
from sandbox.store import Record

Meaning = Literal["period", "stub", "change", "trial", "usage", "pack"]
"""Why a line is billed: a period, the first part of one, a change in mid-period, a trial, usage, or a one-time price."""

_NO_TRANSITIONS = {"finalized_at": None, "marked_uncollectible_at": None, "paid_at": None, "voided_at": None}
_DESCRIPTIONS = {
    "subscription_create": "Subscription creation",
    "subscription_cycle": "Subscription update",
    "subscription_update": "Subscription update",
}


def line(
    account: Account,
    price: Record,
    quantity: int,
    period: tuple[int, int],
    *,
    amount: int | None = None,
    description: str | None = None,
    item: str | None = None,
    proration: bool = False,
    metadata: dict[str, str] | None = None,
    means: Meaning = "period",
    share: tuple[int, int] = (1, 1),
) -> Record:
    """Return a line for a price and a period. Without `amount`, the line has the amount of the price.

    `means` and `share` record why the sandbox bills the line. `sandbox.stories.expected` uses them; the API never shows
    them. `share` is the part of the price's interval that is billed, negative for a credit.
    """
    product = account.get("product", price["product"])
    recurring = price["recurring"]
    each = f"${price['unit_amount'] / 100:.2f}"
    rate = f"at {each} / {recurring['interval']}" if recurring is not None else f"at {each}"
    amount = price["unit_amount"] * quantity if amount is None else amount
    return {
        "id": account.ids.timed("il_", account.now),
        "amount": amount,
        "description": description or f"{quantity} × {product['name']} ({rate})",
        "metadata": metadata or {},
        "period": {"end": period[1], "start": period[0]},
        "price": price["id"],
        "product": price["product"],
        "proration": proration,
        "quantity": quantity,
        "subscription_item": item,
        "unit_amount": amount // quantity if quantity else 0,
        "invoice_item": account.ids.timed("ii_", account.now) if item is None else None,
        "_means": means,
        "_share": list(share),
    }


def draft(
    account: Account,
    *,
    id: str,
    customer: str,
    currency: str,
    reason: str,
    lines: list[Record],
    period: tuple[int, int],
    subscription: Record | None = None,
    discounts: Sequence[str] = (),
    metadata: dict[str, str] | None = None,
) -> None:
    """Create an invoice and compute its sums. The subscription's discounts apply in addition to the given discounts."""
    payer = account.get("customer", customer)
    lines = [_credited(account, customer, line) for line in lines]
    discounts = [*discounts, *(subscription.get("discounts", []) if subscription is not None else [])]
    subtotal = sum(member["amount"] for member in lines)
    taken = [_take(account, discount, lines) for discount in discounts]
    total = subtotal - sum(amount["amount"] for amount in taken)
    balance = payer.get("balance", 0)
    due = max(total + balance, 0)
    record: dict[str, Any] = {
        "id": id,
        "amount_due": due,
        "amount_remaining": due,
        "billing_reason": reason,
        "created": account.now,
        "currency": currency,
        "customer": customer,
        "customer_email": payer.get("email"),
        "customer_name": payer.get("name"),
        "discounts": discounts,
        "lines": lines,
        "metadata": metadata or {},
        "period_start": period[0],
        "period_end": period[1],
        "starting_balance": balance,
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_discount_amounts": taken,
        "total_excluding_tax": total,
        "_charge": None,
        "_payment_intent": None,
    }
    if subscription is not None:
        record["_subscription"] = subscription["id"]
        record["_subscription_metadata"] = subscription.get("metadata", {})
        record["collection_method"] = subscription.get("collection_method", "charge_automatically")
        if record["collection_method"] == "send_invoice":
            record["due_date"] = account.now + 24 * 3600 * (subscription.get("days_until_due") or 30)
    account.create("invoice", record)
    account.emit("invoice.created", "invoice", id)


def _credited(account: Account, customer: str, line: Record) -> Record:
    """Return the line. If it is a credit, it gets a reference to the newest line that billed the same item."""
    if line["_share"][0] >= 0:
        return line
    for invoice in reversed(account.view.owned("invoice", "customer", customer)):
        billed = [
            each["id"]
            for each in invoice["lines"]
            if each["subscription_item"] == line["subscription_item"] and each["_share"][0] > 0
        ]
        if billed:
            return {**line, "credited_items": {"invoice": invoice["id"], "invoice_line_items": billed[-1:]}}
    return line


def finalize(account: Account, id: str) -> None:
    """Give an invoice its number and open it. If its amount is zero, it is paid at once."""
    record = account.get("invoice", id)
    account.change("invoice", id, **_finalized(account, record))
    if record["amount_due"] > 0:
        intent = payments.create_intent(
            account,
            amount=record["amount_due"],
            currency=record["currency"],
            customer=record["customer"],
            description=_DESCRIPTIONS.get(record["billing_reason"]),
            invoice=id,
        )
        payment = {
            "id": account.ids.timed("inpay_", account.now),
            "amount_requested": record["amount_due"],
            "created": account.now,
            "currency": record["currency"],
            "invoice": id,
            "payment": {"payment_intent": intent, "type": "payment_intent"},
        }
        account.create("invoice_payment", payment)
        account.change("invoice", id, _payment_intent=intent)
    account.emit("invoice.finalized", "invoice", id)
    _settle_balance(account, record)
    if record.get("collection_method") == "send_invoice":
        account.emit("invoice.sent", "invoice", id)
    if record["amount_due"] == 0:
        _paid(account, id)


def pay(account: Account, id: str, card: str | None) -> None:
    """The card pays an open invoice."""
    record = account.get("invoice", id)
    if record["status"] == "paid":
        return
    payment = _payment_of(account, id)
    charge = payments.succeed(account, record["_payment_intent"], card)
    account.change(
        "invoice_payment",
        payment["id"],
        amount_paid=record["amount_due"],
        status="paid",
        status_transitions={"canceled_at": None, "paid_at": account.now},
    )
    account.emit("invoice_payment.paid", "invoice_payment", payment["id"])
    _paid(account, id, charge=charge, attempts=record.get("attempt_count", 0) + 1)


def fail(account: Account, id: str, card: str | None, *, next_attempt: int | None) -> None:
    """The card is declined. The invoice stays open, and is retried at `next_attempt`, or never if that is None."""
    record = account.get("invoice", id)
    charge = payments.decline(account, record["_payment_intent"], card)
    account.update(
        "invoice.updated",
        "invoice",
        id,
        attempt_count=record.get("attempt_count", 0) + 1,
        attempted=True,
        auto_advance=next_attempt is not None,
        next_payment_attempt=next_attempt,
        _charge=charge,
    )
    account.emit("invoice.payment_failed", "invoice", id)


def void(account: Account, id: str) -> None:
    """Void the invoice."""
    _close(account, id, "void", "voided_at", "invoice.voided")


def mark_uncollectible(account: Account, id: str) -> None:
    """Mark the invoice uncollectible."""
    _close(account, id, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible")


def _finalized(account: Account, record: Record) -> dict[str, Any]:
    payer = account.get("customer", record["customer"])
    count = len(account.view.owned("invoice", "customer", record["customer"]))
    prefix = payer.get("invoice_prefix") or account.ids.characters(8).upper()
    url = f"https://invoice.stripe.com/i/{account.ids.account()}/test_{account.ids.characters(48)}"
    return {
        "effective_at": account.now,
        "ending_balance": min(record["total"] + record["starting_balance"], 0),
        "hosted_invoice_url": f"{url}?s=ap",
        "invoice_pdf": f"{url}/pdf?s=ap",
        "number": f"{prefix}-{count:04}",
        "status": "open",
        "status_transitions": {**_NO_TRANSITIONS, "finalized_at": account.now},
    }


def _settle_balance(account: Account, record: Record) -> None:
    left = min(record["total"] + record["starting_balance"], 0)
    account.update("customer.updated", "customer", record["customer"], balance=left)


def _paid(account: Account, id: str, *, charge: str | None = None, attempts: int = 0) -> None:
    record = account.get("invoice", id)
    since = account.change(
        "invoice",
        id,
        amount_paid=record["amount_due"],
        amount_remaining=0,
        attempt_count=attempts,
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
        status="paid",
        status_transitions={**record["status_transitions"], "paid_at": account.now},
        _charge=charge,
    )
    account.emit("invoice.updated", "invoice", id, since=since)
    account.emit("invoice.paid", "invoice", id)
    account.emit("invoice.payment_succeeded", "invoice", id)


def _close(account: Account, id: str, status: str, transition: str, type: str) -> None:
    record = account.get("invoice", id)
    transitions = {**record.get("status_transitions", _NO_TRANSITIONS), transition: account.now}
    since = account.change(
        "invoice", id, auto_advance=False, next_payment_attempt=None, status=status, status_transitions=transitions
    )
    account.emit("invoice.updated", "invoice", id, since=since)
    account.emit(type, "invoice", id)


def _payment_of(account: Account, invoice: str) -> Record:
    return account.view.owned("invoice_payment", "invoice", invoice)[0]


def _take(account: Account, discount: str, lines: list[Record]) -> dict[str, Any]:
    """Subtract a discount from the lines; returns its amount."""
    coupon = account.get("coupon", account.get("discount", discount)["source"]["coupon"])
    subtotal = sum(member["amount"] for member in lines)
    percent, off = coupon.get("percent_off"), coupon.get("amount_off") or 0
    total = 0
    for member in lines:
        share = percent / 100 if percent is not None else (min(off / subtotal, 1) if subtotal > 0 else 0)
        amount = round(member["amount"] * share)
        member.setdefault("discount_amounts", []).append({"amount": amount, "discount": discount})
        total += amount
    return {"amount": total, "discount": discount}
