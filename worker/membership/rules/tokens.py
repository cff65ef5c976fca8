"""Which tokens the paid lines of a user's invoices give, and what the balance becomes.

Grants come from state, never from events: a line that is paid grants once, however often it is seen, because its key in
the ledger is the line itself.

Packs are lines with a price of one time on an invoice (Checkout with `invoice_creation`, or written by hand), and what
Checkout sessions in payment mode without one have sold: by their metadata (`tokens`, or `product` and `quantity`), else by
their line items.
"""

import enum
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.membership.rules.access import Policy, is_entitled
from worker.membership.rules.facts import Clawback, Item, PaidLine, Product, Restored, Subscription, User
from worker.membership.rules.lots import Lot, after_spending, drawn

# A longer interval is granted in parts: the paid line is number 0, and a part follows every so often.
TOKEN_PERIOD = timedelta(days=30)
_A_MONTH = timedelta(days=31)
# A renewal may take so long after the period's end until it is paid.
_GRACE_OF_A_PERIOD = timedelta(days=1)

# What a regular period's invoice is for; changes in mid-period bring their own kind of line.
_PERIODIC = frozenset({"subscription", "subscription_create", "subscription_cycle"})
# Invoices that people write, on which a price of one time is a pack. `checkout` is ours: a session without an invoice.
_BY_HAND = frozenset({"manual", "quote_accept"})
CHECKOUT = "checkout"
# The kinds of grants that begin a period of their subscription.
_PERIODS = frozenset({"start", "renewal", "trial"})


class NoGrant(enum.StrEnum):
    """Why a paid line gives no tokens and has no row in the ledger; what waits may give some yet."""

    WAITS_FOR_PRODUCT = "waits_for_product"
    WAITS_FOR_PRICE = "waits_for_price"
    WAITS_FOR_SUBSCRIPTION = "waits_for_subscription"
    NO_ALLOWANCE = "no_allowance"
    USAGE = "usage"
    CORRECTION = "correction"
    TRIAL = "trial"
    NO_PACK = "no_pack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One row of the ledger: what the source is worth, and the balance around it."""

    source_key: str
    kind: str
    amount: int
    balance_before: int
    balance_after: int
    expires_at: datetime | None
    product: str | None = None
    subscription: str | None = None
    invoice: str | None = None
    period_start: datetime | None = None
    lots: tuple[Lot, ...] = ()


def source_key(line: PaidLine) -> str:
    """What was paid: a line of an invoice or of a Checkout session, or a session by what its metadata says."""
    if line.billing_reason != CHECKOUT:
        return f"invoice:{line.invoice}:line:{line.line}"
    return f"cs:{line.invoice}:line:{line.line}" if line.line else f"cs:{line.invoice}"


def expire(user: User, now: datetime) -> Grant | None:
    """The end of a balance whose time is over, None where there is nothing to end.

    Where somebody added tokens to a balance that was swept already, and left its expiry, the key is numbered.
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


def grants(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> list[Grant]:
    """What is due: a balance whose time is over ends, then the grants, oldest period first, then renewals of what was
    paid for longer than a month, then what refunds and disputes take and give back. Each row begins with the balance
    that the one before it left.

    A line whose product is not known yet waits for it. A line that is over grants 0, and so does, where balances are
    reset, one that is older than what was granted already for its subscription: nothing is handed out twice, and the
    order in which invoices are seen does not matter.
    """
    book, waiting = _Book(user, policy, now), set[str]()
    begun, last_granted = set(user.granted_invoices), dict(user.last_granted)
    for line in sorted(
        user.paid_lines, key=lambda line: (line.period_start, line.invoice, _is_credit(line), line.line)
    ):
        kind = _kind(user, line, policy)
        if isinstance(kind, NoGrant):
            continue
        if line.product and line.product not in products:
            waiting.add(line.invoice)
        amount = _worth(line, kind, products, policy)
        if isinstance(amount, NoGrant):
            continue
        overtaken = kind in _PERIODS and _is_overtaken(line, policy, begun, last_granted)
        if overtaken or _is_granted_already(user, line.paid_at) or _is_over(user, line, kind, policy, now):
            amount = 0
        book.grant(
            line,
            source_key(line),
            kind=kind,
            amount=amount,
            until=_expiry(user, line, line.paid_at, policy, now),
            fresh=kind in _PERIODS and line.invoice not in begun,
            period_start=line.period_start,
        )
        if amount > 0 and kind in _PERIODS:
            subscription = line.subscription or ""
            begun.add(line.invoice)
            last_granted[subscription] = max(line.period_start, last_granted.get(subscription, line.period_start))
    for renewal in _renewals(user, products, policy, now):
        line, last = renewal.line, last_granted.get(renewal.line.subscription or "")
        if policy.tokens_reset and last is not None and renewal.begins <= last:
            continue
        book.grant(
            line,
            renewal.key,
            kind="token_period",
            amount=renewal.amount,
            until=_expiry(user, line, renewal.begins, policy, now),
            fresh=True,
            period_start=renewal.begins,
        )
    for clawback in sorted(user.clawbacks, key=lambda clawback: (clawback.kind, clawback.source_key)):
        if clawback.bill not in waiting:
            book.claw_back(clawback)
    for restored in sorted(user.restored, key=lambda restored: restored.source_key):
        book.restore(restored)
    book.extend(_entitled(user, policy, now).keys())
    return book.rows


def ungranted(user: User, products: Mapping[str, Product], policy: Policy) -> list[tuple[PaidLine, NoGrant]]:
    """The paid lines that `grants` passes over, each with why, oldest period first."""
    found = []
    for line in sorted(user.paid_lines, key=lambda line: (line.period_start, line.invoice, line.line)):
        kind = _kind(user, line, policy)
        worth = kind if isinstance(kind, NoGrant) else _worth(line, kind, products, policy)
        if isinstance(worth, NoGrant):
            found.append((line, worth))
    return found


class _Book:
    """A balance as rows are written to it. Under reset a fresh period replaces what its own subscription gave before,
    and what nobody granted; other subscriptions' allowances and packs stay, as far as they are left and not over."""

    def __init__(self, user: User, policy: Policy, now: datetime) -> None:
        self.policy, self.now = policy, now
        self.balance, self.expires_at = user.tokens, user.tokens_expires_at
        self.lots = after_spending(user.lots, user.tokens)
        self.rows: list[Grant] = []
        if (ended := expire(user, now)) is not None:
            self.rows.append(ended)
            self.balance = 0
        if self.is_over:
            self.lots = ()

    @property
    def is_over(self) -> bool:
        return self.expires_at is not None and self.expires_at <= self.now

    def grant(
        self,
        line: PaidLine,
        key: str,
        *,
        kind: str,
        amount: int,
        until: datetime,
        fresh: bool,
        period_start: datetime,
    ) -> None:
        owner = line.subscription or ""
        before = self.balance
        if amount < 0:
            self.balance -= min(-amount, max(before, 0))
            self.lots = drawn(self.lots, before - self.balance)
        elif amount:
            pack = kind == "pack"
            owner = "" if pack else owner
            lot = Lot(source=key, owner=owner, bill=line.invoice, granted=amount, left=amount, until=until)
            lot = replace(lot, pack=pack, ends=None if pack else line.period_end)
            if fresh and self.policy.tokens_reset:
                kept = [held for held in self.lots if self.now < held.until and (held.pack or held.owner != owner)]
                self.lots = (*kept, lot)
                self.balance = sum(held.left for held in self.lots)
                self.expires_at = max(held.until for held in self.lots if held.left)
            else:
                self._add(lot)
        self._write(
            Grant(
                source_key=key,
                kind=kind,
                amount=amount,
                balance_before=before,
                balance_after=self.balance,
                expires_at=self.expires_at,
                product=line.product,
                subscription=line.subscription,
                invoice=line.invoice,
                period_start=period_start,
                lots=self.lots,
            )
        )

    def claw_back(self, of: Clawback) -> None:
        """Take back what the money that went back has paid for, in proportion, and no more than there is.

        It counts what of the bill's grants still lives: what was replaced by a reset or expired is gone already, so that
        a refund before and one after a renewal end in the same balance. What was spent of it is taken from the rest.
        """
        granted = sum(lot.granted for lot in self.lots if lot.bill == of.bill)
        if not granted or of.paid <= 0:
            return
        back = sum(lot.taken_back for lot in self.lots if lot.bill == of.bill)
        worth = min(granted * min(of.amount, of.paid) // of.paid, granted - back)
        before, taken = self.balance, min(worth, max(self.balance, 0))
        self.lots = _taken_back(drawn(self.lots, taken, first=[of.bill]), of.bill, worth)
        self.balance -= taken
        self._note(of.source_key, of.kind, -worth, before, of.bill)

    def extend(self, entitled: Set[str | None]) -> None:
        """Let tokens last as long as they would, had their subscription been known to entitle when they were granted."""
        for lot in self.lots:
            ends = lot.ends + _GRACE_OF_A_PERIOD if lot.ends is not None and lot.owner in entitled else lot.until
            if self.now < lot.until < ends:
                self.lots = tuple(replace(held, until=ends) if held is lot else held for held in self.lots)
                if lot.left and self.expires_at is not None:
                    self.expires_at = max(self.expires_at, ends)
                self._write(
                    Grant(
                        source_key=f"extension:{lot.source}",
                        kind="extension",
                        amount=0,
                        balance_before=self.balance,
                        balance_after=self.balance,
                        expires_at=self.expires_at,
                        subscription=lot.owner,
                        invoice=lot.bill,
                        lots=self.lots,
                    )
                )

    def restore(self, of: Restored) -> None:
        """Give back exactly what the clawback took: into its grant where that lives, else as tokens of their own."""
        before = self.balance
        alive = [lot for lot in self.lots if lot.bill == of.bill]
        if alive:
            self.lots = _taken_back(self.lots, of.bill, -of.worth)
            grown = next(lot for lot in self.lots if lot.source == alive[0].source)
            grown = replace(grown, left=grown.left + of.taken)
            self.lots = tuple(grown if lot.source == grown.source else lot for lot in self.lots)
            self.balance += of.taken
        elif of.taken:
            self._add(
                Lot(
                    source=of.source_key,
                    owner="",
                    bill=of.bill,
                    granted=of.taken,
                    left=of.taken,
                    until=self.now + self.policy.token_ttl,
                    pack=True,
                )
            )
        self._note(of.source_key, of.kind, of.taken, before, of.bill)

    def _note(self, key: str, kind: str, amount: int, before: int, bill: str) -> None:
        self._write(
            Grant(
                source_key=key,
                kind=kind,
                amount=amount,
                balance_before=before,
                balance_after=self.balance,
                expires_at=self.expires_at,
                invoice=bill,
                lots=self.lots,
            )
        )

    def _add(self, lot: Lot) -> None:
        self.lots = (*(held for held in self.lots if held.left or self.now < held.until), lot)
        self.balance += lot.left
        over = self.expires_at is None or self.is_over
        self.expires_at = lot.until if self.expires_at is None or over else max(lot.until, self.expires_at)

    def _write(self, row: Grant) -> None:
        self.rows.append(row)


def _taken_back(lots: tuple[Lot, ...], bill: str, worth: int) -> tuple[Lot, ...]:
    """The lots once clawbacks of the bill are worth so much more, or less; each is worth no more than was granted."""
    found: list[Lot] = []
    for lot in lots:
        change = 0
        if lot.bill == bill:
            change = max(-lot.taken_back, min(lot.granted - lot.taken_back, worth))
            worth -= change
        found.append(replace(lot, taken_back=lot.taken_back + change))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Renewal:
    key: str
    line: PaidLine
    amount: int
    begins: datetime


def next_renewal(user: User, policy: Policy, now: datetime) -> datetime | None:
    """When the next part of what was paid for longer than a month falls due, None where nothing does."""
    entitled = _entitled(user, policy, now)
    found = [
        begins
        for line in user.running
        if line.subscription in entitled and _lasts(line, now)
        for begins in [line.period_start + TOKEN_PERIOD * ((now - line.period_start) // TOKEN_PERIOD + 1)]
        if begins < line.period_end
    ]
    return min(found, default=None)


def _renewals(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> list[_Renewal]:
    """The parts that are due, oldest first; of those that were missed only the newest where balances are reset.

    A part is what the subscription holds by now of what was paid: an item that was upgraded gives its new product's.
    """
    entitled = _entitled(user, policy, now)
    periods: dict[tuple[str, datetime], list[PaidLine]] = {}
    for line in sorted(user.running, key=lambda line: (line.invoice, line.line)):
        if line.subscription in entitled and _lasts(line, now) and _kind(user, line, policy) in ("start", "renewal"):
            periods.setdefault((line.subscription or "", line.period_start), []).append(line)
    due: list[_Renewal] = []
    for (subscription, start), lines in periods.items():
        items = {item.id: item for item in entitled[subscription].items}
        amount = sum(_part(line, items.get(line.item or ""), products) for line in lines)
        newest = (now - start) // TOKEN_PERIOD
        for number in range(newest if policy.tokens_reset else 1, newest + 1):
            key = f"subscription:{subscription}:{int(start.timestamp())}:{number}"
            begins = start + TOKEN_PERIOD * number
            if number >= 1 and amount and key not in user.renewed and not _is_granted_already(user, begins):
                due.append(_Renewal(key=key, line=lines[0], amount=amount, begins=begins))
    return sorted(due, key=lambda renewal: (renewal.begins, renewal.key))


def _part(line: PaidLine, item: Item | None, products: Mapping[str, Product]) -> int:
    product = products.get((item.product if item else line.product) or "")
    return product.tokens * (item.quantity if item else line.quantity) if product else 0


def _entitled(user: User, policy: Policy, now: datetime) -> dict[str | None, Subscription]:
    return {found.id: found for found in user.subscriptions if is_entitled(found, policy, now)}


def _lasts(line: PaidLine, now: datetime) -> bool:
    is_long = line.period_end - line.period_start > _A_MONTH and line.usage_type != "metered"
    return is_long and _is_periodic(line) and line.period_start <= now < line.period_end


def _is_periodic(line: PaidLine) -> bool:
    return line.billing_reason in _PERIODIC and not line.proration


def _kind(user: User, line: PaidLine, policy: Policy) -> str | NoGrant:
    """What a paid line is: no grant are usage, corrections under reset, things that are no packs, and the empty line of
    a subscription that has not come yet, which may be a trial's."""
    if line.billing_reason == CHECKOUT or (line.billing_reason in _BY_HAND and line.price_type == "one_time"):
        return "pack"
    if line.usage_type == "metered":
        return NoGrant.USAGE
    if line.billing_reason == "subscription_update" and line.proration:
        return NoGrant.CORRECTION if policy.tokens_reset else "update"
    if not _is_periodic(line):
        return NoGrant.NO_PACK
    if line.amount == 0 and line.total == 0:
        found = next((found for found in user.subscriptions if found.id == line.subscription), None)
        if found is None:
            return NoGrant.WAITS_FOR_SUBSCRIPTION
        if found.trial_end is not None and line.period_end <= found.trial_end:
            return "trial" if policy.trial_tokens else NoGrant.TRIAL
    return "renewal" if line.billing_reason == "subscription_cycle" else "start"


def _worth(line: PaidLine, kind: str, products: Mapping[str, Product], policy: Policy) -> int | NoGrant:
    """The tokens of a line. A change in mid-period counts for its part of the whole interval, towards zero, and a credit
    against."""
    product = products.get(line.product or "")
    if line.tokens is not None:
        worth = line.tokens
    elif product is None:
        return NoGrant.WAITS_FOR_PRODUCT
    elif kind == "trial":
        worth = policy.trial_tokens
    elif kind != "update":
        worth = product.tokens * line.quantity
    elif not line.full_period:
        return NoGrant.WAITS_FOR_PRICE
    else:
        part = int(product.tokens * line.quantity * min((line.period_end - line.period_start) / line.full_period, 1.0))
        worth = -part if _is_credit(line) else part
    return worth if worth or kind == "update" else NoGrant.NO_ALLOWANCE


def _is_credit(line: PaidLine) -> bool:
    return line.proration and (line.amount or 0) < 0


def _is_granted_already(user: User, paid_at: datetime) -> bool:
    """Whether the application granted it, in the time before it was adopted."""
    return user.tokens_since is not None and paid_at < user.tokens_since


def _is_over(user: User, line: PaidLine, kind: str, policy: Policy, now: datetime) -> bool:
    """Whether the line's time has passed; what would expire at once must not replace a balance that lives."""
    if kind == "pack":
        return line.paid_at + policy.token_ttl <= now
    over = line.period_end <= now and line.paid_at + policy.token_ttl <= now
    return over or _expiry(user, line, line.paid_at, policy, now) <= now


def _is_overtaken(line: PaidLine, policy: Policy, begun: Set[str], last_granted: Mapping[str, datetime]) -> bool:
    """A further line of an invoice that granted is not, unless a renewal came in between."""
    last = last_granted.get(line.subscription or "")
    if not policy.tokens_reset or last is None:
        return False
    return line.period_start < last and (line.invoice not in begun or line.period_start + TOKEN_PERIOD <= last)


def _expiry(user: User, line: PaidLine, granted_at: datetime, policy: Policy, now: datetime) -> datetime:
    """The time to live from the payment on; while the subscription is entitled, at least its period's end and a day."""
    ends = granted_at + policy.token_ttl
    entitled = line.subscription in _entitled(user, policy, now)
    return max(ends, line.period_end + _GRACE_OF_A_PERIOD) if entitled else ends
