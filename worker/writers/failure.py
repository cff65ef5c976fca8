"""Decide what to do with an event that could not be applied."""

from dataclasses import dataclass
from datetime import timedelta

from worker.config.backoff import Backoff
from worker.config.errors import Permanent
from worker.postgres.pool import OTHER_SCHEMA, UNAVAILABLE

BUSY = timedelta(seconds=10)
BACKOFF = Backoff(first=2, longest=600)


@dataclass(frozen=True, slots=True)
class Release:
    """Make the event due again after `pause`. The attempt does not count, because the event did not cause the error."""

    pause: timedelta


@dataclass(frozen=True, slots=True)
class Retry:
    """Make the event due again after `pause`."""

    pause: timedelta


@dataclass(frozen=True, slots=True)
class Park:
    """Park the event for a person to look at."""


def plan_failure(error: Exception, *, attempts: int, max_attempts: int) -> Release | Retry | Park:
    """The plan for an event whose attempt number `attempts` ended with this error."""
    if isinstance(error, UNAVAILABLE + OTHER_SCHEMA):
        # A lock is held, the server lacks a resource, or a migration is due.
        return Release(BUSY)
    if isinstance(error, Permanent) or attempts >= max_attempts:
        return Park()
    return Retry(timedelta(seconds=BACKOFF.pause(attempts)))
