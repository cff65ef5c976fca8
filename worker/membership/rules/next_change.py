"""When time alone changes what a user is: the moment at which they are to be computed again, whatever Stripe says."""

import enum
from dataclasses import dataclass
from datetime import datetime

from worker.membership.rules.access import Policy
from worker.membership.rules.facts import User
from worker.membership.rules.tokens import next_renewal


class Alarm(enum.StrEnum):
    """What happens at a moment by time alone."""

    OVERRIDE_ENDS = "override_ends"
    GRACE_ENDS = "grace_ends"
    TOKENS_RENEWED = "tokens_renewed"


@dataclass(frozen=True, slots=True)
class Moment:
    """`subscription` is None where the moment is of the user."""

    at: datetime
    alarm: Alarm
    subscription: str | None = None


def next_look(user: User, policy: Policy, now: datetime) -> datetime | None:
    """The first of what is ahead; None where nothing is."""
    return min((moment.at for moment in ahead(user, policy, now)), default=None)


def ahead(user: User, policy: Policy, now: datetime) -> list[Moment]:
    """The end of an override or of a grace, and the next renewal of tokens, those that are still to come."""
    found = []
    if (renewal := next_renewal(user, policy, now)) is not None:
        found.append(Moment(renewal, Alarm.TOKENS_RENEWED))
    if user.override is not None and user.override.until is not None:
        found.append(Moment(user.override.until, Alarm.OVERRIDE_ENDS))
    if policy.past_due_grace is not None:
        found += [
            Moment(each.period_start + policy.past_due_grace, Alarm.GRACE_ENDS, each.id)
            for each in user.every_subscription
            if each.status == "past_due" and each.period_start is not None
        ]
    return [moment for moment in found if moment.at > now]
