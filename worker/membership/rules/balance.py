"""The arithmetic of a balance: rows of the ledger in order, each with the balance before and after it."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.membership.rules.facts import Bill, Restored, User
from worker.membership.rules.history import KEPT, Act, Entry, History, Moment, Newest, State
from worker.membership.rules.lots import Lot, after_spending, drawn

# Tokens stay valid this long after the end of their period, because its renewal may be paid late.
GRACE_OF_A_PERIOD = timedelta(days=1)
# A value of `Moment.line` that sorts after every allowance.
_AFTER_PARTS = "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One row of the ledger: the tokens of its source, and the balance before and after it.

    `owner` is the key of the allowance (`PaidLine.owner`), and `identity` is `PaidLine.identity`. `money` is the
    returned money that the row accounts for, in minor units. Only the last row of a computation has a `history`.
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
    history: History | None = None


def expire(user: User, now: datetime) -> Grant | None:
    """The row that ends an expired balance, or None if nothing has expired.

    The application may add tokens to an expired balance that was already set to 0, without changing its expiry. The key
    of the second row then gets a number.
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
    """A balance, and the rows that change it.

    An entry that belongs before others is inserted in its place, and the later entries are applied again.
    """

    def __init__(self, user: User, now: datetime, *, is_reset: bool) -> None:
        self._now, self._is_reset, self._most = now, is_reset, user.most_tokens
        self._rows: list[Grant] = []
        self._lots: tuple[Lot, ...] = ()
        self._accounted: dict[str, int] = {}
        self._balance: int = 0
        self._expires_at: datetime | None = None
        held = user.history or _empty_history(user)
        self._base, self._entries = held.base, list(held.entries)
        self._totals = {entry.at.bill: entry.total for entry in held.entries if entry.act is Act.BACK}
        self._totals |= {bill.id: bill.total for bill in user.bills}
        # For each bill, the returned money that the ledger had accounted for before the first entry of the list.
        self._before = {bill.id: bill.accounted for bill in user.bills}
        for entry in held.entries:
            if entry.act is Act.BACK and entry.at.bill in self._before:
                self._before[entry.at.bill] -= entry.amount
        newest = {owner: Newest(each.newest, each.bill or "") for owner, each in user.periods.items() if each.newest}
        lots = held.base.lots if user.history is None else user.lots
        self._load(State(lots=lots, balance=held.balance, expires_at=user.tokens_expires_at, newest=newest))
        for entry in held.entries:
            if entry.act is Act.BACK:
                self._accounted[entry.at.bill] = self._accounted.get(entry.at.bill, 0) + entry.amount
        ended = expire(user, now)
        if ended is not None or self._is_over:
            self._lots, self._balance = (), user.tokens if ended is None else 0
            self._base, self._entries = self._state(), []
        elif held.balance != user.tokens:
            self._spend(held.balance - user.tokens)
        if ended is not None:
            self._write(ended, user.tokens)

    def rows(self) -> list[Grant]:
        """The rows written so far. The last row holds the history, without entries older than `KEPT`."""
        if not self._rows:
            return []
        state, accounted = self._state(), self._accounted
        old = next((n for n, entry in enumerate(self._entries) if self._now - entry.seen < KEPT), len(self._entries))
        base, entries = self._base, tuple(self._entries[old:])
        if old:
            self._load(base)
            for entry in self._entries[:old]:
                self._apply(entry)
            base = self._state()
            self._load(state)
            self._accounted = accounted
        self._rows[-1] = replace(self._rows[-1], history=History(base, entries, self._balance))
        return self._rows

    def add(self, row: Grant, lot: Lot, at: Moment) -> None:
        """Add a pack, or the tokens of a change that gives some. An amount of 0 only writes a row."""
        self._post(row, Entry(act=Act.ADD, at=at, seen=self._now, source=row.source_key, lot=lot))

    def begin(self, row: Grant, lot: Lot, at: Moment) -> None:
        """Begin a period with its allowance.

        If balances are reset, the new tokens replace all tokens left from earlier periods of the same allowance, and
        tokens that no grant gave. If they become known too late to give anything, they still end those periods.
        """
        self._post(row, Entry(act=Act.BEGIN, at=at, seen=self._now, source=row.source_key, lot=lot))

    def reduce(self, row: Grant, change: Lot, amount: int, at: Moment) -> None:
        """Take away the tokens that a change removes, but never more than are left.

        The grant of the same bill to the same allowance is reduced first, because the bill charged only the difference.
        The rest is taken from the same allowance if balances are reset, otherwise from the whole balance.
        """
        entry = Entry(act=Act.REDUCE, at=at, seen=self._now, source=row.source_key, lot=change, amount=amount)
        self._post(row, entry)

    def end(self, row: Grant, change: Lot, at: Moment) -> bool:
        """Begin a period without tokens. If balances are reset, it ends the earlier periods of its allowance; returns
        whether it ended any."""
        lots = (*self._base.lots, *(entry.lot for entry in self._entries if entry.act is not Act.END and entry.lot))
        known = {entry.source for entry in self._entries if entry.act is Act.END}
        if not self._is_reset or row.source_key in known or not any(_is_before(lot, change) for lot in lots):
            return False
        state, accounted, entries, before = self._state(), self._accounted, list(self._entries), self._balance
        entry = Entry(act=Act.END, at=at, seen=self._now, source=row.source_key, lot=change)
        if not self._insert(entry):
            self._load(state)
            self._entries, self._accounted = entries, accounted
            return False
        self._write(replace(row, source_key=f"ended:{row.source_key}", amount=self._balance - before), before)
        return True

    def undo(self, source: str, key: str) -> None:
        """Remove a part that was given in error, as if it had never been given."""
        part = next(entry for entry in self._entries if entry.source == source and entry.lot)
        before = self._balance
        self._entries.remove(part)
        self._replay()
        self._note(
            key, "undone", self._balance - before, before, part.at.bill or (part.lot.bill if part.lot else ""), 0
        )

    def take_back(self, bill: Bill) -> None:
        """Take back each grant's share of the bill's returned money, but never more tokens than are left.

        If another source has already reported the same money, the row of this source takes nothing. Tokens that a reset
        replaced or that expired are already gone, so a refund before a renewal and a refund after it lead to the same
        balance.
        """
        granted = (*self._lots, *(entry.lot for entry in self._entries if entry.lot))
        if bill.total <= 0 or not any(lot.bill == bill.id for lot in granted):
            return
        for source in bill.sources:
            money = max(min(source.amount, bill.returned - self._accounted.get(bill.id, 0)), 0)
            at = Moment(source.at or self._now, 0, 2, bill.id, 9, source.source_key)
            entry = Entry(act=Act.BACK, at=at, seen=self._now, source=source.source_key, amount=money, total=bill.total)
            before, worth = self._balance, self._taken_back(bill.id)
            self._insert(entry)
            self._note(source.source_key, source.kind, worth - self._taken_back(bill.id), before, bill.id, money)

    def restore(self, of: Restored) -> None:
        """Undo taking tokens back, because the money was not returned after all.

        A grant that was replaced or is over gets nothing, because its tokens would be gone by now.
        """
        before = self._balance
        taken = next((entry for entry in self._entries if entry.source == of.taken_by), None)
        if taken is not None:
            self._entries.remove(taken)
        else:
            self._before[of.bill] = max(self._before.get(of.bill, 0) - of.money, 0)
            self._load(self._base)
            self._give_back(of.bill)
            self._base = self._state()
        self._replay()
        self._note(of.source_key, of.kind, self._balance - before, before, of.bill, -of.money)

    def extend(self, is_entitled: Callable[[Lot], bool]) -> None:
        """Extend the tokens of subscriptions that give access, as if their access had been known when the tokens were
        granted."""

        def extended(lot: Lot) -> Lot:
            return replace(lot, until=self._lasts(lot)) if is_entitled(lot) else lot

        longer = [lot for lot in self._lots if extended(lot) != lot]
        self._lots = tuple(map(extended, self._lots))
        self._base = replace(self._base, lots=tuple(map(extended, self._base.lots)))
        self._entries = [replace(entry, lot=extended(entry.lot)) if entry.lot else entry for entry in self._entries]
        if longer and self._entries:
            self._replay()
        elif self._expires_at is not None:
            self._expires_at = max([self._expires_at, *(lot.until for lot in map(extended, longer) if lot.left)])
        for lot in longer:
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

    def _lasts(self, lot: Lot) -> datetime:
        """When a lot of an entitling subscription expires. A lot that has expired stays expired."""
        if lot.ends is None or lot.until <= self._now:
            return lot.until
        return max(lot.until, lot.ends + GRACE_OF_A_PERIOD)

    # The list

    def _post(self, row: Grant, entry: Entry) -> None:
        """Insert the entry and write its row. If a newer period has replaced the entry, the row gives nothing."""
        before, worth = self._balance, self._insert(entry)
        is_over = entry.lot is not None and not entry.lot.is_part and self._is_overtaken(entry.act, entry.lot)
        self._write(replace(row, amount=0 if is_over else worth), before)

    def _insert(self, entry: Entry) -> int:
        """Insert the entry at its place; returns the tokens it gives there, negative if it takes some."""
        if not (entry.lot and entry.lot.is_part):
            spends = [held.at for held in self._entries if held.act is Act.SPEND and held.at.time == entry.at.time]
            entry = replace(entry, at=entry.at._replace(turn=max((at.turn + 1 for at in spends), default=0)))
        place = bisect_right(self._entries, entry.at, key=lambda held: held.at)
        self._entries.insert(place, entry)
        return self._apply(entry) if place == len(self._entries) - 1 else self._replay(entry)

    def _replay(self, of: Entry | None = None) -> int:
        """Apply all entries again; returns the tokens that the entry `of` gives."""
        self._load(self._base)
        worths = [(entry, self._apply(entry)) for entry in self._entries]
        return sum(worth for entry, worth in worths if entry is of)

    def _load(self, state: State) -> None:
        self._lots, self._balance, self._expires_at = state.lots, state.balance, state.expires_at
        self._newest, self._accounted = dict(state.newest), dict(self._before)

    def _state(self) -> State:
        return State(lots=self._lots, balance=self._balance, expires_at=self._expires_at, newest=dict(self._newest))

    def _spend(self, amount: int) -> None:
        """Record that the application has spent this many tokens since the newest row; a negative amount was added. The
        entry is placed after all entries known so far."""
        if not self._entries:
            self._draw(amount)
            self._base = self._state()
            return
        last = self._entries[-1]
        if last.act is Act.SPEND:
            self._entries[-1] = replace(last, amount=last.amount + amount, seen=self._now)
        else:
            # Parts that begin in the same second come before this spend, even a part that becomes known after it.
            is_part = last.lot is not None and last.lot.is_part
            at = last.at._replace(line=_AFTER_PARTS if is_part else last.at.line, is_spend=True)
            self._entries.append(Entry(act=Act.SPEND, at=at, seen=self._now, source="", amount=amount))
        self._draw(amount)

    # The effects of entries

    def _apply(self, entry: Entry) -> int:
        """Apply the entry; returns the tokens it gives, negative if it takes some."""
        lot = entry.lot
        if entry.act is Act.SPEND:
            self._draw(entry.amount)
        elif entry.act is Act.BACK:
            self._take_back(entry.at.bill, entry.amount)
        elif lot is None or self._is_overtaken(entry.act, lot):
            return 0
        elif entry.act is Act.END:
            self._remember(lot)
            return self._end(lot)
        elif entry.act is Act.REDUCE:
            self._reduce(lot, entry.amount)
            return -entry.amount
        else:
            lot = self._without_returned(lot)
            if entry.act is Act.BEGIN:
                self._remember(lot)
                self._begin(lot)
            elif lot.granted:
                self._add(lot)
            return lot.granted - lot.taken_back
        return 0

    def _is_overtaken(self, act: Act, lot: Lot) -> bool:
        """Whether balances are reset and a newer period of the same allowance has replaced the lot.

        A change ends with the period in which it began. A period on the same invoice as the change replaces it.
        """
        held = self._newest.get(lot.owner)
        if not self._is_reset or held is None or lot.pack or lot.begins is None or act is Act.END:
            return False
        is_replaced = lot.is_part or (act is not Act.BEGIN and lot.bill == held.bill)
        return lot.begins < held.begins or (lot.begins == held.begins and is_replaced)

    def _remember(self, lot: Lot) -> None:
        held = self._newest.get(lot.owner)
        if lot.begins is not None and (held is None or held.begins <= lot.begins):
            self._newest[lot.owner] = Newest(lot.begins, lot.bill)

    def _begin(self, lot: Lot) -> None:
        if not lot.granted:
            self._end(lot)
        elif not self._is_reset:
            self._add(lot)
        else:
            kept = [held for held in self._lots if self._now < held.until and not _is_replaced(held, by=lot)]
            room = self._most - sum(held.left for held in kept)
            lot = replace(lot, left=min(lot.left, room))
            self._lots = (*kept, lot)
            self._balance = sum(held.left for held in self._lots)
            self._expires_at = max(held.until for held in self._lots if held.left or held is lot)

    def _end(self, by: Lot) -> int:
        """If balances are reset, end the earlier periods of the same allowance; returns how many grants were ended."""
        ended = [lot for lot in self._lots if self._is_reset and _is_before(lot, by)]
        self._lots = tuple(lot for lot in self._lots if lot not in ended)
        self._balance -= sum(lot.left for lot in ended)
        return len(ended)

    def _reduce(self, change: Lot, amount: int) -> None:
        for lot in self._lots:
            if lot.bill == change.bill and lot.owner == change.owner and not lot.pack:
                less = min(amount, lot.left, lot.granted)
                smaller = replace(lot, granted=lot.granted - less, left=lot.left - less)
                self._lots = tuple(smaller if held is lot else held for held in self._lots)
                self._balance, amount = self._balance - less, amount - less
        held = sum(lot.left for lot in self._lots if lot.owner == change.owner and not lot.pack)
        taken = min(amount, held if self._is_reset else max(self._balance, 0))
        self._lots = drawn(self._lots, taken, owner=change.owner)
        self._balance -= taken

    def _take_back(self, bill: str, money: int) -> None:
        """Take each lot's share from the lot itself. If a lot has less, take the rest from other lots, first from lots
        of the same bill."""
        self._accounted[bill] = self._accounted.get(bill, 0) + money
        before, worth = self._balance, 0
        for lot in self._lots:
            due = max(self._returned_share(lot) - lot.taken_back, 0) if lot.bill == bill else 0
            worth += due
            own = min(due, lot.left)
            self._change(lot, left=-own, taken=own, taken_back=due)
        for lot in self._lots:
            short = lot.taken_back - lot.taken if lot.bill == bill else 0
            short = min(short, worth - (before - self._balance), max(self._balance, 0))
            if short > 0:
                self._change(lot, taken=short)
                self._lots, self._balance = drawn(self._lots, short, bills=[bill]), self._balance - short

    def _taken_back(self, bill: str) -> int:
        """The tokens that correspond to the money of this bill that was returned so far."""
        return sum(lot.taken_back for lot in self._lots if lot.bill == bill)

    def _give_back(self, bill: str) -> None:
        """Give back to each grant of the bill the tokens taken from it, except the tokens for money that stays
        returned."""
        for lot in self._lots:
            if lot.bill == bill:
                stays = min(self._returned_share(lot), lot.taken_back)
                back = max(lot.taken - stays, 0)
                self._change(lot, left=back, taken=-back, taken_back=stays - lot.taken_back)

    def _returned_share(self, lot: Lot) -> int:
        """The number of tokens of a grant that the returned money had paid for."""
        total = self._totals.get(lot.bill, 0)
        return lot.granted * min(self._accounted.get(lot.bill, 0), total) // total if total > 0 else 0

    def _without_returned(self, lot: Lot) -> Lot:
        """A new grant without its share of the money that was already returned, for example for a later part of a
        refunded year."""
        share = self._returned_share(lot)
        return replace(lot, left=lot.left - share, taken=share, taken_back=share)

    def _change(self, of: Lot, *, left: int = 0, taken: int = 0, taken_back: int = 0) -> None:
        """Change one lot and the balance by this amount. The balance never exceeds the largest value of its column."""
        left = min(left, max(self._most - self._balance, 0))
        self._lots = tuple(
            replace(lot, left=lot.left + left, taken=lot.taken + taken, taken_back=lot.taken_back + taken_back)
            if lot.source == of.source
            else lot
            for lot in self._lots
        )
        self._balance += left

    def _draw(self, amount: int) -> None:
        """Spend this amount, but never more than the balance has. A negative amount is added."""
        self._balance = max(self._balance - amount, 0) if amount > 0 else self._balance - amount
        self._lots = after_spending(self._lots, self._balance)

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

    # Rows

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
        """Write the row, with the balance before and after it and its present lots."""
        self._rows.append(
            replace(
                row,
                balance_before=before,
                balance_after=self._balance,
                expires_at=self._expires_at,
                lots=self._lots,
            )
        )


def _empty_history(user: User) -> History:
    """An empty history that begins with the user's present balance and lots."""
    newest = {owner: Newest(each.newest, each.bill or "") for owner, each in user.periods.items() if each.newest}
    lots = after_spending(user.lots, user.tokens)
    base = State(lots=lots, balance=user.tokens, expires_at=user.tokens_expires_at, newest=newest)
    return History(base, (), user.tokens)


def _is_before(lot: Lot, by: Lot) -> bool:
    """Whether the lot belongs to the same allowance and began earlier."""
    return lot.owner == by.owner and not lot.pack and bool(lot.begins and by.begins and lot.begins < by.begins)


def _is_replaced(held: Lot, *, by: Lot) -> bool:
    """Whether the new lot replaces the held one: both belong to the same allowance, and the held one did not begin
    later."""
    if held.pack or held.owner != by.owner:
        return False
    return held.begins is None or by.begins is None or held.begins <= by.begins
