"""Recovery rehearsals: the database is lost and restored, and the end state equals Stripe as if nothing had happened.

The real processes keep running, as in an outage. The webhook endpoint answers 503 meanwhile, and Stripe redelivers.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis

import migrations
from tests import sandboxes
from tests.backends import Backend
from tests.processes import Daemon, eventually
from tests.sandboxes import Sandbox
from tests.system.test_convergence import NEVER, SIGN_UP, Life, Player, compare_mirror, compare_users, scene
from tests.system.test_convergence import wait_until_quiet as wait_until_settled
from worker.dev.servers import Postgres, start_postgres
from worker.postgres import runs
from worker.writers import audit, reconcile, refresh_catalogue

pytestmark = pytest.mark.system

# Users whose scenes are before the backup, after it, after the restored point in time, or while there is no database.
LIVES = {
    "spends": Life(now=(SIGN_UP,)),
    "stays": Life(now=(SIGN_UP,)),
    "leaves": Life(now=(SIGN_UP,)),
    "wants the money back": Life(now=(SIGN_UP,)),
    "comes later": Life(now=(SIGN_UP,)),
    "buys tokens later": Life(now=(scene("token_pack", quantity=2),)),
    "comes last": Life(now=(SIGN_UP,)),
    "disputes last": Life(now=(SIGN_UP, scene("dispute"))),
    "comes in the dark": Life(now=(SIGN_UP,)),
}
USERS = {name.replace(" ", "_"): life for name, life in LIVES.items()}
# Stripe does not know which tokens the application spends.
COMPARED = {user: life for user, life in USERS.items() if user != "spends"}


class Rehearsal:
    """A daemon with its own database, an application that spends tokens, and an operator's commands."""

    def __init__(self, home: Path, backend: Backend, logs: Path) -> None:
        self.home, self._backend = home, backend
        self.postgres = start_postgres(home / "postgres")
        dsn = self.postgres.create_database("daemon")
        migrations.migrate(dsn)
        with redis.Redis.from_url(backend.redis_url) as client:
            client.flushall()
        self.daemon = Daemon(
            dsn,
            backend.redis_url,
            logs,
            EVENT_LEASE="3",
            CATCH_UP_INTERVAL="1",
            PRODUCT_REFRESH_INTERVAL=str(NEVER),
            RECONCILE_INTERVAL=str(NEVER),
            AUDIT_INTERVAL=str(NEVER),
            BACKUP_DIR=str(home / "backups"),
        )

    def operate(self, *words: str) -> str:
        """Run an operator's command, which must succeed, and return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "worker", *words],
            env=self.daemon.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, sandbox: Sandbox) -> Player:
        """Start the processes, create the application's users, and play the first lives."""
        self.daemon.env |= {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": sandbox.address}
        with psycopg.connect(self.daemon.database_url, autocommit=True) as conn:
            # No list is read on a schedule, so lists cannot repair anything here.
            slot = datetime.fromtimestamp(time.time() // NEVER * NEVER, UTC)
            for job in (refresh_catalogue.JOB, reconcile.JOB, audit.JOB):
                runs.note(conn, job, slot, {})
            for user in USERS:
                conn.execute("insert into users (id, email) values (%s, %s)", (user, f"{user}@example.com"))
        self.daemon.start_web()
        self.daemon.start("worker")
        self.daemon.start("beat")
        eventually(lambda: self.daemon.count("select count(*) from sync.cursors where name = 'events'"))
        player = Player(sandbox)
        for user in ("spends", "stays", "leaves", "wants_the_money_back"):
            self.live(player, user)
        return player

    def live(self, player: Player, user: str, *scenes: tuple[str, dict[str, object]]) -> None:
        """Play the user's scenes, and wait until their events are applied."""
        player.play(user, scenes or USERS[user].now)
        player.sandbox.tell("deliveries", drain=30)
        self.daemon.wait_until_applied()

    def spend(self, user: str, tokens: int) -> None:
        assert self.daemon.count(f"select consume_tokens('{user}', {tokens})::int") == 1

    def tokens(self, user: str) -> int:
        return self.daemon.count(f"select tokens from users where id = '{user}'")

    def assert_equals_stripe(self, sandbox: Sandbox) -> None:
        """Assert that catch-up alone restored mirror, users and ledger, and that reading all of Stripe changes nothing."""
        wait_until_settled(self.daemon, sandbox)
        compare_mirror(self.daemon, sandbox)
        compare_users(self.daemon, sandbox, COMPARED)
        ledger = self.daemon.count("select count(*) from sync.token_grants")
        self.operate("sync", "all", "--json")
        compare_users(self.daemon, sandbox, COMPARED)
        assert self.drift() == []
        assert self.daemon.count("select count(*) from sync.token_grants") == ledger

    def drift(self) -> list[tuple[object, ...]]:
        """The differences between the mirror and Stripe that reading the lists revealed."""
        with psycopg.connect(self.daemon.database_url) as conn:
            return conn.execute("select object, object_id, fields, found_by, behind from sync.drift").fetchall()

    def close(self) -> None:
        self.daemon.stop()
        self.postgres.close()


@pytest.fixture
def rehearsal(backend: Backend, tmp_path: Path) -> Iterator[Rehearsal]:
    with tempfile.TemporaryDirectory(prefix="stripe-sync-recovery-") as home:
        Path(home).chmod(0o755)
        logs = tmp_path / "logs"
        logs.mkdir()
        running = Rehearsal(Path(home), backend, logs)
        yield running
        running.close()


@pytest.fixture
def sandbox(rehearsal: Rehearsal) -> Iterator[Sandbox]:
    with sandboxes.running(webhook=rehearsal.daemon.webhook, seed=1) as running:
        yield running


def test_a_lost_server_is_restored_to_a_point_in_time(rehearsal: Rehearsal, sandbox: Sandbox) -> None:
    output = rehearsal.operate("db", "backup", "--physical", "--setup-archiving")
    assert "Restart PostgreSQL once" in output
    rehearsal.postgres.restart()
    player = rehearsal.begin(sandbox)
    granted = rehearsal.tokens("spends")

    rehearsal.operate("db", "backup", "--physical")
    rehearsal.spend("spends", 100)
    rehearsal.live(player, "comes_later")
    rehearsal.live(player, "buys_tokens_later")
    rehearsal.live(player, "leaves", scene("cancel", when="now"))
    moment = the_next_second(rehearsal)
    rehearsal.spend("spends", 7)
    rehearsal.live(player, "comes_last")
    rehearsal.live(player, "wants_the_money_back", scene("refund"))
    rehearsal.live(player, "disputes_last")
    archive_all(rehearsal)
    lose(rehearsal)
    player.play("comes_in_the_dark", USERS["comes_in_the_dark"].now)
    words = ["db", "restore", "--at", moment, "--to", str(rehearsal.home / "postgres" / "data"), "--yes"]
    rehearsal.operate(*words, *owner(rehearsal.home))
    rehearsal.postgres = start_postgres(rehearsal.home / "postgres", port=rehearsal.postgres.port)

    rehearsal.assert_equals_stripe(sandbox)
    # The application's own writes after that moment are lost for good.
    assert rehearsal.tokens("spends") == granted - 100
    # The server is on a new timeline. It is backed up again once an operator confirms that it is the real server.
    assert "00000002.history.gz" not in os.listdir(rehearsal.home / "backups" / "test-wal")
    rehearsal.operate("db", "backup", "--physical", "--setup-archiving")
    assert "00000002.history.gz" in os.listdir(rehearsal.home / "backups" / "test-wal")


def test_a_dump_is_restored_into_an_empty_database_and_catches_up(rehearsal: Rehearsal, sandbox: Sandbox) -> None:
    player = rehearsal.begin(sandbox)
    granted = rehearsal.tokens("spends")
    rehearsal.spend("spends", 100)

    rehearsal.operate("db", "backup")
    for user in ("comes_later", "buys_tokens_later", "comes_last", "disputes_last"):
        rehearsal.live(player, user)
    rehearsal.live(player, "leaves", scene("cancel", when="now"))
    rehearsal.live(player, "wants_the_money_back", scene("refund"))
    rehearsal.postgres.drop_database("daemon")
    player.play("comes_in_the_dark", USERS["comes_in_the_dark"].now)
    rehearsal.postgres.create_database("daemon")
    rehearsal.operate("db", "restore", "--yes")

    rehearsal.assert_equals_stripe(sandbox)
    assert rehearsal.tokens("spends") == granted - 100


def the_next_second(rehearsal: Rehearsal) -> str:
    """The present time, to which the database is restored."""
    with psycopg.connect(rehearsal.daemon.database_url) as conn:
        row = conn.execute("select to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')").fetchone()
    assert row is not None
    return str(row[0])


def archive_all(rehearsal: Rehearsal) -> None:
    """Archive the WAL now, as archive_timeout would within a minute."""
    with psycopg.connect(rehearsal.daemon.database_url, autocommit=True) as conn:
        row = conn.execute("select pg_walfile_name(pg_switch_wal())").fetchone()
    assert row is not None
    archive = rehearsal.home / "backups" / "test-wal"
    eventually(lambda: (archive / f"{row[0]}.gz").exists())


def lose(rehearsal: Rehearsal) -> None:
    """Destroy the server and its disk."""
    postgres: Postgres = rehearsal.postgres
    postgres.kill()
    postgres.close()
    shutil.rmtree(rehearsal.home / "postgres" / "data")


def owner(home: Path) -> list[str]:
    """The command prefix to run as the folder's owner if the tests run as root, because PostgreSQL refuses root."""
    return ["--owner", pwd.getpwuid((home / "postgres").stat().st_uid).pw_name] if os.geteuid() == 0 else []
