"""The later parts of payments for more than a month: the parts that are due, and those given in error.

The paid lines of an item are its history. The newest line that begins before a part decides what the item was then. So
the amount of a part does not depend on when a change becomes known: before the part is due, or long after.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from worker.membership.rules.facts import MOST_TOKENS, Item, PaidLine, Periods, Product, Subscription, User
from worker.membership.rules.lines import Gives, row_of
from worker.membership.rules.lots import Lot

# A longer interval is granted in parts: the paid line grants part 0, and another part follows every 30 days.
TOKEN_PERIOD = timedelta(days=30)
A_MONTH = timedelta(days=31)
# The ledger key of the row that undoes a part: this prefix, then the key of the part.
UNDONE = "undone:"

Entitled = Mapping[str | None, Subscription]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part that is due, and the line that paid for it. `replaces`: whether it replaces a part given in error."""

    key: str
    line: PaidLine
    amount: int
    begins: datetime
    replaces: bool


def joined_interval(line: PaidLine) -> datetime:
    """The start of the billing interval in which a change begins. The interval has the full length and ends with the
    line."""
    return min(line.period_end - (line.full_period or timedelta()), line.period_start)


def next_part(user: User, entitled: Entitled, now: datetime) -> datetime | None:
    """When the next part is due, or None."""
    ahead = [
        begins
        for lines in _histories(user).values()
        for line in lines[-1:]
        if _has_parts(user, line) and _is_there(user, line, None, now, entitled)
        for start in [_parts_begin(user, line)]
        for begins in [start + TOKEN_PERIOD * ((now - start) // TOKEN_PERIOD + 1)]
        if begins < line.period_end
    ]
    return min(ahead, default=None)


def due_parts(
    user: User, products: Mapping[str, Product], entitled: Entitled, now: datetime, *, is_reset: bool
) -> list[Part]:
    """The parts that are due, oldest first.

    If balances are reset, older missed parts of an item are left out, because the newest would replace them. But a part
    that replaces one given in error is kept, because tokens may have been spent from it before the next part began.
    """
    due: list[Part] = []
    for lines in _histories(user).values():
        parts = [
            part
            for line, after in pairwise([*lines, None])
            if line is not None and line.period_end > now and _has_parts(user, line)
            for part in _parts_of(user, line, after, products, entitled, now)
        ]
        parts.sort(key=lambda part: part.begins)
        due += [part for part in parts if not is_reset or part is parts[-1] or part.replaces]
    return sorted(
        (part for part in due if _is_new(user, part.key)), key=lambda part: (part.begins, part.line.owner, part.key)
    )


def _parts_of(
    user: User,
    line: PaidLine,
    after: PaidLine | None,
    products: Mapping[str, Product],
    entitled: Entitled,
    now: datetime,
) -> list[Part]:
    """The parts that began while this was the newest line of the item."""
    product = products.get(line.product or "")
    if product is None:
        return []
    start, amount = _parts_begin(user, line), min(product.tokens * max(line.quantity, 0), MOST_TOKENS)
    until = now if after is None else min(now, after.period_start)
    first = (line.period_start - start) // TOKEN_PERIOD + 1
    return [
        Part(key=key, line=line, amount=amount, begins=begins, replaces=UNDONE + plain in user.renewed)
        for number in range(max(first, 1), (until - start) // TOKEN_PERIOD + 1)
        for begins in [start + TOKEN_PERIOD * number]
        for plain in [f"part:{line.owner}:{int(start.timestamp())}:{number}"]
        for key in [f"{plain}:{line.invoice}" if UNDONE + plain in user.renewed else plain]
        if amount and _is_there(user, line, after, begins, entitled)
    ]


@dataclass(frozen=True, slots=True)
class Review:
    """The keys of the parts given in error (`wrong`), and the lines that wait because their change is not fully known
    yet."""

    wrong: tuple[str, ...]
    waiting: tuple[PaidLine, ...]


def review(user: User, products: Mapping[str, Product], now: datetime) -> Review:
    """Find recent parts that were given in error: only now is it known that the item had changed or was gone when the
    part began.

    If the invoice of a change is known, but the changed item or a product is not, the lines of that invoice wait. So a
    wrong part is undone at the moment at which its replacement is granted.
    """
    histories = _histories(user)
    wrong: list[str] = []
    waiting: list[PaidLine] = []
    for lot in _given(user):
        if lot.begins is None or lot.ends is None or lot.ends <= now:
            continue
        lines = histories.get(lot.owner, [])
        held = [line for line in lines if line.period_start < lot.begins]
        own = [line for line in held if line.invoice == lot.bill and not _is_credit(user, line)]
        if not own:
            continue
        if _has_ended(user, lot.subscription, before=lot.begins) or _was_gone(user, own[-1], lot.begins):
            wrong.append(lot.source)
        elif held[-1] is not own[-1]:
            if _is_known(user, products, own[-1], lines):
                wrong.append(lot.source)
            else:
                waiting += held[held.index(own[-1]) + 1 :]
    return Review(tuple(wrong), tuple(waiting))


def _given(user: User) -> list[Lot]:
    """The later parts (not part 0) in the history."""
    entries = user.history.entries if user.history is not None else ()
    return [entry.lot for entry in entries if entry.lot is not None and entry.lot.is_part]


def _is_known(user: User, products: Mapping[str, Product], own: PaidLine, lines: Sequence[PaidLine]) -> bool:
    """Whether all changes of the item after the line `own` are known: every line of their invoices, and the changed
    item.

    The mirrored item counts as changed if it differs from what `own` paid for, or if it equals what the newest line
    paid for. It also counts if its snapshot is newer than the payment of the changes, because the item may have been
    changed back without an invoice.
    """
    later = lines[lines.index(own) + 1 :]
    invoices, paid_at = {line.invoice for line in later}, max(line.paid_at for line in later)
    for line in user.paid_lines:
        is_waiting = row_of(line, user).gives is Gives.WAITS or (line.product or "") not in products
        if line.invoice in invoices and is_waiting:
            return False
    shown = [each for each in user.subscriptions if each.id == own.subscription]
    if any(each.observed_at is not None and each.observed_at > paid_at for each in shown):
        return True
    items = [item for each in shown for item in each.items]
    is_as_before = any(_is_paid_by(item, own) for item in items)
    is_as_paid = not _is_credit(user, lines[-1]) and any(_is_paid_by(item, lines[-1]) for item in items)
    return is_as_paid or not is_as_before


def reviewed(user: User, result: Review) -> User:
    """The user without the parts given in error and without the lines that wait."""
    ended = {lot.begins for lot in _given(user) if lot.source in result.wrong}
    return replace(
        user,
        periods={owner: _without(held, ended) for owner, held in user.periods.items()} if ended else user.periods,
        renewed=user.renewed | {UNDONE + source for source in result.wrong},
        paid_lines=tuple(line for line in user.paid_lines if line not in result.waiting),
    )


def _without(held: Periods, ended: Collection[datetime | None]) -> Periods:
    starts = held.starts - set(ended)
    return replace(held, starts=starts, newest=max(starts, default=None))


def _is_new(user: User, key: str) -> bool:
    return key not in user.renewed


def _histories(user: User) -> dict[str, list[PaidLine]]:
    """For each allowance, the lines that begin or change a period, oldest first. The credit of a change comes before
    its charge."""
    known = {(line.invoice, line.line): line for line in user.every_line if line.subscription is not None}
    histories: dict[str, list[PaidLine]] = defaultdict(list)
    for line in sorted(
        known.values(),
        key=lambda line: (line.period_start, line.paid_at, not _is_credit(user, line), line.invoice, line.line),
    ):
        if row_of(line, user).gives in (Gives.PERIOD, Gives.CHANGE):
            histories[line.owner].append(line)
    return histories


def _has_parts(user: User, line: PaidLine) -> bool:
    """Whether the line, or the interval that it changes, is longer than a month."""
    is_long = max(line.period_end - line.period_start, line.full_period or timedelta()) > A_MONTH
    return is_long and line in user.running and not _is_credit(user, line)


def _is_credit(user: User, line: PaidLine) -> bool:
    return row_of(line, user).name == "credit"


def _parts_begin(user: User, line: PaidLine) -> datetime:
    """The time from which the parts of a long line are counted: the start of its period or, for a change, of the
    interval that it changes."""
    return line.period_start if row_of(line, user).gives is Gives.PERIOD else joined_interval(line)


def _is_there(user: User, line: PaidLine, after: PaidLine | None, moment: datetime, entitled: Entitled) -> bool:
    """Whether, at that moment, the item was what the line had paid for, and its subscription gave access.

    `after` is the next line of the item. If it credits this line, the item was unchanged until then. Without a next
    line, the item must be unchanged now.
    """
    subscription = next((each for each in user.subscriptions if each.id == line.subscription), None)
    if subscription is None or not line.period_start <= moment < line.period_end:
        return False
    has_ended = subscription.ended_at is not None and moment < subscription.ended_at
    if line.subscription not in entitled and not has_ended:
        return False
    if after is not None:
        return _is_credit(user, after) and (after.price, after.quantity) == (line.price, line.quantity)
    return any(_is_paid_by(item, line) for item in subscription.items)


def _has_ended(user: User, subscription: str | None, *, before: datetime) -> bool:
    return any(
        each.id == subscription and each.ended_at is not None and each.ended_at <= before for each in user.subscriptions
    )


def _was_gone(user: User, line: PaidLine, moment: datetime) -> bool:
    """Whether the newest snapshot of the subscription is older than that moment and shows no item that the line had
    paid for."""
    return any(
        each.id == line.subscription
        and each.observed_at is not None
        and each.observed_at <= moment
        and not any(_is_paid_by(item, line) for item in each.items)
        for each in user.subscriptions
    )


def _is_paid_by(item: Item, line: PaidLine) -> bool:
    if line.item is not None and item.id != line.item:
        return False
    same = item.price == line.price if item.price and line.price else item.product == line.product
    return same and item.quantity == line.quantity
