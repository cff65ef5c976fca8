"""Fixtures for all tests: real servers, started once per run, and a separate database per test. Only loopback is allowed."""

import itertools
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import structlog
from pydantic import SecretStr

import migrations
from tests import backends
from tests.adoption.names import EVERYTHING_ELSE
from tests.backends import Backend
from worker.adoption import adopt
from worker.config.settings import AppEnv, Settings

pytest_plugins = ["tests.draining"]

# If TEST_NAMES is `mapped`, tests use tables with an application's own names, as after `stripe-sync db adopt`.
NAMES = os.environ.get("TEST_NAMES", "")
_LOOPBACK = ("127.", "::1", "localhost", "172.17.", "0.0.0.0")
_connect = socket.socket.connect
_numbers = itertools.count()


_KIND = pytest.StashKey[str]()
# Programs that some tests need; those tests are skipped if the program is missing. Names after the first are alternatives.
_OPTIONAL = (
    ("npm",), ("chromium", "chromium-browser", "google-chrome"), ("promtool",), ("pgbouncer",), ("systemd-analyze",),
    ("hadolint",), ("zensical",),
)  # fmt: skip
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", str(Path(sys.executable).parent)))


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KIND] = backends.choose()


def pytest_report_header(config: pytest.Config) -> str:
    kind = config.stash[_KIND]
    servers = f"servers: {kind}" + ("" if kind == "given" else f", PostgreSQL {backends.postgres_version()}")
    missing = [names[0] for names in _OPTIONAL if not any(shutil.which(name, path=_PATH) for name in names)]
    return servers + (f"; not installed, so their tests are skipped: {', '.join(missing)}" if missing else "")


@pytest.fixture(scope="session", autouse=True)
def _no_way_out() -> Iterator[None]:
    """Fail any test that connects to another machine. Only given servers may be on other machines."""
    given = [os.environ.get(name) for name in ("TEST_DATABASE_URL", "TEST_REDIS_URL")]
    hosts = {urlsplit(url).hostname for url in given if url}

    def connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK) and address[0] not in hosts:
            raise AssertionError(f"a test tried to reach {address[0]}")
        _connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _no_logging_left() -> Iterator[None]:
    """Fail a test that configures logging and does not reset it. Loggers used afterwards would keep the test's log level."""
    yield
    assert not structlog.get_config()["cache_logger_on_first_use"], "call structlog.reset_defaults()"


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with tempfile.TemporaryDirectory(prefix="stripe-sync-tests-") as home:
        Path(home).chmod(0o755)  # as root, Postgres runs under another account, which needs access to the folder
        with backends.start(request.config.stash[_KIND], Path(home)) as running:
            yield running


@pytest.fixture(scope="session")
def template(backend: Backend) -> Iterator[str]:
    """The name of a database at the newest revision, from which each test's database is cloned."""
    name = f"template_{os.getpid()}"
    made = backend.create_database(name)
    if NAMES == "mapped":
        with psycopg.connect(made, autocommit=True) as conn:
            adopt.adopt(conn, EVERYTHING_ELSE, is_membership=True)
    else:
        migrations.migrate(made)
    yield name
    backend.drop_database(name)


@pytest.fixture
def empty_database(backend: Backend) -> Iterator[str]:
    """The DSN of an empty database."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield backend.create_database(name)
    backend.drop_database(name)


@pytest.fixture
def database(backend: Backend, template: str) -> Iterator[str]:
    """The DSN of this test's own database, at the newest revision."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    made = backend.create_database(name, template=template)
    yield f"{made}?options=-csearch_path%3Dsync_names,public" if NAMES == "mapped" else made
    backend.drop_database(name)


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    """An open connection in autocommit, as the jobs use them."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def settings(database: str, backend: Backend) -> Settings:
    return Settings(
        database_url=database,
        redis_url=backend.redis_url,
        app_env=AppEnv.TEST,
        stripe_webhook_secret=(SecretStr("whsec_test"),),
        stripe_livemode=False,
        host="127.0.0.1",
    )
