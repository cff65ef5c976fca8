"""Answers of the HTTP API as values. Unknown fields, which a newer daemon may send, are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A Stripe product."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """The subscription that gives a user's product, or else the newest that has not ended. `status` is Stripe's status."""

    id: str
    status: str
    price: str | None
    product: str | None
    current_period_end: datetime | None
    trial_end: datetime | None
    cancel_at_period_end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A user's access. `tokens` is 0 after they expire. If `stale`, Stripe did not confirm the access within max_age."""

    has_access: bool
    role: str
    membership_status: str
    product: Product | None
    subscription: Subscription | None
    features: frozenset[str]
    tokens: int
    tokens_expires_at: datetime | None
    synced_at: datetime | None
    stale: bool

    def has_feature(self, feature: str) -> bool:
        """Return whether the user has a feature."""
        return feature in self.features


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one user. `before` and `after` hold role, membership_status, stripe_product_id, features and tokens."""

    id: int
    type: str
    at: datetime
    user_id: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reason: Any


def access_of(body: Mapping[str, Any]) -> Access:
    """Return the access in an answer."""
    product, subscription = body["product"], body["subscription"]
    return Access(
        has_access=body["has_access"],
        role=body["role"],
        membership_status=body["membership_status"],
        product=None if product is None else Product(id=product["id"], name=product["name"]),
        subscription=None if subscription is None else _subscription_of(subscription),
        features=frozenset(body.get("features", ())),
        tokens=body["tokens"],
        tokens_expires_at=time_of(body["tokens_expires_at"]),
        synced_at=time_of(body["synced_at"]),
        stale=body["stale"],
    )


def change_of(body: Mapping[str, Any], *, id: int, user_id: str) -> Change:
    """Return the change in an answer of the API, or in a request to CHANGES_URL."""
    data, at = body["data"], time_of(body["timestamp"])
    assert at is not None
    return Change(
        id=id,
        type=body["type"],
        at=at,
        user_id=user_id,
        before=data["before"],
        after=data["after"],
        reason=data["reason"],
    )


def time_of(text: str | None) -> datetime | None:
    """Read a time in ISO 8601."""
    return None if text is None else datetime.fromisoformat(text)


def _subscription_of(body: Mapping[str, Any]) -> Subscription:
    return Subscription(
        id=body["id"],
        status=body["status"],
        price=body["price"],
        product=body["product"],
        current_period_end=time_of(body["current_period_end"]),
        trial_end=time_of(body["trial_end"]),
        cancel_at_period_end=body["cancel_at_period_end"],
    )
