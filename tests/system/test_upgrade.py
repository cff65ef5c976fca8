"""A release while Stripe delivers: a column changes its type, web and workers are restarted, and no event is lost.

Every event must arrive by delivery here. Catch-up and the passes over lists are off, so they can't repair the loss of an
event by the webhook endpoint or a worker.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis

from tests import sandboxes
from tests.backends import Backend
from tests.processes import Daemon, eventually
from tests.sandboxes import Sandbox
from tests.system.test_convergence import NEVER, SIGN_UP, TABLES, Life, Player, compare_mirror, compare_users, scene
from worker.postgres import runs
from worker.writers import audit, catch_up, reconcile, refresh_catalogue

pytestmark = pytest.mark.system

LIVES = [
    Life(now=(SIGN_UP,)),
    Life(now=(scene("token_pack", quantity=2),)),
    Life(now=(SIGN_UP, scene("refund", amount=500))),
    Life(now=(SIGN_UP, scene("cancel", when="now"))),
    Life(now=(SIGN_UP, scene("seats", quantity=3))),
]
# The pause after each user, so that the release happens during a steady stream of events, not a backlog.
PAUSE_SECONDS = 0.1
USERS = {f"user_{number}": LIVES[number % len(LIVES)] for number in range(3000)}


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    off = {f"{name}_INTERVAL": str(NEVER) for name in ("CATCH_UP", "PRODUCT_REFRESH", "RECONCILE", "AUDIT")}
    slot = datetime.fromtimestamp(time.time() // NEVER * NEVER, UTC)
    with psycopg.connect(database, autocommit=True) as conn:
        for job in (catch_up.JOB, refresh_catalogue.JOB, reconcile.JOB, audit.JOB):
            runs.note(conn, job, slot, {})
        conn.execute(
            "insert into users (id, email) select id, id || '@example.com' from unnest(%s::text[]) as u (id)",
            (list(USERS),),
        )
    running = Daemon(database, backend.redis_url, tmp_path, EVENT_LEASE="3", **off)
    yield running
    running.stop()


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[Sandbox]:
    with sandboxes.running(webhook=daemon.webhook, seed=1) as running:
        daemon.env |= {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": running.address}
        # Stripe redelivers for three days.
        running.tell("deliveries", retry_seconds=[0.2], max_attempts=1000)
        yield running


class Load(threading.Thread):
    """A thread that lets users sign up, pay and leave, one after the other, until it is stopped."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.lived: dict[str, Life] = {}
        self._player, self._stopped = Player(sandbox), threading.Event()

    def run(self) -> None:
        for user, life in USERS.items():
            self._player.play(user, life.now)
            self.lived[user] = life
            if self._stopped.wait(PAUSE_SECONDS):
                return

    def wait_for_more(self, *, users: int = 4) -> None:
        """Wait until this many more users are done."""
        wanted = len(self.lived) + users
        eventually(lambda: len(self.lived) >= wanted, within=60)
        assert self.is_alive(), "the load ended too soon: give it more users"

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def test_a_release_under_load_loses_nothing(daemon: Daemon, sandbox: Sandbox) -> None:
    daemon.start_web()
    workers = [daemon.start("worker"), daemon.start("worker")]
    daemon.start("beat")
    eventually(lambda: daemon.count("select count(*) from sync.heartbeats"))
    load = Load(sandbox)
    load.start()
    load.wait_for_more()

    migrate(daemon)
    load.wait_for_more()
    change_a_type(daemon, "bigint")
    for number, worker in enumerate(workers):
        end(worker)
        workers[number] = daemon.start("worker")
        load.wait_for_more()
    end(daemon.processes[0])
    load.wait_for_more(users=1)
    daemon.start_web()
    load.wait_for_more()
    change_a_type(daemon, "integer")
    load.wait_for_more()
    load.stop()

    wait_until_applied(daemon, sandbox)
    compare_mirror(daemon, sandbox)
    compare_users(daemon, sandbox, load.lived)
    assert daemon.count("select count(*) from sync.drift") == 0
    assert "cached plan must not change" not in daemon.logs()


def migrate(daemon: Daemon) -> None:
    """Migrate as the release phase does. There is only one revision, so nothing changes."""
    command = [sys.executable, "-m", "worker", "db", "migrate"]
    subprocess.run(command, env=daemon.env, check=True, stdout=subprocess.DEVNULL, timeout=120)


def change_a_type(daemon: Daemon, type_: str) -> None:
    """Change the type of a column that prepared statements use."""
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute(f"alter table sync.events alter column attempts type {type_}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """End the process as a deployment does, with SIGTERM, so that it finishes its current work."""
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def wait_until_applied(daemon: Daemon, sandbox: Sandbox) -> None:
    sandbox.tell("deliveries", drain=60)
    left = " union all ".join(f"select 1 from stripe.{table} where unsettled" for table in TABLES.values())
    eventually(
        lambda: (
            daemon.count(
                f"""
                select (select count(*) from sync.events where status = 'pending') + (select count(*) from sync.refetch_queue)
                    + (select count(*) from sync.recompute_queue) + (select count(*) from sync.rechecks)
                    + (select count(*) from ({left}) as unsettled)
                """
            )
            == 0
        ),
        within=90,
    )
