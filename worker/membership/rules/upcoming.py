"""A user's next changes: at times known in advance, and those that Stripe has announced.

The rules of present access compute them, from the present facts and a future time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from worker.membership.rules import access, features, next_change, outcome, wording
from worker.membership.rules.access import Policy
from worker.membership.rules.evidence import Evidence, Schedule
from worker.membership.rules.facts import Product, Subscription, User
from worker.membership.rules.outcome import Change

_ENDED = frozenset({"canceled", "incomplete_expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """A future change, its time, and the columns that it would change, with the values before and after."""

    at: datetime
    what: str
    because: str
    subscription: str | None
    changes: Mapping[str, Change]


def upcoming(
    user: User, products: Mapping[str, Product], policy: Policy, now: datetime, evidence: Evidence
) -> tuple[Happening, ...]:
    """The future changes in order of time, each with its differences from the state before it."""
    ahead = [
        (at.at, str(at.cause), at.subscription, wording.cause(at))
        for at in next_change.ahead(user, products, policy, now)
    ]
    for each in user.every_subscription:
        for what, at in _announced(each, evidence.schedules.get(each.id, Schedule())):
            ahead.append((at, what, each.id, wording.announced(what, each.id)))
    if user.tokens > 0 and user.tokens_expires_at is not None:
        ahead.append((user.tokens_expires_at, "tokens_expire", None, wording.announced("tokens_expire", None)))
    then, happenings = _moved(user, products, policy, now), list[Happening]()
    for at, what, subscription, because in sorted(ahead, key=lambda each: (each[0], each[1], each[2] or "")):
        if at <= now:
            continue
        before = then
        then = _moved(_without(then, subscription) if what == "ends" else then, products, policy, at)
        changes = _changes(before, then) if access.is_concerned(user) else {}
        if what == "tokens_expire":
            changes["tokens"] = Change(user.tokens, 0)
        happenings.append(Happening(at=at, what=what, because=because, subscription=subscription, changes=changes))
    return tuple(happenings)


def _moved(user: User, products: Mapping[str, Product], policy: Policy, at: datetime) -> User:
    """The user with the access and features at that time."""
    then = access.project(user, products, policy, at)
    return replace(
        user,
        role=then.role,
        membership_status=then.membership_status,
        stripe_product_id=then.stripe_product_id,
        features=features.project(user, products, policy, at),
    )


def _changes(before: User, after: User) -> dict[str, Change]:
    return outcome.differences(before, {name: getattr(after, name) for name in (*outcome.ACCESS, "features")})


def _announced(subscription: Subscription, schedule: Schedule) -> list[tuple[str, datetime]]:
    """The next steps of Stripe: end the subscription, end its trial, renew it, retry its payment."""
    if subscription.status in _ENDED:
        return []
    ends = schedule.cancel_at or (subscription.period_end if schedule.cancel_at_period_end else None)
    ahead = [("ends", ends)]
    if subscription.status == "trialing":
        ahead.append(("trial_ends", subscription.trial_end))
    elif subscription.status in ("active", "past_due") and (ends is None or ends != subscription.period_end):
        ahead.append(("renews", subscription.period_end))
    ahead.append(("payment_is_tried", schedule.next_payment_attempt))
    return [(what, at) for what, at in ahead if at is not None]


def _without(user: User, ended: str | None) -> User:
    """The user after Stripe has ended this subscription."""

    def ending(subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
        return tuple(replace(each, status="canceled") if each.id == ended else each for each in subscriptions)

    return replace(
        user,
        subscriptions=ending(user.subscriptions),
        organization_subscriptions=ending(user.organization_subscriptions),
    )
