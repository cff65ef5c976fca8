"""A user's role, membership status and product: a pure function of their subscriptions.

The meaning of every status follows Stripe's (docs.stripe.com/billing/subscriptions/overview): `active` stays while a
cancellation waits for the period's end, `unpaid` and `paused` give no service, a pause of collection changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from schema.membership import MembershipStatus, UserRole
from worker.core.membership.facts import Item, Product, Subscription, User

__all__ = ["KNOWN_STATUSES", "Access", "Policy", "is_entitled", "project", "standing"]

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
    """What the operator decides. `past_due_grace` None: until Stripe gives the subscription up."""

    past_due_grace: timedelta | None = None
    token_ttl: timedelta = timedelta(days=30)
    tokens_reset: bool = True
    trial_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the user's row is to say; `by` is the subscription that entitles, None where none does."""

    role: UserRole
    membership_status: MembershipStatus
    stripe_product_id: str | None
    by: str | None


def project(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> Access:
    """The access that the facts give. A status nobody knows yet changes nothing; ADMIN and BANNED keep their role."""
    entitling = [
        (subscription, item)
        for subscription in user.subscriptions
        if is_entitled(subscription, policy, now)
        for item in subscription.items
        if item.product
    ]
    best = min(entitling, key=lambda pair: _preference(pair[0], pair[1], products), default=None)
    unknown = any(subscription.status not in KNOWN_STATUSES for subscription in user.subscriptions)
    keep = unknown and best is None
    return Access(
        role=_role(user, best, products, now, keep=keep),
        membership_status=user.membership_status if keep else standing(user),
        stripe_product_id=user.stripe_product_id if keep else best[1].product if best else None,
        by=best[0].id if best else None,
    )


def standing(user: User) -> MembershipStatus:
    """The best of the subscriptions' standings; a user who never had one stays as they are."""
    found = {_standing(subscription) for subscription in user.subscriptions} - {None}
    return next((status for status in _BEST_FIRST if status in found), user.membership_status)


def is_entitled(subscription: Subscription, policy: Policy, now: datetime) -> bool:
    """Whether the subscription gives service now. Grace is counted from the start of the period that is not paid."""
    if subscription.status != "past_due":
        return subscription.status in ("active", "trialing")
    if policy.past_due_grace is None or subscription.period_start is None:
        return True
    return now < subscription.period_start + policy.past_due_grace


def _standing(subscription: Subscription) -> MembershipStatus | None:
    if subscription.status == "paused" and subscription.paused_for in _PAUSED_FOR_A_PAYMENT:
        return MembershipStatus.PAST_DUE
    return _STANDING.get(subscription.status)


def _role(
    user: User,
    best: tuple[Subscription, Item] | None,
    products: Mapping[str, Product],
    now: datetime,
    *,
    keep: bool,
) -> UserRole:
    if user.role in (UserRole.ADMIN, UserRole.BANNED):
        return user.role
    if user.override is not None and (user.override.until is None or now < user.override.until):
        return user.override.role
    if keep:
        return user.role
    return _policy_of(best[1], products).role if best else UserRole.USER


def _preference(subscription: Subscription, item: Item, products: Mapping[str, Product]) -> tuple[object, ...]:
    """The least is the best: the higher role, the healthier status, the larger allowance, the newer, then by id."""
    product = _policy_of(item, products)
    return (
        product.role is not UserRole.PREMIUM,
        _ENTITLED_FIRST[subscription.status],
        -product.tokens,
        -subscription.created.timestamp(),
        subscription.id,
        item.id,
    )


def _policy_of(item: Item, products: Mapping[str, Product]) -> Product:
    """The product's policy; one that has not come yet gives what a product without metadata gives."""
    assert item.product is not None
    return products.get(item.product) or Product(id=item.product)
