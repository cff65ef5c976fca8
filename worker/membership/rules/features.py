"""The features of a user: a pure function of the same facts as the role."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from schema.states import UserRole
from worker.membership.rules import access
from worker.membership.rules.access import Policy
from worker.membership.rules.facts import LIFETIME, Feature, Product, User

OVERRIDE = "override"


def project(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> tuple[Feature, ...]:
    """The features that follow from the facts, sorted, each source once.

    Users with the role ADMIN or BANNED keep their features. A product that is not mirrored yet gives none. A
    subscription with an unknown status keeps giving what it gave before.
    """
    if user.role not in (UserRole.USER, UserRole.PREMIUM):
        return user.features
    features: dict[tuple[str, str], Feature] = {}
    for each in _given(user, products, policy, now):
        other = features.setdefault(each[:2], each)
        if each.until is None or (other.until is not None and each.until > other.until):
            features[each[:2]] = each
    return tuple(features[key] for key in sorted(features))


def names(held: tuple[Feature, ...]) -> list[str]:
    """The names of the features, sorted, each once."""
    return sorted({each.feature for each in held})


def _given(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> Iterator[Feature]:
    for subscription in user.every_subscription:
        service = access.service(subscription, policy, now)
        if service is access.Service.UNKNOWN_STATUS:
            yield from (each for each in user.features if each.source == subscription.id)
        elif access.is_entitled(subscription, policy, now):
            until = access.grace_ends(subscription, policy) if service is access.Service.IN_GRACE else None
            for item in subscription.items:
                if (product := products.get(item.product or "")) is not None:
                    yield from (Feature(name, subscription.id, until) for name in product.features)
    for purchase in user.purchases:
        ends = access.access_until(purchase, products)
        if ends is not None and now < ends:
            product = products[purchase.product]
            until = None if product.access == LIFETIME else ends
            yield from (Feature(name, purchase.source, until) for name in product.features)
    yield from (each for each in user.given_features if each.until is None or now < each.until)
