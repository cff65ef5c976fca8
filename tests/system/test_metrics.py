"""GET /metrics with several processes: every scrape shows the sums over all processes, and no count ever falls."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests import factories
from tests.backends import Backend
from tests.processes import Daemon, deliver, eventually

pytestmark = pytest.mark.system

EVENTS, SCRAPES = 300, 50


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(database, backend.redis_url, tmp_path, WEB_CONCURRENCY="4")
    yield running
    running.stop()


def scrape(daemon: Daemon) -> Counter[str]:
    """Each counter's value, summed over all labels, by name. For a histogram it is the number of its observations."""
    status, text = daemon.get("/metrics", authorization="Bearer token")
    assert status == 200
    sums: Counter[str] = Counter()
    for name, value in re.findall(
        r"^(stripe_sync_\w+(?:_total|_count))(?:\{[^}]*\})? ([0-9.e+]+)$", text, re.MULTILINE
    ):
        sums[name] += int(float(value))
    return sums


def test_every_web_process_shows_the_sums_of_all_processes_and_no_count_falls(daemon: Daemon) -> None:
    daemon.start_web()
    for _ in range(3):
        daemon.start("worker")
    seen: list[Counter[str]] = []

    for number in range(EVENTS):
        event = factories.event("customer.created", factories.customer(f"cus_{number}"), id=f"evt_{number}")
        with daemon.connection() as connection:
            assert deliver(connection, factories.encoded(event))[0] == 200
        if number % (EVENTS // SCRAPES) == 0:
            seen.append(scrape(daemon))
    daemon.wait_until_applied()

    def whole() -> bool:
        seen.append(scrape(daemon))
        last = seen[-1]
        return (
            last["stripe_sync_events_received_total"] == EVENTS
            and last["stripe_sync_events_applied_total"] == EVENTS
            and last["stripe_sync_door_seconds_count"] == EVENTS
            and last["stripe_sync_event_latency_seconds_count"] == EVENTS
            and 0 < last["stripe_sync_batch_seconds_count"] <= EVENTS
        )

    eventually(whole)
    fallen = {name for before, after in pairwise(seen) for name in before if after[name] < before[name]}
    assert fallen == set()
