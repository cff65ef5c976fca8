"""A user's stored access and its freshness, also as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from schema.states import MembershipStatus, UserRole

# A limit for `max_age`, so that subtracting it from a time stays within the calendar.
_LONGEST_SECONDS = 3650 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A user's row and its freshness, as of `now`. All times are by the clock of the database.

    All subscriptions of the user were read from Stripe after `synced_at`. `linked_at` is the time of the newest link to
    a customer, or None. `is_due` is true if a change that depends on time only is not computed yet. `tokens` are 0 if
    they have expired. `features` are sorted; a banned user has none.
    """

    id: str
    now: datetime
    role: str
    membership_status: MembershipStatus
    product: Mapping[str, Any] | None
    subscription: Mapping[str, Any] | None
    features: Sequence[str]
    tokens: int
    tokens_expires_at: datetime | None
    synced_at: datetime | None
    linked_at: datetime | None
    is_due: bool

    @property
    def has_access(self) -> bool:
        """Whether the role is PREMIUM or ADMIN, by a subscription, by an override, or set by the application."""
        return self.role in (UserRole.PREMIUM, UserRole.ADMIN)

    def since(self, max_age: float) -> datetime:
        """The earliest time at which Stripe may have been read for an answer of at most this age."""
        return self.now - timedelta(seconds=min(max_age, _LONGEST_SECONDS))

    def is_fresh(self, since: datetime) -> bool:
        """Whether Stripe was read after `since` and after the newest link. A read before the link left that customer
        out.

        True without a customer, because there is nothing to read.
        """
        if self.linked_at is None:
            return True
        return self.synced_at is not None and self.synced_at >= max(since, self.linked_at)


@dataclass(frozen=True, slots=True)
class Answer:
    """A user's access. `stale` is true if Stripe should have been read and did not answer in time."""

    stored: Stored
    stale: bool

    @property
    def has_access(self) -> bool:
        return self.stored.has_access

    def as_dict(self) -> dict[str, Any]:
        """The answer as a JSON object, with times in ISO 8601."""
        stored = self.stored
        return {
            "has_access": stored.has_access,
            "role": stored.role,
            "membership_status": stored.membership_status.value,
            "product": _as_json(stored.product),
            "subscription": _as_json(stored.subscription),
            "features": list(stored.features),
            "tokens": stored.tokens,
            "tokens_expires_at": _time(stored.tokens_expires_at),
            "synced_at": _time(stored.synced_at),
            "stale": self.stale,
        }


def _as_json(of: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: _time(value) if isinstance(value, datetime) else value for name, value in of.items()} if of else None


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
