"""The shape of objects that are stored as given; it is the same in every version."""

from typing import Any

from sandbox.store import Record, View

ENTITLEMENT, SUMMARY = "entitlements.active_entitlement", "entitlements.active_entitlement_summary"
SHOWN = 10


def render(kind: str, record: Record, view: View) -> dict[str, Any]:
    """The object as given. A summary of entitlements embeds the first entitlements of its customer."""
    if kind == SUMMARY:
        active = [
            render(ENTITLEMENT, each, view) for each in reversed(view.owned(ENTITLEMENT, "customer", record["id"]))
        ]
        url = f"/v1/customers/{record['id']}/entitlements"
        shown = {"object": "list", "data": active[:SHOWN], "has_more": len(active) > SHOWN, "url": url}
        return {"object": SUMMARY, "customer": record["id"], "entitlements": shown, "livemode": False}
    return {name: value for name, value in record.items() if not name.startswith("_")}
