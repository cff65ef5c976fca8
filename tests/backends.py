"""The tests' Postgres and Valkey: given servers, else servers in Docker, else embedded ones. TEST_BACKEND chooses a kind.

TEST_POSTGRES chooses the version (15 to 18) of a Postgres that the tests start, or the `bin` folder of its programs.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from worker.dev import installs
from worker.dev.servers import start_postgres, start_valkey

# Each test makes and drops a database, and none of them needs durable data.
_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


@dataclass(frozen=True)
class Backend:
    """Running servers: the maintenance DSN of a Postgres, and the URL of a Redis or Valkey."""

    kind: str
    postgres_dsn: str
    redis_url: str

    def dsn_for(self, database: str) -> str:
        return urlsplit(self.postgres_dsn)._replace(path=f"/{database}").geturl()

    def create_database(self, name: str, *, template: str | None = None) -> str:
        statement = sql.SQL("create database {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" template {}").format(sql.Identifier(template))
        self._administer(statement)
        return self.dsn_for(name)

    def drop_database(self, name: str) -> None:
        self._administer(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.postgres_dsn, autocommit=True) as conn:
            conn.execute(statement)


def choose() -> str:
    """Return `given`, `docker` or `embedded`: the value of TEST_BACKEND, or the first kind that is available."""
    asked = os.environ.get("TEST_BACKEND", "")
    given = bool(os.environ.get("TEST_DATABASE_URL") and os.environ.get("TEST_REDIS_URL"))
    if bool(os.environ.get("TEST_DATABASE_URL")) != bool(os.environ.get("TEST_REDIS_URL")):
        raise SystemExit("give both TEST_DATABASE_URL and TEST_REDIS_URL, or neither")
    if asked == "given" and not given:
        raise SystemExit("TEST_BACKEND=given needs TEST_DATABASE_URL and TEST_REDIS_URL")
    if asked == "docker" and not _docker_answers():
        raise SystemExit("TEST_BACKEND=docker, but no Docker engine answers")
    if asked not in ("", "given", "docker", "embedded"):
        raise SystemExit(f"TEST_BACKEND={asked}: say given, docker or embedded")
    chosen = asked or ("given" if given else "docker" if _docker_answers() else "embedded")
    if chosen == "given" and os.environ.get("TEST_POSTGRES"):
        raise SystemExit(
            "TEST_POSTGRES chooses a server to start, but TEST_DATABASE_URL gives a running one: set only one of them"
        )
    return chosen


def postgres_version() -> str:
    """The version of Postgres to start if no server is given."""
    return os.environ.get("TEST_POSTGRES") or installs.DEFAULT


@contextlib.contextmanager
def start(kind: str, home: Path) -> Iterator[Backend]:
    """Start servers of that kind, or use the given ones. At the end, stop the servers that were started."""
    with contextlib.ExitStack() as stack:
        if kind == "given":
            yield Backend(kind, os.environ["TEST_DATABASE_URL"], os.environ["TEST_REDIS_URL"])
        elif kind == "docker":
            yield _docker(stack)
        else:
            postgres = start_postgres(home / "postgres", settings=_SETTINGS, version=postgres_version())
            stack.callback(postgres.close)
            valkey = start_valkey(home / "valkey")
            stack.callback(valkey.close)
            yield Backend(kind, postgres.dsn, valkey.url)


def _docker_answers() -> bool:
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    import docker  # type: ignore[import-untyped]  # comes with testcontainers, has no types

    try:
        client: Any = docker.from_env(timeout=3)
    except docker.errors.DockerException:
        return False
    with contextlib.closing(client):
        try:
            return bool(client.ping())
        except docker.errors.DockerException:
            return False


def _docker(stack: contextlib.ExitStack) -> Backend:
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.community.redis import RedisContainer

    postgres = stack.enter_context(PostgresContainer(f"postgres:{postgres_version()}", driver=None))
    redis = stack.enter_context(RedisContainer("valkey/valkey:9"))
    url = f"redis://{redis.get_container_host_ip()}:{redis.get_exposed_port(6379)}/0"
    return Backend("docker", postgres.get_connection_url(), url)
