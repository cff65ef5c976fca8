"""Stories in which a subscription pauses or resumes, and in which objects change, are deleted or are created again."""

from typing import Any

from sandbox import catalog, customers, subscriptions
from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.stories import shop
from sandbox.stories.playing import story


@story
def pause(
    account: Account,
    *,
    user_id: str | None = None,
    subscription: str | None = None,
    how: str = "collection",
    behavior: str = "void",
    reason: str = "pause_requested",
) -> dict[str, Any]:
    """A subscription pauses. If `how` is `collection`, only its collection pauses, with this `behavior`, and it stays
    active. If it is `status`, the subscription gets the status `paused`, with this `reason` in its status_details."""
    record = shop.live_subscription(account, user_id, subscription)
    if how not in ("collection", "status"):
        raise invalid("how: collection or status", "how")
    with account.requested(account.request_id()):
        if how == "status":
            subscriptions.pause(account, record["id"], reason=reason)
        else:
            held = {"behavior": behavior, "resumes_at": None}
            account.update("customer.subscription.updated", "subscription", record["id"], pause_collection=held)
    return shop.made(account, record["id"])


@story
def resume(account: Account, *, user_id: str | None = None, subscription: str | None = None) -> dict[str, Any]:
    """A paused subscription resumes. If its status was `paused`, a new period begins."""
    record = shop.live_subscription(account, user_id, subscription)
    with account.requested(account.request_id()):
        if record["status"] == "paused":
            subscriptions.resume(account, record["id"])
        else:
            account.update("customer.subscription.updated", "subscription", record["id"], pause_collection=None)
    return shop.made(account, record["id"])


@story
def delete_customer(account: Account, *, user_id: str | None = None, customer: str | None = None) -> dict[str, Any]:
    """A customer is deleted; their subscriptions end at once."""
    if customer is None:
        if user_id is None:
            raise invalid("Name the user or the customer: user_id or customer.", "user_id", "parameter_missing")
        customer = shop.customer_of(account, user_id)
    account.require("customer", customer, param="customer")
    user_id = user_id or shop.user_of(account, customer)
    with account.requested(account.request_id()):
        customers.delete_customer(account, customer)
    return {"customer": customer, **({"user_id": user_id} if user_id is not None else {})}


@story
def delete_product(account: Account, *, product: str | None = None, price: str = "pro_monthly") -> dict[str, Any]:
    """A product is deleted with all its prices; subscriptions to it continue."""
    product = product or shop.price_named(account, price)["product"]
    account.require("product", product, param="product")
    prices = [record["id"] for record in account.view.owned("price", "product", product)]
    with account.requested(account.request_id()):
        for id in prices:
            catalog.delete_price(account, id)
        catalog.delete_product(account, product)
    return {"product": product, "prices": prices}


@story
def recreate(account: Account, *, kind: str = "product", id: str = "membership") -> dict[str, Any]:
    """A product or coupon with a chosen id is created, deleted, and created again with the same id."""
    if kind not in ("product", "coupon"):
        raise invalid("kind: product or coupon", "kind")
    for round_number in (1, 2):
        if account.find(kind, id) is not None:
            with account.requested(account.request_id()):
                (catalog.delete_product if kind == "product" else catalog.delete_coupon)(account, id)
            account.clock.let_pass(1)
        name = f"{id} made for the {'first' if round_number == 1 else 'second'} time"
        with account.requested(account.request_id()):
            if kind == "product":
                catalog.create_product(account, id=id, name=name)
            else:
                catalog.create_coupon(account, id=id, name=name, percent_off=10.0 * round_number)
        account.clock.let_pass(1)
    return {kind: id}


@story
def touch(account: Account, *, kind: str = "subscription", id: str, times: int = 3) -> dict[str, Any]:
    """An object's metadata changes several times within the same second, and back again: A, B, A, B."""
    record = account.require(kind, id)
    metadata = record.get("metadata", {})
    names = {
        "subscription": "customer.subscription.updated",
        "customer": "customer.updated",
        "product": "product.updated",
        "invoice": "invoice.updated",
    }
    if kind not in names:
        raise invalid(f"kind: {', '.join(names)}", "kind")
    for number in range(times):
        touched = metadata if number % 2 else {**metadata, "touched": "yes"}
        with account.requested(account.request_id()):
            account.update(names[kind], kind, id, metadata=touched)
    return {kind: id}
