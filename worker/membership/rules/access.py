"""Decide a user's role, membership status and product, from the subscriptions of the user and of the user's
organization, one-time purchases and overrides.

Statuses have the meaning that Stripe documents (docs.stripe.com/billing/subscriptions/overview). A subscription that is
set to cancel at the end of its period stays `active` until then. `unpaid` and `paused` give no service. Pausing the
collection of payments changes nothing.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from schema.states import MembershipStatus, UserRole
from worker.membership.rules.facts import Item, Product, Purchase, Subscription, User

_BEST_FIRST = (
    MembershipStatus.ACTIVE,
    MembershipStatus.PAST_DUE,
    MembershipStatus.CANCELED,
    MembershipStatus.INACTIVE,
)
_STANDING = {
    "active": MembershipStatus.ACTIVE,
    "trialing": MembershipStatus.ACTIVE,
    "past_due": MembershipStatus.PAST_DUE,
    "unpaid": MembershipStatus.PAST_DUE,
    "paused": MembershipStatus.INACTIVE,
    "canceled": MembershipStatus.CANCELED,
    "incomplete": MembershipStatus.INACTIVE,
    "incomplete_expired": MembershipStatus.INACTIVE,
}
KNOWN_STATUSES = frozenset(_STANDING)
_PAUSED_FOR_A_PAYMENT = frozenset({"first_payment_failure", "final_payment_failure"})
_ENTITLED_FIRST = {"active": 0, "trialing": 1, "past_due": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's policy.

    If `past_due_grace` is None, a past_due subscription gives service until Stripe changes its status. If `off` is
    true, only the mirror is kept: no user is computed.
    """

    past_due_grace: timedelta | None = None
    token_ttl: timedelta = timedelta(days=30)
    tokens_reset: bool = True
    trial_tokens: int = 0
    off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The values for the user's row. `by` is the subscription that gives access, or None."""

    role: str
    membership_status: MembershipStatus
    stripe_product_id: str | None
    by: str | None


class Service(enum.StrEnum):
    """Whether a subscription gives service now, and why."""

    ACTIVE = "active"
    TRIALING = "trialing"
    PAST_DUE = "past_due"
    IN_GRACE = "in_grace"
    GRACE_OVER = "grace_over"
    NONE = "none"
    UNKNOWN_STATUS = "unknown_status"


_ENTITLED = frozenset({Service.ACTIVE, Service.TRIALING, Service.PAST_DUE, Service.IN_GRACE})


class Rule(enum.StrEnum):
    """The rule behind a role, a membership status or a product.

    MEMBERSHIP_ENDED: a subscription of an organization made the user a member. Since then the user has left the
    organization, or no subscription names it any more.
    """

    UNTOUCHED = "untouched"
    OVERRIDE = "override"
    ENTITLED = "entitled"
    PURCHASED = "purchased"
    UNKNOWN_STATUS = "unknown_status"
    NOTHING_ENTITLES = "nothing_entitles"
    BEST_STANDING = "best_standing"
    MEMBERSHIP_ENDED = "membership_ended"
    NEVER_SUBSCRIBED = "never_subscribed"


class Preference(NamedTuple):
    """The rank of an item that gives access. The fields are compared in this order, and the smallest rank is the
    best."""

    role: bool
    status: int
    tokens: int
    created: float
    subscription: str
    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An item of a subscription that gives service."""

    subscription: Subscription
    item: Item
    preference: Preference


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The access and its reasons.

    `role`, `membership_status` and `stripe_product_id` are the rules that decide these columns. `candidates` are
    sorted, the best first. `standing_of` is the subscription whose status becomes the user's status, or None.
    `purchase` is the one-time purchase that gives access, or None.
    """

    access: Access
    role: Rule
    membership_status: Rule
    stripe_product_id: Rule
    candidates: tuple[Candidate, ...]
    standing_of: Subscription | None
    purchase: Purchase | None = None


def project(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> Access:
    """The access that follows from the facts. An unknown status changes nothing; ADMIN and BANNED keep their role."""
    return decide(user, products, policy, now).access


def decide(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> Decision:
    """The access that follows from the facts, with the rules behind it."""
    entitling = (
        Candidate(subscription=subscription, item=item, preference=_preference(subscription, item, products))
        for subscription in user.every_subscription
        if is_entitled(subscription, policy, now)
        for item in subscription.items
        if item.product
    )
    candidates = sorted(entitling, key=lambda candidate: candidate.preference)
    best = candidates[0] if candidates else None
    keep = best is None and _has_unknown(user)
    purchase = best_purchase(user, products, now)
    product = Rule.UNKNOWN_STATUS if keep else Rule.ENTITLED if best else Rule.NOTHING_ENTITLES
    if purchase is not None and best is None:
        product, keep = Rule.PURCHASED, False
    role, by_role = _role(user, best, purchase, products, now, otherwise=product)
    held = None if keep else _best_standing(user)
    if held and best and _standing(best.subscription) is held[0]:
        held = held[0], best.subscription
    by_standing = Rule.NEVER_SUBSCRIBED if held is None else Rule.BEST_STANDING if held[1] else Rule.MEMBERSHIP_ENDED
    return Decision(
        access=Access(
            role=role,
            membership_status=held[0] if held else user.membership_status,
            stripe_product_id=_product_id(user, best, purchase, keep=keep),
            by=best.subscription.id if best else None,
        ),
        role=by_role,
        membership_status=Rule.UNKNOWN_STATUS if keep else by_standing,
        stripe_product_id=product,
        candidates=tuple(candidates),
        standing_of=held[1] if held else None,
        purchase=purchase,
    )


def best_purchase(user: User, products: Mapping[str, Product], now: datetime) -> Purchase | None:
    """The purchase that gives access now, or None. PREMIUM comes before USER, then the purchase that lasts longest."""
    live = [each for each in user.purchases if (until := access_until(each, products)) is not None and now < until]
    return min(
        live,
        key=lambda each: (
            products[each.product].role != UserRole.PREMIUM,
            -(access_until(each, products) or now).timestamp(),
            each.source,
        ),
        default=None,
    )


def access_until(purchase: Purchase, products: Mapping[str, Product]) -> datetime | None:
    """When the access that was bought ends; None if the product gives no access or all its money was returned."""
    product = products.get(purchase.product)
    if product is None or product.access is None or purchase.is_returned:
        return None
    return purchase.paid_at + product.access


def _product_id(user: User, best: Candidate | None, purchase: Purchase | None, *, keep: bool) -> str | None:
    if keep:
        return user.stripe_product_id
    if best is not None:
        return best.item.product
    return purchase.product if purchase is not None else None


def standing(user: User) -> MembershipStatus:
    """The best status among the user's subscriptions; without any subscription, the user's present status."""
    best = _best_standing(user)
    return best[0] if best else user.membership_status


def is_entitled(subscription: Subscription, policy: Policy, now: datetime) -> bool:
    """Whether the subscription gives service now."""
    return service(subscription, policy, now) in _ENTITLED


def service(subscription: Subscription, policy: Policy, now: datetime) -> Service:
    """The service that the subscription gives now. The grace counts from `unpaid_since`."""
    if subscription.status != "past_due":
        if subscription.status not in KNOWN_STATUSES:
            return Service.UNKNOWN_STATUS
        return Service(subscription.status) if subscription.status in _ENTITLED_FIRST else Service.NONE
    end = grace_ends(subscription, policy)
    if end is None:
        return Service.PAST_DUE
    return Service.IN_GRACE if now < end else Service.GRACE_OVER


def grace_ends(subscription: Subscription, policy: Policy) -> datetime | None:
    """When the grace of a past_due subscription ends; None if the grace is unlimited or its start is unknown."""
    since = subscription.unpaid_since or subscription.period_start
    return None if policy.past_due_grace is None or since is None else since + policy.past_due_grace


def is_member(user: User) -> bool:
    """Whether a subscription of the organization makes or made the user a member.

    Incomplete and paused subscriptions don't count, unless the pause is due to a failed payment.
    """
    standings = {_standing(subscription) for subscription in user.shared_subscriptions}
    return bool(standings - {None, MembershipStatus.INACTIVE})


def is_concerned(user: User) -> bool:
    """Whether Stripe or an operator has reported anything about the user. Other users are never written."""
    return (
        user.is_linked
        or bool(user.purchases or user.paid_lines or user.lots)
        or user.override is not None
        or bool(user.given_features)
        or bool(user.organization_subscriptions)
        or user.member_of is not None
    )


def _best_standing(user: User) -> tuple[MembershipStatus, Subscription | None] | None:
    """The best status and the newest subscription with that status; None if there never was a subscription.

    If the user was a member through an organization and has left it, or it has no subscription any more, that
    membership counts as CANCELED.
    """
    standings = [(held, each) for each in user.every_subscription if (held := _standing(each)) is not None]
    best = min(standings, key=lambda pair: (_BEST_FIRST.index(pair[0]), -pair[1].created.timestamp()), default=None)
    if user.member_of is not None and not _is_still_shared(user):
        over = MembershipStatus.CANCELED
        return best if best and _BEST_FIRST.index(best[0]) <= _BEST_FIRST.index(over) else (over, None)
    return best


def _is_still_shared(user: User) -> bool:
    return user.member_of == user.organization_id and bool(user.organization_subscriptions)


def _has_unknown(user: User) -> bool:
    """Whether the user's access may come from a subscription with an unknown status. The organization's subscriptions
    only count if the user was already a member."""
    visible = user.every_subscription if _is_still_shared(user) else user.subscriptions
    return any(subscription.status not in KNOWN_STATUSES for subscription in visible)


def _standing(subscription: Subscription) -> MembershipStatus | None:
    if subscription.status == "paused" and subscription.paused_for in _PAUSED_FOR_A_PAYMENT:
        return MembershipStatus.PAST_DUE
    return _STANDING.get(subscription.status)


def _role(
    user: User,
    best: Candidate | None,
    purchase: Purchase | None,
    products: Mapping[str, Product],
    now: datetime,
    *,
    otherwise: Rule,
) -> tuple[str, Rule]:
    if user.role not in (UserRole.USER, UserRole.PREMIUM):
        return user.role, Rule.UNTOUCHED
    if user.override is not None and (user.override.until is None or now < user.override.until):
        return user.override.role, Rule.OVERRIDE
    if otherwise is Rule.UNKNOWN_STATUS:
        return user.role, otherwise
    role = _policy_of(best.item, products).role if best else UserRole.USER
    if purchase is not None and (best is None or role != UserRole.PREMIUM):
        return products[purchase.product].role, Rule.PURCHASED
    return role, otherwise


def _preference(subscription: Subscription, item: Item, products: Mapping[str, Product]) -> Preference:
    """Prefer the higher role, then the healthier status, the larger allowance and the newer subscription. Ids break
    ties."""
    product = _policy_of(item, products)
    return Preference(
        role=product.role != UserRole.PREMIUM,
        status=_ENTITLED_FIRST[subscription.status],
        tokens=-product.tokens,
        created=-subscription.created.timestamp(),
        subscription=subscription.id,
        item=item.id,
    )


def _policy_of(item: Item, products: Mapping[str, Product]) -> Product:
    """The product's policy. A product that is not mirrored yet counts as a product without metadata."""
    assert item.product is not None
    return products.get(item.product) or Product(id=item.product)
