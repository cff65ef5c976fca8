"""A user's life at Stripe in two forms: what happened, for the model, and the events about it, for the product."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests import factories
from tests.factories import DAY, Json, event
from tests.membership.situations import life
from tests.membership.situations.life import at
from tests.model import returns
from tests.model.model import Back, Changed, Happening, Line, Paid, Price, Spent, Undone

PRICES = {
    "basic": Price(product="prod_basic", days=30, tokens=1_000, premium=True),
    "pro": Price(product="prod_pro", days=30, tokens=5_000, premium=True),
    "free": Price(product="prod_free", days=30, tokens=50, premium=False),
    "basic_year": Price(product="prod_basic", days=365, tokens=1_000, premium=True),
    "pro_year": Price(product="prod_pro", days=365, tokens=5_000, premium=True),
    "addon_10": Price(product="prod_addon", days=10, tokens=100, premium=True),
    "addon_year": Price(product="prod_addon", days=365, tokens=100, premium=True),
    "addon_big_year": Price(product="prod_addon_big", days=365, tokens=200, premium=True),
    "pack": Price(product="prod_pack", days=0, tokens=500, premium=False),
    "lifetime": Price(product="prod_lifetime", days=0, tokens=0, premium=True, access=36_500),
    "month_pass": Price(product="prod_month_pass", days=0, tokens=0, premium=True, access=30),
}
AMOUNTS = {
    "basic": 2_000, "pro": 10_000, "free": 0, "basic_year": 20_000, "pro_year": 100_000, "addon_10": 500,
    "addon_year": 5_000, "addon_big_year": 9_000, "pack": 1_500, "lifetime": 30_000, "month_pass": 3_000,
}  # fmt: skip
_PLANS = (("basic", "pro", "free"), ("basic_year", "pro_year"))
_ADD_ONS = ("addon_10", "addon_year", "addon_big_year")


def days_of(price: str, start: float) -> float:
    """Return the length in days of an interval that begins on that day. A year is a calendar year."""
    if PRICES[price].days != 365:
        return PRICES[price].days
    begins = datetime.fromtimestamp(at(start), UTC)
    return (begins.replace(year=begins.year + 1) - begins).total_seconds() / DAY


@dataclass(kw_only=True)
class Item:
    """The present state of a subscription's item, with the period that was billed last."""

    price: str
    quantity: int
    created: float
    start: float
    end: float
    is_stub: bool = False


@dataclass(kw_only=True)
class Subscription:
    """The present state of a subscription. `pending` are prorations for the invoice of the next cycle."""

    id: str
    created: float
    status: str
    items: dict[str, Item]
    trial: tuple[float, float] | None = None
    pending: list[Line] = field(default_factory=list)
    open_bill: tuple[str, list[Line]] | None = None
    is_quiet: bool = False


@dataclass(frozen=True)
class Step:
    """Something that happened, and the events that report it. A step without events is a separate phase."""

    happened: Sequence[Happening]
    events: Sequence[Json]


@dataclass
class Life:
    """Build one life, day by day."""

    chosen: random.Random
    phases: list[list[Step]] = field(default_factory=lambda: [[]])
    subscriptions: list[Subscription] = field(default_factory=list)
    bills: dict[str, int] = field(default_factory=dict)
    noted: dict[str, list[str]] = field(default_factory=dict)
    failing: list[tuple[str, Callable[[float], Json]]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    day: float = 0

    def number(self, kind: str) -> str:
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return f"{kind}_{self.numbers[kind]:03d}"

    def add(self, happened: Sequence[Happening], events: Sequence[Json]) -> None:
        """Add a step. A step that spends tokens separates two phases: all events of earlier steps are delivered before it."""
        if not events:
            self.phases += [[Step(happened, events)], []]
        else:
            self.phases[-1].append(Step(happened, events))

    # Subscriptions

    def show(self, of: Subscription) -> tuple[Changed, Json]:
        """Return the state of the subscription from today on, for the model and as an event."""
        self.day += 0.001
        items = {id_: (item.price, item.quantity) for id_, item in of.items.items()}
        status = of.status
        times: Json = {"ended_at": at(self.day), "canceled_at": at(self.day)} if status == "canceled" else {}
        if of.trial is not None:
            times |= {"trial_start": at(of.trial[0]), "trial_end": at(of.trial[1])}
        ends = [item.end for item in of.items.values()] or [self.day]
        starts = [item.start for item in of.items.values()] or [self.day]
        shown = life.subscribed(
            *(
                life.item(item.price, id=id_, quantity=item.quantity, created=item.created, subscription=of.id)
                for id_, item in of.items.items()
            ),
            when=self.day,
            begun=of.created,
            period=(min(starts), min(ends)),
            status=status,
            id=of.id,
            **times,
        )
        return Changed(day=self.day, subscription=of.id, status=status, items=items), shown

    def pay(self, lines: Sequence[Line], subscription: str | None, *, reason: str, status: str = "paid", bill: str = "",
            made: float | None = None) -> tuple[list[Happening], list[Json], str]:  # fmt: skip
        """Create an invoice with these lines, and return what happened, the events, and the invoice's id."""
        self.day += 0.001
        bill = bill or self.number("in")
        amounts = [self.amount(line) for line in lines]
        shown_lines = [
            self.tell(line, bill, n, amount) for n, (line, amount) in enumerate(zip(lines, amounts, strict=True))
        ]
        self.chosen.shuffle(shown_lines)
        invoice = life.invoiced(
            bill, *shown_lines, when=self.day if made is None else made, seen=self.day, status=status, reason=reason,
            subscription=subscription, payment_intent=None,
        )  # fmt: skip
        if made is not None and status == "paid":
            invoice["data"]["object"]["status_transitions"]["paid_at"] = at(self.day)
        if status != "paid":
            return [], [invoice], bill
        self.bills[bill] = sum(amounts)
        paid = life.payment_of(bill, when=self.day, amount=sum(amounts)) if sum(amounts) > 0 else []
        return [Paid(day=self.day, bill=bill, total=sum(amounts), lines=tuple(lines))], [invoice, *paid], bill

    def amount(self, line: Line) -> int:
        full = AMOUNTS[line.price] * line.quantity
        if line.nature == "trial":
            return 0
        if line.nature in ("period", "pack"):
            return full
        part = round(full * (line.end - line.start) / days_of(line.price, line.end - 365))
        return -part if line.nature == "credit" else part

    def tell(self, line: Line, bill: str, number: int, amount: int) -> Json:
        """Return the line as Stripe sends it."""
        id_ = f"il_{bill}_{number:02d}"
        if line.nature == "pack":
            return life.one_time(
                line.price, id=id_, when=line.start, quantity=line.quantity, subscription=line.subscription or None
            )
        flagged = line.nature in ("charge", "credit") or (line.nature == "stub" and self.chosen.random() < 0.5)
        shown_lines = life.line(
            line.price, (line.start, line.end), id=id_, amount=amount, quantity=line.quantity, proration=flagged,
            item=line.item, subscription=line.subscription,
        )  # fmt: skip
        if line.nature == "credit" and (amount == 0 or self.chosen.random() < 0.5):
            credited = {"invoice": "in_before", "invoice_line_items": ["il_before"]}
            shown_lines["parent"]["subscription_item_details"]["proration_details"] = {"credited_items": credited}
        return shown_lines

    def line(self, nature: str, of: Subscription, id_: str, start: float, end: float) -> Line:
        item = of.items[id_]
        return Line(
            nature=nature, price=item.price, quantity=item.quantity, start=start, end=end, item=id_, subscription=of.id
        )

    def start(self) -> None:
        """Start a subscription, which may have an add-on, a trial or a shortened first period (a stub)."""
        plans = self.chosen.choice(_PLANS)
        price, day = self.chosen.choice(plans), self.day
        quantity = self.chosen.choice((1, 1, 1, 2, 3))
        of = Subscription(id=self.number("sub"), created=day, status="active", items={})
        kind = self.chosen.choice(("plain", "plain", "trial", "stub" if PRICES[price].days == 30 else "plain"))
        names = [price] + ([self.chosen.choice(_ADD_ONS)] if kind == "plain" and self.chosen.random() < 0.4 else [])
        for name in names:
            item = Item(price=name, quantity=quantity if name == price else 1, created=day, start=day, end=day)
            item.end = day + {"trial": 7.0, "stub": 20.0}.get(kind, days_of(name, day))
            item.is_stub = kind == "stub"
            of.items[self.number("si")] = item
        if kind == "trial":
            of.status, of.trial = "trialing", (day, day + 7)
        self.subscriptions.append(of)
        nature = {"trial": "trial", "stub": "stub"}.get(kind, "period")
        lines = [self.line(nature, of, id_, item.start, item.end) for id_, item in of.items.items()]
        changed, shown = self.show(of)
        paid, events, _ = self.pay(
            lines, of.id, reason=self.chosen.choice(("subscription_create", "subscription_update"))
        )
        self.add([changed, *paid], [shown, *events])

    def renew_due(self, until: float) -> None:
        """Bill the periods that end by that day, in order."""
        while True:
            due = [
                (item.end, of.id)
                for of in self.subscriptions
                if of.status in ("active", "trialing") and of.open_bill is None
                for item in of.items.values()
                if item.end <= until
            ]
            if not due:
                break
            self.day = max(min(due)[0], self.day)
            self.renew(next(of for of in self.subscriptions if of.id == min(due)[1]), min(due)[0])
        self.day = max(self.day, until)

    def renew(self, of: Subscription, day: float) -> None:
        lines = list(of.pending)
        for id_, item in of.items.items():
            if item.end == day:
                item.start, item.end, item.is_stub = day, day + days_of(item.price, day), False
                lines.append(self.line("period", of, id_, item.start, item.end))
        is_failed = (of.trial is not None and self.chosen.random() < 0.3) or self.chosen.random() < 0.1
        is_failed = is_failed and not self.is_year_changed(of)
        of.status, of.pending = "past_due" if is_failed else "active", []
        changed, shown = self.show(of)
        paid, events, bill = self.pay(lines, of.id, reason="subscription_cycle", status="open" if is_failed else "paid")
        if is_failed:
            of.open_bill = (bill, lines)
        self.add([changed, *paid], [shown, *events])

    def pay_late(self, of: Subscription) -> None:
        """Pay the open invoice after all."""
        assert of.open_bill is not None
        bill, lines = of.open_bill
        of.open_bill, of.status = None, "active"
        made = next(line.start for line in lines[::-1])
        changed, shown = self.show(of)
        paid, events, _ = self.pay(lines, of.id, reason="subscription_cycle", bill=bill, made=made)
        self.add([changed, *paid], [shown, *events])

    # Changes in mid-period

    def change(self, of: Subscription, id_: str) -> None:
        """Change to another price of the same interval or to another quantity. It is billed at once or with the next cycle."""
        item, day = of.items[id_], self.day
        same = [name for plans in (*_PLANS, ("addon_year", "addon_big_year")) if item.price in plans for name in plans]
        before = self.line("credit", of, id_, day, item.end)
        if self.chosen.random() < 0.6 and len(same) > 1:
            item.price = self.chosen.choice([name for name in same if name != item.price])
        else:
            item.quantity = self.chosen.choice([n for n in (0, 1, 2, 5) if n != item.quantity])
        after = self.line("charge", of, id_, day, item.end)
        lines = [before, after]
        if after.quantity == 0:
            lines = [before]
        if before.quantity == 0:
            lines = [after]
        self.settle(of, lines)

    def settle(self, of: Subscription, lines: list[Line], *, is_at_once: bool | None = None) -> None:
        """Bill these prorations at once, together with the waiting ones, or leave them for the invoice of the next cycle."""
        changed, shown = self.show(of)
        ends = min((item.end for item in of.items.values()), default=1)
        if is_at_once or self.chosen.random() < 0.6 or ends > 0 or self.has_part_behind(of):
            of.pending, pending = [], of.pending
            paid, events, _ = self.pay([*pending, *lines], of.id, reason="subscription_update")
            self.add([changed, *paid], [shown, *events])
        else:
            of.pending += lines
            self.add([changed], [shown])

    def has_part_behind(self, of: Subscription) -> bool:
        """Whether a later 30-day part of a yearly item fell due before today.

        If so, every change is billed at once. Otherwise no paid line would show a change that arrives before such a part is
        granted. Nothing would prove that the item was unchanged when the part fell due, and the product would not grant it.
        """
        return any(PRICES[item.price].days == 365 and self.day > item.start + 29.9 for item in of.items.values())

    def is_year_changed(self, of: Subscription) -> bool:
        """Whether a change of a yearly item is not billed yet.

        It must be paid in the end. Otherwise only the snapshot of the change shows that the item changed before a later
        part, and the product does not see that snapshot if a newer one arrives with it or before it.
        """
        return any(PRICES[line.price].days == 365 for line in of.pending)

    def can_switch(self, item: Item) -> bool:
        return item.end > self.day + 0.1 and item.quantity > 0

    def switch(self, of: Subscription, id_: str) -> None:
        """Switch to another interval. A new period begins, and its invoice credits the rest of the old period."""
        item, day = of.items[id_], self.day
        credit = self.line("credit", of, id_, day, item.end)
        others = _PLANS[0] if PRICES[item.price].days != 30 else _PLANS[1]
        item.price = self.chosen.choice(others)
        item.start, item.end = day, day + days_of(item.price, day)
        lines = [credit, self.line("period", of, id_, item.start, item.end)]
        self.settle(of, lines, is_at_once=True)

    def add_item(self, of: Subscription) -> None:
        """Add an add-on, which is paid at once for a whole period that begins now."""
        name, day = self.chosen.choice(_ADD_ONS), self.day
        id_ = self.number("si")
        of.items[id_] = Item(price=name, quantity=1, created=day, start=day, end=day + days_of(name, day))
        self.settle(of, [self.line("period", of, id_, day, of.items[id_].end)], is_at_once=True)

    def remove_item(self, of: Subscription, id_: str) -> None:
        item = of.items[id_]
        credit = self.line("credit", of, id_, self.day, item.end)
        del of.items[id_]
        self.settle(of, [credit], is_at_once=True)

    def can_be_quiet(self, of: Subscription) -> bool:
        """Whether a quiet change can be the last event about the subscription: nothing is left to bill."""
        return not self.has_part_behind(of) and not of.pending and all(item.end > 1 for item in of.items.values())

    def change_quietly(self, of: Subscription, id_: str) -> None:
        """Change a quantity, or end an item, without prorations: nothing is paid or credited."""
        if len(of.items) > 1 and self.chosen.random() < 0.5:
            del of.items[id_]
        else:
            of.items[id_].quantity += 1
        of.is_quiet = True
        changed, shown = self.show(of)
        self.add([changed], [shown])

    def end_trial(self, of: Subscription) -> None:
        assert of.trial is not None
        day = self.day
        of.trial = (of.trial[0], day)
        lines = []
        for id_, item in of.items.items():
            item.start, item.end = day, day + days_of(item.price, day)
            lines.append(self.line("period", of, id_, day, item.end))
        is_failed = self.chosen.random() < 0.4
        of.status = "past_due" if is_failed else "active"
        changed, shown = self.show(of)
        paid, events, bill = self.pay(
            lines, of.id, reason="subscription_update", status="open" if is_failed else "paid"
        )
        if is_failed:
            of.open_bill = (bill, lines)
        self.add([changed, *paid], [shown, *events])

    def cancel(self, of: Subscription) -> None:
        if self.is_year_changed(of):
            return
        of.status = "canceled"
        changed, shown = self.show(of)
        shown["type"] = "customer.subscription.deleted"
        self.add([changed], [shown])

    # Purchases and money back

    def buy(self) -> None:
        """Buy a pack or a pass: on a subscription's invoice, on a separate invoice, or by Checkout."""
        name = self.chosen.choice(("pack", "pack", "lifetime", "month_pass"))
        live = [of for of in self.subscriptions if of.status == "active"]
        way = self.chosen.choice(("checkout", "invoice", "pending"))
        day = self.day = self.day + 0.001
        if way == "checkout":
            session = self.number("cs")
            amount = AMOUNTS[name]
            line = Line(nature="pack", price=name, quantity=1, start=day, end=day)
            self.bills[session] = amount
            sold = life.checkout(session, when=day, amount=amount, metadata={"product": PRICES[name].product})
            intent = factories.payment_intent(f"pi_{session}", amount=amount, latest_charge=f"ch_{session}")
            charge = factories.charge(f"ch_{session}", payment_intent=f"pi_{session}", amount=amount, created=at(day))
            events = [
                sold,
                event("payment_intent.succeeded", intent, created=at(day)),
                event("charge.succeeded", charge, created=at(day)),
            ]
            self.add([Paid(day=day, bill=session, total=amount, lines=(line,))], events)
            return
        of = self.chosen.choice(live) if live and way == "pending" else None
        line = Line(nature="pack", price=name, quantity=self.chosen.choice((1, 2)) if name == "pack" else 1, start=day, end=day,
                    subscription=of.id if of else "")  # fmt: skip
        reason = "automatic_pending_invoice_item_invoice" if of else "manual"
        paid, events, _ = self.pay([line], of.id if of else None, reason=reason)
        self.add(paid, events)

    def give_back(self) -> None:
        """Return all or part of a bill's money, by a refund, a lost dispute or a credit note. Some returns are reversed later."""
        bills = [
            bill for bill, total in self.bills.items() if total > 0 and bill not in {name for name, _ in self.failing}
        ]
        if not bills:
            return
        bill, day = self.chosen.choice(bills), self.day
        total = self.bills[bill]
        amount = self.chosen.choice((total, total // 2, total // 4, 999))
        kind = self.chosen.choice(("refund", "refund", "dispute", "note", "charge"))
        if bill.startswith("cs") and kind == "note":
            kind = "refund"
        fails = kind in ("refund", "note", "dispute") and not self.noted.get(bill) and self.chosen.random() < 0.3
        id_ = self.number(kind)
        self.noted.setdefault(bill, []).append(kind)
        if kind == "charge" and self.noted[bill] != ["charge"]:
            kind = "refund"
        shown_lines = returns.BACK[kind](bill, amount, id_, day)
        self.add([Back(day=day, id=id_, bill=bill, amount=amount)], [shown_lines])
        if fails:
            self.failing.append((bill, lambda when: returns.UNDONE[kind](bill, amount, id_, day, when)))
            self.day += 0.5
            self.add([Undone(day=self.day, id=id_)], [self.failing[-1][1](self.day)])

    def spend(self) -> None:
        """Spend tokens now, after every part that is due was granted."""
        self.day += 0.001
        self.add([Spent(day=self.day, amount=self.chosen.choice((50, 300, 700, 1_500)))], [])
