"""The users of an organization, computed by real processes while its payer changes and users join and leave."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg.rows import dict_row

from tests import sandboxes
from tests.backends import Backend
from tests.processes import SECRET, Daemon, eventually
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
    running = Daemon(database, backend.redis_url, tmp_path, STRIPE_SECRET_KEY=KEY, STRIPE_API_BASE=sandbox.address)
    running.start_web()
    running.start("worker")
    sandbox.tell("endpoints", url=running.webhook, secrets=[SECRET])
    yield running
    running.stop()


def test_users_of_an_organization_follow_its_subscription(daemon: Daemon, sandbox: Sandbox) -> None:
    with psycopg.connect(daemon.database_url, autocommit=True, row_factory=dict_row) as conn:

        def are(id_like: str, expected: dict[str, Any]) -> None:
            """Wait until these users have the expected role, status and product."""
            wanted = {name: expected[name] for name in ("role", "membership_status", "stripe_product_id")}
            query = "select distinct role::text, membership_status::text, stripe_product_id from users where id like %s"
            eventually(lambda: conn.execute(query, (id_like,)).fetchall() == [wanted])

        def members() -> dict[str, Any]:
            expected: dict[str, Any] = sandbox.ask("expected?organization_id=org")
            return expected

        conn.execute("insert into organizations (id, name) values ('org', 'Org'), ('other', 'Other')")
        conn.execute("insert into users (id) values ('boss')")
        conn.execute("insert into users (id, organization_id) select 'u' || n, 'org' from generate_series(1, 500) as n")
        nobody = {"role": "USER", "membership_status": "ACTIVE", "stripe_product_id": None}

        team = sandbox.tell("stories/team", user_id="boss", organization_id="org")
        are("u%", team["members"])  # the scheduler is not running yet
        are("boss", team["expected"])
        daemon.start("beat")

        conn.execute("insert into users (id, organization_id) values ('u_new', 'org'), ('x', 'other')")
        are("u%", members())
        conn.execute("update users set organization_id = null where id = 'u1'")
        are("u1", {**nobody, "membership_status": "CANCELED"})
        conn.execute("update users set organization_id = 'org' where id = 'u1'")

        paused = sandbox.tell("stories/pause", user_id="boss", how="status")
        assert paused["expected"]["role"] == "USER"
        are("u%", members())
        sandbox.tell("stories/resume", user_id="boss")
        are("u%", members())
        are("x", nobody)

        moved = sandbox.tell("stories/assign", user_id="boss", organization_id="other")
        are("x", moved["members"])
        are("u%", members())
        assert members()["membership_status"] == "CANCELED"

        sandbox.tell("stories/cancel", user_id="boss", when="now")
        are("x", sandbox.ask("expected?organization_id=other"))
        daemon.wait_until_applied()
        assert daemon.count("select count(*) from sync.events where status = 'parked'") == 0
        assert daemon.count("select count(distinct user_id) from sync.token_grants") == 1
        assert daemon.count("select count(*) from sync.organization_queue") == 0


def test_a_large_organization_is_computed_in_batches_without_a_scheduler(daemon: Daemon, sandbox: Sandbox) -> None:
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute("insert into organizations (id, name) values ('crowd', 'Crowd')")
        conn.execute(
            "insert into users (id, organization_id) select 'u' || n, 'crowd' from generate_series(1, 20000) as n"
        )
        sandbox.tell("stories/team", user_id="boss", organization_id="crowd")

        eventually(lambda: daemon.count("select count(*) from users where role = 'PREMIUM'") == 20_000)

        batches = conn.execute("select count(distinct since) from sync.organization_members").fetchone()
    assert batches == (200,)
