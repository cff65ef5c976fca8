"""The times at which a user must be computed again without an event from Stripe."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.membership.rules.access import Policy, access_until, grace_ends
from worker.membership.rules.facts import Product, User
from worker.membership.rules.parts import next_part
from worker.membership.rules.tokens import entitled


class Cause(enum.StrEnum):
    """A change at a time that is known in advance."""

    OVERRIDE_ENDS = "override_ends"
    GRACE_ENDS = "grace_ends"
    TOKENS_RENEWED = "tokens_renewed"
    ACCESS_ENDS = "access_ends"
    FEATURE_ENDS = "feature_ends"


@dataclass(frozen=True, slots=True)
class Moment:
    """When a change happens, and why. `subscription` is None if no subscription causes it."""

    at: datetime
    cause: Cause
    subscription: str | None = None


def next_look(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> datetime | None:
    """The next time at which the user must be computed again, or None."""
    return min((moment.at for moment in ahead(user, products, policy, now)), default=None)


def ahead(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> list[Moment]:
    """The future changes at known times: the ends of overrides, graces and purchased access, and the next part of
    tokens."""
    moments = []
    if (renewal := next_part(user, entitled(user, policy, now), now)) is not None:
        moments.append(Moment(renewal, Cause.TOKENS_RENEWED))
    moments += [
        Moment(until, Cause.ACCESS_ENDS)
        for purchase in user.purchases
        if (until := access_until(purchase, products)) is not None
    ]
    moments += [Moment(each.until, Cause.FEATURE_ENDS) for each in user.given_features if each.until is not None]
    if user.override is not None and user.override.until is not None:
        moments.append(Moment(user.override.until, Cause.OVERRIDE_ENDS))
    moments += [
        Moment(until, Cause.GRACE_ENDS, each.id)
        for each in user.every_subscription
        if each.status == "past_due" and (until := grace_ends(each, policy)) is not None
    ]
    return [moment for moment in moments if moment.at > now]
