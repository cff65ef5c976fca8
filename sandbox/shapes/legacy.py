"""Records as API 2024-06-20 shows them: the newest shape, with each moved field back in its old place."""

from collections.abc import Callable
from typing import Any

from sandbox.shapes import endive
from sandbox.store import Record, View

_LATER: dict[str, tuple[str, ...]] = {
    "product": ("tax_details",),
    "customer": ("business_name", "customer_account", "individual_name"),
    "payment_method": ("customer_account",),
    "subscription": (
        "billing_mode",
        "billing_schedules",
        "customer_account",
        "managed_payments",
        "presentment_details",
        "status_details",
    ),
    "invoice": (
        "amount_overpaid",
        "amount_paid_off_stripe",
        "customer_account",
        "parent",
        "status_details",
        "total_taxes",
        "total_pretax_credit_amounts",
    ),
    "payment_intent": (
        "allowed_payment_method_types",
        "customer_account",
        "excluded_payment_method_types",
        "hooks",
        "managed_payments",
        "payment_details",
        "payment_record",
        "presentment_details",
    ),
    "charge": ("presentment_details",),
    "refund": ("customer", "customer_account", "payment_method", "pending_reason", "presentment_details"),
    "dispute": ("enhanced_eligibility_types", "intended_submission_method", "network_reason_code"),
    "credit_note": ("customer_account", "post_payment_amount", "pre_payment_amount", "total_taxes"),
    "discount": ("customer_account",),
    "checkout.session": (
        "adaptive_pricing",
        "allowed_payment_method_types",
        "branding_settings",
        "collected_information",
        "customer_account",
        "discounts",
        "excluded_payment_method_types",
        "integration_identifier",
        "managed_payments",
        "name_collection",
        "optional_items",
        "origin_context",
        "permissions",
        "presentment_details",
        "wallet_options",
    ),
}
"""The fields that were added after 2024-06-20."""

_UI_MODES = {"hosted_page": "hosted", "embedded_page": "embedded", "elements": "custom", "form": "form"}


def render(kind: str, record: Record, view: View) -> dict[str, Any]:
    """A record in the shape of 2024-06-20."""
    shown = endive.render(kind, record, view)
    for field in _LATER.get(kind, ()):
        del shown[field]
    finish = _FINISH.get(kind)
    if finish is not None:
        finish(shown, record, view)
    return shown


def subscription_item(item: Record, subscription: str, view: View) -> dict[str, Any]:
    """One item of a subscription; its period is on the subscription."""
    shown = endive.subscription_item(item, subscription, view)
    for field in ("billed_until", "current_period_end", "current_period_start", "current_trial"):
        del shown[field]
    _finish_plan(shown["plan"], {}, view)
    _finish_price(shown["price"], {}, view)
    return shown


def line(line: Record, invoice: Record, view: View) -> dict[str, Any]:
    """One line of an invoice, with its whole price and plan."""
    shown = endive.line(line, invoice)
    for field in ("parent", "pricing", "pretax_credit_amounts", "quantity_decimal", "subtotal", "taxes"):
        del shown[field]
    price = view.find("price", line["price"])
    shown["price"] = render("price", price, view) if price is not None else None
    shown["plan"] = render("plan", price, view) if price is not None and price["recurring"] is not None else None
    shown["proration"] = line.get("proration", False)
    shown["proration_details"] = {"credited_items": line.get("credited_items")}
    if line.get("subscription_item") is not None:
        shown["subscription_item"] = line["subscription_item"]
        shown["type"] = "subscription"
    else:
        shown["invoice_item"] = line.get("invoice_item")
        shown["type"] = "invoiceitem"
    shown["tax_amounts"] = []
    shown["tax_rates"] = []
    shown["amount_excluding_tax"] = line["amount"]
    shown["unit_amount_excluding_tax"] = str(line["unit_amount"])
    return shown


def _finish_price(shown: dict[str, Any], record: Record, view: View) -> None:
    if shown["recurring"] is not None:
        shown["recurring"] = {**shown["recurring"], "aggregate_usage": None}


def _finish_plan(shown: dict[str, Any], record: Record, view: View) -> None:
    shown["aggregate_usage"] = None


def _finish_discount(shown: dict[str, Any], record: Record, view: View) -> None:
    coupon = view.find("coupon", shown.pop("source")["coupon"])
    shown["coupon"] = render("coupon", coupon, view) if coupon is not None else None


def _finish_customer(shown: dict[str, Any], record: Record, view: View) -> None:
    shown["discount"] = _discount(record.get("discount"), view)


def _finish_subscription(shown: dict[str, Any], record: Record, view: View) -> None:
    items = record["items"]
    shown["items"]["data"] = [subscription_item(item, record["id"], view) for item in items[: endive.EMBEDDED]]
    shown["items"]["total_count"] = len(items)
    shown["automatic_tax"] = {"enabled": False, "liability": None}
    shown["cancellation_details"] = {
        name: value for name, value in shown["cancellation_details"].items() if name != "feedback_option"
    }
    shown["invoice_settings"] = {"account_tax_ids": None, "issuer": {"type": "self"}}
    shown["trial_settings"] = {"end_behavior": {"missing_payment_method": "create_invoice"}}
    # If the periods of items differ, the old shape shows the period that ends first.
    shown["current_period_end"] = min(item["current_period_end"] for item in items)
    shown["current_period_start"] = min(item["current_period_start"] for item in items)
    alone = shown["items"]["data"][0] if len(items) == 1 else None
    shown["plan"] = alone["plan"] if alone is not None else None
    shown["quantity"] = alone["quantity"] if alone is not None else None
    shown["discount"] = _discount(next(iter(shown["discounts"]), None), view)


def _finish_invoice(shown: dict[str, Any], record: Record, view: View) -> None:
    lines = record["lines"]
    shown["lines"]["data"] = [line(member, record, view) for member in lines[: endive.EMBEDDED]]
    shown["lines"]["total_count"] = len(lines)
    shown["automatic_tax"] = {"enabled": False, "liability": None, "status": None}
    subscription = record.get("_subscription")
    metadata = record.get("_subscription_metadata", {}) if subscription is not None else None
    shown.update(
        application_fee_amount=None,
        charge=record.get("_charge"),
        discount=_discount(next(iter(shown["discounts"]), None), view),
        paid=shown["status"] == "paid",
        paid_out_of_band=False,
        payment_intent=record.get("_payment_intent"),
        quote=None,
        subscription=subscription,
        subscription_details={"metadata": metadata},
        subscription_proration_date=None,
        tax=None,
        threshold_reason=None,
        total_tax_amounts=[],
        transfer_data=None,
    )


def _finish_payment(shown: dict[str, Any], record: Record, view: View) -> None:
    shown["invoice"] = record.get("_invoice")


def _finish_dispute(shown: dict[str, Any], record: Record, view: View) -> None:
    for part, later in (("evidence", "enhanced_evidence"), ("evidence_details", "enhanced_eligibility")):
        shown[part] = {name: value for name, value in shown[part].items() if name != later}


def _finish_credit_note(shown: dict[str, Any], record: Record, view: View) -> None:
    refunds = shown.pop("refunds")
    shown["refund"] = refunds[0]["refund"] if refunds else None
    shown["tax_amounts"] = []


def _finish_checkout_session(shown: dict[str, Any], record: Record, view: View) -> None:
    shown["shipping_details"] = None
    shown["ui_mode"] = _UI_MODES[shown["ui_mode"]]
    if shown["customer_details"] is not None:
        shown["customer_details"] = {
            name: value
            for name, value in shown["customer_details"].items()
            if name not in ("business_name", "individual_name")
        }


def _discount(id: str | None, view: View) -> dict[str, Any] | None:
    discount = view.find("discount", id)
    return render("discount", discount, view) if discount is not None else None


_FINISH: dict[str, Callable[[dict[str, Any], Record, View], None]] = {
    "charge": _finish_payment,
    "checkout.session": _finish_checkout_session,
    "credit_note": _finish_credit_note,
    "customer": _finish_customer,
    "discount": _finish_discount,
    "dispute": _finish_dispute,
    "invoice": _finish_invoice,
    "payment_intent": _finish_payment,
    "plan": _finish_plan,
    "price": _finish_price,
    "subscription": _finish_subscription,
}
