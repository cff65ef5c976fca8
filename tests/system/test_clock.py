"""Periodic work with real schedulers and workers against the sandbox, at intervals of one or two seconds."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests import sandboxes
from tests.backends import Backend
from tests.processes import Daemon, eventually
from tests.sandboxes import KEY, Sandbox

pytestmark = pytest.mark.system


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandboxes.running() as running:
        yield running


@pytest.fixture
def daemon(backend: Backend, database: str, sandbox: Sandbox, tmp_path: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    running = Daemon(
        database,
        backend.redis_url,
        tmp_path,
        STRIPE_SECRET_KEY=KEY,
        STRIPE_API_BASE=sandbox.address,
        PRODUCT_REFRESH_INTERVAL="1",
        RECONCILE_INTERVAL="2",
    )
    yield running
    running.stop()


def done(daemon: Daemon, job: str) -> int:
    return daemon.count(f"select count(*) from sync.runs where job = '{job}' and outcome = 'done'")


def test_two_schedulers_and_four_workers_run_each_slot_once(daemon: Daemon, sandbox: Sandbox) -> None:
    sandbox.tell("populate", products=5, subscriptions=5, customers=5)
    for _ in range(2):
        daemon.start("beat")
    for _ in range(4):
        daemon.start("worker", "--concurrency", "1")

    eventually(lambda: done(daemon, "product_refresh") >= 8 and done(daemon, "reconcile") >= 4)
    daemon.stop()

    requests = sandbox.ask("stats")["requests"]
    begun = daemon.count("select count(*) from sync.runs where job = 'product_refresh'")
    assert daemon.count("select count(distinct slot) from sync.runs where job = 'product_refresh'") == begun
    # The audit also reads this list, once per round.
    assert requests["GET /v1/products"] <= begun + daemon.count("select count(*) from sync.runs where job = 'audit'")
    assert daemon.count("select count(*) from sync.runs where outcome in ('failed', 'lost')") == 0
    assert daemon.count("select count(*) from stripe_products") == 5
    assert daemon.count("select count(*) from stripe.subscriptions") > 0


@pytest.mark.parametrize("trouble", [{"rate500": 1.0}, {"rate429": 1.0, "reason": "global-rate"}, {"hang": True}])
def test_a_failing_stripe_is_not_flooded_and_work_continues_afterwards(
    daemon: Daemon, sandbox: Sandbox, trouble: dict[str, object]
) -> None:
    product = sandbox.post("/v1/products", name="Before")
    sandbox.tell("faults", limits={"account": 25, "operation": 25})
    sandbox.tell("faults", operation="GET /v1/products", **trouble)
    daemon.start("beat")
    daemon.start("worker")

    enough = 1 if "hang" in trouble else 2  # the daemon waits for a hanging request
    eventually(lambda: sandbox.ask("stats")["requests"].get("GET /v1/products", 0) >= enough)
    sandbox.post(f"/v1/products/{product['id']}", name="After")
    sandbox.tell("faults", clear=True)
    eventually(lambda: daemon.count("select count(*) from stripe_products where name = 'After'"), within=90)

    stats = sandbox.ask("stats")
    assert stats["max_per_second"] <= 26
    assert "Traceback" not in daemon.logs()


def test_changes_made_while_webhooks_were_off_are_mirrored_after_one_tick(daemon: Daemon, sandbox: Sandbox) -> None:
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute("insert into users (id) values ('u')")
    sandbox.tell("stories/sign_up", user_id="u", email="u@example.com", name="U", link="subscription")

    daemon.start("beat")
    daemon.start("worker")

    eventually(lambda: daemon.count("select count(*) from users where role = 'PREMIUM'"))
    eventually(lambda: daemon.count("select count(*) from stripe_prices where active"))
