"""The arithmetic of a balance: rows of the ledger, one after the other, each with the balance around it."""

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.membership.rules.facts import MOST_TOKENS, Bill, MoneyBack, Restored, User
from worker.membership.rules.lots import Lot, after_spending, drawn

# A renewal may take this long after the period's end until it is paid.
GRACE_OF_A_PERIOD = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One row of the ledger: what the source is worth in tokens, and the balance before and after it.

    `owner` is the allowance, `identity` the line's, `money` what of a bill's money it accounts for (minor units).
    """

    source_key: str
    kind: str
    amount: int
    balance_before: int
    balance_after: int
    expires_at: datetime | None
    product: str | None = None
    subscription: str | None = None
    invoice: str | None = None
    owner: str | None = None
    identity: str | None = None
    period_start: datetime | None = None
    money: int = 0
    lots: tuple[Lot, ...] = ()


def expire(user: User, now: datetime) -> Grant | None:
    """The end of a balance whose time is over, None if there is nothing to end.

    If somebody added tokens to a balance that was swept already, and left its expiry, the key is numbered.
    """
    if user.tokens <= 0 or user.tokens_expires_at is None or now < user.tokens_expires_at:
        return None
    key = f"expiry:{user.id}:{int(user.tokens_expires_at.timestamp())}"
    if user.last_key is not None and user.last_key.startswith(key):
        key += f"#{int(user.last_key.removeprefix(key).removeprefix('#') or 1) + 1}"
    return Grant(
        source_key=key,
        kind="expiry",
        amount=-user.tokens,
        balance_before=user.tokens,
        balance_after=0,
        expires_at=user.tokens_expires_at,
    )


class Book:
    """A balance, as rows are written to it. `rows` are the rows so far."""

    def __init__(self, user: User, now: datetime, *, is_reset: bool, ttl: timedelta) -> None:
        self._now, self._is_reset, self._ttl = now, is_reset, ttl
        self._balance, self._expires_at = user.tokens, user.tokens_expires_at
        self._lots = after_spending(user.lots, user.tokens)
        self.rows: list[Grant] = []
        if (ended := expire(user, now)) is not None:
            self.rows.append(ended)
            self._balance = 0
        if self._is_over:
            self._lots = ()

    def add(self, row: Grant, lot: Lot) -> None:
        """A pack, or a change that gives: it is added to the balance. An amount of 0 leaves a row alone."""
        before = self._balance
        if lot.granted:
            self._add(lot)
        self._write(row, before)

    def begin(self, row: Grant, lot: Lot) -> None:
        """An allowance for a period. Under reset it replaces what its owner's earlier periods left, and what nobody granted."""
        before = self._balance
        if lot.granted and self._is_reset:
            kept = [held for held in self._lots if self._now < held.until and not _is_replaced(held, by=lot)]
            self._lots = (*kept, lot)
            self._balance = min(sum(held.left for held in self._lots), MOST_TOKENS)
            self._expires_at = max(held.until for held in self._lots if held.left or held is lot)
        elif lot.granted:
            self._add(lot)
        self._write(row, before)

    def reduce(self, row: Grant, amount: int, *, owner: str) -> None:
        """A change that takes: under reset from what is left of its owner's allowance, else from the balance; never below 0.

        What its own bill gave to the same allowance is reduced first: the bill granted the difference.
        """
        before = self._balance
        for lot in self._lots:
            if lot.bill == row.invoice and lot.owner == owner and not lot.pack:
                less = min(amount, lot.left, lot.granted)
                smaller = replace(lot, granted=lot.granted - less, left=lot.left - less)
                self._lots = tuple(smaller if held is lot else held for held in self._lots)
                self._balance, amount = self._balance - less, amount - less
        held = sum(lot.left for lot in self._lots if lot.owner == owner and not lot.pack)
        taken = min(amount, held if self._is_reset else max(self._balance, 0))
        self._lots = drawn(self._lots, taken, owner=owner)
        self._balance -= taken
        self._write(row, before)

    def take_back(self, bill: Bill) -> None:
        """Take back the share of the bill's grants that its returned money has paid for, and no more than there is.

        A source whose money another source told of already gets a row that takes nothing. What was replaced by a reset or
        has expired is gone already, so a refund before a renewal and one after it end in the same balance.
        """
        alive = [lot for lot in self._lots if lot.bill == bill.id]
        if not alive or bill.total <= 0:
            return
        accounted = bill.accounted
        for source in bill.sources:
            money = max(min(source.amount, bill.returned - accounted), 0)
            accounted += money
            self._take_back(bill, source, money, min(accounted, bill.total))

    def _take_back(self, bill: Bill, source: MoneyBack, money: int, accounted: int) -> None:
        lots = [lot for lot in self._lots if lot.bill == bill.id]
        granted, back = sum(lot.granted for lot in lots), sum(lot.taken_back for lot in lots)
        worth = max(granted * accounted // bill.total - back, 0)
        before, taken = self._balance, min(worth, max(self._balance, 0))
        self._lots = _taken_back(drawn(self._lots, taken, bills=[bill.id]), bill.id, worth)
        self._balance -= taken
        self._note(source.source_key, source.kind, -worth, before, bill.id, money)

    def restore(self, of: Restored) -> None:
        """Give back exactly what was taken: into its grant if that is still there, else as tokens of their own."""
        before = self._balance
        alive = [lot for lot in self._lots if lot.bill == of.bill]
        if alive:
            self._lots = _taken_back(self._lots, of.bill, -of.worth)
            grown = next(lot for lot in self._lots if lot.source == alive[0].source)
            grown = replace(grown, left=grown.left + of.taken)
            self._lots = tuple(grown if lot.source == grown.source else lot for lot in self._lots)
            self._balance += of.taken
        elif of.taken:
            until = self._now + self._ttl
            lot = Lot(
                source=of.source_key, owner="", bill=of.bill, granted=of.taken, left=of.taken, until=until, pack=True
            )
            self._add(lot)
        self._note(of.source_key, of.kind, of.taken, before, of.bill, -of.money)

    def extend(self, entitled: Set[str | None]) -> None:
        """Let tokens last as long as they would if their subscription had been known to entitle when they were granted."""
        for lot in self._lots:
            ends = lot.ends + GRACE_OF_A_PERIOD if lot.ends is not None and lot.subscription in entitled else lot.until
            if not self._now < lot.until < ends:
                continue
            self._lots = tuple(replace(held, until=ends) if held is lot else held for held in self._lots)
            if lot.left and self._expires_at is not None:
                self._expires_at = max(self._expires_at, ends)
            self._write(
                Grant(
                    source_key=f"extension:{lot.source}",
                    kind="extension",
                    amount=0,
                    balance_before=0,
                    balance_after=0,
                    expires_at=None,
                    subscription=lot.subscription,
                    owner=lot.owner,
                    invoice=lot.bill,
                ),
                self._balance,
            )

    @property
    def _is_over(self) -> bool:
        return self._expires_at is not None and self._expires_at <= self._now

    def _add(self, lot: Lot) -> None:
        held = tuple(held for held in self._lots if held.left or self._now < held.until)
        room = MOST_TOKENS - max(self._balance, 0)
        lot = replace(lot, left=min(lot.left, max(room, 0)))
        self._lots = (*held, lot)
        self._balance += lot.left
        over = self._expires_at is None or self._is_over
        self._expires_at = lot.until if self._expires_at is None or over else max(lot.until, self._expires_at)

    def _note(self, key: str, kind: str, amount: int, before: int, bill: str, money: int) -> None:
        self._write(
            Grant(
                source_key=key,
                kind=kind,
                amount=amount,
                balance_before=0,
                balance_after=0,
                expires_at=None,
                invoice=bill,
                money=money,
            ),
            before,
        )

    def _write(self, row: Grant, before: int) -> None:
        """Keep the row, with the balance around it and what it consists of now."""
        self.rows.append(
            replace(
                row,
                balance_before=before,
                balance_after=self._balance,
                expires_at=self._expires_at,
                lots=self._lots,
            )
        )


def _is_replaced(held: Lot, *, by: Lot) -> bool:
    """Whether the new allowance takes the place of this lot: the same owner's, of an earlier time."""
    if held.pack or held.owner != by.owner:
        return False
    return held.begins is None or by.begins is None or held.begins <= by.begins


def _taken_back(lots: tuple[Lot, ...], bill: str, worth: int) -> tuple[Lot, ...]:
    """The lots once the bill's money back is worth so much more, or less; each gives back no more than was granted."""
    changed: list[Lot] = []
    for lot in lots:
        change = 0
        if lot.bill == bill:
            change = max(-lot.taken_back, min(lot.granted - lot.taken_back, worth))
            worth -= change
        changed.append(replace(lot, taken_back=lot.taken_back + change))
    return tuple(changed)
