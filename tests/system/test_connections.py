"""The daemon with a least-privilege role, behind a pooler in transaction mode, and across a failover."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

import migrations
from tests import factories, sandboxes
from tests.backends import Backend
from tests.pooler import PROGRAM, pgbouncer
from tests.postgres.test_roles import Roles, roles_of
from tests.processes import Daemon, deliver, eventually
from tests.sandboxes import Sandbox

pytestmark = pytest.mark.system

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed (apt-get install pgbouncer)")


@pytest.fixture
def roles(database: str) -> Iterator[Roles]:
    with roles_of(database) as made:
        yield made


@pytest.fixture(params=["directly", pytest.param("pooled", marks=needs_pgbouncer)])
def daemon(request: pytest.FixtureRequest, backend: Backend, roles: Roles, tmp_path: Path) -> Iterator[Daemon]:
    """Processes that connect as the worker's role."""
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    quick = {"EVENT_LEASE": "3", "PRODUCT_REFRESH_INTERVAL": "2", "RECONCILE_INTERVAL": "2", "AUDIT_INTERVAL": "2"}
    if request.param == "directly":
        running = Daemon(roles.url(roles.worker), backend.redis_url, tmp_path, **quick, CATCH_UP_INTERVAL="2")
        yield running
        running.stop()
        return
    with pgbouncer(roles.database, users=[roles.worker]) as pooled:
        running = Daemon(
            pooled, backend.redis_url, tmp_path, **quick, CATCH_UP_INTERVAL="2", DATABASE_POOLER="transaction"
        )
        yield running
        running.stop()


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[Sandbox]:
    with sandboxes.running(webhook=daemon.webhook) as running:
        daemon.env |= {"STRIPE_API_BASE": running.address, "STRIPE_SECRET_KEY": sandboxes.KEY}
        yield running


def command(daemon: Daemon, *words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "worker", *words],
        env=daemon.env | changes, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_worker_s_role_is_enough_for_all_work(daemon: Daemon, sandbox: Sandbox, roles: Roles) -> None:
    with psycopg.connect(roles.database, autocommit=True) as conn:
        conn.execute("insert into users (id) values ('early')")
    daemon.start_web()
    for process in ("worker", "worker", "beat"):
        daemon.start(process)

    for user in ("early", "late"):
        sandbox.tell("stories/sign_up", user_id=user)
    sandbox.post("/v1/products", name="Seen by the refresh")
    daemon.wait_until_applied()
    with psycopg.connect(roles.database, autocommit=True) as conn:
        conn.execute("insert into users (id) values ('late')")
    eventually(lambda: daemon.count("select count(*) from users where role = 'PREMIUM' and tokens > 0") == 2)
    jobs = "array['product_refresh', 'reconcile', 'catch_up', 'audit']"
    done = f"select count(distinct job) from sync.runs where job = any({jobs}) and outcome = 'done'"
    eventually(lambda: daemon.count(done) == 4)

    doctor = command(daemon, "doctor", "--json", "--workers", "2")
    checks = {one["what"]: one for one in json.loads(doctor.stdout)}
    assert doctor.returncode == 0, doctor.stdout
    assert "2 x (5 child processes x 2 + 2 of backfills)" in checks["connections"]["detail"]
    assert command(daemon, "sync", "all").returncode == 0
    assert daemon.count("select count(*) from sync.runs where outcome = 'failed'") == 0
    assert daemon.count("select count(*) from sync.events where status <> 'done'") == 0
    assert "Traceback" not in daemon.logs()


@needs_pgbouncer
def test_behind_a_pooler_concurrent_migrations_leave_no_lock(empty_database: str) -> None:
    user = psycopg.conninfo.conninfo_to_dict(empty_database)["user"]
    with pgbouncer(empty_database, users=[str(user)], size=8) as pooled:
        release = [sys.executable, "-c", "import sys, migrations; migrations.migrate(sys.argv[1])", pooled]
        releases = [subprocess.Popen(release, env=os.environ) for _ in range(3)]

        assert [one.wait() for one in releases] == [0, 0, 0]
        migrations.downgrade(pooled, "base")
        migrations.migrate(pooled)
        with psycopg.connect(empty_database) as conn:
            assert (
                conn.execute(
                    "select from pg_locks as l join pg_database as d on d.oid = l.database "
                    "where l.locktype = 'advisory' and d.datname = current_database()"
                ).fetchall()
                == []
            )


@needs_pgbouncer
@pytest.mark.parametrize("daemon", ["pooled"], indirect=True)
def test_an_undeclared_pooler_is_reported(daemon: Daemon, roles: Roles) -> None:
    untold = command(daemon, "status", DATABASE_POOLER="none")
    with psycopg.connect(roles.database, autocommit=True) as conn:
        conn.execute(sql.SQL("alter role {} reset statement_timeout").format(sql.Identifier(roles.worker)))
    endless = command(daemon, "doctor")

    assert untold.returncode == 1
    assert "DATABASE_POOLER=transaction" in untold.stderr
    assert endless.returncode == 1


@needs_pgbouncer
@pytest.mark.parametrize("daemon", ["pooled"], indirect=True)
def test_connections_to_a_read_only_server_are_replaced_until_it_is_writable(daemon: Daemon, roles: Roles) -> None:
    """Connections to the pooler stay open during a failover, so only a refused statement reveals the failover."""

    def turn(read_only: bool) -> None:
        with psycopg.connect(roles.database, autocommit=True) as conn:
            conn.execute(
                sql.SQL("alter role {} set default_transaction_read_only = {}").format(
                    sql.Identifier(roles.worker), sql.Literal(read_only)
                )
            )
            conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (roles.worker,))

    def post(number: int) -> int:
        event = factories.event("customer.created", factories.customer(id=f"cus_{number}"), id=f"evt_{number}")
        with daemon.connection() as connection:
            return deliver(connection, json.dumps(event).encode())[0]

    daemon.start_web()
    daemon.start("worker")
    daemon.start("beat")
    eventually(lambda: post(1) == 200)
    daemon.wait_until_applied()

    turn(read_only=True)
    eventually(lambda: post(2) == 503)
    eventually(lambda: "ReadOnlySqlTransaction" in daemon.logs())
    turn(read_only=False)
    eventually(lambda: post(2) == 200)
    daemon.wait_until_applied()

    assert daemon.count("select count(*) from stripe.customers") == 2
