"""When time alone changes what a user is: the moment at which they are to be computed again, whatever Stripe says."""

from datetime import datetime

from worker.core.membership.access import Policy
from worker.core.membership.facts import User
from worker.core.membership.tokens import next_renewal

__all__ = ["next_look"]


def next_look(user: User, policy: Policy, now: datetime) -> datetime | None:
    """The end of an override or of a grace, or the next renewal of tokens, whichever is first; None where none is ahead."""
    moments = [next_renewal(user, policy, now), user.override.until if user.override else None]
    if policy.past_due_grace is not None:
        moments += [
            found.period_start + policy.past_due_grace
            for found in user.subscriptions
            if found.status == "past_due" and found.period_start is not None
        ]
    return min((moment for moment in moments if moment is not None and moment > now), default=None)
