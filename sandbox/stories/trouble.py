"""Stories in which a payment fails, is returned, or is disputed."""

from typing import Any

from sandbox import credit_notes, invoices, payments, subscriptions
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.store import Record
from sandbox.stories import expected, shop
from sandbox.stories.playing import story

_DAY = 24 * 3600
_RETRIES = 3


@story
def incomplete(account: Account, *, user_id: str, price: str = "pro_monthly", expires: bool = False) -> dict[str, Any]:
    """A sign-up whose first payment fails. With `expires` it is not paid within 23 hours, so the subscription expires."""
    chosen = shop.price_named(account, price)
    with account.requested(account.request_id()):
        customer = shop.customer_of(account, user_id)
    with account.requested(account.request_id()):
        id = subscriptions.create(
            account,
            customer=customer,
            prices=[(chosen["id"], 1)],
            payment="fails",
            metadata={"user_id": user_id},
        )
    if expires:
        account.clock.advance(23 * 3600)
        with account.by_itself():
            invoices.void(account, account.get("subscription", id)["latest_invoice"])
            account.update(
                "customer.subscription.updated", "subscription", id, status="incomplete_expired", ended_at=account.now
            )
    return shop.made(account, id)


@story
def past_due(account: Account, *, user_id: str | None = None, subscription: str | None = None) -> dict[str, Any]:
    """A renewal is not paid. The clock advances to the period's end."""
    id = shop.live_subscription(account, user_id, subscription)["id"]
    _miss_payment(account, id)
    return shop.made(account, id)


@story
def unpaid(
    account: Account, *, user_id: str | None = None, subscription: str | None = None, then: str = "unpaid"
) -> dict[str, Any]:
    """All retries fail, and the subscription gets the status `then`: `unpaid`, `canceled` or `past_due`.

    The clock advances by weeks.
    """
    if then not in ("unpaid", "canceled", "past_due"):
        raise invalid("then: unpaid, canceled or past_due", "then")
    record = shop.live_subscription(account, user_id, subscription)
    id = record["id"]
    if record["status"] != "past_due":
        _miss_payment(account, id)
    record = account.get("subscription", id)
    card = subscriptions.card_of(account, record)
    with account.by_itself():
        for attempt in range(_RETRIES):
            account.clock.advance(3 * _DAY)
            is_last = attempt == _RETRIES - 1
            next_attempt = None if is_last else account.now + 3 * _DAY
            invoices.fail(account, record["latest_invoice"], card, next_attempt=next_attempt)
        if then == "canceled":
            subscriptions.end(account, id, reason="payment_failed")
        else:
            account.update("customer.subscription.updated", "subscription", id, status=then)
    return shop.made(account, id)


@story
def recovery(account: Account, *, user_id: str | None = None, subscription: str | None = None) -> dict[str, Any]:
    """The open invoice of an incomplete, past due or unpaid subscription is paid after all."""
    record = shop.live_subscription(account, user_id, subscription)
    with account.requested(account.request_id()):
        subscriptions.pay_late(account, record["latest_invoice"])
    return shop.made(account, record["id"])


@story
def refund(
    account: Account, *, user_id: str | None = None, charge: str | None = None, amount: int | None = None
) -> dict[str, Any]:
    """The user's last payment is refunded, completely or by `amount` cents. The subscription continues.

    Expected: tokens are taken back in proportion to the invoice's total. For 14.50 of the 29.00 of Pro: 5,000 x 1,450 / 2,900
    = 2,500. An endpoint with an API version of 2020 or older sends only the charge, which contains its refunds. The expected
    tokens are the same.
    """
    paid = _charge_of(account, user_id, charge)
    with account.requested(account.request_id()):
        id = payments.refund(account, paid["id"], amount=amount, reason="requested_by_customer")
    return {"refund": id, **_around(account, paid)}


@story
def refund_failed(
    account: Account, *, user_id: str | None = None, charge: str | None = None, amount: int | None = None
) -> dict[str, Any]:
    """A refund is made, and days later the bank rejects it."""
    paid = _charge_of(account, user_id, charge)
    with account.requested(account.request_id()):
        id = payments.refund(account, paid["id"], amount=amount, reason="requested_by_customer")
    account.clock.let_pass(5 * _DAY)
    with account.by_itself():
        payments.fail_refund(account, id)
    return {"refund": id, **_around(account, paid)}


@story
def dispute(
    account: Account, *, user_id: str | None = None, charge: str | None = None, outcome: str = "lost"
) -> dict[str, Any]:
    """The user's last payment is disputed, and the dispute is `lost`, `won`, or still `open`."""
    if outcome not in ("lost", "won", "open"):
        raise invalid("outcome: lost, won or open", "outcome")
    paid = _charge_of(account, user_id, charge)
    with account.by_itself():
        id = payments.open_dispute(account, paid["id"])
        if outcome != "open":
            account.clock.let_pass(20 * _DAY)
            payments.close_dispute(account, id, won=outcome == "won")
    return {"dispute": id, **_around(account, paid)}


@story
def credit_note(
    account: Account,
    *,
    user_id: str | None = None,
    invoice: str | None = None,
    amount: int | None = None,
    how: credit_notes.How = "balance",
) -> dict[str, Any]:
    """A credit note is issued on the user's last paid invoice, for all of it or for `amount` cents.

    Expected: tokens are taken back in proportion to the invoice's total, whether the money goes to the customer's `balance`,
    is returned by a `refund`, or `out_of_band`. A refund and its note count once. For 14.50 of Pro's 29.00:
    5,000 x 1,450 / 2,900 = 2,500.
    """
    record = _invoice_of(account, user_id, invoice)
    with account.requested(account.request_id()):
        id = credit_notes.issue(account, record["id"], record["total"] if amount is None else amount, how)
    refunds = [entry["refund"] for entry in account.get("credit_note", id).get("refunds", ())]
    made = {"credit_note": id, "refund": refunds[0] if refunds else None, "customer": record["customer"]}
    user_id = user_id or shop.user_of(account, record["customer"])
    return {**made, **shop.paid_by(account, record["id"]), **({"user_id": user_id} if user_id else {})}


@story
def void_credit_note(account: Account, *, credit_note: str) -> dict[str, Any]:
    """A credit note without a refund is voided. Expected: the tokens that it took are given back."""
    record = account.require("credit_note", credit_note, param="credit_note")
    with account.requested(account.request_id()):
        credit_notes.void(account, credit_note)
    user_id = shop.user_of(account, record["customer"])
    return {"credit_note": credit_note, "customer": record["customer"], **({"user_id": user_id} if user_id else {})}


def _invoice_of(account: Account, user_id: str | None, invoice: str | None) -> Record:
    if invoice is not None:
        return account.require("invoice", invoice, param="invoice")
    if user_id is None:
        raise invalid("Name the user or the invoice: user_id or invoice.", "user_id", "parameter_missing")
    paid = [
        record
        for record in expected.invoices_of(account, user_id)
        if record.get("status") == "paid" and record["total"] > 0
    ]
    if not paid:
        raise invalid(f"User {user_id} has paid no invoice.", "user_id", "resource_missing")
    return paid[-1]


def _miss_payment(account: Account, id: str) -> None:
    shop.wait_until(account, subscriptions.period_of(account.get("subscription", id))[1])
    with account.by_itself():
        subscriptions.renew(account, id, "fails")


def _charge_of(account: Account, user_id: str | None, charge: str | None) -> Record:
    if charge is not None:
        return account.require("charge", charge, param="charge")
    if user_id is None:
        raise invalid("Name the user or the charge: user_id or charge.", "user_id", "parameter_missing")
    paid = [
        record
        for customer in expected.customers_of(account, user_id)
        for record in account.view.owned("charge", "customer", customer["id"])
        if record.get("status", "succeeded") == "succeeded"
        and not record.get("refunded")
        and not record.get("disputed")
    ]
    if not paid:
        raise invalid(
            f"User {user_id} has no payment that could be refunded or disputed.", "user_id", "resource_missing"
        )
    return paid[-1]


def _around(account: Account, charge: Record) -> dict[str, Any]:
    made = {
        "charge": charge["id"],
        "payment_intent": charge["payment_intent"],
        "customer": charge["customer"],
        "invoice": charge["_invoice"],
    }
    user_id = shop.user_of(account, charge["customer"]) if charge["customer"] is not None else None
    return made if user_id is None else {**made, "user_id": user_id}
