"""A model of tokens and access: slow, obviously right, written from the decided rules alone, without code of the product.

It applies happenings in the order of their times, in days; the present is just after day 0. Histories are shorter than
the life of tokens, so no balance expires.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PART = 30
LONG = 31
TTL = 60


@dataclass(frozen=True, kw_only=True)
class Price:
    """`days` is the interval, 0 for a one-time price. `access` is for how many days one purchase gives the role."""

    product: str
    days: int
    tokens: int
    premium: bool
    access: int | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a bill, by its true nature: period, stub, trial, charge, credit or pack."""

    nature: str
    price: str
    quantity: int
    start: float
    end: float
    item: str = ""
    subscription: str = ""


@dataclass(frozen=True, kw_only=True)
class Paid:
    """A bill was paid."""

    day: float
    bill: str
    total: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A subscription is like this from that day on: its items with their price and quantity."""

    day: float
    subscription: str
    status: str
    items: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Back:
    """Money of a bill went back: a refund, a lost dispute, a credit note."""

    day: float
    id: str
    bill: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Undone:
    """That money did not go back after all."""

    day: float
    id: str


@dataclass(frozen=True, kw_only=True)
class Spent:
    """The user spent tokens, if there were as many."""

    day: float
    amount: int


Happening = Paid | Changed | Back | Undone | Spent


@dataclass(kw_only=True)
class Lot:
    """Tokens of one grant. `owner` is the item whose allowance they are, empty for a pack."""

    owner: str
    bill: str
    order: tuple[Any, ...]
    granted: int
    left: int
    begins: float
    paid: float
    ends: float
    subscription: str
    worth_back: int = 0
    taken: int = 0


@dataclass(kw_only=True)
class Model:
    """A user. `play` all that happened; the properties say what is true then."""

    prices: Mapping[str, Price]
    is_reset: bool
    now: float = 0
    lots: list[Lot] = field(default_factory=list)
    subscriptions: dict[str, Changed] = field(default_factory=dict)
    created: dict[str, float] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    back: dict[str, Back] = field(default_factory=dict)
    running: list[tuple[Line, Paid, float]] = field(default_factory=list)
    parts: set[tuple[str, float, int]] = field(default_factory=set)
    purchases: list[tuple[str, str, float]] = field(default_factory=list)

    def play(self, happenings: Sequence[Happening]) -> None:
        """Play these in the order of their days; the parts that are due by the present come in between."""
        for happened in sorted(happenings, key=lambda happened: happened.day):
            self._give_parts(before=happened.day)
            if isinstance(happened, Paid):
                self._pay(happened)
            elif isinstance(happened, Changed):
                self.created.setdefault(happened.subscription, happened.day)
                self.subscriptions[happened.subscription] = happened
            elif isinstance(happened, Back):
                self.back[happened.id] = happened
                self._take_back(happened.bill)
            elif isinstance(happened, Undone):
                self._give_back(self.back.pop(happened.id).bill)
            elif self.tokens >= happened.amount:
                self._draw(happened.amount, self.lots)
        self._give_parts(before=self.now)

    # The outcome

    @property
    def tokens(self) -> int:
        return sum(lot.left for lot in self.lots)

    @property
    def packs(self) -> int:
        return sum(lot.left for lot in self.lots if not lot.owner)

    @property
    def by_owner(self) -> dict[str, int]:
        owners = {lot.owner for lot in self.lots if lot.left}
        return {owner: sum(lot.left for lot in self.lots if lot.owner == owner) for owner in owners}

    @property
    def product(self) -> str | None:
        """The best entitled item's: the role first, then the health, the allowance, the newer subscription."""
        health = {"active": 0, "trialing": 1, "past_due": 2}
        candidates = [
            (not price.premium, health[each.status], -price.tokens, -self.created[id_], id_, item, price.product)
            for id_, each in self.subscriptions.items()
            if each.status in health
            for item, (name, _) in each.items.items()
            for price in [self.prices[name]]
        ]
        if candidates:
            return min(candidates)[-1]
        passes = [
            (not price.premium, -(day + (price.access or 0)), bill, price.product)
            for bill, name, day in self._passes()
            for price in [self.prices[name]]
        ]
        return min(passes)[-1] if passes else None

    @property
    def role(self) -> str:
        """PREMIUM if anything that entitles gives it."""
        entitled = [
            self.prices[name].premium
            for each in self.subscriptions.values()
            if each.status in ("active", "trialing", "past_due")
            for name, _ in each.items.values()
        ]
        bought = [self.prices[name].premium for _, name, _ in self._passes()]
        return "PREMIUM" if any(entitled) or any(bought) else "USER"

    @property
    def status(self) -> str:
        order = {
            "active": (0, "ACTIVE"),
            "trialing": (0, "ACTIVE"),
            "past_due": (1, "PAST_DUE"),
            "canceled": (2, "CANCELED"),
        }
        held = [order[each.status] for each in self.subscriptions.values()]
        return min(held)[1] if held else "ACTIVE"

    def _passes(self) -> list[tuple[str, str, float]]:
        """The one-time purchases that give access now: their time is not over, their money has not gone back whole."""
        return [
            (bill, name, day)
            for bill, name, day in self.purchases
            if day + (self.prices[name].access or 0) > 0 and not self._returned(bill) >= self.totals[bill] > 0
        ]

    # Payments

    def _pay(self, paid: Paid) -> None:
        """Changes count before the periods of the same bill, charges before credits."""
        self.totals[paid.bill] = paid.total
        rank = {"charge": 0, "credit": 1}
        for number, line in sorted(enumerate(paid.lines), key=lambda pair: (rank.get(pair[1].nature, 2), pair[0])):
            price = self.prices[line.price]
            full = price.tokens * line.quantity
            order = (line.end + 1 if line.item else 0, 0, paid.bill, number)
            if price.access is not None:
                self.purchases.append((paid.bill, line.price, paid.day))
            if line.nature == "pack":
                self._add(paid, line, full, order, owner="")
            elif line.nature in ("period", "stub"):
                if line.nature == "stub":
                    full = share(full, line.start, line.end, price.days)
                if self.is_reset:
                    self.lots = [lot for lot in self.lots if lot.owner != line.item]
                self._add(paid, line, full, order, owner=line.item)
                self._end_parts(paid, line)
                if price.days > LONG:
                    self.running.append((line, paid, round(line.start, 6)))
            elif line.nature in ("charge", "credit"):
                self._change(paid, line, full, order)

    def _change(self, paid: Paid, line: Line, full: int, order: tuple[Any, ...]) -> None:
        """A change counts by the time left of its interval or, if that is longer than a month, of its 30 days."""
        days, end = self.prices[line.price].days, line.end
        if days > LONG:
            joined = round(line.end - days, 6)
            end, days = min(end, joined + PART * ((line.start - joined) // PART + 1)), PART
            if line.nature == "charge":
                self._end_parts(paid, line)
                self.running.append((line, paid, joined))
        amount = share(full, line.start, end, days)
        if line.nature == "charge":
            self._add(paid, line, amount, order, owner=line.item)
            return
        for lot in self.lots:
            if lot.bill == paid.bill and lot.owner == line.item:
                less = min(amount, lot.left)
                lot.granted, lot.left, amount = lot.granted - less, lot.left - less, amount - less
        own = [lot for lot in self.lots if lot.owner == line.item]
        amount -= self._draw(amount, own)
        if not self.is_reset:
            self._draw(amount, self.lots)

    def _add(
        self, paid: Paid, line: Line, amount: int, order: tuple[Any, ...], *, owner: str, day: float | None = None
    ) -> None:
        lot = Lot(
            owner=owner,
            bill=paid.bill,
            order=order,
            granted=amount,
            left=amount,
            begins=line.start if day is None else day,
            paid=paid.day if day is None else day,
            ends=line.end,
            subscription=line.subscription,
        )
        lot.worth_back = lot.taken = self._share_back(lot)
        lot.left -= lot.taken
        if amount:
            self.lots.append(lot)

    def _end_parts(self, paid: Paid, line: Line) -> None:
        """Let a new payment for an item take the place of what other bills paid for it."""
        self.running = [each for each in self.running if each[0].item != line.item or each[1].bill == paid.bill]

    def _give_parts(self, *, before: float) -> None:
        """Every 30 days of what was paid for longer, while the item is there as it was paid for last."""
        due = [
            (start + PART * number, number, line, paid, start)
            for line, paid, start in self.running
            for number in range(1, 14)
            if line.start < start + PART * number < min(before, line.end)
        ]
        for begins, number, line, paid, start in sorted(due, key=lambda part: part[0]):
            held = self.subscriptions.get(line.subscription)
            is_there = held is not None and held.items.get(line.item) == (line.price, line.quantity)
            if not is_there or held is None or held.status == "canceled" or (line.item, start, number) in self.parts:
                continue
            amount = self.prices[line.price].tokens * line.quantity
            self.parts.add((line.item, start, number))
            if self.is_reset and amount:
                self.lots = [lot for lot in self.lots if lot.owner != line.item]
            self._add(paid, line, amount, (line.end + 1, 1, paid.bill, number), owner=line.item, day=begins)

    # Money back

    def _returned(self, bill: str) -> int:
        return min(sum(back.amount for back in self.back.values() if back.bill == bill), self.totals.get(bill, 0))

    def _share_back(self, lot: Lot) -> int:
        total = self.totals.get(lot.bill, 0)
        return lot.granted * self._returned(lot.bill) // total if total > 0 else 0

    def _take_back(self, bill: str) -> None:
        """Take a share of each grant of the bill. If part of it was spent, take the difference from the rest of the balance."""
        missing: list[tuple[Lot, int]] = []
        for lot in self.lots:
            if lot.bill == bill:
                due = max(self._share_back(lot) - lot.worth_back, 0)
                own = min(due, lot.left)
                lot.worth_back, lot.left, lot.taken = lot.worth_back + due, lot.left - own, lot.taken + own
                missing.append((lot, due - own))
        for lot, amount in missing:
            siblings = [other for other in self.lots if other.bill == bill]
            got = self._draw(amount, siblings)
            lot.taken += got + self._draw(amount - got, self.lots)

    def _give_back(self, bill: str) -> None:
        for lot in self.lots:
            if lot.bill == bill:
                stays = min(self._share_back(lot), lot.worth_back)
                back = max(lot.taken - stays, 0)
                lot.worth_back, lot.left, lot.taken = stays, lot.left + back, lot.taken - back

    # Spending

    def _draw(self, amount: int, lots: Sequence[Lot]) -> int:
        """Take up to this many tokens: of allowances before packs, of what lapses soonest first. Returns how many."""
        wanted = amount
        for lot in sorted(lots, key=lambda lot: (not lot.owner, self._until(lot), lot.order[1:])):
            given = min(lot.left, amount)
            lot.left, amount = lot.left - given, amount - given
        return wanted - amount

    def _until(self, lot: Lot) -> float:
        held = self.subscriptions.get(lot.subscription)
        is_entitled = held is not None and held.status != "canceled" and bool(lot.owner)
        return max(lot.paid + TTL, lot.ends + 1) if is_entitled else lot.paid + TTL


def share(full: int, start: float, end: float, days: int) -> int:
    """The tokens for the time from start to end out of so many days, rounded down. Stripe's times are whole seconds."""
    length = round(end * 86_400) - round(start * 86_400)
    return full * min(length, days * 86_400) // (days * 86_400)
