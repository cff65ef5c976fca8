"""Customers and their cards."""

from typing import Any

from sandbox import subscriptions
from sandbox.account import Account
from sandbox.shapes.blanks import BLANKS
from sandbox.store import Record


def create_customer(account: Account, **fields: Any) -> Record:
    """A new customer."""
    record = {
        "id": account.ids.plain("cus_"),
        "created": account.now,
        "invoice_prefix": account.ids.characters(8).upper(),
        **fields,
    }
    account.create("customer", record)
    account.emit("customer.created", "customer", record["id"])
    return record


def attach_card(account: Account, customer: str, *, last4: str = "4242") -> Record:
    """Attach a card to the customer."""
    owner = account.get("customer", customer)
    blank = BLANKS["payment_method"]
    record: Record = {
        "id": account.ids.timed("pm_", account.now),
        "billing_details": {**blank["billing_details"], "email": owner.get("email"), "name": owner.get("name")},
        "card": {**blank["card"], "last4": last4},
        "created": account.now,
        "customer": customer,
    }
    account.create("payment_method", record)
    account.emit("payment_method.attached", "payment_method", record["id"])
    return record


def detach_card(account: Account, id: str) -> None:
    """Detach a card from its customer, permanently."""
    since = account.change("payment_method", id, customer=None)
    account.emit("payment_method.detached", "payment_method", id, since=since)


def delete_customer(account: Account, id: str) -> None:
    """Delete a customer; their subscriptions end at once."""
    for subscription in account.view.owned("subscription", "customer", id):
        if subscription["status"] not in subscriptions.ENDED:
            subscriptions.end(account, subscription["id"])
    account.delete("customer", id)
    account.emit("customer.deleted", "customer", id)


def prefer_card(account: Account, customer: str, card: str) -> None:
    """Pay the customer's invoices with this card from now on."""
    settings = settings_with(account.get("customer", customer), card)
    account.update("customer.updated", "customer", customer, invoice_settings=settings)


def settings_with(customer: Record, card: str) -> dict[str, Any]:
    """The customer's invoice settings with another card."""
    settings = customer.get("invoice_settings", BLANKS["customer"]["invoice_settings"])
    return {**settings, "default_payment_method": card}
