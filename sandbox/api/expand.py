"""`expand[]`: replace ids by whole objects, and add lists that are shown only on request."""

from typing import Any

from sandbox import checkout
from sandbox.api.call import Call
from sandbox.api.params import Params
from sandbox.errors import invalid
from sandbox.shapes.endive import embedded_list
from sandbox.store import Record

_DEEPEST = 4
_REFERENCES = {
    "charge": "charge",
    "coupon": "coupon",
    "customer": "customer",
    "default_payment_method": "payment_method",
    "default_price": "price",
    "discounts": "discount",
    "invoice": "invoice",
    "latest_charge": "charge",
    "latest_invoice": "invoice",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
    "price": "price",
    "product": "product",
    "subscription": "subscription",
}


def read(params: Params) -> list[list[str]]:
    """The paths to expand."""
    paths = [path.split(".") for path in params.strings("expand")]
    for path in paths:
        if len(path) - (path[0] == "data") > _DEEPEST:
            raise invalid(f"You cannot expand more than 4 levels of a property: {'.'.join(path)}", "expand")
    return paths


def apply(shown: dict[str, Any], paths: list[list[str]], call: Call) -> dict[str, Any]:
    """The answer with all paths expanded."""
    for path in paths:
        _expand(shown, path, call, ".".join(path))
    return shown


def line_items(session: Record, call: Call) -> list[dict[str, Any]]:
    """The objects that a checkout session sells."""
    shown = []
    for index, (id, quantity) in enumerate(session["_prices"]):
        price = call.view.get("price", id)
        amount = price["unit_amount"] * quantity
        shown.append(
            {
                "id": checkout.line_item_id(session, index),
                "object": "item",
                "amount_discount": 0,
                "amount_subtotal": amount,
                "amount_tax": 0,
                "amount_total": amount,
                "currency": price["currency"],
                "description": call.view.get("product", price["product"])["name"],
                "price": call.shape.render("price", price, call.view),
                "quantity": quantity,
            }
        )
    return shown


def _expand(node: Any, path: list[str], call: Call, whole: str) -> None:
    if isinstance(node, list):
        for member in node:
            _expand(member, path, call, whole)
        return
    if not isinstance(node, dict):
        return
    name, rest = path[0], path[1:]
    if name not in node and not _include(node, name, call):
        raise invalid(f"This property cannot be expanded ({whole}).", "expand")
    if name in _REFERENCES:
        node[name] = _referenced(node[name], _REFERENCES[name], call)
    elif not rest and name not in ("payments", "line_items", "refunds"):
        raise invalid(f"This property cannot be expanded ({whole}).", "expand")
    if rest:
        _expand(node[name], rest, call, whole)


def _referenced(value: Any, kind: str, call: Call) -> Any:
    if isinstance(value, list):
        return [_referenced(member, kind, call) for member in value]
    if not isinstance(value, str):
        return value
    version = call.view.version(kind, value)
    if version is None:
        return value
    if version.body is None:
        return {"id": value, "object": kind, "deleted": True}
    return call.shape.render(kind, version.record(), call.view)


def _include(node: dict[str, Any], name: str, call: Call) -> bool:
    """Add a list that Stripe shows only on request. Returns False if the object has no such list."""
    kind, id = node.get("object"), node.get("id", "")
    if (kind, name) == ("invoice", "payments") and not call.shape.is_legacy:
        members = [
            call.shape.render("invoice_payment", record, call.view)
            for record in call.view.owned("invoice_payment", "invoice", id)
        ]
        node[name] = embedded_list(members[:10], f"/v1/invoice_payments?invoice={id}", len(members))
    elif (kind, name) == ("checkout.session", "line_items"):
        members = line_items(call.view.get("checkout.session", id), call)
        node[name] = embedded_list(members[:10], f"/v1/checkout/sessions/{id}/line_items", len(members))
    elif (kind, name) == ("charge", "refunds"):
        refunds = call.view.owned("refund", "charge", id)
        members = [call.shape.render("refund", record, call.view) for record in reversed(refunds)]
        node[name] = embedded_list(members[:10], f"/v1/charges/{id}/refunds", len(members))
    else:
        return False
    return True
