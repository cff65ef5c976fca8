"""Discounts of subscriptions, given by coupons."""

from sandbox.account import Account
from sandbox.errors import invalid
from sandbox.periods import period_end


def give(
    account: Account, coupon: str, *, customer: str, subscription: str | None = None, invoice: str | None = None
) -> str:
    """Redeem a coupon; returns the discount's id."""
    record = account.require("coupon", coupon, param="coupon")
    if not record.get("valid", True):
        raise invalid(f"Coupon expired: {coupon}", "coupon", "coupon_expired")
    now = account.now
    months = record.get("duration_in_months")
    discount = {
        "id": account.ids.timed("di_", now),
        "customer": customer,
        "invoice": invoice,
        "end": period_end(now, "month", months, anchor=now) if months else None,
        "source": {"coupon": coupon, "type": "coupon"},
        "start": now,
        "subscription": subscription,
        "_once": record.get("duration", "once") == "once",
    }
    account.update("coupon.updated", "coupon", coupon, times_redeemed=record.get("times_redeemed", 0) + 1)
    account.create("discount", discount)
    account.emit("customer.discount.created", "discount", discount["id"])
    return str(discount["id"])


def is_over(account: Account, id: str) -> bool:
    """Whether a discount no longer applies to the next invoice."""
    discount = account.get("discount", id)
    return bool(discount["_once"]) or (discount["end"] is not None and discount["end"] <= account.now)


def remove(account: Account, id: str) -> None:
    """Remove a discount."""
    account.delete("discount", id)
    account.emit("customer.discount.deleted", "discount", id)
