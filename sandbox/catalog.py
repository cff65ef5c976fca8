"""The catalogue: products, prices (with plans, their older form) and coupons."""

from typing import Any

from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.store import Record


def create_product(account: Account, *, name: str, id: str | None = None, **fields: Any) -> Record:
    """A new product. A chosen id can be used again after a deletion."""
    now = account.now
    record = {"id": _unused(account, "product", id) or account.ids.plain("prod_"), "name": name, **fields}
    account.create("product", {**record, "created": now, "updated": now})
    account.emit("product.created", "product", record["id"])
    return record


def update_product(account: Account, id: str, **changes: Any) -> None:
    """Change a product. Only products record the time of their last change."""
    record = account.get("product", id)
    if any(record.get(name) != value for name, value in changes.items()):
        account.update("product.updated", "product", id, **changes, updated=account.now)


def delete_product(account: Account, id: str) -> None:
    """Delete a product that has no price."""
    if account.view.owned("price", "product", id):
        raise invalid("This product cannot be deleted because it has one or more user-created prices.")
    account.delete("product", id)
    account.emit("product.deleted", "product", id)


def create_price(
    account: Account,
    *,
    product: str,
    unit_amount: int,
    currency: str = "usd",
    interval: str | None = None,
    interval_count: int = 1,
    trial_period_days: int | None = None,
    usage_type: str = "licensed",
    **fields: Any,
) -> Record:
    """Create a price. With an interval it is recurring, and has a plan with the same id."""
    recurring = None
    if interval is not None:
        recurring = {
            "interval": interval,
            "interval_count": interval_count,
            "meter": None,
            "trial_period_days": trial_period_days,
            "usage_type": usage_type,
        }
    record = {
        "id": account.ids.timed("price_", account.now),
        "created": account.now,
        "currency": currency,
        "product": product,
        "recurring": recurring,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": str(unit_amount),
        **fields,
    }
    account.create("price", record)
    _emit_price(account, "created", record)
    return record


def update_price(account: Account, id: str, **changes: Any) -> None:
    """Change a price, and its plan with it."""
    record = account.get("price", id)
    if any(record.get(name) != value for name, value in changes.items()):
        since = account.change("price", id, **changes)
        _emit_price(account, "updated", record, since=since)


def delete_price(account: Account, id: str) -> None:
    """Delete a price. This is possible only by deleting its plan."""
    record = account.get("price", id)
    account.delete("price", id)
    _emit_price(account, "deleted", record)


def create_coupon(account: Account, *, id: str | None = None, **fields: Any) -> Record:
    """A new coupon. A chosen id can be used again after a deletion."""
    record = {"id": _unused(account, "coupon", id) or account.ids.characters(8), "created": account.now, **fields}
    account.create("coupon", record)
    account.emit("coupon.created", "coupon", record["id"])
    return record


def delete_coupon(account: Account, id: str) -> None:
    """Delete a coupon; discounts already given stay."""
    account.delete("coupon", id)
    account.emit("coupon.deleted", "coupon", id)


def _unused(account: Account, kind: str, id: str | None) -> str | None:
    if account.find(kind, id) is not None:
        raise invalid(f"{kind.capitalize()} already exists.", "id", "resource_already_exists")
    return id


def _emit_price(account: Account, verb: str, record: Record, *, since: int | None = None) -> None:
    account.emit(f"price.{verb}", "price", record["id"], since=since)
    if record["recurring"] is not None:
        account.emit(f"plan.{verb}", "plan", record["id"], since=since)
