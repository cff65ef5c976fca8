"""The tokens that a user's paid lines give.

Grants come from state, never from events. A paid line grants once, however often it is seen, because its id is the key
in the ledger. `lines.TABLE` classifies a line, and `balance.Book` applies it to the balance.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from worker.membership.rules.access import Policy, is_entitled
from worker.membership.rules.balance import GRACE_OF_A_PERIOD, Book, Grant
from worker.membership.rules.facts import MOST_TOKENS, PaidLine, Periods, Product, Subscription, User
from worker.membership.rules.history import Moment
from worker.membership.rules.lines import Gives, Row, row_of
from worker.membership.rules.lots import Lot
from worker.membership.rules.parts import (
    A_MONTH,
    TOKEN_PERIOD,
    UNDONE,
    Part,
    due_parts,
    joined_interval,
    review,
    reviewed,
)

# Two monthly periods may differ by an hour when the clocks change.
_TOLERANCE = timedelta(hours=1)
# The kinds of ledger rows that begin a period of an allowance.
PERIODS = frozenset({"start", "renewal", "stub", "trial", "token_period", "ended"})


class NoGrant(enum.StrEnum):
    """Why a paid line gives no tokens and has no row in the ledger. A line that waits may still give some later."""

    WAITS_FOR_PRODUCT = "waits_for_product"
    WAITS_FOR_PRICE = "waits_for_price"
    WAITS_FOR_SUBSCRIPTION = "waits_for_subscription"
    WAITS_FOR_PERIOD = "waits_for_period"
    WAITS_FOR_CHANGE = "waits_for_change"
    NO_ALLOWANCE = "no_allowance"
    NO_QUANTITY = "no_quantity"
    NO_PRICE = "no_price"
    USAGE = "usage"
    TRIAL = "trial"


_WAITS = frozenset(
    {
        NoGrant.WAITS_FOR_PRODUCT,
        NoGrant.WAITS_FOR_PRICE,
        NoGrant.WAITS_FOR_SUBSCRIPTION,
        NoGrant.WAITS_FOR_PERIOD,
        NoGrant.WAITS_FOR_CHANGE,
    }
)
_NO_GRANT = {
    "usage": NoGrant.USAGE,
    "no_price": NoGrant.NO_PRICE,
    "unknown_price": NoGrant.WAITS_FOR_PRICE,
    "unknown_subscription": NoGrant.WAITS_FOR_SUBSCRIPTION,
    "unknown_item": NoGrant.WAITS_FOR_SUBSCRIPTION,
}


def source_key(line: PaidLine) -> str:
    """The ledger key of a paid line. It has no line id if the metadata of a Checkout session names what was sold."""
    if not line.is_checkout:
        return f"invoice:{line.invoice}:line:{line.line}"
    return f"cs:{line.invoice}:line:{line.line}" if line.line else f"cs:{line.invoice}"


def grants(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> list[Grant]:
    """The rows to add to the ledger.

    The end of an expired balance comes first. Then follow the grants of paid lines and parts, oldest first, and the
    effects of returned money. Each row begins with the balance that the row before it left. A line whose time is over
    grants 0. If balances are reset, a line older than the newest grant of its allowance also grants 0. A fact that
    becomes known late is inserted at its place in the history, so the order in which invoices arrive does not matter.
    """
    book, checked = Book(user, now, is_reset=policy.tokens_reset), review(user, products, now)
    book.extend(lambda lot: lot.begins is not None and _entitles(user, lot.subscription, lot.begins, policy, now))
    for source in checked.wrong:
        book.undo(source, UNDONE + source)
    user = reviewed(user, checked)
    periods = dict(user.periods)
    parts = due_parts(user, products, entitled(user, policy, now), now, is_reset=policy.tokens_reset)

    def take(line: PaidLine, row: Row, worth: int | NoGrant, at: Moment) -> None:
        while parts and parts[0].begins <= line.paid_at:
            _grant_part(book, user, parts.pop(0), policy, now, periods)
        _grant(book, user, line, row, worth, at, policy, now, periods)

    passed = _each(user, products, policy, periods, take)
    for part in parts:
        _grant_part(book, user, part, policy, now, periods)
    waiting = {line.invoice for line, why, _ in passed if why in _WAITS} | {line.invoice for line in checked.waiting}
    for restored in sorted(user.restored, key=lambda restored: restored.source_key):
        book.restore(restored)
    for bill in sorted(user.bills, key=lambda bill: bill.id):
        if bill.id not in waiting:
            book.take_back(bill)
    return book.rows()


def ungranted(
    user: User, products: Mapping[str, Product], policy: Policy, now: datetime
) -> list[tuple[PaidLine, NoGrant, Row]]:
    """The paid lines that `grants` skips, oldest first, each with the reason and its row of `lines.TABLE`."""
    checked, periods = review(user, products, now), dict(user.periods)

    def remember(line: PaidLine, row: Row, worth: int | NoGrant, _: Moment) -> None:
        if row.gives is Gives.PERIOD or (row.gives is Gives.TRIAL and isinstance(worth, int)):
            _remember(periods, line, line.period_start, is_newest=isinstance(worth, int))

    passed = _each(reviewed(user, checked), products, policy, periods, remember)
    half = [(line, NoGrant.WAITS_FOR_CHANGE, row_of(line, user)) for line in checked.waiting if line in user.paid_lines]
    return sorted([*passed, *half], key=lambda each: _moment(each[0], each[2]))


def _each(
    user: User,
    products: Mapping[str, Product],
    policy: Policy,
    periods: Mapping[str, Periods],
    take: Callable[[PaidLine, Row, int | NoGrant, Moment], None],
) -> list[tuple[PaidLine, NoGrant, Row]]:
    """Call `take` for each line that need not wait, in the order of `_moment`; returns the lines without a grant, each
    with the reason.

    A credit waits while a charge of the same invoice waits. If a change and its period were paid at the same moment,
    the change comes first in the order, and its period is not known yet. A second round then takes the change.
    """
    ordered = sorted(user.paid_lines, key=lambda line: _moment(line, row_of(line, user)))
    passed: list[tuple[PaidLine, NoGrant, Row]] = []
    for again in (False, True):
        lines, passed = ordered if not again else [line for line, _, _ in passed], []
        worths = [_worth(user, line, products, policy, periods) for line in lines]
        incomplete = {
            line.invoice
            for line, (row, why) in zip(lines, worths, strict=True)
            if row.name != "credit" and isinstance(why, NoGrant) and why in _WAITS - {NoGrant.WAITS_FOR_PERIOD}
        }
        for line in lines:
            row, worth = _worth(user, line, products, policy, periods)
            if row.name == "credit" and line.invoice in incomplete:
                worth = NoGrant.WAITS_FOR_CHANGE
            if isinstance(worth, NoGrant):
                passed.append((line, worth, row))
            if worth not in _WAITS:
                take(line, row, worth, _moment(line, row))
    return passed


def _grant(
    book: Book,
    user: User,
    line: PaidLine,
    row: Row,
    worth: int | NoGrant,
    at: Moment,
    policy: Policy,
    now: datetime,
    periods: dict[str, Periods],
) -> None:
    """Write the grant of one line to the book, and record the period that it begins."""
    key = source_key(line)
    made = _row(line, key, _kind(line, row, periods), 0, line.period_start)
    if isinstance(worth, NoGrant):
        if row.gives is Gives.PERIOD:
            nothing = _lot(user, line, key, 0, line.paid_at, policy, now, begins=line.period_start)
            ended = book.end(replace(made, kind="ended"), nothing, at)
            _remember(periods, line, line.period_start, is_newest=ended)
        return
    is_period = row.gives in (Gives.PERIOD, Gives.TRIAL)
    if _is_granted_already(user, line.paid_at) or _is_over(user, line, row, policy, now):
        worth = 0
    lot = _lot(user, line, key, max(worth, 0), line.paid_at, policy, now, begins=line.period_start)
    if is_period:
        book.begin(made, lot, at)
        _remember(periods, line, line.period_start)
    elif worth >= 0:
        book.add(made, lot, at)
    else:
        book.reduce(made, lot, -worth, at)


def _moment(line: PaidLine, row: Row) -> Moment:
    """The position of a line among the changes of a balance, by the time of its payment.

    Within a second, invoices without prorations come first, because they may have paid the period that another invoice
    changes. Within an invoice, changes come before the periods that replace them, and charges before credits, so that a
    credit can also reduce what its charge gave.
    """
    rank = {"charge": 0, "credit": 1}.get(row.name, 2)
    return Moment(line.paid_at, 0, int(line.proration or line.has_changes), line.invoice, rank, line.line)


def _grant_part(book: Book, user: User, part: Part, policy: Policy, now: datetime, periods: dict[str, Periods]) -> None:
    """Write a part (a later 30 days of a long period) to the book, unless it has expired.

    A part is written even if a newer period has replaced it, because tokens may have been spent from it before that.
    """
    line = part.line
    if _is_granted_already(user, part.begins):
        return
    lot = _lot(user, line, part.key, part.amount, part.begins, policy, now, begins=part.begins)
    if now < lot.until:
        row = _row(line, part.key, "token_period", part.amount, part.begins)
        book.begin(row, lot, Moment(part.begins, line=line.owner))
        _remember(periods, line, part.begins)


def _kind(line: PaidLine, row: Row, periods: Mapping[str, Periods]) -> str:
    """The line's kind in the ledger."""
    if row.gives is Gives.CHANGE:
        return "update"
    if row.gives is not Gives.PERIOD:
        return str(row.gives.value)
    if row.name == "stub" or not line.is_whole:
        return "stub"
    held = periods.get(line.owner)
    return "renewal" if held is not None and held.first < line.period_start else "start"


def _row(line: PaidLine, key: str, kind: str, amount: int, begins: datetime) -> Grant:
    """A row of the ledger. The book fills in the balance before and after it."""
    return Grant(
        source_key=key,
        kind=kind,
        amount=amount,
        balance_before=0,
        balance_after=0,
        expires_at=None,
        product=line.product,
        subscription=line.subscription,
        invoice=line.invoice,
        owner=line.owner,
        identity=line.identity,
        period_start=begins,
    )


def _lot(
    user: User,
    line: PaidLine,
    key: str,
    amount: int,
    granted_at: datetime,
    policy: Policy,
    now: datetime,
    *,
    begins: datetime,
) -> Lot:
    is_pack = line.is_checkout or line.price_type == "one_time"
    return Lot(
        source=key,
        owner="" if is_pack else line.owner,
        bill=line.invoice,
        granted=amount,
        left=amount,
        until=_expiry(user, line, granted_at, policy, now),
        pack=is_pack,
        begins=begins,
        ends=None if is_pack else line.period_end,
        subscription=line.subscription,
    )


def _remember(periods: dict[str, Periods], line: PaidLine, start: datetime, *, is_newest: bool = True) -> None:
    """Record a period of an allowance.

    If the period gave nothing and ended nothing, `is_newest` is false: an older period may still give tokens.
    """
    held = periods.get(line.owner) or Periods(start, None)
    newest, bill = held.newest, held.bill
    if is_newest and (newest is None or newest <= start):
        newest, bill = start, line.invoice
    periods[line.owner] = Periods(min(held.first, start), newest, bill, held.starts | {start})


def _worth(
    user: User, line: PaidLine, products: Mapping[str, Product], policy: Policy, periods: Mapping[str, Periods]
) -> tuple[Row, int | NoGrant]:
    """The line's row of `lines.TABLE`, and its tokens (below 0 for a credit) or the reason why it gives none."""
    row = row_of(line, user)
    if row.name in _NO_GRANT:
        return row, _NO_GRANT[row.name]
    if row.gives is Gives.TRIAL:
        return row, policy.trial_tokens or NoGrant.TRIAL
    product = products.get(line.product or "")
    if line.tokens is not None:
        return row, min(line.tokens, MOST_TOKENS)
    if product is None:
        return row, NoGrant.WAITS_FOR_PRODUCT if line.product else NoGrant.NO_PRICE
    if line.quantity <= 0 and row.gives in (Gives.PACK, Gives.PERIOD):
        return row, NoGrant.NO_QUANTITY
    full = min(product.tokens * line.quantity, MOST_TOKENS)
    if row.gives is Gives.PACK:
        return row, full or NoGrant.NO_ALLOWANCE
    if line.full_period is None and (row.gives is Gives.CHANGE or not line.is_whole):
        return row, NoGrant.WAITS_FOR_PRICE
    if row.gives is Gives.PERIOD:
        return row, _share(full, _part_of_a_period(line)) or NoGrant.NO_ALLOWANCE
    if not _has_period(line, periods.get(line.owner)):
        return row, NoGrant.WAITS_FOR_PERIOD
    share = _share(full, _part_of_a_change(line))
    return row, -share if row.name == "credit" else share


def _has_period(line: PaidLine, held: Periods | None) -> bool:
    """Whether a paid period is known that covers the beginning of the change: it began in the same billing interval, and
    not after the change."""
    first = joined_interval(line) - _TOLERANCE
    return held is not None and any(first <= start <= line.period_start for start in held.starts)


def _share(full: int, part: tuple[timedelta, timedelta]) -> int:
    """The share of `full` for a part of a period, rounded down."""
    length, whole = part
    return full * max(min(length, whole) // timedelta(microseconds=1), 0) // (whole // timedelta(microseconds=1))


def _part_of_a_period(line: PaidLine) -> tuple[timedelta, timedelta]:
    """The length of the first token period of a line, and the length of a full token period."""
    length = line.period_end - line.period_start
    if line.is_whole or line.full_period is None:
        return TOKEN_PERIOD, TOKEN_PERIOD
    return length, min(line.full_period, TOKEN_PERIOD) if line.full_period > A_MONTH else line.full_period


def _part_of_a_change(line: PaidLine) -> tuple[timedelta, timedelta]:
    """How long a change is in force within the token period in which it begins, and the length of a token period."""
    assert line.full_period is not None
    if line.full_period <= A_MONTH:
        return line.period_end - line.period_start, line.full_period
    begins = joined_interval(line)
    end = min(begins + TOKEN_PERIOD * ((line.period_start - begins) // TOKEN_PERIOD + 1), line.period_end)
    return end - line.period_start, TOKEN_PERIOD


def entitled(user: User, policy: Policy, now: datetime) -> dict[str | None, Subscription]:
    """The user's own subscriptions that give access now, by id."""
    return {each.id: each for each in user.subscriptions if is_entitled(each, policy, now)}


def _is_granted_already(user: User, paid_at: datetime) -> bool:
    """Whether the application itself has granted the tokens, because they were paid before its adoption."""
    return user.tokens_since is not None and paid_at < user.tokens_since


def _is_over(user: User, line: PaidLine, row: Row, policy: Policy, now: datetime) -> bool:
    """Whether the time of the line is over. Tokens that would expire at once must not replace a balance in use."""
    if row.gives is Gives.PACK:
        return line.paid_at + policy.token_ttl <= now
    over = line.period_end <= now and line.paid_at + policy.token_ttl <= now
    return over or _expiry(user, line, line.paid_at, policy, now) <= now


def _expiry(user: User, line: PaidLine, granted_at: datetime, policy: Policy, now: datetime) -> datetime:
    """When tokens expire: `token_ttl` after the grant. If the subscription gives access, they last at least until a day
    after the end of the period."""
    ends = granted_at + policy.token_ttl
    if not _entitles(user, line.subscription, granted_at, policy, now):
        return ends
    return max(ends, line.period_end + GRACE_OF_A_PERIOD)


def _entitles(user: User, subscription: str | None, since: datetime, policy: Policy, now: datetime) -> bool:
    """Whether the subscription gives access now, or ended only after `since`.

    An ended subscription counts too, so that its end does not make tokens expire earlier.
    """
    ended = any(
        each.id == subscription and each.ended_at is not None and since < each.ended_at for each in user.subscriptions
    )
    return ended or subscription in entitled(user, policy, now)
