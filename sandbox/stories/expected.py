"""The state that a user should have at the end of a story. It is computed from the sandbox's account only, without code of
the daemon.

The rules are the daemon's rules with default settings. While the status of a subscription gives access, the user has what
the metadata of its product promises. Each paid line gives its tokens once. The code that bills a line records what the line
is for (`means` and `share` of `sandbox.invoices.line`), so this module need not read an invoice's `billing_reason` or flags.
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
_THIRTY_DAYS = 30 * 24 * 3600
_LONGEST_MONTH = 31 * 24 * 3600
_BEST_FIRST = ("ACTIVE", "PAST_DUE", "CANCELED", "INACTIVE")
_PAYMENT_FAILURES = ("first_payment_failure", "final_payment_failure")


def of_user(account: Account, user_id: str, *, granted_before: set[str] | None = None) -> dict[str, Any]:
    """Role, status, product and tokens of a user, from the user's own purchases."""
    subscriptions = subscriptions_of(account, user_id)
    all_grants = grants(account, user_id)
    access = _access(account, subscriptions, otherwise="ACTIVE")
    if has_bought_access(account, user_id):
        access["role"] = "PREMIUM"
    new = {key: tokens for key, tokens in all_grants.items() if key not in (granted_before or set())}
    return {
        "user_id": user_id,
        **access,
        "tokens_granted": sum(new.values()),
        "grants": [{"source_key": key, "tokens": tokens} for key, tokens in new.items()],
        "clawbacks": [{"object": id, "tokens": tokens} for id, tokens in clawbacks(account, user_id).items()],
        "customers": [record["id"] for record in customers_of(account, user_id)],
        "subscriptions": {record["id"]: record["status"] for record in subscriptions},
    }


def of_members(account: Account, organization_id: str) -> dict[str, Any]:
    """Role, status and product of an organization's users who have no purchases of their own, and were members before."""
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
    """The access that the subscriptions give together; `otherwise` is the status if there are none."""
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
    """The customers whose metadata or Checkout session names the user, including deleted customers."""
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
    """Return the tokens granted so far, by source. A credit for a change in the middle of a period is negative."""
    made: dict[str, int] = {}
    for invoice in invoices_of(account, user_id):
        for line in invoice["lines"] if invoice.get("status") == "paid" else ():
            tokens = worth(account, line)
            if tokens:
                made[f"invoice:{invoice['id']}:line:{line['id']}"] = tokens
    for session in _paid_sessions(account, user_id):
        for index, (price, quantity) in enumerate(session["_prices"]):
            tokens = _tokens(account, account.get("price", price)["product"]) * quantity
            if tokens:
                made[f"cs:{session['id']}:line:{line_item_id(session, index)}"] = tokens
    return made


def worth(account: Account, line: Record) -> int:
    """Return the tokens of a paid line. Trials and usage give none. A line for a part of a period gives a proportional part."""
    if line["_means"] in ("trial", "usage"):
        return 0
    seconds, of = _part_of_the_allowance(line)
    tokens: int = _tokens(account, line["product"]) * line["quantity"] * abs(seconds) // of
    return -tokens if seconds < 0 else tokens


def _part_of_the_allowance(line: Record) -> tuple[int, int]:
    """Return the seconds of an allowance that the line pays for (negative for a credit), and the allowance's length in seconds.

    If the interval is longer than a month, there is an allowance for each 30 days. A change in the middle of a period counts
    for the rest of the current 30 days, and a new period for at most its first 30 days.
    """
    seconds, interval = line["_share"]
    if interval <= _LONGEST_MONTH:
        return seconds, interval
    start, end = line["period"]["start"], line["period"]["end"]
    since_begin = start - (end - interval) if line["_means"] == "change" else 0
    length = min(end - start, _THIRTY_DAYS - since_begin % _THIRTY_DAYS)
    return (-length if seconds < 0 else length), _THIRTY_DAYS


def clawbacks(account: Account, user_id: str) -> dict[str, int]:
    """Return the tokens to be taken back, by the id of the refund, dispute or credit note.

    A bill is an invoice or a Checkout session. If a share of its total was returned, each of its grants loses the same share,
    rounded down, and never more than was granted.
    """
    made: dict[str, int] = {}
    granted = grants(account, user_id)
    for bill, (total, sources) in _money_back(account, user_id).items():
        held, returned, taken = _grants_of_a_bill(account, granted, bill), 0, 0
        for _, source, amount in sorted(sources) if held else ():
            returned = min(returned + amount, total)
            due = sum(tokens * returned // total for tokens in held)
            made[source], taken = due - taken, due
    return made


def _money_back(account: Account, user_id: str) -> dict[str, tuple[int, list[tuple[int, str, int]]]]:
    """Return for each bill its total, and the objects that returned money: the time, the id and the amount."""
    back: dict[str, tuple[int, list[tuple[int, str, int]]]] = {}

    def add(bill: str, total: int, source: Record) -> None:
        back.setdefault(bill, (total, []))[1].append((source["created"], source["id"], source["amount"]))

    for charge in _charges_of(account, user_id):
        bill, total = _bill_of(account, charge)
        for refund in account.view.owned("refund", "charge", charge["id"]):
            if refund.get("status", "succeeded") in ("succeeded", "pending"):
                add(bill, total, refund)
        for dispute in account.view.owned("dispute", "charge", charge["id"]):
            if dispute.get("status") == "lost":
                add(bill, total, dispute)
    for invoice in invoices_of(account, user_id):
        for note in account.view.owned("credit_note", "invoice", invoice["id"]):
            # If the note has refunds, these are counted instead.
            if note.get("status", "issued") == "issued" and not note.get("refunds"):
                add(f"invoice:{invoice['id']}:", invoice["total"], note)
    return back


def _grants_of_a_bill(account: Account, granted: dict[str, int], bill: str) -> list[int]:
    """Return the tokens of each grant of a bill, after subtracting the bill's credits for the same subscription item."""
    own = {source: tokens for source, tokens in granted.items() if source.startswith(bill)}
    invoice = account.find("invoice", bill.split(":")[1])
    for line in invoice["lines"] if invoice is not None else ():
        source = f"{bill}line:{line['id']}"
        if line["_means"] == "change" and source in own:
            item = f"item:{line['subscription_item']}"
            own[item] = own.get(item, 0) + own.pop(source)
    return [tokens for tokens in own.values() if tokens > 0]


def has_bought_access(account: Account, user_id: str) -> bool:
    """Return whether a one-time purchase gives access now: it has not expired, and its money was not returned in full."""
    bought = [
        (invoice["status_transitions"]["paid_at"], f"invoice:{invoice['id']}:", line["product"])
        for invoice in invoices_of(account, user_id)
        for line in (invoice["lines"] if invoice.get("status") == "paid" else ())
        if line["_means"] == "pack"
    ]
    for session in _paid_sessions(account, user_id):
        for price, _ in session["_prices"]:
            bought.append((session["created"], f"cs:{session['id']}:", account.get("price", price)["product"]))
    back = _money_back(account, user_id)
    given_back = {
        bill for bill, (total, sources) in back.items() if sum(amount for _, _, amount in sources) >= total > 0
    }
    return any(
        _lasts(account.get("product", product).get("metadata", {}).get("access"), paid_at, account.now)
        and bill not in given_back
        for paid_at, bill, product in bought
    )


def invoices_of(account: Account, user_id: str) -> list[Record]:
    """Return the invoices of all the user's customers."""
    return [
        invoice
        for customer in customers_of(account, user_id)
        for invoice in account.view.owned("invoice", "customer", customer["id"])
    ]


def _paid_sessions(account: Account, user_id: str) -> list[Record]:
    """Return the completed sessions in payment mode without an invoice, including guests' sessions."""
    sessions = {
        session["id"]: session
        for customer in customers_of(account, user_id)
        for session in account.view.owned("checkout.session", "customer", customer["id"])
    }
    for session in account.view.owned("checkout.session", "client_reference_id", user_id):
        sessions[session["id"]] = session
    return [
        session
        for session in sessions.values()
        if session["mode"] == "payment"
        and session.get("payment_status") in ("paid", "no_payment_required")
        and session.get("invoice") is None
    ]


def _charges_of(account: Account, user_id: str) -> list[Record]:
    charges = {
        charge["id"]: charge
        for customer in customers_of(account, user_id)
        for charge in account.view.owned("charge", "customer", customer["id"])
    }
    for session in _paid_sessions(account, user_id):
        if session.get("payment_intent") is not None:
            for charge in account.view.owned("charge", "payment_intent", session["payment_intent"]):
                charges[charge["id"]] = charge
    return list(charges.values())


def _bill_of(account: Account, charge: Record) -> tuple[str, int]:
    """Return the bill that a charge paid, as the prefix of its grants' keys, and the bill's total."""
    if charge["_invoice"] is not None:
        return f"invoice:{charge['_invoice']}:", account.get("invoice", charge["_invoice"])["total"]
    session = account.view.owned("checkout.session", "payment_intent", charge["payment_intent"])[0]
    return f"cs:{session['id']}:", session["amount_total"]


def _lasts(access: str | None, paid_at: int, now: int) -> bool:
    if access is None:
        return False
    return access == "lifetime" or now < paid_at + int(access) * 24 * 3600


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
