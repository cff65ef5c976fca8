"""Fixtures for tests of adoption: databases made by an application, and the daemon on them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from schema.names import Names
from tests import factories
from tests.backends import Backend
from tests.factories import Json
from tests.processes import SECRET, sign
from worker.adoption import adopt as job
from worker.adoption.adopt import Adopted, Report
from worker.config.settings import AppEnv, Settings
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.postgres.pool import connect
from worker.web.webhook import read
from worker.writers.apply import Applier, compute_waiting

OURS = Names()
Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Application:
    """A database of an application, with helpers for tests. `sql` runs as the application."""

    def __init__(self, database: str, backend: Backend, stack: ExitStack) -> None:
        self.database = database
        self.settings = Settings(database_url=database, redis_url=backend.redis_url, app_env=AppEnv.TEST)
        self._stack = stack
        self.conn = stack.enter_context(psycopg.connect(database, autocommit=True))

    def sql(self, query: str) -> list[tuple[object, ...]]:
        actual = self.conn.execute(query.encode())
        return actual.fetchall() if actual.description else []

    def daemon(self) -> psycopg.Connection:
        """A connection as the daemon opens it."""
        return self._stack.enter_context(connect(self.settings, application="test"))

    def look(self, names: Names = OURS, *, is_membership: bool = True) -> Report:
        return job.look(self.daemon(), names, is_membership=is_membership)

    def adopt(self, names: Names = OURS, *, is_membership: bool = True, relax: bool = False) -> Adopted:
        return job.adopt(self.daemon(), names, is_membership=is_membership, relax=relax)

    def apply(self, *events: Json, off: bool = False) -> None:
        """Store the events as the webhook endpoint does, and drain the inbox."""
        conn, now = self.daemon(), 1_000
        bodies = [factories.encoded(event) for event in events]
        inbox.store(conn, [read(body, sign(body, timestamp=now), [SECRET], now=now) for body in bodies])
        applier = Applier(livemode=False, policy=Policy(off=off))
        applier.drain(conn)
        compute_waiting(conn, applier.policy)
        assert self.sql("select id, last_error from sync.events where status <> 'done'") == []


@pytest.fixture
def application(empty_database: str, backend: Backend) -> Iterator[Callable[[str], Application]]:
    """Make an application whose database the SQL creates."""
    with ExitStack() as stack:

        def make(sql: str = "") -> Application:
            made = Application(empty_database, backend, stack)
            made.sql(sql)
            return made

        yield make


@pytest.fixture
def run(empty_database: str, backend: Backend) -> Run:
    """Run stripe-sync on the application's database."""
    env = {"DATABASE_URL": empty_database, "REDIS_URL": backend.redis_url, "APP_ENV": "test"}

    def command(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "worker", *words],
            env=env | changes,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return command
