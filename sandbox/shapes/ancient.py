"""Apply the traits of API versions before 2022-11-15 to the shape of 2024-06-20. Endpoints created then still use these versions.

Sources: Stripe's API changelog for 2018-02-05 (a plan's product), 2018-10-31 (the reason of a first invoice),
2019-12-03 (ids of invoice lines) and 2022-11-15 (refunds inside charges). Stripe does not document in which version the
`id` of a line stopped being the subscription's id; 2018-05-21 is our choice.
"""

from typing import Any

from sandbox.shapes import legacy
from sandbox.store import Record, View

_PLANS_HAVE_A_PRODUCT = "2018-02-05"
_LINES_HAVE_AN_ID = "2018-05-21"
_FIRST_INVOICES_HAVE_A_REASON = "2018-10-31"
_LINE_IDS_ARE_UNIQUE = "2019-12-03"
_CHARGES_LOSE_REFUNDS = "2022-11-15"


def age(shown: dict[str, Any], version: str, record: Record, view: View) -> dict[str, Any]:
    """Return an object of the shape of 2024-06-20 as an older version shows it."""
    if shown["object"] == "charge" and version < _CHARGES_LOSE_REFUNDS:
        shown["refunds"] = _refunds(shown["id"], view)
    elif shown["object"] == "invoice":
        shown["lines"]["data"] = [age_line(line, version) for line in shown["lines"]["data"]]
        if version < _FIRST_INVOICES_HAVE_A_REASON and shown["billing_reason"] == "subscription_create":
            shown["billing_reason"] = "subscription_update"
    elif shown["object"] == "subscription" and version < _PLANS_HAVE_A_PRODUCT:
        for item in shown["items"]["data"]:
            _forget_product(item)
        if shown["plan"] is not None:
            shown["plan"] = _without_product(shown["plan"])
    return shown


def age_line(line: dict[str, Any], version: str) -> dict[str, Any]:
    """Return an invoice line as an older version shows it: `id` is the id of the line's source, and `unique_id` its own id."""
    if version < _LINE_IDS_ARE_UNIQUE:
        line["unique_id"] = line["id"]
        if line["type"] == "subscription":
            old_id = "sli_" + line["unique_id"][-14:]
            line["id"] = old_id if version >= _LINES_HAVE_AN_ID else line["subscription"]
        else:
            line["id"] = line["invoice_item"]
    if version < _PLANS_HAVE_A_PRODUCT:
        _forget_product(line)
    return line


def _refunds(charge: str, view: View) -> dict[str, Any]:
    refunds = [legacy.render("refund", refund, view) for refund in view.owned("refund", "charge", charge)]
    return {
        "object": "list",
        "data": refunds[::-1][:10],
        "has_more": len(refunds) > 10,
        "total_count": len(refunds),
        "url": f"/v1/charges/{charge}/refunds",
    }


def _forget_product(shown: dict[str, Any]) -> None:
    """Remove the price, which was added in 2020, and the plan's product."""
    shown.pop("price", None)
    if shown.get("plan") is not None:
        shown["plan"] = _without_product(shown["plan"])


def _without_product(plan: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plan.items() if name != "product"}
