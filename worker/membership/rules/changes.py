"""The changes of a user that are reported to the application. They are differences between two states of the user."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from schema.states import UserRole
from worker.membership.rules import features
from worker.membership.rules.facts import User
from worker.membership.rules.outcome import Outcome

State = dict[str, Any]

RENEWED, FAILED = "subscription.renewed", "payment.failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A subscription of the user that has begun a new period, or that became past_due through a failed payment."""

    type: str
    subscription: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A reported change. `reason` is the rule as `stripe-sync why` names it, `sources` are the Stripe objects behind
    it."""

    type: str
    before: State
    after: State
    reason: str
    sources: tuple[str, ...] = ()


def changes(user: User, outcome: Outcome, turns: Sequence[Turn]) -> list[Change]:
    """The changes of one computation, at most one of each type."""
    before = _state(
        user.role, user.membership_status, user.stripe_product_id, features.names(user.features), user.tokens
    )
    access = outcome.access
    after = _state(
        access.role,
        access.membership_status,
        access.stripe_product_id,
        features.names(outcome.features),
        outcome.grants[-1].balance_after if outcome.grants else user.tokens,
    )
    return [
        Change(
            type=type_, before=before, after=after, reason=reason, sources=tuple(source for source in sources if source)
        )
        for type_, reason, sources in _differences(user, outcome, turns, before, after)
    ]


def _differences(
    user: User, outcome: Outcome, turns: Sequence[Turn], before: State, after: State
) -> Iterator[tuple[str, str, Sequence[str | None]]]:
    """The type, the reason and the sources of each change."""
    decided = outcome.decided
    behind = [decided.access.by or (decided.purchase.source if decided.purchase else None)]
    if before["role"] != after["role"]:
        is_granted = after["role"] == UserRole.PREMIUM.value
        yield "access.granted" if is_granted else "access.revoked", decided.role, behind
    if before["stripe_product_id"] != after["stripe_product_id"]:
        yield "subscription.changed", decided.stripe_product_id.value, behind
    elif before["membership_status"] != after["membership_status"]:
        standing = decided.standing_of.id if decided.standing_of else None
        yield "subscription.changed", decided.membership_status.value, [standing]
    if before["features"] != after["features"]:
        sources = sorted({each.source for each in set(user.features) ^ set(outcome.features)})
        is_by_hand = sources == [features.OVERRIDE]
        yield "features.changed", features.OVERRIDE if is_by_hand else decided.stripe_product_id.value, sources
    for type_, reason in ((RENEWED, "period_began"), (FAILED, "past_due")):
        if subscriptions := sorted(turn.subscription for turn in turns if turn.type == type_):
            yield type_, reason, subscriptions
    if after["tokens"] > before["tokens"]:
        given = [grant for grant in outcome.grants if grant.balance_after > grant.balance_before]
        yield "tokens.granted", given[-1].kind, [grant.invoice or grant.source_key for grant in given]


def _state(role: str, status: Any, product: str | None, held: list[str], tokens: int) -> State:
    return {
        "role": role,
        "membership_status": status.value,
        "stripe_product_id": product,
        "features": held,
        "tokens": tokens,
    }
