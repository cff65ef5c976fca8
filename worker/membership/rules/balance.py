"""The arithmetic of a balance: rows of the ledger, one after the other, each with the balance around it."""

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.membership.rules.facts import Bill, MoneyBack, Restored, User
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

    def __init__(self, user: User, now: datetime, *, is_reset: bool) -> None:
        self._now, self._is_reset = now, is_reset
        self._balance, self._expires_at, self._most = user.tokens, user.tokens_expires_at, user.most_tokens
        self._lots = after_spending(user.lots, user.tokens)
        self._bills = {bill.id: bill for bill in user.bills}
        self._accounted = {bill.id: bill.accounted for bill in user.bills}
        self._spent: list[tuple[Lot, int]] = []
        self.rows: list[Grant] = []
        if (ended := expire(user, now)) is not None:
            self.rows.append(ended)
            self._balance = 0
        if self._is_over:
            self._lots = ()

    def add(self, row: Grant, lot: Lot) -> None:
        """A pack, or a change that gives: it is added to the balance. An amount of 0 leaves a row alone."""
        before, lot = self._balance, self._without_owed(self._without_returned(lot))
        row = replace(row, amount=row.amount - lot.taken_back)
        if lot.granted:
            self._add(lot)
        self._write(row, before)

    def begin(self, row: Grant, lot: Lot) -> None:
        """An allowance for a period. Under reset it replaces what its owner's earlier periods left, and what nobody granted.

        One that comes too late to give anything ends those periods all the same.
        """
        before, lot = self._balance, self._without_owed(self._without_returned(lot))
        row = replace(row, amount=row.amount - lot.taken_back)
        if lot.granted and not self._is_reset:
            self._add(lot)
        elif lot.granted:
            kept = [held for held in self._lots if self._now < held.until and not _is_replaced(held, by=lot)]
            room = self._most - sum(held.left for held in kept)
            ended = [replace(held, replaced=()) for held in self._lots if held not in kept and held.left]
            lot = replace(lot, left=min(lot.left, room), replaced=tuple(ended) if row.kind == "token_period" else ())
            self._lots = (*kept, lot)
            self._balance = sum(held.left for held in self._lots)
            self._expires_at = max(held.until for held in self._lots if held.left or held is lot)
        elif lot.begins is not None:
            self._end(lot.owner, lot.begins)
        self._write(row, before)

    def end(self, row: Grant, *, owner: str, begins: datetime) -> bool:
        """A period that gives nothing: under reset it ends what its owner's earlier periods left. Whether there was any."""
        before, ended = self._balance, self._end(owner, begins)
        if ended:
            key = f"ended:{ended[0].source}"
            self._write(replace(row, source_key=key, amount=self._balance - before), before)
        return bool(ended)

    def undo(self, part: Lot, key: str) -> None:
        """End a part that was given in error. The lots that it replaced are back.

        `spend_again` takes from the balance what was spent of it, once all that is due has been granted.
        """
        before, part = self._balance, next(lot for lot in self._lots if lot.source == part.source)
        back = [self._without_returned_since(held) for held in part.replaced if self._now < held.until]
        self._lots = (*(lot for lot in self._lots if lot.source != part.source), *back)
        self._balance += sum(lot.left for lot in back) - part.left
        self._expires_at = max((lot.until for lot in self._lots if lot.left), default=self._expires_at)
        self._spent.append((part, max(part.granted - part.left - part.taken, 0)))
        self._note(key, "undone", self._balance - before, before, part.bill, 0)

    def spend_again(self) -> None:
        """Take from the balance what was spent of parts that have ended in error, and no more than there is."""
        for part, spent in self._spent:
            if (taken := min(spent, max(self._balance, 0))) > 0:
                before = self._balance
                self._lots, self._balance = drawn(self._lots, taken, owner=part.owner), self._balance - taken
                self._note(f"undone:{part.source}:spent", "undone", -taken, before, part.bill, 0)

    def reduce(self, row: Grant, change: Lot, amount: int) -> None:
        """A change that takes: under reset from what is left of its owner's allowance, else from the balance; never below 0.

        The grant of its own bill to the same allowance is reduced first: the bill granted the difference. The rest, of which
        there is nothing left, is owed by grants that come late.
        """
        before, owner = self._balance, change.owner
        for lot in self._lots:
            if lot.bill == row.invoice and lot.owner == owner and not lot.pack:
                less = min(amount, lot.left, lot.granted)
                smaller = replace(lot, granted=lot.granted - less, left=lot.left - less)
                self._lots = tuple(smaller if held is lot else held for held in self._lots)
                self._balance, amount = self._balance - less, amount - less
        held = sum(lot.left for lot in self._lots if lot.owner == owner and not lot.pack)
        taken = min(amount, held if self._is_reset else max(self._balance, 0))
        self._lots = drawn(self._lots, taken, owner=owner)
        if taken < amount:
            self._lots = (*self._lots, replace(change, owed=amount - taken))
        self._balance -= taken
        self._write(row, before)

    def take_back(self, bill: Bill) -> None:
        """Take back each grant's share of the bill's money that went back, and no more than there is.

        A source whose money another source told of already gets a row that takes nothing. Tokens replaced by a reset,
        or expired, are gone already, so a refund before a renewal and one after it end in the same balance.
        """
        if bill.total <= 0 or not any(lot.bill == bill.id for lot in self._lots):
            return
        for source in bill.sources:
            accounted = self._accounted[bill.id]
            money = max(min(source.amount, bill.returned - accounted), 0)
            self._accounted[bill.id] = accounted + money
            self._take_back(bill, source, money)

    def _take_back(self, bill: Bill, source: MoneyBack, money: int) -> None:
        """Each lot gives its own share. The part that it has not got any more comes from the others, its bill's first."""
        before, worth = self._balance, 0
        for lot in self._lots:
            due = max(self._returned_share(lot) - lot.taken_back, 0) if lot.bill == bill.id else 0
            worth += due
            own = min(due, lot.left)
            self._change(lot, left=-own, taken=own, taken_back=due)
        for lot in self._lots:
            short = lot.taken_back - lot.taken if lot.bill == bill.id else 0
            short = min(short, worth - (before - self._balance), max(self._balance, 0))
            if short > 0:
                self._change(lot, taken=short)
                self._lots, self._balance = drawn(self._lots, short, bills=[bill.id]), self._balance - short
        self._note(source.source_key, source.kind, -worth, before, bill.id, money)

    def restore(self, of: Restored) -> None:
        """Give back to the bill's grants what was taken of each, but for the share of money that stays returned.

        A grant that has been replaced or is over gets nothing: what was taken of it would have lapsed with it.
        """
        before = self._balance
        self._accounted[of.bill] = max(self._accounted.get(of.bill, 0) - of.money, 0)
        for lot in self._lots:
            stays = min(self._returned_share(lot), lot.taken_back) if lot.bill == of.bill else lot.taken_back
            back = max(lot.taken - stays, 0) if lot.bill == of.bill else 0
            self._change(lot, left=back, taken=-back, taken_back=stays - lot.taken_back)
        self._note(of.source_key, of.kind, self._balance - before, before, of.bill, -of.money)

    def _returned_share(self, lot: Lot) -> int:
        """The tokens of a grant that the money which went back has paid for."""
        bill = self._bills.get(lot.bill)
        if bill is None or bill.total <= 0:
            return 0
        return lot.granted * min(self._accounted[bill.id], bill.total) // bill.total

    def _without_returned(self, lot: Lot) -> Lot:
        """A new grant, less its share of the money that went back before it was granted: a later part, for example."""
        share = self._returned_share(lot)
        return replace(lot, left=lot.left - share, taken=share, taken_back=share)

    def _without_returned_since(self, lot: Lot) -> Lot:
        """A lot that is back, less its share of the money that went back in the meantime."""
        due = min(max(self._returned_share(lot) - lot.taken_back, 0), lot.left)
        return replace(lot, left=lot.left - due, taken=lot.taken + due, taken_back=lot.taken_back + due)

    def _without_owed(self, lot: Lot) -> Lot:
        """A grant that came late, less what a change of its own time has taken already, and did not find."""
        for debt in self._lots:
            if debt.owed and debt.owner == lot.owner and lot.begins and debt.begins and lot.begins < debt.begins:
                given = min(debt.owed, lot.left)
                lot = replace(lot, left=lot.left - given)
                self._lots = tuple(
                    replace(held, owed=held.owed - given) if held is debt else held for held in self._lots
                )
        return lot

    def _change(self, of: Lot, *, left: int = 0, taken: int = 0, taken_back: int = 0) -> None:
        """Change one lot by so much, and the balance with it, which never exceeds its column."""
        left = min(left, max(self._most - self._balance, 0))
        self._lots = tuple(
            replace(lot, left=lot.left + left, taken=lot.taken + taken, taken_back=lot.taken_back + taken_back)
            if lot.source == of.source
            else lot
            for lot in self._lots
        )
        self._balance += left

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

    def _end(self, owner: str, begins: datetime) -> list[Lot]:
        """Under reset, end the owner's allowances that began earlier; returns them."""
        held = [lot for lot in self._lots if lot.owner == owner and not lot.pack and lot.begins and lot.begins < begins]
        ended = held if self._is_reset else []
        self._lots = tuple(lot for lot in self._lots if lot not in ended)
        self._balance -= sum(lot.left for lot in ended)
        return ended

    @property
    def _is_over(self) -> bool:
        return self._expires_at is not None and self._expires_at <= self._now

    def _add(self, lot: Lot) -> None:
        held = tuple(held for held in self._lots if held.left or self._now < held.until)
        room = self._most - max(self._balance, 0)
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
