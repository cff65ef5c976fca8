"""A user's stored access, its freshness, and the JSON of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from schema.states import MembershipStatus, UserRole

# Nobody needs older answers, and subtracting it from a time stays within the calendar.
_LONGEST_SECONDS = 3650 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A user's row and its freshness, as of `now`. All times are the database's clock.

    `synced_at`: all of the user's subscriptions were read from Stripe just after it. `linked_at` is the newest link to
    a customer, None if there is none. `is_due`: time has changed the user, and that is not computed yet. `tokens` are 0
    if they have expired. `features` are sorted; a banned user has none.
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
        """Whether the role is PREMIUM or ADMIN, by subscription, override or the application's own hand."""
        return self.role in (UserRole.PREMIUM, UserRole.ADMIN)

    def since(self, max_age: float) -> datetime:
        """The time since which Stripe must have been read for an answer of at most this age."""
        return self.now - timedelta(seconds=min(max_age, _LONGEST_SECONDS))

    def is_fresh(self, since: datetime) -> bool:
        """Whether Stripe was read since then, and since the newest link, because a read before it left that customer
        out.

        Without a customer, there is nothing to read.
        """
        if self.linked_at is None:
            return True
        return self.synced_at is not None and self.synced_at >= max(since, self.linked_at)


@dataclass(frozen=True, slots=True)
class Answer:
    """A user's access. `stale`: Stripe should have been read, and did not answer in time."""

    stored: Stored
    stale: bool

    @property
    def has_access(self) -> bool:
        return self.stored.has_access

    def as_dict(self) -> dict[str, Any]:
        """The answer for JSON; times in ISO 8601."""
        stored = self.stored
        return {
            "has_access": stored.has_access,
            "role": stored.role,
            "membership_status": stored.membership_status.value,
            "product": _told(stored.product),
            "subscription": _told(stored.subscription),
            "features": list(stored.features),
            "tokens": stored.tokens,
            "tokens_expires_at": _time(stored.tokens_expires_at),
            "synced_at": _time(stored.synced_at),
            "stale": self.stale,
        }


def _told(of: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: _time(value) if isinstance(value, datetime) else value for name, value in of.items()} if of else None


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
