"""A real failover: the primary dies, its standby is promoted, and the daemon finds the new primary by itself."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import migrations
from tests import factories
from tests.backends import Backend
from tests.processes import Daemon, deliver, eventually
from worker.dev.servers import Postgres, start_postgres

pytestmark = pytest.mark.system


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="stripe-sync-failover-") as home:
        Path(home).chmod(0o755)
        running = start_postgres(Path(home) / "primary")
        migrations.migrate(running.create_database("daemon"))
        yield running
        running.close()


@pytest.fixture
def standby(primary: Postgres) -> Iterator[Postgres]:
    """A synchronous standby."""
    home, owner = primary.home.parent / "standby", primary.home.stat()
    home.mkdir()
    os.chown(home, owner.st_uid, owner.st_gid)
    home.chmod(0o700)
    copy = [str(primary.binaries / "pg_basebackup"), "-D", str(home / "data"), "-R", "-c", "fast", "-d", primary.dsn]
    subprocess.run(copy, check=True, user=owner.st_uid if os.geteuid() == 0 else None, cwd="/")
    running = start_postgres(home)
    try:
        with psycopg.connect(primary.dsn, autocommit=True) as conn:
            conn.execute("alter system set synchronous_standby_names = '*'")
            conn.execute("select pg_reload_conf()")
            query = "select from pg_stat_replication where sync_state = 'sync'"
            eventually(lambda: conn.execute(query).fetchone() is not None)
        yield running
    finally:
        running.close()


def test_the_daemon_finds_the_promoted_standby(
    backend: Backend, primary: Postgres, standby: Postgres, tmp_path: Path
) -> None:
    def post(number: int) -> int:
        event = factories.event("customer.created", factories.customer(id=f"cus_{number}"), id=f"evt_{number}")
        with daemon.connection() as connection:
            return deliver(connection, json.dumps(event).encode())[0]

    # The standby is the first host. The daemon skips it as long as it accepts no writes.
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    daemon = Daemon(f"postgresql://postgres@{hosts}/daemon", backend.redis_url, tmp_path, EVENT_LEASE="3")
    try:
        daemon.start_web()
        daemon.start("worker")
        daemon.start("beat")
        eventually(lambda: post(1) == 200)

        primary.kill()
        assert post(2) == 503
        with psycopg.connect(standby.dsn, autocommit=True) as conn:
            conn.execute("select pg_promote()")
        eventually(lambda: post(2) == 200)
        daemon.wait_until_applied()

        with psycopg.connect(standby.dsn_for("daemon")) as conn:
            assert conn.execute("select count(*) from stripe.customers").fetchone() == (2,)
    finally:
        daemon.stop()
