"""Stories about what an invoice bills: switches, seats, add-ons, ends of trials, set-up fees and extras.

Each docstring states the expected tokens with default settings, in the shop's numbers: Starter 1,000, Pro 5,000, Extra 100,
Token pack 500.
"""

from typing import Any

from sandbox import subscriptions
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.stories import shop
from sandbox.stories.membership import sign_up, upgrade
from sandbox.stories.playing import story


@story
def switch_interval(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    price: str = "starter_yearly",
    payment: subscriptions.Payment = "succeeds",
) -> dict[str, Any]:
    """A subscription changes to a price of another interval; a new period begins at once.

    Expected: once the invoice is paid, the whole allowance is granted, whatever is left of the old one. The credit for the
    old interval has no further effect. A yearly price then gives its allowance every 30 days. After a change from a year to
    a month, the parts of the year end. With Starter, after half of a month: -500 and +1,000. With a yearly Starter, in the
    middle of its third 30 days: -1,000 x 15 / 30 = -500, and +1,000.
    """
    return upgrade(account, user_id=user_id, subscription=subscription, price=price, payment=payment)


@story
def seats(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    quantity: int = 5,
    proration: str = "always_invoice",
) -> dict[str, Any]:
    """The quantity of a subscription's first item changes.

    Expected with Starter, from 1 seat to 5 after half of the period: -1,000 x 1/2 = -500, and 5 x 1,000 x 1/2 = +2,500. With
    a yearly price the rest of the current 30 days counts, not the rest of the year.
    """
    record = shop.live_subscription(account, user_id, subscription)
    first, *others = record["items"]
    items = [{**first, "quantity": quantity}, *others]
    with account.requested(account.request_id()):
        subscriptions.change_items(account, record["id"], items, proration=proration)
    return shop.made(account, record["id"])


@story
def addon(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    price: str = "extra_monthly",
    quantity: int = 1,
    proration: str = "always_invoice",
    replaces: str | None = None,
) -> dict[str, Any]:
    """A subscription gets one more item, which may replace the item `replaces`.

    Expected with Extra on a monthly plan, after half of the period: 100 x 1/2 = 50 once the invoice is paid, then 100 with
    each period. The unspent tokens of a replaced item stay, less the credit for its unused time, and its later parts end.
    """
    record = shop.live_subscription(account, user_id, subscription)
    added = subscriptions.new_item(account, record, shop.price_named(account, price)["id"], quantity)
    items = [item for item in record["items"] if item["id"] != replaces]
    with account.requested(account.request_id()):
        subscriptions.change_items(account, record["id"], [*items, added], proration=proration)
    return {**shop.made(account, record["id"]), "addon": added["id"]}


@story
def drop_addon(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    item: str | None = None,
    proration: str = "always_invoice",
) -> dict[str, Any]:
    """An item is removed from a subscription: `item`, or else the newest item.

    Expected: the credit for its unused time counts; a yearly item gives no more parts.
    """
    record = shop.live_subscription(account, user_id, subscription)
    items = record["items"]
    if len(items) == 1:
        raise invalid("A subscription must have at least one item.", "item")
    leaving = item or items[-1]["id"]
    if leaving not in [held["id"] for held in items]:
        raise invalid(f"No such subscription_item: '{leaving}'", "item", "resource_missing")
    with account.requested(account.request_id()):
        left = [held for held in items if held["id"] != leaving]
        subscriptions.change_items(account, record["id"], left, proration=proration)
    return shop.made(account, record["id"])


@story
def trial_end_now(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    payment: subscriptions.Payment = "succeeds",
    reason: str = "subscription_update",
) -> dict[str, Any]:
    """A trial ends early, and the first period is billed. If `payment` fails, the invoice stays open.

    Expected with Pro: 5,000 once the invoice is paid, and nothing before. The line of the trial gives nothing.
    """
    record = shop.live_subscription(account, user_id, subscription)
    if record["status"] != "trialing":
        raise invalid("This subscription is not in a trial.", "subscription")
    with account.requested(account.request_id()):
        subscriptions.end_trial(account, record["id"], payment, reason=reason)
    return shop.made(account, record["id"])


@story
def setup_fee(account: Account, *, user_id: str, price: str = "pro_monthly", days: int = 14) -> dict[str, Any]:
    """A trial begins with a set-up fee that is paid on the same invoice.

    Expected: nothing, because a trial's line gives nothing, whatever else its invoice charges.
    """
    return sign_up(account, user_id=user_id, price=price, trial_days=days, once=["setup_fee"])


@story
def stub(
    account: Account, *, user_id: str, price: str = "starter_monthly", days: int = 20, flagged: bool = True
) -> dict[str, Any]:
    """A subscription begins `days` before its billing anchor, and its first line bills only these days.

    Expected with Starter, for 20 days of a month of 31: 1,000 x 20 / 31 = 645, the share by time.
    """
    return sign_up(account, user_id=user_id, price=price, anchor_days=days, flagged=flagged)


@story
def free_plan(account: Account, *, user_id: str) -> dict[str, Any]:
    """A user subscribes to a plan that costs nothing. Expected: 50 tokens, and the role USER."""
    return sign_up(account, user_id=user_id, price="free_monthly")


@story
def add_pack(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    price: str = "token_pack",
    quantity: int = 1,
    alone: bool = False,
) -> dict[str, Any]:
    """A subscriber buys a one-time price: on the subscription's next invoice, or `alone` on an invoice of its own.

    Expected: 500 once the invoice is paid. No later period replaces them.
    """
    record = shop.live_subscription(account, user_id, subscription)
    chosen = shop.price_named(account, price)
    with account.requested(account.request_id()):
        invoice = subscriptions.add_once(account, record["id"], chosen["id"], quantity, alone=alone)
    made = shop.made(account, record["id"])
    return made if invoice is None else {**made, **shop.paid_by(account, invoice)}


@story
def give_credit(account: Account, *, user_id: str, amount: int = 1800) -> dict[str, Any]:
    """A customer gets a credit balance, in cents, which pays the next invoices first. Expected: no tokens."""
    customer = shop.customer_of(account, user_id)
    balance = account.get("customer", customer).get("balance", 0)
    with account.requested(account.request_id()):
        account.update("customer.updated", "customer", customer, balance=balance - amount)
    return {"user_id": user_id, "customer": customer}
