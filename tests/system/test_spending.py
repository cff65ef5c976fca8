"""Every balance is exact to the token, despite concurrent spending, grants and expiries, and killed workers.

Fifty threads spend through `consume_tokens` while invoices are delivered five times, renewals become due, balances
expire and workers are killed. Afterwards the ledger of every user holds each owed grant exactly once. If a balance
fell between two rows of the ledger, these tokens were spent, and they add up to the tokens that the threads spent.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests import sandboxes
from tests.backends import Backend
from tests.factories import DAY
from tests.processes import Daemon, eventually
from tests.sandboxes import Sandbox
from worker.membership.rules.parts import TOKEN_PERIOD

pytestmark = pytest.mark.system

SPENDERS, KILLS = 50, 4
MONTHLY = [f"monthly_{number}" for number in range(6)]
YEARLY = [f"yearly_{number}" for number in range(4)]
PACKS = [f"packs_{number}" for number in range(3)]
USERS = [*MONTHLY, *YEARLY, *PACKS]
# The second part of each yearly allowance falls due this many seconds after the test's start, while all threads spend.
RENEWED_AFTER_SECONDS = 15


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    running = Daemon(database, backend.redis_url, tmp_path, EVENT_LEASE="3")
    yield running
    running.stop()


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[Sandbox]:
    with sandboxes.running(webhook=daemon.webhook, seed=1) as running:
        daemon.env |= {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": running.address}
        yield running


class Spenders:
    """Threads that spend and count tokens until stopped, each on its own connection."""

    def __init__(self, dsn: str) -> None:
        self.spent: Counter[str] = Counter()
        self.failed: list[Exception] = []
        self._dsn, self._stop, self._lock = dsn, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._spend, args=(number,)) for number in range(SPENDERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _spend(self, number: int) -> None:
        chance, mine = random.Random(number), Counter[str]()
        try:
            with psycopg.connect(self._dsn, autocommit=True) as conn:
                while not self._stop.wait(chance.uniform(0, 0.1)):
                    user, tokens = chance.choice(USERS), chance.randint(1, 9)
                    row = conn.execute("select consume_tokens(%s, %s)", (user, tokens)).fetchone()
                    if row and row[0]:
                        mine[user] += tokens
        except Exception as error:  # noqa: BLE001 - a failure in a thread fails the test
            self.failed.append(error)
        with self._lock:
            self.spent += mine


def test_balances_stay_exact_while_fifty_threads_spend(daemon: Daemon, sandbox: Sandbox) -> None:
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.cursor().executemany("insert into users (id) values (%s)", [(user,) for user in USERS])
        sandbox.tell("deliveries", paused=True, duplicate=0.3)
        began = int(time.time())
        for user in YEARLY:
            # A sign-up advances the clock a little.
            sandbox.tell("clock", now=began + RENEWED_AFTER_SECONDS - int(TOKEN_PERIOD.total_seconds()))
            sandbox.tell("stories/yearly", user_id=user)
        sandbox.tell("clock", now=began - 2 * DAY)
        for user in MONTHLY:
            sandbox.tell("stories/sign_up", user_id=user)
        sandbox.tell("clock", real=True)
        daemon.start_web()
        workers = [daemon.start("worker"), daemon.start("worker")]
        daemon.start("beat")
        spenders = Spenders(daemon.database_url)
        spenders.start()
        try:
            sandbox.tell("deliveries", paused=False, flush=True, shuffle=True)
            eventually(lambda: daemon.count("select count(*) from users where tokens > 0") >= len(MONTHLY + YEARLY))
            paid = [event["id"] for event in events_of(sandbox) if event["type"].startswith("invoice.p")]
            chance = random.Random(1)
            for round_ in range(KILLS):
                sandbox.tell("deliveries", resend=paid)
                sandbox.tell("stories/token_pack", user_id=PACKS[round_ % len(PACKS)])
                sandbox.tell("stories/refund", user_id=MONTHLY[round_], amount=500)
                # The application expires a balance early. The sweep ends it, and later grants start from 0.
                conn.execute(
                    "update users set tokens_expires_at = clock_timestamp() where id = %s and tokens > 0",
                    (MONTHLY[-1 - round_ % 2],),
                )
                victim = chance.randrange(2)
                daemon.kill(workers[victim])
                workers[victim] = daemon.start("worker")
            renewals = "select count(*) from sync.token_grants where kind = 'token_period'"
            eventually(lambda: daemon.count(renewals) == len(YEARLY), within=60)
            wait_until_quiet(daemon, sandbox)
        finally:
            spenders.stop()

        assert spenders.failed == []
        assert min(spenders.spent[user] for user in USERS) > 0
        # An expired balance that is not swept yet reads as 0 and cannot be spent, although its row still holds tokens.
        balances: dict[str, int] = dict(conn.execute("select id, tokens from users").fetchall())
        for user in USERS:
            rows = ledger(conn, user)
            owed = {grant["source_key"]: grant["tokens"] for grant in expected(sandbox, user)["grants"]}
            granted = {
                row["source_key"]: row["amount"] for row in rows if row["source_key"].startswith(("invoice:", "cs:"))
            }
            assert granted == owed, user
            assert missing(rows, balances[user]) == spenders.spent[user], (user, rows)
    assert daemon.count("select count(*) from sync.token_grants where kind = 'refund'") == KILLS
    assert daemon.count("select count(*) from sync.token_grants where kind = 'expiry'") >= 2


def events_of(sandbox: Sandbox) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        after = f"&starting_after={listed[-1]['id']}" if listed else ""
        page = sandbox.get(f"/v1/events?limit=100{after}")
        listed += page["data"]
    return listed


def expected(sandbox: Sandbox, user: str) -> dict[str, Any]:
    expectation: dict[str, Any] = sandbox.ask(f"expected?user_id={user}")
    return expectation


def ledger(conn: psycopg.Connection, user: str) -> list[dict[str, Any]]:
    rows = conn.execute(
        """
        select source_key, amount, balance_before, balance_after
        from sync.token_grants where user_id = %s order by id
        """,
        (user,),
    ).fetchall()
    return [dict(zip(("source_key", "amount", "before", "after"), row, strict=True)) for row in rows]


def missing(rows: list[dict[str, Any]], balance: int) -> int:
    """The tokens that left the balance between the ledger's rows and after the last row."""
    befores = [*(row["before"] for row in rows[1:]), balance]
    gone = [row["after"] - before for row, before in zip(rows, befores, strict=True)]
    assert min(gone) >= 0
    return sum(gone)


def wait_until_quiet(daemon: Daemon, sandbox: Sandbox) -> None:
    sandbox.tell("deliveries", drain=30)
    eventually(
        lambda: (
            daemon.count(
                """
                select (select count(*) from sync.events where status = 'pending') + (select count(*) from sync.refetch_queue)
                    + (select count(*) from sync.recompute_queue) + (select count(*) from sync.rechecks)
                    + (select count(*) from users where tokens > 0 and tokens_expires_at <= now())
                """
            )
            == 0
        ),
        within=90,
    )
