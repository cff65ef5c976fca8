"""The periodic check of our webhook endpoint, in real processes: the next check reports any change of it at Stripe."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests import sandboxes
from tests.backends import Backend
from tests.processes import SECRET, Daemon, eventually
from tests.sandboxes import Sandbox
from worker.inbox.endpoint import sentinel
from worker.stripe_api.answers import API_VERSION

pytestmark = pytest.mark.system


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    running = Daemon(database, backend.redis_url, tmp_path)
    yield running
    running.stop()


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[Sandbox]:
    with sandboxes.running() as running:
        daemon.env |= {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": running.address}
        yield running


def test_the_next_check_reports_a_change_of_the_endpoint(daemon: Daemon, sandbox: Sandbox) -> None:
    sound = {"id": "we_ours", "url": daemon.webhook, "secrets": [SECRET], "api_version": API_VERSION}
    without_one = [type_ for type_ in sentinel.required_types() if type_ not in ("*", "customer.subscription.updated")]
    sandbox.tell("endpoints", **sound)
    daemon.start("worker")
    daemon.start("beat")

    with psycopg.connect(daemon.database_url, autocommit=True) as conn:

        def named() -> list[str]:
            """Wait for the next check, and return the kinds of the problems it found."""
            conn.execute("delete from sync.runs where job = %s", (sentinel.JOB,))
            done = "select finished_at is not null from sync.runs where job = %s"
            eventually(lambda: conn.execute(done, (sentinel.JOB,)).fetchone() == (True,))
            return [problem["kind"] for problem in sentinel.problems(conn)]

        problems = {"sound": named()}
        for name, change in (
            ("disabled", {"disabled": True}),
            ("a type removed", {"enabled_events": without_one}),
            ("another version", {"api_version": "2024-06-20"}),
            ("repaired", {}),
        ):
            sandbox.tell("endpoints", **sound | change)
            problems[name] = named()

    assert problems == {
        "sound": [],
        "disabled": ["disabled"],
        "a type removed": ["types"],
        "another version": ["version"],
        "repaired": [],
    }
