"""The plan for a failed event: retry it, park it, or release it to wait for something else."""

from datetime import timedelta

import psycopg
import pytest

from worker.config.backoff import Backoff
from worker.config.errors import Permanent, Temporary
from worker.writers.failure import Park, Release, Retry, plan_failure


@pytest.mark.parametrize(
    ("error", "attempts", "plan"),
    [
        (ValueError("x"), 1, Retry(timedelta(seconds=2))),
        (ValueError("x"), 2, Retry(timedelta(seconds=4))),
        (ValueError("x"), 7, Retry(timedelta(seconds=128))),
        (ValueError("x"), 8, Park()),
        (ValueError("x"), 9, Park()),
        (Temporary(), 1, Retry(timedelta(seconds=2))),
        (Permanent(), 1, Park()),
        (psycopg.errors.LockNotAvailable(), 8, Release(timedelta(seconds=10))),
        (psycopg.errors.UndefinedTable(), 8, Release(timedelta(seconds=10))),
        (psycopg.errors.CheckViolation(), 1, Retry(timedelta(seconds=2))),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failed_event_is_retried_parked_or_released(error: Exception, attempts: int, plan: object) -> None:
    assert plan_failure(error, attempts=attempts, max_attempts=8) == plan


def test_pauses_double_up_to_the_maximum() -> None:
    backoff = Backoff(first=0.5, longest=3)

    assert [backoff.pause(attempt) for attempt in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1, 2, 3, 3, 3]
