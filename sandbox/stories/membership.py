"""The usual course of a membership: signing up, renewing, changing, leaving."""

from typing import Any

from sandbox import checkout, customers, subscriptions
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.stories import shop
from sandbox.stories.playing import story


@story
def sign_up(
    account: Account,
    *,
    user_id: str,
    email: str | None = None,
    name: str | None = None,
    price: str = "pro_monthly",
    quantity: int = 1,
    customer: str | None = None,
    coupon: str | None = None,
    trial_days: int | None = None,
    link: str = "metadata",
    organization_id: str | None = None,
    extras: list[str] | None = None,
    anchor_days: int | None = None,
    flagged: bool = True,
    once: list[str] | None = None,
    reason: str = "subscription_create",
) -> dict[str, Any]:
    """A user subscribes through Checkout.

    `price` is a price's id or a lookup key (`starter_monthly`, `pro_yearly` ...). `extras` are prices of further items, and
    `once` are one-time prices on the first invoice. `link` is where the user is named: in the `metadata` of the customer,
    only in the `session`, only in the `subscription`, or only by the `email`. `organization_id` is written to the
    subscription's metadata. With `anchor_days` the billing anchor is that many days later, and the first line bills the time
    until then; `flagged` marks it as a proration. `reason` is the billing reason of the first invoice.
    """
    chosen = shop.price_named(account, price)
    email = email or f"{user_id}@example.com"
    with account.requested(account.request_id()):
        if customer is None and link == "metadata":
            customer = shop.customer_of(account, user_id, email, name)
    session = _open(
        account,
        user_id,
        link,
        organization_id,
        mode="subscription",
        prices=[(chosen["id"], quantity), *((shop.price_named(account, extra)["id"], 1) for extra in extras or ())],
        customer=customer,
        trial_days=trial_days,
        anchor=account.now + anchor_days * 24 * 3600 if anchor_days else None,
        flagged=flagged,
        once=[(shop.price_named(account, sold)["id"], 1) for sold in once or ()],
        reason=reason,
    )
    account.clock.let_pass(20)
    with account.requested(account.request_id()):
        checkout.complete(account, session, email=email, name=name, coupon=coupon)
    done = account.get("checkout.session", session)
    customers.prefer_card(account, done["customer"], _newest_card(account, done["customer"]))
    return {
        "user_id": user_id,
        **shop.made(account, done["subscription"]),
        "checkout_session": session,
    }


@story
def renewal(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    payment: subscriptions.Payment = "succeeds",
) -> dict[str, Any]:
    """A subscription's next period begins. It is paid, unless `payment` is `fails`. The clock advances to the period's end."""
    record = shop.live_subscription(account, user_id, subscription)
    shop.wait_until(account, subscriptions.period_of(record)[1])
    with account.by_itself():
        if record.get("cancel_at_period_end"):
            subscriptions.end(account, record["id"])
        else:
            subscriptions.renew(account, record["id"], payment)
    return shop.made(account, record["id"])


@story
def upgrade(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    price: str = "pro_monthly",
    quantity: int | None = None,
    proration: str = "always_invoice",
    payment: subscriptions.Payment = "succeeds",
    anchor_now: bool = False,
    flagged: bool = False,
) -> dict[str, Any]:
    """A subscription changes to another price. The difference is billed at once, later (create_prorations) or not (none).

    Expected with default settings: once they are paid, the credit removes and the charge adds a share by time. From
    Starter to Pro after half of a month: -1,000 x 1/2 = -500, and 5,000 x 1/2 = +2,500, at once or with the next month's
    5,000, which replace the tokens that are left. With `none` there are only the 5,000. With a yearly price the rest of the
    current 30 days counts. A new period begins at once with `anchor_now`, with a new interval, or if the old price was free
    and the new price is not. Its line is marked as a proration if `flagged`, and the new allowance replaces the old one.
    """
    record = shop.live_subscription(account, user_id, subscription)
    chosen = shop.price_named(account, price)
    first, *others = record["items"]
    changed = {**first, "price": chosen["id"], "quantity": first["quantity"] if quantity is None else quantity}
    with account.requested(account.request_id()):
        subscriptions.change_items(
            account,
            record["id"],
            [changed, *others],
            proration=proration,
            payment=payment,
            anchor_now=anchor_now,
            flagged=flagged,
        )
    return shop.made(account, record["id"])


@story
def cancel(
    account: Account, *, user_id: str | None = None, subscription: str | None = None, when: str = "period_end"
) -> dict[str, Any]:
    """A subscription ends: `now`, at its `period_end` (the clock advances to it), or is only `scheduled` to end then."""
    record = shop.live_subscription(account, user_id, subscription)
    if when not in ("now", "period_end", "scheduled"):
        raise invalid("when: now, period_end or scheduled", "when")
    with account.requested(account.request_id()):
        if when == "now":
            subscriptions.end(account, record["id"])
        else:
            ending = subscriptions.ending(account, record, True)
            account.update("customer.subscription.updated", "subscription", record["id"], **ending)
    if when == "period_end":
        shop.wait_until(account, subscriptions.period_of(record)[1])
        with account.by_itself():
            subscriptions.end(account, record["id"])
    return shop.made(account, record["id"])


def _open(account: Account, user_id: str, link: str, organization_id: str | None, **described: Any) -> str:
    if link not in ("metadata", "session", "subscription", "email"):
        raise invalid("link: metadata, session, subscription or email", "link")
    named = link in ("metadata", "session")
    user_metadata = {"user_id": user_id} if link in ("metadata", "subscription") else {}
    if organization_id is not None:
        user_metadata["organization_id"] = organization_id
    return checkout.open_session(
        account,
        success_url="https://app.example.com/welcome",
        cancel_url="https://app.example.com/pricing",
        client_reference_id=user_id if named else None,
        metadata={"user_id": user_id} if named else {},
        _subscription_metadata=user_metadata,
        **described,
    )


def _newest_card(account: Account, customer: str) -> str:
    return str(account.view.owned("payment_method", "customer", customer)[-1]["id"])
