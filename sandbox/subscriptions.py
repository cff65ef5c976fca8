"""Subscriptions, from the first payment to the end."""

from collections.abc import Sequence
from typing import Any, Literal

from sandbox import discounts, invoices, prorations
from sandbox.account import Account
from sandbox.periods import period_end
from sandbox.store import Record

ENDED = ("canceled", "incomplete_expired")
DRAFT_SECONDS = 3600
RETRY_SECONDS = 3 * 24 * 3600

Payment = Literal["succeeds", "fails"]
"""The outcome of the next payment: the story decides it."""


def create(
    account: Account,
    *,
    customer: str,
    prices: list[tuple[str, int]],
    payment: Payment = "succeeds",
    trial_end: int | None = None,
    anchor: int | None = None,
    flagged: bool = True,
    once: Sequence[tuple[str, int]] = (),
    coupon: str | None = None,
    reason: str = "subscription_create",
    **fields: Any,
) -> str:
    """Create a subscription with its first invoice, and return its id. It becomes active if the invoice is paid.

    `anchor` is a later billing anchor. If it is given, the first line bills only a part of a period, and `flagged` marks
    that line as a proration. `once` are one-time prices on the same invoice, and `reason` is the invoice's billing reason.
    """
    now = account.now
    id = account.ids.timed("sub_", now)
    invoice = account.ids.timed("in_", now)
    records = [(account.get("price", price), quantity) for price, quantity in prices]
    first = records[0][0]
    first_end = trial_end if trial_end is not None else anchor
    items = [_new_item(account, price, quantity, now, end=first_end) for price, quantity in records]
    subscription: Record = {
        "id": id,
        "billing_cycle_anchor": first_end or now,
        "created": now,
        "currency": first["currency"],
        "customer": customer,
        "items": items,
        "latest_invoice": invoice,
        "metadata": {},
        "start_date": now,
        "status": "trialing" if trial_end is not None else "incomplete",
        "trial_end": trial_end,
        "trial_start": now if trial_end is not None else None,
        **fields,
    }
    if coupon is not None:
        subscription["discounts"] = [discounts.give(account, coupon, customer=customer, subscription=id)]
    account.create("subscription", subscription)
    if trial_end is not None:
        lines = [prorations.trial_line(account, item) for item in items]
    elif anchor is not None:
        lines = [prorations.stub_line(account, item, proration=flagged) for item in items]
    else:
        lines = [prorations.period_line(account, item) for item in items if not _is_metered(account, item)]
    lines += [_once(account, price, quantity) for price, quantity in once]
    _draft(account, subscription, invoice, reason, lines, (now, now))
    account.emit("customer.subscription.created", "subscription", id)
    account.update("customer.updated", "customer", customer, currency=first["currency"])
    account.clock.let_pass(1)
    invoices.finalize(account, invoice)
    _collect(account, id, invoice, payment, first=True)
    return id


def renew(account: Account, id: str, payment: Payment = "succeeds") -> str:
    """Begin the next period, bill it, and return the invoice's id.

    The clock is ignored. Items with different intervals begin their next periods separately.
    """
    subscription = account.get("subscription", id)
    ended = period_of(subscription)
    invoice = account.ids.timed("in_", account.now)
    ended_discounts = [di for di in subscription.get("discounts", []) if discounts.is_over(account, di)]
    for discount in ended_discounts:
        discounts.remove(account, discount)
    status = "active" if subscription["status"] == "trialing" else subscription["status"]
    due = {item["id"] for item in subscription["items"] if item["current_period_end"] == ended[1]}
    anchor = subscription["billing_cycle_anchor"]
    since = account.change(
        "subscription",
        id,
        discounts=[di for di in subscription.get("discounts", []) if di not in ended_discounts],
        items=[_next_period(account, item, anchor) if item["id"] in due else item for item in subscription["items"]],
        latest_invoice=invoice,
        status=status,
        _pending_lines=[],
    )
    account.emit("customer.subscription.updated", "subscription", id, since=since)
    renewed = account.get("subscription", id)
    lines = subscription.get("_pending_lines", []) + [
        prorations.period_line(account, item) for item in renewed["items"] if item["id"] in due
    ]
    _draft(account, renewed, invoice, "subscription_cycle", lines, ended)
    paused = renewed.get("pause_collection")
    if paused is not None:
        _hold(account, invoice, paused["behavior"])
        return invoice
    account.clock.let_pass(DRAFT_SECONDS)
    invoices.finalize(account, invoice)
    _collect(account, id, invoice, payment)
    return invoice


def change_items(
    account: Account,
    id: str,
    items: list[Record],
    *,
    proration: str = "create_prorations",
    payment: Payment = "succeeds",
    anchor_now: bool = False,
    flagged: bool = False,
    reason: str = "subscription_update",
    **fields: Any,
) -> str | None:
    """Replace the items, and bill the difference now (`always_invoice`), later (`create_prorations`) or not (`none`).

    A new period begins at once with `anchor_now`, with a new interval, or when a free price is replaced by a paid price. It
    is not certain whether Stripe flags the line of that period as a proration, so `flagged` decides. Returns the id of the
    invoice, or None if there is no invoice.
    """
    subscription = account.get("subscription", id)
    now = account.now
    lines: list[Record] = []
    if subscription["status"] in ("active", "past_due"):
        lines = prorations.changes(account, subscription["items"], items, now)
    fresh = subscription["status"] in ("active", "past_due") and (
        anchor_now
        or _has_new_interval(account, subscription["items"], items)
        or (_is_free(account, subscription["items"]) and not _is_free(account, items))
    )
    if fresh:
        anchor = {"billing_cycle_anchor": now}
        items = [_restarted(account, item, now) for item in items]
        lines = prorations.changes(account, subscription["items"], [], now)
        lines += [prorations.period_line(account, item, proration=flagged) for item in items]
        proration = "always_invoice"
    else:
        anchor = {}
    if proration != "always_invoice" or not lines:
        pending = [*subscription.get("_pending_lines", []), *(lines if proration == "create_prorations" else [])]
        since = account.change("subscription", id, items=items, _pending_lines=pending, **fields)
        account.emit("customer.subscription.updated", "subscription", id, since=since)
        return None
    invoice = account.ids.timed("in_", now)
    since = account.change("subscription", id, items=items, latest_invoice=invoice, **anchor, **fields)
    _draft(account, account.get("subscription", id), invoice, reason, lines, (now, now))
    account.emit("customer.subscription.updated", "subscription", id, since=since)
    account.clock.let_pass(1)
    invoices.finalize(account, invoice)
    _collect(account, id, invoice, payment)
    return invoice


def end_trial(account: Account, id: str, payment: Payment = "succeeds", *, reason: str = "subscription_update") -> str:
    """End a trial now (`trial_end=now`): the first paid period begins, and is billed. Return the invoice's id.

    It is not certain which billing reason Stripe gives that invoice, so `reason` decides. If the card is declined the
    subscription is past due and the invoice stays open.
    """
    subscription, now = account.get("subscription", id), account.now
    items = [_restarted(account, item, now) for item in subscription["items"]]
    invoice = account.ids.timed("in_", now)
    since = account.change(
        "subscription",
        id,
        billing_cycle_anchor=now,
        items=items,
        latest_invoice=invoice,
        status="active",
        trial_end=now,
    )
    lines = [prorations.period_line(account, item) for item in items]
    _draft(account, account.get("subscription", id), invoice, reason, lines, (now, now))
    account.emit("customer.subscription.updated", "subscription", id, since=since)
    account.clock.let_pass(1)
    invoices.finalize(account, invoice)
    _collect(account, id, invoice, payment)
    return invoice


def add_once(account: Account, id: str, price: str, quantity: int, *, alone: bool) -> str | None:
    """Sell something once on a subscription. It is billed on the next invoice. With `alone` it is billed on a separate
    invoice, whose id is returned."""
    subscription, now = account.get("subscription", id), account.now
    line = _once(account, price, quantity)
    if not alone:
        account.change("subscription", id, _pending_lines=[*subscription.get("_pending_lines", []), line])
        return None
    invoice = account.ids.timed("in_", now)
    _draft(account, subscription, invoice, "automatic_pending_invoice_item_invoice", [line], (now, now))
    invoices.finalize(account, invoice)
    invoices.pay(account, invoice, card_of(account, subscription))
    return invoice


def end(account: Account, id: str, *, reason: str = "cancellation_requested") -> None:
    """Cancel a subscription at once. It can still be read."""
    subscription = account.get("subscription", id)
    details = {"comment": None, "feedback": None, "feedback_option": None, "reason": reason}
    account.change(
        "subscription",
        id,
        cancel_at_period_end=False,
        canceled_at=subscription.get("canceled_at") or account.now,
        cancellation_details=details,
        ended_at=account.now,
        status="canceled",
    )
    account.emit("customer.subscription.deleted", "subscription", id)


def ending(account: Account, subscription: Record, at_period_end: bool) -> dict[str, Any]:
    """The fields that show whether a subscription will end with its period."""
    reason = "cancellation_requested" if at_period_end else None
    return {
        "cancel_at": period_of(subscription)[1] if at_period_end else None,
        "cancel_at_period_end": at_period_end,
        "canceled_at": account.now if at_period_end else None,
        "cancellation_details": {"comment": None, "feedback": None, "feedback_option": None, "reason": reason},
    }


def new_item(account: Account, subscription: Record, price: str, quantity: int) -> Record:
    """Return a new item. If other items have the same interval, it has their period. Otherwise its first period begins now."""
    wanted = _interval(account, {"price": price})
    same = [item for item in subscription["items"] if _interval(account, item) == wanted]
    if not same:
        item = {"id": account.ids.plain("si_"), "created": account.now, "metadata": {}, "price": price}
        return _restarted(account, {**item, "quantity": quantity}, account.now)
    start, end = same[0]["current_period_start"], same[0]["current_period_end"]
    return {
        "id": account.ids.plain("si_"),
        "created": account.now,
        "current_period_end": end,
        "current_period_start": start,
        "metadata": {},
        "price": price,
        "quantity": quantity,
    }


def pay_late(account: Account, invoice: str, card: str | None = None) -> None:
    """Pay an open invoice after all. If the subscription waited for the payment, it recovers."""
    record = account.get("invoice", invoice)
    subscription = account.find("subscription", record.get("_subscription"))
    if card is None and subscription is not None:
        card = card_of(account, subscription)
    invoices.pay(account, invoice, card)
    if subscription is None:
        return
    newest = subscription["latest_invoice"] == invoice
    if newest and subscription["status"] in ("incomplete", "past_due", "unpaid"):
        account.update("customer.subscription.updated", "subscription", subscription["id"], status="active")


def pause(account: Account, id: str, *, reason: str = "pause_requested") -> None:
    """Pause a subscription: it gives no service and makes no invoices until it is resumed."""
    paused = {"subscription": {"type": reason}, "transitioned_at": account.now, "type": "subscription"}
    details = {"paused": paused}
    account.update("customer.subscription.updated", "subscription", id, status="paused", status_details=details)
    account.emit("customer.subscription.paused", "subscription", id)


def resume(account: Account, id: str) -> None:
    """Resume a paused subscription: a new period begins, and is billed."""
    subscription = account.get("subscription", id)
    items = [_restarted(account, item, account.now) for item in subscription["items"]]
    invoice = account.ids.timed("in_", account.now)
    since = account.change(
        "subscription",
        id,
        billing_cycle_anchor=account.now,
        items=items,
        latest_invoice=invoice,
        status="active",
        status_details=None,
    )
    resumed = account.get("subscription", id)
    lines = [prorations.period_line(account, item) for item in items]
    _draft(account, resumed, invoice, "subscription_cycle", lines, (account.now, account.now))
    account.emit("customer.subscription.updated", "subscription", id, since=since)
    account.emit("customer.subscription.resumed", "subscription", id)
    invoices.finalize(account, invoice)
    _collect(account, id, invoice, "succeeds")


def period_of(subscription: Record) -> tuple[int, int]:
    """The current period. If the periods of its items differ, the period that ends first."""
    item = min(subscription["items"], key=lambda member: int(member["current_period_end"]))
    return item["current_period_start"], item["current_period_end"]


def card_of(account: Account, subscription: Record) -> str | None:
    """The card that pays its invoices."""
    if subscription.get("default_payment_method"):
        return str(subscription["default_payment_method"])
    customer = account.find("customer", subscription["customer"]) or {}
    card: str | None = customer.get("invoice_settings", {}).get("default_payment_method")
    return card


def _collect(account: Account, id: str, invoice: str, payment: Payment, *, first: bool = False) -> None:
    """Collect a finalised invoice, and update the subscription's status."""
    subscription = account.get("subscription", id)
    status = subscription["status"]
    if subscription.get("collection_method") == "send_invoice":
        account.update("customer.subscription.updated", "subscription", id, status="active")
        return
    card = card_of(account, subscription)
    if account.get("invoice", invoice)["status"] == "paid" or payment == "succeeds":
        invoices.pay(account, invoice, card)
        status = "active" if status in ("incomplete", "past_due") else status
    else:
        invoices.fail(account, invoice, card, next_attempt=None if first else account.now + RETRY_SECONDS)
        status = status if first else "past_due"
    account.update("customer.subscription.updated", "subscription", id, status=status)


def _hold(account: Account, invoice: str, behavior: str) -> None:
    """Treat an invoice as Stripe does while collection is paused."""
    if behavior == "keep_as_draft":
        account.update("invoice.updated", "invoice", invoice, auto_advance=False)
        return
    invoices.finalize(account, invoice)
    if account.get("invoice", invoice)["status"] != "paid":
        (invoices.void if behavior == "void" else invoices.mark_uncollectible)(account, invoice)


def _draft(
    account: Account, subscription: Record, invoice: str, reason: str, lines: list[Record], period: tuple[int, int]
) -> None:
    invoices.draft(
        account,
        id=invoice,
        customer=subscription["customer"],
        currency=subscription["currency"],
        reason=reason,
        lines=lines,
        period=period,
        subscription=subscription,
    )


def _new_item(account: Account, price: Record, quantity: int, now: int, *, end: int | None = None) -> Record:
    item = {"id": account.ids.plain("si_"), "created": now, "price": price["id"], "quantity": quantity, "metadata": {}}
    return _restarted(account, item, now) if end is None else _with_period(item, now, end)


def _restarted(account: Account, item: Record, now: int) -> Record:
    return _with_period(item, now, _end_of(account, item, now, anchor=now))


def _next_period(account: Account, item: Record, anchor: int) -> Record:
    start = item["current_period_end"]
    return _with_period(item, start, _end_of(account, item, start, anchor=anchor))


def _with_period(item: Record, start: int, end: int) -> Record:
    return {**item, "current_period_end": end, "current_period_start": start}


def _end_of(account: Account, item: Record, start: int, *, anchor: int) -> int:
    recurring = account.get("price", item["price"])["recurring"]
    return period_end(start, recurring["interval"], recurring["interval_count"], anchor=anchor)


def _interval(account: Account, item: Record) -> tuple[str, int]:
    recurring = account.get("price", item["price"])["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _is_free(account: Account, items: list[Record]) -> bool:
    return all(account.get("price", item["price"])["unit_amount"] == 0 for item in items)


def _is_metered(account: Account, item: Record) -> bool:
    return bool(account.get("price", item["price"])["recurring"]["usage_type"] == "metered")


def _once(account: Account, price: str, quantity: int) -> Record:
    record = account.get("price", price)
    return invoices.line(account, record, quantity, (account.now, account.now), means="pack")


def _has_new_interval(account: Account, old: list[Record], new: list[Record]) -> bool:
    return {_interval(account, item) for item in new}.isdisjoint(_interval(account, item) for item in old)
