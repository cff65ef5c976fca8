"""The previous release runs on this release's schema and is then replaced, and nothing is lost.

The previous release is the newest tag like `v1.2.3` that is older than the version in pyproject.toml. Its source runs with
the packages that are installed here. TEST_UPGRADE_FROM names another revision. Without such a tag the test is skipped.
"""

import io
import os
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.backends import Backend
from tests.processes import Daemon
from tests.sandboxes import Sandbox
from tests.system.test_convergence import Player, compare_mirror, compare_users
from tests.system.test_upgrade import LIVES, end, sandbox, wait_until_applied

__all__ = ["sandbox"]

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
USERS = [f"user_{number}" for number in range(len(LIVES))]


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout


def _release_before() -> str | None:
    """The tag of the newest release that is older than this source, or None."""
    if revision := os.environ.get("TEST_UPGRADE_FROM"):
        return revision
    if not (ROOT / ".git").exists():
        return None
    ours = _numbers(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    tags = [tag for tag in _git("tag", "--list", "v*").decode().split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    return max((tag for tag in tags if _numbers(tag) < ours), key=_numbers, default=None)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The source of the previous release."""
    tag = _release_before()
    if tag is None:
        pytest.skip("no release older than this one is tagged: TEST_UPGRADE_FROM=REVISION names one")
    source = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", tag))) as archive:
        archive.extractall(source, filter="data")
    return source


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path, before: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    with psycopg.connect(database) as conn:
        conn.execute(
            "insert into users (id, email) select id, id || '@example.com' from unnest(%s::text[]) as u (id)", (USERS,)
        )
    (tmp_path / "logs").mkdir()
    running = Daemon(database, backend.redis_url, tmp_path / "logs", EVENT_LEASE="3")
    yield running
    running.stop()


def test_the_previous_release_works_on_this_schema_and_is_replaced(
    daemon: Daemon, sandbox: Sandbox, before: Path
) -> None:
    player, lived = Player(sandbox), {}
    daemon.source, ours = before, daemon.source
    daemon.start_web()
    old = [daemon.processes[0], daemon.start("worker"), daemon.start("beat")]
    for user, life in zip(USERS[:3], LIVES[:3], strict=True):
        player.play(user, life.now)
        lived[user] = life
    wait_until_applied(daemon, sandbox)
    compare_mirror(daemon, sandbox)
    compare_users(daemon, sandbox, lived)

    daemon.source = ours
    new = daemon.start("worker")
    for user, life in zip(USERS[3:], LIVES[3:], strict=True):
        player.play(user, life.now)
        lived[user] = life
    for process in old:
        end(process)
    daemon.start_web()

    wait_until_applied(daemon, sandbox)
    compare_mirror(daemon, sandbox)
    compare_users(daemon, sandbox, lived)
    assert new.poll() is None
