"""A model of tokens and access. It is slow and obviously right, and follows the documented rules without the product's code.

It applies everything that happened in chronological order. Times are in days. The present is just after day 0. Lives are
shorter than the lifetime of tokens, so no balance expires.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PART = 30
LONG = 31
TTL = 60


@dataclass(frozen=True, kw_only=True)
class Price:
    """A price. `days` is its interval, 0 for a one-time price. If `access` is set, a purchase gives access for that many days."""

    product: str
    days: int
    tokens: int
    premium: bool
    access: int | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a bill. `nature` is its kind: period, stub (a shorter first period), trial, charge, credit or pack."""

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
    """From that day on the subscription has these items: the price and quantity by item."""

    day: float
    subscription: str
    status: str
    items: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Back:
    """Money of a bill was returned, by a refund, a lost dispute or a credit note."""

    day: float
    id: str
    bill: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Undone:
    """The return of money with this id was reversed."""

    day: float
    id: str


@dataclass(frozen=True, kw_only=True)
class Spent:
    """The user spent tokens, if the balance was large enough."""

    day: float
    amount: int


Happening = Paid | Changed | Back | Undone | Spent


@dataclass(kw_only=True)
class Lot:
    """The tokens of one grant. `owner` is the item whose allowance they are, empty for a pack."""

    owner: str
    bill: str
    order: tuple[Any, ...]
    granted: int
    left: int
    until: float
    worth_back: int = 0
    taken: int = 0


@dataclass(kw_only=True)
class Model:
    """A user's tokens and access. After `play`, the properties show the expected state."""

    prices: Mapping[str, Price]
    is_reset: bool
    now: float = 0
    lots: list[Lot] = field(default_factory=list)
    subscriptions: dict[str, Changed] = field(default_factory=dict)
    created: dict[str, float] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    back: dict[str, Back] = field(default_factory=dict)
    bought: list[tuple[Line, Paid]] = field(default_factory=list)
    parts: set[tuple[str, float, int]] = field(default_factory=set)
    begun: dict[str, float] = field(default_factory=dict)
    given: float = -1_000
    purchases: list[tuple[str, str, float]] = field(default_factory=list)

    def play(self, happenings: Sequence[Happening]) -> None:
        """Apply everything that happened in the order of days, and grant each part of a yearly item when it is due.

        A reversed return of money counts as if it had never happened. A user spends after everything
        that happened up to the day of the spending, and after every part that is due by now.
        """
        known: list[tuple[float, Happening]] = []
        for happened in sorted(happenings, key=lambda happened: happened.day):
            if isinstance(happened, Undone):
                known = [each for each in known if not (isinstance(each[1], Back) and each[1].id == happened.id)]
            elif isinstance(happened, Spent):
                before = Model(prices=self.prices, is_reset=self.is_reset, now=self.now)
                before._replay(known)
                if before.tokens >= happened.amount:
                    known.append((max(happened.day, before.given), happened))
            else:
                known.append((happened.day, happened))
        self._replay(known)

    def _replay(self, known: Sequence[tuple[float, Happening]]) -> None:
        self.bought = [(line, paid) for _, paid in known if isinstance(paid, Paid) for line in paid.lines]
        for day, happened in sorted(known, key=lambda each: each[0]):
            self._give_parts(before=day)
            if isinstance(happened, Paid):
                self._pay(happened)
            elif isinstance(happened, Changed):
                self.created.setdefault(happened.subscription, happened.day)
                self.subscriptions[happened.subscription] = happened
            elif isinstance(happened, Back):
                self.back[happened.id] = happened
                self._take_back(happened.bill)
            elif isinstance(happened, Spent):
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
        """The product of the best entitled item: by role, then status, then allowance, then the newer subscription."""
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
        """PREMIUM if an entitled item or a purchase gives that role."""
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
        """The one-time purchases that give access now. They have not expired, and their money was not fully returned."""
        return [
            (bill, name, day)
            for bill, name, day in self.purchases
            if day + (self.prices[name].access or 0) > self.now and not self._returned(bill) >= self.totals[bill] > 0
        ]

    # Payments

    def _pay(self, paid: Paid) -> None:
        """Apply a paid bill: first the charges for changes, then the credits, then all other lines."""
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
            elif self.is_reset and round(line.start, 6) < round(self.begun.get(line.item, line.start), 6):
                continue  # A newer period of the item has replaced the line's whole period.
            elif line.nature in ("period", "stub"):
                if line.nature == "stub":
                    full = share(full, line.start, line.end, price.days)
                if self.is_reset:
                    self.lots = [lot for lot in self.lots if lot.owner != line.item]
                self._add(paid, line, full, order, owner=line.item)
                self.begun[line.item] = line.start
            elif line.nature in ("charge", "credit"):
                self._change(paid, line, full, order)

    def _change(self, paid: Paid, line: Line, full: int, order: tuple[Any, ...]) -> None:
        """Add or take the tokens of a change in proportion to the time left in its interval. If the interval is longer than a
        month, the time left in its current 30 days counts.
        """
        days, end = self.prices[line.price].days, line.end
        if days > LONG:
            joined = round(line.end - days, 6)
            end, days = min(end, joined + PART * (round(line.start - joined, 6) // PART + 1)), PART
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
            until=self._until(line, paid.day if day is None else day, owner),
        )
        lot.worth_back = lot.taken = self._share_back(lot)
        lot.left -= lot.taken
        if amount:
            self.lots.append(lot)

    def _give_parts(self, *, before: float) -> None:
        """Grant a part every 30 days for a line that paid for a longer time, while the item has the line's price and quantity.

        A part is paid by the item's newest line that begins before the part, however late that line was paid.
        """
        due = [
            (begins, number, line, paid, start)
            for line, paid in self.bought
            if self.prices[line.price].days > LONG and line.nature in ("period", "stub", "charge")
            for start in [round(line.end - self.prices[line.price].days, 6)]
            for number in range(1, 14)
            for begins in [round(start + PART * number, 6)]
            if round(line.start, 6) < begins < min(before, line.end) and self._newest(line.item, begins) is line
        ]
        for begins, number, line, paid, start in sorted(due, key=lambda part: part[0]):
            held = self.subscriptions.get(line.subscription)
            is_there = held is not None and held.items.get(line.item) == (line.price, line.quantity)
            if not is_there or held is None or held.status == "canceled" or (line.item, start, number) in self.parts:
                continue
            amount = self.prices[line.price].tokens * line.quantity
            self.parts.add((line.item, start, number))
            if not amount:
                continue  # A part without tokens is not granted, so it replaces no part.
            self.given, self.begun[line.item] = begins + 0.0001, begins
            if self.is_reset:
                self.lots = [lot for lot in self.lots if lot.owner != line.item]
            self._add(paid, line, amount, (line.end + 1, 1, line.item, number), owner=line.item, day=begins)

    def _newest(self, item: str, moment: float) -> Line:
        """Return the item's newest line that begins before that moment. A charge counts as newer than the credit beside it."""
        lines = [
            (line, paid)
            for line, paid in self.bought
            if line.item == item and round(line.start, 6) < moment and line.nature != "trial"
        ]
        return max(lines, key=lambda each: (each[0].start, each[1].day, each[0].nature != "credit"))[0]

    # Money back

    def _returned(self, bill: str) -> int:
        return min(sum(back.amount for back in self.back.values() if back.bill == bill), self.totals.get(bill, 0))

    def _share_back(self, lot: Lot) -> int:
        total = self.totals.get(lot.bill, 0)
        return lot.granted * self._returned(lot.bill) // total if total > 0 else 0

    def _take_back(self, bill: str) -> None:
        """Take a share of each grant of the bill. If a grant has too few tokens left, take the rest from other
        grants, those of the bill first.
        """
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

    # Spending

    def _draw(self, amount: int, lots: Sequence[Lot]) -> int:
        """Take up to this many tokens, and return how many. Allowances come before packs, and an earlier expiry comes first."""
        wanted = amount
        for lot in sorted(lots, key=lambda lot: (not lot.owner, lot.until, lot.order[1:])):
            given = min(lot.left, amount)
            lot.left, amount = lot.left - given, amount - given
        return wanted - amount

    def _until(self, line: Line, paid: float, owner: str) -> float:
        """Return the day on which tokens expire: TTL days after the payment. An allowance of a subscription that is not canceled
        lasts at least until a day after the paid period."""
        held = self.subscriptions.get(line.subscription)
        gives_service = held is not None and held.status != "canceled" and bool(owner)
        return max(paid + TTL, line.end + 1) if gives_service else paid + TTL


def share(full: int, start: float, end: float, days: int) -> int:
    """Return the share of the tokens for the time from start to end, out of this many days, rounded down to a whole token.

    Stripe's times are whole seconds.
    """
    length = round(end * 86_400) - round(start * 86_400)
    return full * min(length, days * 86_400) // (days * 86_400)
