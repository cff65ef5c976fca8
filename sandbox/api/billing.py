"""Operations that write subscriptions, invoices, refunds and Checkout sessions."""

from typing import Any

from sandbox import checkout, invoices, payments, subscriptions
from sandbox.api.call import Call, Routes
from sandbox.api.params import Params
from sandbox.errors import invalid
from sandbox.store import Record


def add_to(routes: Routes) -> None:
    """Add the operations of billing."""
    routes.add("POST", "/v1/subscriptions", create_subscription)
    routes.add("POST", "/v1/subscriptions/{id}", update_subscription)
    routes.add("DELETE", "/v1/subscriptions/{id}", cancel_subscription)
    routes.add("POST", "/v1/subscriptions/{id}/resume", resume_subscription)
    routes.add("POST", "/v1/invoices/{id}/pay", pay_invoice)
    routes.add("POST", "/v1/invoices/{id}/void", void_invoice)
    routes.add("POST", "/v1/invoices/{id}/mark_uncollectible", mark_uncollectible)
    routes.add("POST", "/v1/refunds", create_refund)
    routes.add("POST", "/v1/checkout/sessions", create_session, resource="checkout_session")
    routes.add("POST", "/v1/checkout/sessions/{id}/expire", expire_session, resource="checkout_session")


def create_subscription(call: Call) -> dict[str, Any]:
    """Create a subscription. Its payment fails without a card, or with a card that starts with `pm_card_chargeDeclined`."""
    account, params = call.account, call.params
    customer = params.required("customer")
    payer = account.require("customer", customer, param="customer")
    prices = [_priced(call, entry) for entry in params.entries("items")]
    if not prices:
        raise invalid("Missing required param: items.", "items", "parameter_missing")
    trial_days, trial_end = params.integer("trial_period_days"), params.integer("trial_end")
    if trial_days:
        trial_end = account.now + trial_days * 24 * 3600
    card = params.text("default_payment_method") or payer.get("invoice_settings", {}).get("default_payment_method")
    fields = params.take(
        cancel_at_period_end="flag", collection_method="text", days_until_due="integer", description="text"
    )
    coupon = next((entry.text("coupon") for entry in params.entries("discounts")), None)
    params.choice(
        "payment_behavior", "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
    )
    metadata = params.metadata()
    params.refuse_rest()
    id = subscriptions.create(
        account,
        customer=customer,
        prices=prices,
        payment="succeeds" if card is not None and "Declined" not in card else "fails",
        trial_end=trial_end,
        coupon=coupon,
        default_payment_method=card if account.find("payment_method", card) is not None else None,
        metadata=metadata or {},
        **fields,
    )
    return call.result("subscription", id)


def update_subscription(call: Call) -> dict[str, Any]:
    """Change a subscription: its items, its end, its metadata, its pause, its card."""
    account, params = call.account, call.params
    record = call.existing("subscription")
    changes = params.take(description="text", default_payment_method="text", cancel_at="integer")
    metadata = params.metadata(record.get("metadata"))
    if metadata is not None:
        changes["metadata"] = metadata
    if "cancel_at_period_end" in params:
        changes.update(subscriptions.ending(account, record, params.flag("cancel_at_period_end") or False))
    if "pause_collection" in params:
        changes["pause_collection"] = _pause(params.nested("pause_collection"))
    if "trial_end" in params:
        changes["trial_end"] = params.integer("trial_end")
    entries = params.entries("items")
    proration = params.choice("proration_behavior", "always_invoice", "create_prorations", "none")
    params.refuse_rest()
    if record["status"] in subscriptions.ENDED and (entries or set(changes) - {"metadata"}):
        raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
    items = _changed_items(call, record, entries)
    if items != record["items"]:
        subscriptions.change_items(account, call.id, items, proration=proration or "create_prorations", **changes)
    else:
        account.update("customer.subscription.updated", "subscription", call.id, **changes)
    return call.result("subscription", call.id)


def cancel_subscription(call: Call) -> dict[str, Any]:
    """End a subscription now."""
    record = call.existing("subscription")
    call.params.flag("prorate")
    call.params.flag("invoice_now")
    call.params.refuse_rest()
    if record["status"] in subscriptions.ENDED:
        raise invalid(f"No such subscription: '{call.id}'", "id", "resource_missing")
    subscriptions.end(call.account, call.id)
    return call.result("subscription", call.id)


def resume_subscription(call: Call) -> dict[str, Any]:
    """Resume a paused subscription."""
    record = call.existing("subscription")
    call.params.choice("billing_cycle_anchor", "now", "unchanged")
    call.params.text("proration_behavior")
    call.params.refuse_rest()
    if record["status"] != "paused":
        raise invalid("This subscription cannot be resumed because it is not paused.")
    subscriptions.resume(call.account, call.id)
    return call.result("subscription", call.id)


def pay_invoice(call: Call) -> dict[str, Any]:
    """Pay an open invoice with the customer's card."""
    record = call.existing("invoice")
    card = call.params.text("payment_method")
    call.params.refuse_rest()
    if record["status"] not in ("open", "uncollectible"):
        raise invalid("Invoice is already paid" if record["status"] == "paid" else "This invoice can't be paid.")
    subscriptions.pay_late(call.account, call.id, card)
    return call.result("invoice", call.id)


def void_invoice(call: Call) -> dict[str, Any]:
    """Void an open invoice."""
    return _close(call, invoices.void)


def mark_uncollectible(call: Call) -> dict[str, Any]:
    """Mark an open invoice uncollectible."""
    return _close(call, invoices.mark_uncollectible)


def create_refund(call: Call) -> dict[str, Any]:
    """Refund a charge, named by its own id or by its payment intent."""
    account, params = call.account, call.params
    charge, intent = params.text("charge"), params.text("payment_intent")
    amount = params.integer("amount")
    reason = params.choice("reason", "duplicate", "fraudulent", "requested_by_customer")
    metadata = params.metadata()
    params.refuse_rest()
    if charge is None and intent is not None:
        charge = account.require("payment_intent", intent, param="payment_intent").get("latest_charge")
    if charge is None:
        raise invalid("One of the following params should be provided for this request: payment_intent or charge.")
    account.require("charge", charge, param="charge")
    id = payments.refund(account, charge, amount=amount, reason=reason, metadata=metadata)
    return call.result("refund", id)


def create_session(call: Call) -> dict[str, Any]:
    """Open a Checkout session. The story `complete_checkout` pays it."""
    account, params = call.account, call.params
    mode = params.choice("mode", "payment", "subscription")
    prices = [_priced(call, entry) for entry in params.entries("line_items")]
    fields = params.take(
        cancel_url="text", client_reference_id="text", customer="text", customer_email="text", success_url="text"
    )
    described = params.nested("subscription_data")
    ui_mode = params.text("ui_mode")
    trial_days = None
    if described is not None:
        trial_days = described.integer("trial_period_days")
        fields["_subscription_metadata"] = described.metadata() or {}
        described.refuse_rest()
    metadata = params.metadata()
    params.refuse_rest()
    if mode is None or not prices:
        name = "mode" if mode is None else "line_items"
        raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
    if fields.get("customer") is not None:
        account.require("customer", fields["customer"], param="customer")
    if ui_mode is not None:
        fields["ui_mode"] = ui_mode
    id = checkout.open_session(
        account, mode=mode, prices=prices, trial_days=trial_days, metadata=metadata or {}, **fields
    )
    return call.result("checkout.session", id)


def expire_session(call: Call) -> dict[str, Any]:
    """Expire a Checkout session that was not completed."""
    record = call.existing("checkout.session")
    call.params.refuse_rest()
    if record.get("status", "open") != "open":
        raise invalid('Only Checkout Sessions with a status in ["open"] can be expired.')
    checkout.expire(call.account, call.id)
    return call.result("checkout.session", call.id)


def _close(call: Call, close: Any) -> dict[str, Any]:
    record = call.existing("invoice")
    call.params.refuse_rest()
    if record["status"] not in ("open", "uncollectible"):
        raise invalid(f"You can only do this to an open invoice; this one is {record['status']}.")
    close(call.account, call.id)
    return call.result("invoice", call.id)


def _priced(call: Call, entry: Params) -> tuple[str, int]:
    price, quantity = entry.required("price"), entry.integer("quantity")
    entry.refuse_rest()
    call.account.require("price", price, param="price")
    return price, 1 if quantity is None else quantity


def _pause(params: Params | None) -> dict[str, Any] | None:
    if params is None:
        return None
    behavior = params.choice("behavior", "keep_as_draft", "mark_uncollectible", "void")
    resumes_at = params.integer("resumes_at")
    params.refuse_rest()
    return {"behavior": behavior, "resumes_at": resumes_at}


def _changed_items(call: Call, record: Record, entries: list[Params]) -> list[Record]:
    items: dict[str, Record] = {item["id"]: item for item in record["items"]}
    for entry in entries:
        id, price, quantity = entry.text("id"), entry.text("price"), entry.integer("quantity")
        deleted, metadata = entry.flag("deleted"), entry.metadata()
        entry.text("clear_usage")
        entry.refuse_rest()
        if price is not None:
            call.account.require("price", price, param="price")
        if id is None:
            if price is None:
                raise invalid("Missing required param: items[0][price].", "items[0][price]", "parameter_missing")
            added = subscriptions.new_item(call.account, record, price, 1 if quantity is None else quantity)
            items[added["id"]] = added
            continue
        if id not in items:
            raise invalid(f"No such subscription_item: '{id}'", "items[0][id]", "resource_missing")
        if deleted:
            del items[id]
            continue
        item = dict(items[id])
        item.update(
            {
                name: value
                for name, value in (("price", price), ("quantity", quantity), ("metadata", metadata))
                if value is not None
            }
        )
        items[id] = item
    if not items:
        raise invalid("A subscription must have at least one item.", "items")
    return list(items.values())
