"""`stripe-sync db backup`, `backups` and `restore`, as an operator runs them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.backends import Backend

pytestmark = pytest.mark.system

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(backend: Backend, database: str, tmp_path: Path) -> Run:
    env = {
        "DATABASE_URL": database,
        "REDIS_URL": backend.redis_url,
        "APP_ENV": "test",
        "BACKUP_DIR": str(tmp_path / "backups"),
    }

    def command(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "worker", "db", *words],
            env=env | changes,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return command


def test_a_backup_is_made_listed_and_restored(run: Run, conn: psycopg.Connection, empty_database: str) -> None:
    conn.execute("insert into users (id, tokens) values ('ann', 5000)")

    made = run("backup")
    listed = run("backups", "--verify", "--json")
    unasked = run("restore", DATABASE_URL=empty_database)
    restored = run("restore", "--yes", DATABASE_URL=empty_database)
    again = run("restore", "--yes", DATABASE_URL=empty_database)

    assert made.returncode == 0, made.stderr
    assert "Backing up test_" in made.stdout
    assert "Made test-" in made.stdout
    [backup] = json.loads(listed.stdout)
    assert backup["faults"] == []
    assert (backup["environment"], backup["kind"], backup["bytes"] > 0) == ("test", "logical", True)
    assert unasked.returncode == 1
    assert "use --yes" in unasked.stderr
    assert restored.returncode == 0, restored.stderr
    assert backup["name"] in restored.stdout
    assert "sync all" in restored.stdout
    assert again.returncode == 1
    assert "is not empty: it has analytics.churn_monthly" in again.stderr
    with psycopg.connect(empty_database) as look:
        assert look.execute("select tokens from users").fetchall() == [(5000,)]


def test_a_damaged_backup_sets_the_exit_code(run: Run, tmp_path: Path) -> None:
    run("backup")
    [dump] = (tmp_path / "backups").glob("*/database.dump")
    dump.write_bytes(b"")

    spoken = run("backups", "--verify")

    assert spoken.returncode == 1
    assert "database.dump has changed since the backup" in " ".join(spoken.stdout.split())


@pytest.mark.parametrize(
    ("words", "changes", "expected"),
    [
        (["backup"], {"BACKUP_DIR": ""}, "BACKUP_DIR is not set"),
        (["backup"], {"BACKUP_DIR": "/proc/backups"}, "/proc/backups can't be written to"),
        (["backup"], {"BACKUP_PG_BIN": "/nowhere"}, "set BACKUP_PG_BIN"),
        (["backup", "--physical"], {}, "--setup-archiving"),
        (["restore", "--at", "latest"], {}, "use --at TIME and --to DIR together"),
        (["restore", "--at", "noon", "--to", "new"], {}, "is not a point in time"),
        (["restore", "--at", "latest", "--to", "new"], {}, "no physical backup of test"),
        (["restore", "--yes"], {}, "no logical backup of test"),
        (["restore", "nightly", "--yes"], {}, "there is no backup nightly"),
        (["backups"], {"BACKUP_KEEP_DAILY": "-1"}, "BACKUP_KEEP_DAILY"),
    ],
)
def test_a_fault_is_reported_with_its_fix(run: Run, words: list[str], changes: dict[str, str], expected: str) -> None:
    done = run(*words, **changes)

    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_having_no_backups_yet_is_not_an_error(run: Run) -> None:
    assert "There are no backups" in run("backups").stdout
    assert json.loads(run("backups", "--json").stdout) == []
