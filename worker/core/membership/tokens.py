"""Which tokens the paid lines of a user's invoices give, and what the balance becomes.

Grants come from state, never from events: a line that is paid grants once, however often it is seen, because its key in
the ledger is the line itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.core.membership.access import Policy, is_entitled
from worker.core.membership.facts import PaidLine, Product, User

__all__ = ["Grant", "expire", "grants", "source_key"]

# What a regular period's invoice is for; changes in mid-period bring their own kind of line.
_PERIODIC = frozenset({"subscription", "subscription_create", "subscription_cycle"})


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


def source_key(line: PaidLine) -> str:
    return f"invoice:{line.invoice}:line:{line.line}"


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
    """What is due: a balance whose time is over ends, then the grants, oldest period first; each row begins with the
    balance that the one before it left.

    A line whose product is not known yet waits for it. A line that is over grants 0, and so does, where balances are
    reset, one that is older than what was granted already for its subscription: nothing is handed out twice, and the
    order in which invoices are seen does not matter.
    """
    expired = expire(user, now)
    made = [] if expired is None else [expired]
    balance, expires_at = user.tokens if expired is None else 0, user.tokens_expires_at
    begun, last_granted = set(user.granted_invoices), dict(user.last_granted)
    for line in sorted(user.paid_lines, key=lambda line: (line.period_start, line.invoice, line.line)):
        product = products.get(line.product or "")
        if product is None or product.tokens == 0 or line.proration or line.billing_reason not in _PERIODIC:
            continue
        before = balance
        after, ends = before, expires_at
        amount = product.tokens * line.quantity
        overtaken = line.invoice not in begun and _is_overtaken(line, policy, last_granted)
        if _is_over(user, line, policy, now) or overtaken:
            amount = 0
        else:
            fresh = policy.tokens_reset and line.invoice not in begun
            after = amount if fresh else before + amount
            ends = _expiry(user, line, policy, now)
            if expires_at is not None and not fresh:
                ends = max(ends, expires_at)
            begun.add(line.invoice)
            subscription = line.subscription or ""
            last_granted[subscription] = max(line.period_start, last_granted.get(subscription, line.period_start))
        made.append(
            Grant(
                source_key=source_key(line),
                kind="renewal" if line.billing_reason == "subscription_cycle" else "start",
                amount=amount,
                balance_before=before,
                balance_after=after,
                expires_at=ends,
                product=line.product,
                subscription=line.subscription,
                invoice=line.invoice,
                period_start=line.period_start,
            )
        )
        balance, expires_at = after, ends
    return made


def _is_over(user: User, line: PaidLine, policy: Policy, now: datetime) -> bool:
    """Whether the line's time has passed; what would expire at once must not replace a balance that lives."""
    over = line.period_end <= now and line.paid_at + policy.token_ttl <= now
    return over or _expiry(user, line, policy, now) <= now


def _is_overtaken(line: PaidLine, policy: Policy, last_granted: Mapping[str, datetime]) -> bool:
    last = last_granted.get(line.subscription or "")
    return policy.tokens_reset and last is not None and line.period_start < last


def _expiry(user: User, line: PaidLine, policy: Policy, now: datetime) -> datetime:
    """The time to live from the payment on; while the subscription is entitled, at least its period's end and a day."""
    ends = line.paid_at + policy.token_ttl
    entitled = any(s.id == line.subscription and is_entitled(s, policy, now) for s in user.subscriptions)
    return max(ends, line.period_end + timedelta(days=1)) if entitled else ends
