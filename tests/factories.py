"""Stripe's objects and events for tests. They have Stripe's shape, few fields, and a plausible value for every field.

A test passes only the values that matter to it. Objects have one of two shapes, which the same table must accept: NEW, or OLD,
the last API version before periods, prices and payments moved to other fields. This module does not import the product.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

OLD, NEW = "2024-06-20", "2026-10-28.endive"
DAY = 86_400
NOW = 1_782_864_056
PERIOD_END = NOW + 31 * DAY

_numbers = itertools.count(1)


def event(
    type_: str,
    obj: Json,
    *,
    id: str | None = None,
    created: int = NOW,
    previous: Mapping[str, Any] | None = None,
    api_version: str = NEW,
    account: str | None = None,
    livemode: bool = False,
) -> Json:
    """A snapshot event, with a new id unless an id is given."""
    data: Json = {"object": obj}
    if previous is not None:
        data["previous_attributes"] = dict(previous)
    made: Json = {
        "id": id or f"evt_1{next(_numbers):023d}",
        "object": "event",
        "api_version": api_version,
        "created": created,
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type_,
        "data": data,
    }
    return made | ({"account": account} if account else {})


def update(type_: str, before: Json, after: Json, **more: Any) -> Json:
    """The event of a change, with the previous_attributes that Stripe would send."""
    return event(type_, after, previous=previous_attributes(before, after), **more)


def previous_attributes(before: Json, after: Json) -> Json:
    """The values of `before` that differ in `after`. Objects are compared field by field, arrays as a whole."""
    changed: Json = {}
    for key in [*after, *(key for key in before if key not in after)]:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if inner := previous_attributes(old, new):
                changed[key] = inner
        elif old != new:
            changed[key] = old
    return changed


def thin_event(
    type_: str = "v1.customer.subscription.updated",
    *,
    id: str | None = None,
    created: str = "2026-07-01T00:00:58.137Z",
    related: Mapping[str, Any] | None = None,
    context: str | None = None,
) -> Json:
    """A thin event, which names its object but does not contain it."""
    return {
        "id": id or f"evt_test_{next(_numbers):048d}",
        "object": "v2.core.event",
        "type": type_,
        "created": created,
        "livemode": False,
        "context": context,
        "reason": None,
        "related_object": dict(related) if related is not None else None,
    }


def stub(obj: Json) -> Json:
    """A deleted object as Stripe sends it, with only three keys."""
    return {"id": obj["id"], "object": obj["object"], "deleted": True}


def encoded(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def listing(data: Sequence[Json], *, url: str = "/v1/things", has_more: bool = False) -> Json:
    """An embedded list. If `has_more`, Stripe has more members than it sent."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}


def product(
    id: str = "prod_pro", *, tokens: int | str | None = 1000, role: str | None = "PREMIUM", **more: Any
) -> Json:
    policy = {"tokens": None if tokens is None else str(tokens), "role": role}
    return {
        "id": id,
        "object": "product",
        "active": True,
        "created": NOW - DAY,
        "default_price": "price_pro_monthly",
        "description": "Pro membership",
        "livemode": False,
        "metadata": {key: value for key, value in policy.items() if value is not None},
        "name": "Pro",
        "tax_code": "txcd_10000000",
        "type": "service",
        "unit_label": "seat",
        "updated": NOW - DAY,
    } | more


def price(id: str = "price_pro_monthly", *, product: str = "prod_pro", **more: Any) -> Json:
    return {
        "id": id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": NOW - DAY,
        "currency": "usd",
        "livemode": False,
        "lookup_key": "pro_monthly",
        "metadata": {},
        "nickname": "monthly",
        "product": product,
        "recurring": {
            "interval": "month",
            "interval_count": 1,
            "meter": None,
            "trial_period_days": 14,
            "usage_type": "licensed",
        },
        "tiers_mode": None,
        "type": "recurring",
        "unit_amount": 2000,
        "unit_amount_decimal": "2000",
    } | more


def plan(id: str = "price_pro_monthly", *, product: str = "prod_pro", **more: Any) -> Json:
    """The plan of a recurring price, with the same id."""
    return {
        "id": id,
        "object": "plan",
        "active": True,
        "amount": 2000,
        "amount_decimal": "2000",
        "billing_scheme": "per_unit",
        "created": NOW - DAY,
        "currency": "usd",
        "interval": "month",
        "interval_count": 1,
        "livemode": False,
        "metadata": {},
        "nickname": "monthly",
        "product": product,
        "trial_period_days": 14,
        "usage_type": "licensed",
    } | more


def coupon(id: str = "WELCOME20", **more: Any) -> Json:
    return {
        "id": id,
        "object": "coupon",
        "amount_off": None,
        "created": NOW - DAY,
        "currency": None,
        "duration": "repeating",
        "duration_in_months": 3,
        "livemode": False,
        "metadata": {},
        "name": "Welcome 20%",
        "percent_off": 20.0,
        "redeem_by": None,
        "times_redeemed": 0,
        "valid": True,
    } | more


def discount(id: str = "di_1", *, customer: str = "cus_jenny", **more: Any) -> Json:
    return {
        "id": id,
        "object": "discount",
        "customer": customer,
        "end": None,
        "source": {"type": "coupon", "coupon": "WELCOME20"},
        "start": NOW,
        "subscription": None,
    } | more


def customer(id: str = "cus_jenny", *, user_id: str | None = None, **more: Any) -> Json:
    return {
        "id": id,
        "object": "customer",
        "balance": 0,
        "created": NOW - 60,
        "currency": "usd",
        "delinquent": False,
        "description": None,
        "email": "jenny@example.com",
        "invoice_prefix": "DEMO42",
        "invoice_settings": {"custom_fields": None, "default_payment_method": "pm_visa", "footer": None},
        "livemode": False,
        "metadata": {} if user_id is None else {"user_id": user_id},
        "name": "Jenny Rosen",
        "preferred_locales": [],
        "tax_exempt": "none",
        "test_clock": None,
    } | more


def payment_method(id: str = "pm_visa", *, customer: str | None = "cus_jenny", **more: Any) -> Json:
    return {
        "id": id,
        "object": "payment_method",
        "billing_details": {"email": "jenny@example.com", "name": "Jenny Rosen"},
        "card": {"brand": "visa", "exp_month": 8, "exp_year": 2030, "funding": "credit", "last4": "4242"},
        "created": NOW - 30,
        "customer": customer,
        "livemode": False,
        "metadata": {},
        "type": "card",
    } | more


def subscription_item(
    id: str = "si_1",
    *,
    shape: str = NEW,
    subscription: str = "sub_1",
    price: str = "price_pro_monthly",
    product: str = "prod_pro",
    quantity: int = 1,
    period_start: int = NOW,
    period_end: int = PERIOD_END,
    **more: Any,
) -> Json:
    """An item with its whole price and plan, as Stripe embeds them. Only an item in the shape NEW has a period."""
    made: Json = {
        "id": id,
        "object": "subscription_item",
        "created": NOW,
        "discounts": [],
        "metadata": {},
        "plan": _plan(price, product),
        "price": _price(price, product),
        "quantity": quantity,
        "subscription": subscription,
    }
    if shape != OLD:
        made |= {"current_period_start": period_start, "current_period_end": period_end, "billed_until": period_end}
    return made | more


def subscription(
    id: str = "sub_1",
    *,
    shape: str = NEW,
    status: str = "active",
    customer: str = "cus_jenny",
    user_id: str | None = None,
    price: str = "price_pro_monthly",
    product: str = "prod_pro",
    quantity: int = 1,
    period_start: int = NOW,
    period_end: int = PERIOD_END,
    items: Sequence[Json] | None = None,
    has_more: bool = False,
    **more: Any,
) -> Json:
    """A subscription with one item, unless `items` is given. `has_more` marks its list of items as truncated."""
    if items is None:
        items = [
            subscription_item(
                f"si_{id.removeprefix('sub_')}",
                shape=shape,
                subscription=id,
                price=price,
                product=product,
                quantity=quantity,
                period_start=period_start,
                period_end=period_end,
            )
        ]
    made: Json = {
        "id": id,
        "object": "subscription",
        "billing_cycle_anchor": NOW,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "collection_method": "charge_automatically",
        "created": NOW,
        "currency": "usd",
        "customer": customer,
        "default_payment_method": "pm_visa",
        "discounts": [],
        "ended_at": None,
        "items": listing(items, url=f"/v1/subscription_items?subscription={id}", has_more=has_more),
        "latest_invoice": "in_1",
        "livemode": False,
        "metadata": {} if user_id is None else {"user_id": user_id},
        "pause_collection": None,
        "schedule": None,
        "start_date": NOW,
        "status": status,
        "test_clock": None,
        "trial_end": None,
        "trial_start": None,
    }
    if shape == OLD:
        made |= {
            "current_period_start": period_start,
            "current_period_end": period_end,
            "discount": None,
            "plan": _plan(price, product),
            "quantity": quantity,
        }
        made["items"] |= {"total_count": len(items)}
    else:
        made |= {
            "billing_mode": {"type": "flexible", "updated_at": NOW},
            "customer_account": None,
            "status_details": None,
        }
    return made | more


def line_item(
    id: str = "il_1",
    *,
    shape: str = NEW,
    invoice: str = "in_1",
    subscription: str = "sub_1",
    subscription_item: str = "si_1",
    price: str = "price_pro_monthly",
    product: str = "prod_pro",
    quantity: int = 1,
    amount: int = 2000,
    proration: bool = False,
    period_start: int = NOW,
    period_end: int = PERIOD_END,
    **more: Any,
) -> Json:
    """A line of a subscription's invoice."""
    made: Json = {
        "id": id,
        "object": "line_item",
        "amount": amount,
        "currency": "usd",
        "description": "1 x Pro (at $20.00 / month)",
        "discountable": True,
        "invoice": invoice,
        "livemode": False,
        "metadata": {},
        "period": {"start": period_start, "end": period_end},
        "quantity": quantity,
        "subscription": subscription,
    }
    if shape == OLD:
        made |= {
            "plan": _plan(price, product),
            "price": _price(price, product),
            "proration": proration,
            "proration_details": {"credited_items": None},
            "subscription_item": subscription_item,
            "type": "subscription",
        }
    else:
        made |= {
            "parent": {
                "type": "subscription_item_details",
                "invoice_item_details": None,
                "subscription_item_details": {
                    "invoice_item": None,
                    "proration": proration,
                    "proration_details": {"credited_items": None},
                    "subscription": subscription,
                    "subscription_item": subscription_item,
                },
            },
            "pricing": {
                "type": "price_details",
                "price_details": {"price": price, "product": product},
                "unit_amount_decimal": "2000",
            },
        }
    return made | more


def invoice(
    id: str = "in_1",
    *,
    shape: str = NEW,
    status: str = "paid",
    customer: str = "cus_jenny",
    subscription: str | None = "sub_1",
    billing_reason: str = "subscription_create",
    total: int = 2000,
    payment_intent: str | None = "pi_1",
    payments: bool = False,
    lines: Sequence[Json] | None = None,
    has_more: bool = False,
    **more: Any,
) -> Json:
    """An invoice with one line, unless `lines` is given. In the shape NEW it has `payments` only on request."""
    paid = status == "paid"
    if lines is None:
        lines = [line_item(f"il_{id.removeprefix('in_')}", shape=shape, invoice=id, subscription=subscription or "")]
    made: Json = {
        "id": id,
        "object": "invoice",
        "amount_due": total,
        "amount_paid": total if paid else 0,
        "amount_remaining": 0 if paid else total,
        "attempt_count": 1 if paid else 0,
        "billing_reason": billing_reason,
        "collection_method": "charge_automatically",
        "created": NOW,
        "currency": "usd",
        "customer": customer,
        "customer_email": "jenny@example.com",
        "due_date": None,
        "hosted_invoice_url": "https://invoice.stripe.com/i/acct_1/test_x?s=ap",
        "invoice_pdf": None,
        "lines": listing(lines, url=f"/v1/invoices/{id}/lines", has_more=has_more),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None,
        "number": "DEMO42-0001",
        "period_end": NOW,
        "period_start": NOW,
        "status": status,
        "status_transitions": {
            "finalized_at": NOW + 1,
            "marked_uncollectible_at": None,
            "paid_at": NOW + 3 if paid else None,
            "voided_at": None,
        },
        "subtotal": total,
        "test_clock": None,
        "total": total,
    }
    if shape == OLD:
        made |= {
            "charge": "ch_1" if paid else None,
            "paid": paid,
            "payment_intent": payment_intent,
            "subscription": subscription,
            "subscription_details": {"metadata": {}} if subscription else None,
            "tax": None,
        }
        made["lines"] |= {"total_count": len(lines)}
    else:
        details: Json = {"metadata": {}, "subscription": subscription}
        parent = {"type": "subscription_details", "quote_details": None, "subscription_details": details}
        made |= {"parent": parent if subscription else None, "total_taxes": [], "status_details": None}
        if payments:
            paying = [invoice_payment(invoice=id, payment_intent=payment_intent)] if payment_intent else []
            made["payments"] = listing(paying, url=f"/v1/invoice_payments?invoice={id}")
    return made | more


def invoice_payment(
    id: str = "inpay_1",
    *,
    invoice: str = "in_1",
    payment_intent: str | None = "pi_1",
    status: str = "paid",
    **more: Any,
) -> Json:
    return {
        "id": id,
        "object": "invoice_payment",
        "amount_paid": 2000 if status == "paid" else None,
        "amount_requested": 2000,
        "created": NOW,
        "currency": "usd",
        "invoice": invoice,
        "is_default": True,
        "livemode": False,
        "payment": {"type": "payment_intent", "payment_intent": payment_intent},
        "status": status,
        "status_transitions": {"canceled_at": None, "paid_at": NOW + 3 if status == "paid" else None},
    } | more


def payment_intent(
    id: str = "pi_1",
    *,
    shape: str = NEW,
    status: str = "succeeded",
    customer: str | None = "cus_jenny",
    amount: int = 2000,
    invoice: str | None = "in_1",
    **more: Any,
) -> Json:
    """A PaymentIntent. It names its invoice only in the shape OLD."""
    succeeded = status == "succeeded"
    made: Json = {
        "id": id,
        "object": "payment_intent",
        "amount": amount,
        "amount_received": amount if succeeded else 0,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{id}_secret_x",
        "created": NOW - 1,
        "currency": "usd",
        "customer": customer,
        "description": "Subscription creation",
        "latest_charge": "ch_1" if succeeded else None,
        "livemode": False,
        "metadata": {},
        "payment_method": "pm_visa",
        "payment_method_types": ["card"],
        "status": status,
    }
    return made | ({"invoice": invoice} if shape == OLD else {}) | more


def charge(
    id: str = "ch_1", *, shape: str = NEW, payment_intent: str | None = "pi_1", amount_refunded: int = 0, **more: Any
) -> Json:
    made: Json = {
        "id": id,
        "object": "charge",
        "amount": 2000,
        "amount_captured": 2000,
        "amount_refunded": amount_refunded,
        "balance_transaction": "txn_1",
        "captured": True,
        "created": NOW,
        "currency": "usd",
        "customer": "cus_jenny",
        "disputed": False,
        "failure_code": None,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": payment_intent,
        "payment_method": "pm_visa",
        "receipt_url": "https://pay.stripe.com/receipts/x",
        "refunded": amount_refunded == 2000,
        "status": "succeeded",
    }
    return made | ({"invoice": "in_1"} if shape == OLD else {}) | more


def refund(
    id: str = "re_1", *, charge: str = "ch_1", amount: int = 2000, status: str = "succeeded", **more: Any
) -> Json:
    return {
        "id": id,
        "object": "refund",
        "amount": amount,
        "charge": charge,
        "created": NOW + DAY,
        "currency": "usd",
        "failure_reason": None,
        "metadata": {},
        "payment_intent": "pi_1",
        "reason": "requested_by_customer",
        "status": status,
    } | more


def dispute(id: str = "du_1", *, charge: str = "ch_1", status: str = "needs_response", **more: Any) -> Json:
    return {
        "id": id,
        "object": "dispute",
        "amount": 2000,
        "charge": charge,
        "created": NOW + DAY,
        "currency": "usd",
        "evidence_details": {"due_by": NOW + 9 * DAY, "has_evidence": False, "past_due": False},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": "pi_1",
        "reason": "fraudulent",
        "status": status,
    } | more


def checkout_session(
    id: str = "cs_test_1",
    *,
    status: str = "complete",
    payment_status: str = "paid",
    customer: str | None = "cus_jenny",
    client_reference_id: str | None = None,
    payment_link: str | None = None,
    subscription: str | None = "sub_1",
    **more: Any,
) -> Json:
    return {
        "id": id,
        "object": "checkout.session",
        "amount_total": 2000,
        "client_reference_id": client_reference_id,
        "created": NOW - 26,
        "currency": "usd",
        "customer": customer,
        "customer_details": {"email": "jenny@example.com", "name": "Jenny Rosen"},
        "expires_at": NOW + DAY,
        "invoice": "in_1",
        "livemode": False,
        "metadata": {},
        "mode": "subscription",
        "payment_intent": None,
        "payment_link": payment_link,
        "payment_status": payment_status,
        "setup_intent": None,
        "status": status,
        "subscription": subscription,
    } | more


# The same factories under other names, for factories whose arguments `price` and `plan` hide them.
def _price(id_: str, product: str) -> Json:
    return price(id_, product=product)


def _plan(id_: str, product: str) -> Json:
    return plan(id_, product=product)
