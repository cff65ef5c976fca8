"""Records as API 2026-10-28.endive shows them.

A record has the fields that differ from the default object of its type in `blanks.py`. It refers to prices, products and
discounts by id. Fields whose names begin with an underscore are private, and are not shown.
"""

from typing import Any

from sandbox.shapes.blanks import BLANKS, LINE, PLAN, SUBSCRIPTION_ITEM
from sandbox.store import Record, View

EMBEDDED = 10
"""The number of members that an embedded list shows. The others are read from the path of the list."""


def render(kind: str, record: Record, view: View) -> dict[str, Any]:
    """A record in the newest shape."""
    if kind == "plan":
        return plan_of(record)
    shown = {"id": record["id"], **BLANKS[kind]}
    shown.update((name, value) for name, value in record.items() if not name.startswith("_"))
    if kind == "subscription":
        _complete_subscription(shown, record, view)
    elif kind == "invoice":
        _complete_invoice(shown, record)
    elif kind == "customer":
        shown["discount"] = _discount(record, view)
    return shown


def plan_of(price: Record) -> dict[str, Any]:
    """The older form of a recurring price, with the same id."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        **PLAN,
        "active": price.get("active", True),
        "amount": price["unit_amount"],
        "amount_decimal": str(price["unit_amount"]),
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "metadata": price.get("metadata", {}),
        "nickname": price.get("nickname"),
        "product": price["product"],
        "trial_period_days": recurring["trial_period_days"],
    }


def subscription_item(item: Record, subscription: str, view: View) -> dict[str, Any]:
    """One item of a subscription, with its present price."""
    price = view.get("price", item["price"])
    return {
        **SUBSCRIPTION_ITEM,
        **item,
        "billed_until": item["current_period_end"],
        "plan": plan_of(price),
        "price": render("price", price, view),
        "subscription": subscription,
    }


def line(line: Record, invoice: Record) -> dict[str, Any]:
    """One line of an invoice."""
    subscription = invoice.get("_subscription")
    shown = {
        "id": line["id"],
        **LINE,
        "amount": line["amount"],
        "currency": invoice["currency"],
        "description": line["description"],
        "invoice": invoice["id"],
        "metadata": line.get("metadata", {}),
        "period": line["period"],
        "quantity": line["quantity"],
        "quantity_decimal": str(line["quantity"]),
        "subscription": subscription,
        "subtotal": line["amount"],
        "discount_amounts": line.get("discount_amounts", []),
        "pricing": {
            "price_details": {"price": line["price"], "product": line["product"]},
            "type": "price_details",
            "unit_amount_decimal": str(line["unit_amount"]),
        },
    }
    proration = {
        "proration": line.get("proration", False),
        "proration_details": {"credited_items": line.get("credited_items")},
    }
    if line.get("subscription_item") is not None:
        shown["parent"] = {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                **proration,
                "subscription": subscription,
                "subscription_item": line.get("subscription_item"),
            },
            "type": "subscription_item_details",
        }
    else:
        shown["parent"] = {
            "invoice_item_details": {
                "invoice_item": line.get("invoice_item"),
                **proration,
                "subscription": subscription,
            },
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
    return shown


def embedded_list(members: list[dict[str, Any]], url: str, count: int) -> dict[str, Any]:
    """A list embedded in an object."""
    return {"object": "list", "data": members, "has_more": count > EMBEDDED, "url": url}


def _complete_subscription(shown: dict[str, Any], record: Record, view: View) -> None:
    items = record["items"]
    shown["items"] = embedded_list(
        [subscription_item(item, record["id"], view) for item in items[:EMBEDDED]],
        f"/v1/subscription_items?subscription={record['id']}",
        len(items),
    )
    shown["billing_mode"] = {**shown["billing_mode"], "updated_at": record["created"]}


def _complete_invoice(shown: dict[str, Any], record: Record) -> None:
    lines = record["lines"]
    shown["lines"] = embedded_list(
        [line(member, record) for member in lines[:EMBEDDED]], f"/v1/invoices/{record['id']}/lines", len(lines)
    )
    if record.get("_subscription") is not None:
        shown["parent"] = {
            "quote_details": None,
            "subscription_details": {
                "metadata": record.get("_subscription_metadata", {}),
                "subscription": record["_subscription"],
            },
            "type": "subscription_details",
        }


def _discount(customer: Record, view: View) -> dict[str, Any] | None:
    discount = view.find("discount", customer.get("discount"))
    return render("discount", discount, view) if discount is not None else None
