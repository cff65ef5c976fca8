"""Lines for a subscription's items: whole periods, trials, first parts of a period, and changes in mid-period."""

from collections.abc import Sequence

from sandbox import invoices
from sandbox.account import Account
from sandbox.periods import period_end
from sandbox.store import Record


def period_line(account: Account, item: Record, *, proration: bool = False) -> Record:
    """Return the line for an item's current period. Metered prices are billed for 900 units of the period before."""
    price = account.get("price", item["price"])
    metered = price["recurring"]["usage_type"] == "metered"
    return invoices.line(
        account,
        price,
        900 if metered else item["quantity"],
        _period(item),
        item=item["id"],
        proration=proration,
        means="usage" if metered else "period",
    )


def trial_line(account: Account, item: Record) -> Record:
    """Return the line of a trial, which costs nothing."""
    price = account.get("price", item["price"])
    return invoices.line(
        account,
        price,
        item["quantity"],
        _period(item),
        amount=0,
        description=f"Trial period for {_name(account, price)}",
        item=item["id"],
        means="trial",
    )


def stub_line(account: Account, item: Record, *, proration: bool = True) -> Record:
    """Return the line of a first period that is shorter than the price's interval."""
    start, end = _period(item)
    return _part(account, item, start, end, end - start, proration=proration, means="stub")


def changes(account: Account, old: Sequence[Record], new: Sequence[Record], now: int) -> list[Record]:
    """Return the lines of a change at `now`. For the rest of the period, each changed item has a credit for its old state and
    a charge for its new state.

    The first line of a new item is a shortened first period (a stub), although Stripe flags it as a proration too.
    """
    lines = []
    before = {item["id"]: item for item in old}
    for item in new:
        was = before.pop(item["id"], None)
        if was is not None and (was["price"], was["quantity"]) == (item["price"], item["quantity"]):
            continue
        if was is not None:
            lines.append(_rest_of(account, was, now, sign=-1))
        lines.append(_rest_of(account, item, now, sign=1, means="stub" if was is None else "change"))
    lines.extend(_rest_of(account, item, now, sign=-1) for item in before.values())
    return lines


def _rest_of(account: Account, item: Record, now: int, *, sign: int, means: invoices.Meaning = "change") -> Record:
    end = item["current_period_end"]
    return _part(account, item, now, end, sign * max(end - now, 0), proration=True, means=means)


def _part(
    account: Account, item: Record, start: int, end: int, seconds: int, *, proration: bool, means: invoices.Meaning
) -> Record:
    price = account.get("price", item["price"])
    interval = _interval_seconds(price, end)
    what = "Unused" if seconds < 0 else "Remaining"
    return invoices.line(
        account,
        price,
        item["quantity"],
        (start, end),
        amount=round(price["unit_amount"] * item["quantity"] * seconds / interval),
        description=f"{what} time on {item['quantity']} × {_name(account, price)}",
        item=item["id"],
        proration=proration,
        means=means,
        share=(seconds, interval),
    )


def _interval_seconds(price: Record, end: int) -> int:
    """Return the length of the price's interval that ends at `end`."""
    recurring = price["recurring"]
    start = period_end(end, recurring["interval"], -recurring["interval_count"], anchor=end)
    return end - start


def _period(item: Record) -> tuple[int, int]:
    return item["current_period_start"], item["current_period_end"]


def _name(account: Account, price: Record) -> str:
    return str(account.get("product", price["product"])["name"])
