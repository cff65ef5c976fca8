"""The whole daemon as operators run it: real processes are killed or lose their servers, and nothing is lost."""

import itertools
import json
import random
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

import migrations
from tests import factories, sandboxes
from tests.backends import Backend
from tests.processes import Daemon, deliver, eventually
from tests.sandboxes import Sandbox
from worker.dev.servers import Postgres, start_postgres

pytestmark = pytest.mark.system


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    running = Daemon(database, backend.redis_url, tmp_path, EVENT_LEASE="3")
    yield running
    running.stop()


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[Sandbox]:
    """A sandbox that delivers to the daemon."""
    with sandboxes.running(webhook=daemon.webhook) as running:
        yield running


def post_all(daemon: Daemon, bodies: list[bytes], *, clients: int = 8) -> list[int]:
    """Post all bodies from concurrent clients, and return the statuses of the answers."""
    statuses: list[int] = []

    def client(mine: list[bytes]) -> None:
        with daemon.connection() as connection:
            statuses.extend(deliver(connection, body)[0] for body in mine)

    threads = [threading.Thread(target=client, args=(bodies[number::clients],)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def history(customers: int) -> list[bytes]:
    """Four versions of each customer, a minute apart, so there is no doubt which version is the newest."""
    return [
        json.dumps(
            factories.event(
                "customer.updated",
                factories.customer(id=f"cus_{number}", name=f"Version {version}"),
                id=f"evt_{number}_{version}",
                created=1_782_864_000 + version * 60,
            )
        ).encode()
        for number, version in itertools.product(range(customers), range(4))
    ]


def assert_all_newest(daemon: Daemon, customers: int) -> None:
    assert daemon.count("select count(*) from stripe.customers where name = 'Version 3' and not unsettled") == customers
    assert daemon.count("select count(*) from sync.events where status <> 'done'") == 0


def test_a_sign_up_makes_the_user_premium(daemon: Daemon, sandbox: Sandbox) -> None:
    daemon.start_web()
    daemon.start("worker")
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute("insert into users (id, email) values ('user_1', 'jenny@example.com')")

        story = sandbox.tell("stories/sign_up", user_id="user_1", email="jenny@example.com", name="Jenny")
        wanted = len(story["events"])
        eventually(lambda: daemon.count("select count(*) from sync.events where status = 'done'") == wanted)

        user = conn.execute(
            "select role::text, membership_status::text, stripe_product_id, tokens from users where id = 'user_1'"
        ).fetchone()
        expected = story["expected"]
        assert user == (
            expected["role"],
            expected["membership_status"],
            expected["stripe_product_id"],
            expected["tokens_granted"],
        )
        assert conn.execute("select source_key from sync.token_grants").fetchall() == [
            (grant["source_key"],) for grant in expected["grants"]
        ]
        assert conn.execute("select stripe_customer_id, user_id from stripe_customers").fetchall() == [
            (expected["customers"][0], "user_1")
        ]
        subscriptions = conn.execute("select stripe_subscription_id, status from user_subscriptions").fetchall()
        assert dict(subscriptions) == expected["subscriptions"]
        assert conn.execute("select status, stripe_product_id from payment_history").fetchall() == [
            ("succeeded", expected["stripe_product_id"])
        ]


def test_metrics_of_the_web_process_include_the_workers_counts(daemon: Daemon) -> None:
    daemon.start_web()
    daemon.start("worker")
    daemon.start("beat")

    assert set(post_all(daemon, history(3))) == {200}

    def counted() -> int:
        _, metrics = daemon.get("/metrics", authorization="Bearer token")
        samples = re.findall(r'^stripe_sync_events_applied_total\{outcome="\w+"\} (\d+)', metrics, re.MULTILINE)
        return sum(int(number) for number in samples)

    eventually(lambda: counted() == 12)


def test_shuffled_and_repeated_deliveries_to_two_workers_end_at_the_newest_versions(daemon: Daemon) -> None:
    daemon.start_web()
    daemon.start("worker")
    daemon.start("worker")
    bodies = history(100) * 2
    random.Random(1).shuffle(bodies)

    statuses = post_all(daemon, bodies)
    daemon.wait_until_applied()

    assert set(statuses) == {200}
    assert_all_newest(daemon, 100)


def test_a_worker_killed_in_mid_batch_loses_nothing(daemon: Daemon) -> None:
    daemon.start_web()
    doomed = daemon.start("worker")
    daemon.start("beat")
    with psycopg.connect(daemon.database_url) as blocker, psycopg.connect(daemon.database_url, autocommit=True) as look:
        blocker.execute("lock table mirror.customers in exclusive mode")

        post_all(daemon, history(20))
        eventually(
            lambda: (
                look.execute(
                    "select from pg_stat_activity where application_name = 'stripe-sync worker' and wait_event_type = 'Lock'"
                ).fetchone()
                is not None
            )
        )
        daemon.kill(doomed)
        blocker.rollback()
    daemon.start("worker")
    daemon.wait_until_applied()

    assert_all_newest(daemon, 20)


def test_a_flushed_broker_loses_nothing(daemon: Daemon, backend: Backend) -> None:
    daemon.start_web()
    post_all(daemon, history(20))
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()

    daemon.start("worker")
    daemon.start("beat")
    daemon.wait_until_applied()

    assert_all_newest(daemon, 20)


@pytest.fixture
def restartable() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="stripe-sync-restart-") as home:
        Path(home).chmod(0o755)
        postgres = start_postgres(Path(home) / "postgres")
        yield postgres
        postgres.close()


def test_a_postgres_restart_loses_no_event_that_was_answered_200(
    backend: Backend, restartable: Postgres, tmp_path: Path
) -> None:
    migrations.migrate(restartable.create_database("daemon"))
    daemon = Daemon(restartable.dsn_for("daemon"), backend.redis_url, tmp_path, EVENT_LEASE="3")
    daemon.start_web()
    daemon.start("worker")
    daemon.start("beat")
    bodies = history(60)
    acknowledged: set[str] = set()
    refused: list[bytes] = []

    def client() -> None:
        with daemon.connection() as connection:
            for body in bodies:
                status, _ = deliver(connection, body)
                if status == 200:
                    acknowledged.add(json.loads(body)["id"])
                else:
                    assert status == 503
                    refused.append(body)

    delivering = threading.Thread(target=client)
    delivering.start()
    eventually(lambda: len(acknowledged) > 40)
    restartable.kill()
    restartable.start()
    delivering.join()
    # Stripe redelivers every event that was not answered 2xx.
    eventually(lambda: daemon.get("/readyz")[0] == 200)
    statuses = post_all(daemon, refused, clients=1)
    daemon.wait_until_applied()
    stored = daemon.count("select count(*) from sync.events")

    try:
        assert set(statuses) <= {200}
        assert stored == len(bodies)
        assert_all_newest(daemon, 60)
    finally:
        daemon.stop()


def test_an_event_that_cannot_be_applied_is_parked_and_blocks_no_other(daemon: Daemon) -> None:
    daemon.start_web()
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        # No event body makes a batch fail, so this test adds a constraint that does.
        conn.execute("alter table mirror.customers add constraint no_evil check (name <> 'Evil')")
    daemon.env["EVENT_MAX_ATTEMPTS"] = "2"
    evil = factories.event("customer.created", factories.customer(id="cus_evil", name="Evil"), id="evt_evil")
    daemon.start("worker")
    daemon.start("beat")

    post_all(daemon, [json.dumps(evil).encode(), *history(10)])
    eventually(lambda: daemon.count("select count(*) from sync.events where status = 'parked'") == 1)
    daemon.wait_until_applied()

    assert daemon.count("select count(*) from stripe.customers where name = 'Version 3'") == 10
    assert daemon.count("select count(*) from sync.events where id = 'evt_evil' and last_error like '%no_evil%'") == 1


def test_a_user_created_after_the_subscription_is_linked_and_granted_what_was_paid_for(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    daemon.start_web()
    daemon.start("worker")
    daemon.start("beat")
    story = sandbox.tell("stories/sign_up", user_id="late", email="late@example.com", name="Late")
    eventually(lambda: daemon.count("select count(*) from sync.events where status = 'done'") == len(story["events"]))

    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute("insert into users (id) values ('late')")

    eventually(
        lambda: daemon.count(
            "select count(*) from users where role = 'PREMIUM' and tokens > 0 and stripe_product_id <> ''"
        )
    )
