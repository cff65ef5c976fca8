"""The command line as users run it: a process with an environment."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.backends import Backend

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def command_on(database: str, backend: Backend, **settings: str) -> Run:
    """`stripe-sync` with the given words on this database, without a terminal."""
    env = {"DATABASE_URL": database, "REDIS_URL": backend.redis_url, "APP_ENV": "test"} | settings

    def command(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "worker", *words],
            env=env | changes,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


@pytest.fixture
def run(backend: Backend, database: str) -> Run:
    """`stripe-sync` on this test's database."""
    return command_on(database, backend)
