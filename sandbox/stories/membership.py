"""The main road of a membership: signing up, renewing, changing, leaving."""

from typing import Any

from sandbox import checkout, customers, subscriptions
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.stories import shop
from sandbox.stories.telling import story


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
) -> dict[str, Any]:
    """A user subscribes through Checkout.

    `price` is a price's id or a lookup key (starter_monthly, starter_yearly, pro_monthly, pro_yearly). `link` says how the
    customer can be told to be the user's: `metadata` of the customer, the `session` alone, the `subscription` alone, or
    only the `email`. `organization_id` is written to the subscription's metadata.
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
        prices=[(chosen["id"], quantity)],
        customer=customer,
        trial_days=trial_days,
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
    """A subscription's next period begins and is paid, or not (`payment` = fails). The clock goes on to the period's end."""
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
) -> dict[str, Any]:
    """A subscription changes to another price; the difference is billed at once, later (create_prorations) or not (none)."""
    record = shop.live_subscription(account, user_id, subscription)
    chosen = shop.price_named(account, price)
    first, *others = record["items"]
    changed = {**first, "price": chosen["id"], "quantity": first["quantity"] if quantity is None else quantity}
    with account.requested(account.request_id()):
        subscriptions.change_items(account, record["id"], [changed, *others], proration=proration)
    return shop.made(account, record["id"])


@story
def cancel(
    account: Account, *, user_id: str | None = None, subscription: str | None = None, when: str = "period_end"
) -> dict[str, Any]:
    """A subscription ends: `now`, at its `period_end` (the clock goes on to there), or is only `scheduled` to end then."""
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
    told = {"user_id": user_id} if link in ("metadata", "subscription") else {}
    if organization_id is not None:
        told["organization_id"] = organization_id
    return checkout.open_session(
        account,
        success_url="https://app.example.com/welcome",
        cancel_url="https://app.example.com/pricing",
        client_reference_id=user_id if named else None,
        metadata={"user_id": user_id} if named else {},
        _subscription_metadata=told,
        **described,
    )


def _newest_card(account: Account, customer: str) -> str:
    return str(account.view.owned("payment_method", "customer", customer)[-1]["id"])
