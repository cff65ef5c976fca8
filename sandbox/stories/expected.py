"""What must be true of a user, worked out from the account alone and apart from the product that is tested against it.

The rules are the product's own policy in its default settings: what a product's metadata promises, while a subscription
to it is entitled, and one grant of tokens for each paid line of a first or a renewed period, and for each pack.
"""

from typing import Any

from sandbox.account import Account
from sandbox.checkout import line_item_id
from sandbox.store import Record

_ENTITLED = ("active", "trialing", "past_due")
_STATUS = {
    "active": "ACTIVE",
    "trialing": "ACTIVE",
    "past_due": "PAST_DUE",
    "unpaid": "PAST_DUE",
    "canceled": "CANCELED",
    "paused": "INACTIVE",
    "incomplete": "INACTIVE",
    "incomplete_expired": "INACTIVE",
}
_BEST_FIRST = ("ACTIVE", "PAST_DUE", "CANCELED", "INACTIVE")
_PAYMENT_FAILURES = ("first_payment_failure", "final_payment_failure")


def of_user(account: Account, user_id: str, *, granted_before: set[str] | None = None) -> dict[str, Any]:
    """Role, status, product and tokens of a user, of what they pay for themselves."""
    subscriptions = subscriptions_of(account, user_id)
    all_grants = grants(account, user_id)
    new = {key: tokens for key, tokens in all_grants.items() if key not in (granted_before or set())}
    return {
        "user_id": user_id,
        **_access(account, subscriptions, otherwise="ACTIVE"),
        "tokens_granted": sum(new.values()),
        "grants": [{"source_key": key, "tokens": tokens} for key, tokens in new.items()],
        "clawbacks": [{"object": id, "tokens": tokens} for id, tokens in clawbacks(account, user_id).items()],
        "customers": [record["id"] for record in customers_of(account, user_id)],
        "subscriptions": {record["id"]: record["status"] for record in subscriptions},
    }


def of_members(account: Account, organization_id: str) -> dict[str, Any]:
    """Role, status and product of an organization's users who pay for nothing themselves, and were members before."""
    everything = (account.view.find("subscription", id) for _, _, id in account.store.shelves["subscription"].order)
    subscriptions = [
        record
        for record in everything
        if record is not None and record.get("metadata", {}).get("organization_id") == organization_id
    ]
    return {
        "organization_id": organization_id,
        **_access(account, subscriptions, otherwise="CANCELED"),
        "subscriptions": {record["id"]: record["status"] for record in subscriptions},
    }


def _access(account: Account, subscriptions: list[Record], *, otherwise: str) -> dict[str, Any]:
    """What the subscriptions give together; `otherwise` is the status where there are none."""
    entitled = [record for record in subscriptions if record["status"] in _ENTITLED]
    statuses = [_status(record) for record in subscriptions]
    chosen = min(entitled, key=lambda record: (_BEST_FIRST.index(_status(record)), -record["created"]), default=None)
    product = _product(account, chosen) if chosen is not None else None
    return {
        "entitled": chosen is not None,
        "membership_status": min(statuses, key=_BEST_FIRST.index) if statuses else otherwise,
        "role": product.get("metadata", {}).get("role", "PREMIUM") if product is not None else "USER",
        "stripe_product_id": product["id"] if product is not None else None,
        "entitled_products": sorted({_product(account, record)["id"] for record in entitled}),
    }


def customers_of(account: Account, user_id: str) -> list[Record]:
    """The customers that say they are the user's, or whose checkout said so; deleted ones too."""
    shelf = account.store.shelves["customer"]
    ids = dict.fromkeys(id for _, _, id in shelf.owned("user_id", user_id))
    for session in account.view.owned("checkout.session", "client_reference_id", user_id):
        if session.get("customer") is not None and session.get("status") == "complete":
            ids[session["customer"]] = None
    return [account.get("customer", id) for id in ids]


def subscriptions_of(account: Account, user_id: str) -> list[Record]:
    """All subscriptions of all the user's customers, oldest first."""
    records = [
        record
        for customer in customers_of(account, user_id)
        for record in account.view.owned("subscription", "customer", customer["id"])
    ]
    return sorted(records, key=lambda record: int(record["created"]))


def grants(account: Account, user_id: str) -> dict[str, int]:
    """The tokens granted so far, by what they were granted for. A trial's empty invoice grants nothing here."""
    made: dict[str, int] = {}
    for customer in customers_of(account, user_id):
        for invoice in account.view.owned("invoice", "customer", customer["id"]):
            for line in invoice["lines"] if invoice.get("status") == "paid" else ():
                tokens = _tokens(account, line["product"]) * line["quantity"]
                if tokens and _grants(account, invoice, line):
                    made[f"invoice:{invoice['id']}:line:{line['id']}"] = tokens
        for session in account.view.owned("checkout.session", "customer", customer["id"]):
            if session["mode"] == "payment" and session.get("payment_status") == "paid":
                for index, (price, quantity) in enumerate(session["_prices"]):
                    tokens = _tokens(account, account.get("price", price)["product"]) * quantity
                    if tokens:
                        made[f"cs:{session['id']}:line:{line_item_id(session, index)}"] = tokens
    return made


def clawbacks(account: Account, user_id: str) -> dict[str, int]:
    """The tokens to be taken back, by the refund or lost dispute that takes them: in proportion to the money."""
    made: dict[str, int] = {}
    granted = grants(account, user_id)
    for customer in customers_of(account, user_id):
        for charge in account.view.owned("charge", "customer", customer["id"]):
            of_charge = _granted_for(account, charge, granted)
            if not of_charge:
                continue
            for refund in account.view.owned("refund", "charge", charge["id"]):
                if refund.get("status", "succeeded") in ("succeeded", "pending"):
                    made[refund["id"]] = of_charge * refund["amount"] // charge["amount"]
            for dispute in account.view.owned("dispute", "charge", charge["id"]):
                if dispute.get("status") == "lost":
                    made[dispute["id"]] = of_charge * dispute["amount"] // charge["amount"]
    return made


def _grants(account: Account, invoice: Record, line: Record) -> bool:
    """Whether a paid line is a membership's period, or a pack on an invoice written by hand."""
    if invoice["billing_reason"] == "manual":
        return account.get("price", line["price"])["recurring"] is None
    is_period = invoice["billing_reason"] in ("subscription_create", "subscription_cycle") and not line["proration"]
    return is_period and not line["description"].startswith("Trial")


def _granted_for(account: Account, charge: Record, granted: dict[str, int]) -> int:
    """The tokens that a charge has paid for."""
    keys = [f"invoice:{charge['_invoice']}:"]
    sessions = account.view.owned("checkout.session", "payment_intent", charge["payment_intent"])
    keys += [f"cs:{session['id']}:" for session in sessions]
    return sum(tokens for source, tokens in granted.items() if source.startswith(tuple(keys)))


def _status(subscription: Record) -> str:
    if subscription["status"] == "paused":
        details = subscription.get("status_details") or {}
        reason = details.get("paused", {}).get("subscription", {}).get("type")
        return "PAST_DUE" if reason in _PAYMENT_FAILURES else "INACTIVE"
    return _STATUS[subscription["status"]]


def _product(account: Account, subscription: Record) -> Record:
    return account.get("product", account.get("price", subscription["items"][0]["price"])["product"])


def _tokens(account: Account, product: str) -> int:
    return int(account.get("product", product).get("metadata", {}).get("tokens", 0))
