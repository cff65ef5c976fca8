"""Credit notes. They return money of a paid invoice: by a refund, to the customer's balance, or outside Stripe."""

from typing import Literal

from sandbox import payments
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.store import Record

How = Literal["balance", "refund", "out_of_band"]


def issue(account: Account, invoice: str, amount: int, how: How) -> str:
    """Issue a credit note on a paid invoice, and return its id."""
    record, now = account.get("invoice", invoice), account.now
    if record["status"] != "paid":
        raise invalid("The sandbox issues credit notes for paid invoices only.", "invoice")
    notes = account.view.owned("credit_note", "invoice", invoice)
    left = record["total"] - sum(note["amount"] for note in notes if note.get("status", "issued") == "issued")
    if not 0 < amount <= left:
        raise invalid(f"The sum of credit amount, refund amount and out of band amount must be between 1 and {left}.")
    id = account.ids.timed("cn_", now)
    note: Record = {
        "id": id,
        "amount": amount,
        "created": now,
        "currency": record["currency"],
        "customer": record["customer"],
        "effective_at": now,
        "invoice": invoice,
        "lines": {"object": "list", "data": [], "has_more": False, "url": f"/v1/credit_notes/{id}/lines"},
        "number": f"{record['number']}-CN-{len(notes) + 1:02}",
        "pdf": f"https://pay.stripe.com/credit_notes/{id}/pdf?s=ap",
        "subtotal": amount,
        "subtotal_excluding_tax": amount,
        "total": amount,
        "total_excluding_tax": amount,
        "post_payment_amount": amount,
    }
    if how == "refund":
        refund = payments.refund(account, record["_charge"], amount=amount)
        note["refunds"] = [
            {"amount_refunded": amount, "payment_record_refund": None, "refund": refund, "type": "refund"}
        ]
    elif how == "balance":
        note["customer_balance_transaction"] = account.ids.timed("cbtxn_", now)
        _move_balance(account, record["customer"], -amount)
    else:
        note["out_of_band_amount"] = amount
    account.create("credit_note", note)
    account.emit("credit_note.created", "credit_note", id)
    _count_on(account, invoice, amount)
    return id


def void(account: Account, id: str) -> None:
    """Void a credit note. Stripe only voids notes without a refund."""
    note = account.get("credit_note", id)
    if note.get("status") == "void" or note.get("refunds"):
        raise invalid("You can't void this credit note.")
    since = account.change("credit_note", id, status="void", voided_at=account.now)
    account.emit("credit_note.voided", "credit_note", id, since=since)
    if note.get("customer_balance_transaction") is not None:
        _move_balance(account, note["customer"], note["amount"])
    _count_on(account, note["invoice"], -note["amount"])


def _count_on(account: Account, invoice: str, amount: int) -> None:
    known = account.get("invoice", invoice).get("post_payment_credit_notes_amount", 0)
    account.update("invoice.updated", "invoice", invoice, post_payment_credit_notes_amount=known + amount)


def _move_balance(account: Account, customer: str, amount: int) -> None:
    balance = account.get("customer", customer).get("balance", 0)
    account.update("customer.updated", "customer", customer, balance=balance + amount)
