"""Payments: payment intents and their charges, refunds, disputes."""

from typing import Any

from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.shapes.blanks import BLANKS
from sandbox.store import Record

_DECLINED = "Your card was declined."


def create_intent(
    account: Account,
    *,
    amount: int,
    currency: str,
    customer: str | None,
    description: str | None = None,
    invoice: str | None = None,
    metadata: dict[str, str] | None = None,
) -> str:
    """Create a payment intent that waits for a card; returns its id."""
    now = account.now
    id = account.ids.of_payment("pi_", now)
    record = {
        "id": id,
        "amount": amount,
        "client_secret": f"{id}_secret_{account.ids.characters(25)}",
        "created": now,
        "currency": currency,
        "customer": customer,
        "description": description,
        "metadata": metadata or {},
        "setup_future_usage": "off_session" if invoice is not None else None,
        "_invoice": invoice,
    }
    account.create("payment_intent", record)
    account.emit("payment_intent.created", "payment_intent", id)
    return id


def succeed(account: Account, intent: str, card: str | None) -> str:
    """Charge the card for the whole amount; returns the charge's id."""
    record = account.get("payment_intent", intent)
    charge = _charge(account, record, card)
    account.create("charge", charge)
    account.emit("charge.succeeded", "charge", charge["id"])
    account.change(
        "payment_intent",
        intent,
        amount_received=record["amount"],
        last_payment_error=None,
        latest_charge=charge["id"],
        payment_method=card,
        status="succeeded",
    )
    account.emit("payment_intent.succeeded", "payment_intent", intent)
    # The balance transaction follows a moment later, as at Stripe, which captures asynchronously.
    account.update(
        "charge.updated",
        "charge",
        charge["id"],
        balance_transaction=account.ids.of_payment("txn_", record["created"]),
        receipt_url=f"https://pay.stripe.com/receipts/payment/{account.ids.characters(40)}",
    )
    return str(charge["id"])


def decline(account: Account, intent: str, card: str | None) -> str:
    """The card is declined, and the intent waits for another card. Returns the failed charge's id."""
    record = account.get("payment_intent", intent)
    charge = _charge(account, record, card)
    charge.update(
        amount_captured=0,
        captured=False,
        failure_code="card_declined",
        failure_message=_DECLINED,
        outcome={
            **BLANKS["charge"]["outcome"],
            "network_status": "declined_by_network",
            "reason": "generic_decline",
            "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined",
        },
        paid=False,
        status="failed",
    )
    account.create("charge", charge)
    account.emit("charge.failed", "charge", charge["id"])
    error = {
        "charge": charge["id"],
        "code": "card_declined",
        "decline_code": "generic_decline",
        "doc_url": "https://stripe.com/docs/error-codes/card-declined",
        "message": _DECLINED,
        "type": "card_error",
    }
    account.change(
        "payment_intent",
        intent,
        last_payment_error=error,
        latest_charge=charge["id"],
        payment_method=None,
        status="requires_payment_method",
    )
    account.emit("payment_intent.payment_failed", "payment_intent", intent)
    return str(charge["id"])


def refund(
    account: Account,
    charge: str,
    *,
    amount: int | None = None,
    reason: str | None = None,
    metadata: dict[str, str] | None = None,
) -> str:
    """Refund the whole remaining charge, or `amount`; returns the refund's id."""
    paid = account.get("charge", charge)
    refunded = paid.get("amount_refunded", 0)
    amount = paid["amount"] - refunded if amount is None else amount
    if paid.get("disputed"):
        raise invalid(f"Charge {charge} has been charged back; cannot issue a refund.", code="charge_disputed")
    if amount > paid["amount"] - refunded or amount <= 0:
        if refunded == paid["amount"]:
            raise invalid(f"Charge {charge} has already been refunded.", code="charge_already_refunded")
        raise invalid(f"Refund amount ({amount}) is greater than unrefunded amount on charge", "amount")
    born = account.get("payment_intent", paid["payment_intent"])["created"]
    record = {
        "id": account.ids.of_payment("re_", born),
        "amount": amount,
        "balance_transaction": account.ids.of_payment("txn_", born),
        "charge": charge,
        "created": account.now,
        "currency": paid["currency"],
        "customer": paid["customer"],
        "metadata": metadata or {},
        "payment_intent": paid["payment_intent"],
        "payment_method": paid["payment_method"],
        "reason": reason,
    }
    since = account.store.number
    account.create("refund", record)
    account.change("charge", charge, amount_refunded=refunded + amount, refunded=refunded + amount == paid["amount"])
    account.emit("charge.refunded", "charge", charge, since=since)
    account.emit("refund.created", "refund", record["id"])
    destination = {
        "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"},
        "type": "card",
    }
    since = account.change("refund", record["id"], destination_details=destination)
    account.emit("refund.updated", "refund", record["id"], since=since)
    account.emit("charge.refund.updated", "refund", record["id"], since=since)
    return str(record["id"])


def fail_refund(account: Account, id: str) -> None:
    """The bank rejects a refund: the money returns to the account, and counts as part of the charge again."""
    record = account.get("refund", id)
    born = account.get("payment_intent", record["payment_intent"])["created"]
    since = account.change(
        "refund",
        id,
        failure_balance_transaction=account.ids.of_payment("txn_", born),
        failure_reason="expired_or_canceled_card",
        status="failed",
    )
    account.emit("refund.failed", "refund", id, since=since)
    account.emit("refund.updated", "refund", id, since=since)
    account.emit("charge.refund.updated", "refund", id, since=since)
    charge = account.get("charge", record["charge"])
    account.update(
        "charge.updated",
        "charge",
        charge["id"],
        amount_refunded=charge["amount_refunded"] - record["amount"],
        refunded=False,
    )


def open_dispute(account: Account, charge: str, *, amount: int | None = None, reason: str = "fraudulent") -> str:
    """The cardholder disputes the charge; returns the dispute's id."""
    paid = account.get("charge", charge)
    now = account.now
    record = {
        "id": account.ids.timed("du_", now),
        "amount": paid["amount"] if amount is None else amount,
        "charge": charge,
        "created": now,
        "currency": paid["currency"],
        "evidence_details": {**BLANKS["dispute"]["evidence_details"], "due_by": now + 7 * 24 * 3600},
        "payment_intent": paid["payment_intent"],
        "reason": reason,
    }
    account.create("dispute", record)
    account.emit("charge.dispute.created", "dispute", record["id"])
    account.update("charge.updated", "charge", charge, disputed=True)
    _book(account, record["id"], -record["amount"])
    account.emit("charge.dispute.funds_withdrawn", "dispute", record["id"])
    return str(record["id"])


def close_dispute(account: Account, id: str, *, won: bool) -> None:
    """The bank decides the dispute after evidence was submitted."""
    record = account.get("dispute", id)
    evidence = {**record["evidence_details"], "has_evidence": True, "submission_count": 1}
    account.update("charge.dispute.updated", "dispute", id, evidence_details=evidence, status="under_review")
    account.clock.let_pass(2)
    since = account.change("dispute", id, status="won" if won else "lost")
    if won:
        _book(account, id, record["amount"])
    account.emit("charge.dispute.closed", "dispute", id, since=since)
    if won:
        account.emit("charge.dispute.funds_reinstated", "dispute", id)


def _book(account: Account, dispute: str, amount: int) -> None:
    record = account.get("dispute", dispute)
    booked: list[dict[str, Any]] = record.get("balance_transactions", [])
    transaction = {
        "id": account.ids.timed("txn_", account.now),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": account.now,
        "created": account.now,
        "currency": record["currency"],
        "description": f"Chargeback {'reversal' if amount > 0 else 'withdrawal'} for {record['charge']}",
        "fee": 1500 if amount < 0 else 0,
        "fee_details": [],
        "net": amount - (1500 if amount < 0 else 0),
        "reporting_category": "dispute_reversal" if amount > 0 else "dispute",
        "source": dispute,
        "status": "pending",
        "type": "adjustment",
    }
    account.change("dispute", dispute, balance_transactions=[*booked, transaction])


def _charge(account: Account, intent: Record, card: str | None) -> Record:
    blank = BLANKS["charge"]
    method = account.find("payment_method", card)
    details = blank["payment_method_details"]
    return {
        "id": account.ids.of_payment("ch_", intent["created"]),
        "amount": intent["amount"],
        "amount_captured": intent["amount"],
        "billing_details": method["billing_details"] if method is not None else blank["billing_details"],
        "created": account.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "metadata": intent["metadata"],
        "payment_intent": intent["id"],
        "payment_method": card,
        "payment_method_details": {
            **details,
            "card": {
                **details["card"],
                "amount_authorized": intent["amount"],
                "last4": method["card"]["last4"] if method is not None else "4242",
            },
        },
        "_invoice": intent["_invoice"],
    }
