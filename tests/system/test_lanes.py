"""The lanes of one worker (groups of processes, each for some queues), with default settings.

A lane that waits for Stripe does not delay the others.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests import factories
from tests.backends import Backend
from tests.processes import Daemon, deliver, eventually
from worker.jobs.lanes import BACKGROUND_NICENESS

pytestmark = pytest.mark.system


@pytest.fixture
def silent_stripe() -> Iterator[str]:
    """The address of a server that accepts requests and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def daemon(backend: Backend, database: str, silent_stripe: str, tmp_path: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    running = Daemon(
        database, backend.redis_url, tmp_path, STRIPE_SECRET_KEY="sk_test_x", STRIPE_API_BASE=silent_stripe
    )
    yield running
    running.stop()


def test_live_events_do_not_wait_while_stripe_never_answers_the_background_reads(daemon: Daemon) -> None:
    daemon.start_web()
    daemon.start("worker")
    daemon.start("beat")
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        busy = "select count(*) = 2 from sync.heartbeats where lane = 'background' and task is not null"
        eventually(lambda: conn.execute(busy).fetchone() == (True,), within=60)

        with daemon.connection() as connection:
            status, _ = deliver(
                connection, factories.encoded(factories.event("customer.created", factories.customer()))
            )

        assert status == 200
        eventually(lambda: conn.execute("select count(*) from mirror.customers").fetchone() == (1,), within=10)
        assert conn.execute(busy).fetchone() == (True,)
        processes = conn.execute("select lane, split_part(name, ':', 2)::int from sync.heartbeats").fetchall()
    niceness = {lane: os.getpriority(os.PRIO_PROCESS, pid) - os.nice(0) for lane, pid in processes}
    assert (niceness["events"], niceness["background"]) == (0, BACKGROUND_NICENESS)
