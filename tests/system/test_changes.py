"""Every change reaches a receiver that fails and hangs, although workers and senders are killed.

TEST_CHANGES=10000 runs the test at full size: a worker and a sender are killed ten times, and the receiver answers 500
for one minute and hangs for another.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests import factories
from tests.backends import Backend
from tests.membership.delivery.receiver import SECRET, Receiver, receiving
from tests.processes import Daemon, deliver, eventually
from worker.membership.delivery import store
from worker.membership.delivery.sender import THREADS

pytestmark = pytest.mark.system

CHANGES = int(os.environ.get("TEST_CHANGES", "600"))
ROUNDS, AWAY_SECONDS = (10, 60) if CHANGES >= 10_000 else (3, 0)
# In each round every user's subscription begins, pauses or resumes. That records two changes for each user: one of the
# access, and one of the subscription.
USERS = CHANGES // (2 * ROUNDS)
QUIET = USERS // 10


class Senders:
    """Two sender processes. `kill_one` kills and replaces one of them."""

    def __init__(self, database: str, url: str) -> None:
        self._command = [sys.executable, "-m", "tests.membership.delivery.sending", database, url]
        self._processes = [self._start() for _ in range(2)]

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command)

    def kill_one(self) -> None:
        doomed = self._processes.pop(0)
        doomed.kill()
        doomed.wait()
        self._processes.append(self._start())

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    with receiving() as both:
        yield both


@pytest.fixture
def senders(database: str, receiver: tuple[Receiver, str]) -> Iterator[Senders]:
    running = Senders(database, receiver[1])
    yield running
    running.stop()


@pytest.fixture
def daemon(backend: Backend, database: str, receiver: tuple[Receiver, str], tmp_path: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    running = Daemon(
        database,
        backend.redis_url,
        tmp_path,
        EVENT_LEASE="3",
        EVENT_BATCH_SIZE="50",
        CHANGES_URL=receiver[1],
        CHANGES_SECRET=SECRET,
        CHANGES_ALLOW_PRIVATE="true",
    )
    running.start_web()
    running.start("beat")
    yield running
    running.stop()


def start_worker(daemon: Daemon) -> "subprocess.Popen[bytes]":
    return daemon.start("worker", "--queues", "events,periodic", "--concurrency", "1")


def post(daemon: Daemon, number: int) -> None:
    """Deliver a round of events. Every user's subscription changes. The customers of quiet users are only renamed."""
    created = factories.NOW + 60 * number
    status = "active" if number % 2 == 0 else "paused"
    changing = [
        factories.event(
            "customer.subscription.updated",
            factories.subscription(f"sub_{user}", customer=f"cus_{user}", user_id=f"user_{user}", status=status),
            id=f"evt_{user}_{number}",
            created=created,
        )
        for user in range(USERS)
    ]
    quiet = [
        factories.event(
            "customer.updated",
            factories.customer(f"cus_quiet_{user}", name=f"Name {number}", metadata={"user_id": f"quiet_{user}"}),
            id=f"evt_quiet_{user}_{number}",
            created=created,
        )
        for user in range(QUIET)
    ]
    with daemon.connection() as connection:
        assert {deliver(connection, json.dumps(event).encode())[0] for event in changing + quiet} == {200}


def is_waiting_for_the_lock(conn: psycopg.Connection) -> bool:
    waiting = "wait_event_type = 'Lock' and query like '%change_drafts%' and application_name = 'stripe-sync worker'"
    return conn.execute(f"select from pg_stat_activity where {waiting}").fetchone() is not None


def kill_in_mid_batch(daemon: Daemon, doomed: "subprocess.Popen[bytes]", number: int) -> None:
    """Kill the worker after it has computed users, just before it stores their changes."""
    with (
        psycopg.connect(daemon.database_url) as blocker,
        psycopg.connect(daemon.database_url, autocommit=True) as look,
    ):
        blocker.execute("lock table sync.change_drafts in exclusive mode")
        post(daemon, number)
        eventually(partial(is_waiting_for_the_lock, look))
        daemon.kill(doomed)
        blocker.rollback()


def go_away(taken: Receiver, between: Callable[[], None]) -> None:
    """Let the receiver answer 500, and then hang. Call `between` during each of these two phases.

    A phase lasts at least AWAY_SECONDS, and until enough calls have failed.
    """
    ends = time.monotonic() + AWAY_SECONDS
    taken.status = 500
    eventually(lambda: taken.refused > THREADS)
    between()
    eventually(lambda: taken.refused > 2 * THREADS and time.monotonic() > ends, within=AWAY_SECONDS + 60)
    ends = time.monotonic() + AWAY_SECONDS
    taken.hangs.set()
    taken.status = 204
    eventually(lambda: taken.hung > THREADS)
    between()
    eventually(lambda: taken.hung > THREADS + 4 and time.monotonic() > ends, within=AWAY_SECONDS + 60)
    taken.hangs.clear()
    taken.going_on.set()


def test_every_change_arrives_in_order_despite_kills_and_a_receiver_outage(
    daemon: Daemon, conn: psycopg.Connection, receiver: tuple[Receiver, str], senders: Senders
) -> None:
    taken, _ = receiver
    conn.execute("insert into users (id) select 'user_' || n from generate_series(0, %s) as n", (USERS - 1,))
    conn.execute("insert into users (id) select 'quiet_' || n from generate_series(0, %s) as n", (QUIET - 1,))

    def arrived(number: int) -> bool:
        return len(set(taken.ids)) >= number

    for number in range(ROUNDS):
        before, doomed = 2 * USERS * number, start_worker(daemon)
        if number % 2 == 0:
            kill_in_mid_batch(daemon, doomed, number)
        else:
            post(daemon, number)
            eventually(partial(arrived, before + 1))
            daemon.kill(doomed)
        working = start_worker(daemon)
        if number == 1:
            go_away(taken, senders.kill_one)
        eventually(partial(arrived, before + USERS // 2))
        senders.kill_one()
        daemon.wait_until_applied()
        assert len(store.after(conn, 0, limit=CHANGES + 1)) == before + 2 * USERS
        daemon.kill(working)
    eventually(lambda: store.backlog(conn)["changes_pending"] == 0, within=120)

    changes = store.after(conn, 0, limit=CHANGES + 1)
    assert store.backlog(conn)["changes_parked"] == 0
    assert len(set(taken.ids)) == len(changes) == 2 * USERS * ROUNDS
    by_user = itertools.groupby(sorted(changes, key=lambda change: (change.user_id, change.id)), lambda c: c.user_id)
    assert taken.users == {user: [change.id for change in of_user] for user, of_user in by_user}
    assert set(taken.users) == {f"user_{user}" for user in range(USERS)}
    bodies: dict[int, Any] = dict(taken.calls)
    assert all(bodies[id_] == body for id_, body in taken.calls)
    assert {change.id: change.details for change in changes} == {
        id_: {name: body["data"][name] for name in ("before", "after", "reason")} for id_, body in bodies.items()
    }
    print(f"{len(changes)} changes in {len(taken.calls)} calls; {taken.refused} refused, {taken.hung} hung")
