"""Connections to Postgres: their encryption, session settings, roles and number."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.processes import eventually
from worker.cli.doctor.connections import Budget, findings
from worker.config import address
from worker.config import settings as config
from worker.config.settings import ConfigError, Pooler, Settings
from worker.dev import installs
from worker.dev.servers import Postgres, start_postgres
from worker.postgres import server
from worker.postgres.pool import UNAVAILABLE, connect, hint, outlive, owner_conninfo, pool

REMOTE = "postgresql://u@db.example.com/app"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("postgresql://u@127.0.0.1/app", True),
        ("postgresql://u@[::1]/app", True),
        ("postgresql://localhost/app", True),
        ("postgresql:///app", True),
        ("host=/run/postgresql dbname=app", True),
        ("postgresql://127.0.0.1,localhost:5433/app", True),
        (REMOTE, False),
        ("postgresql://10.0.0.5/app", False),
        ("postgresql://localhost,db.example.com/app", False),
        ("host=localhost hostaddr=10.0.0.5", False),
        ("service=production", False),
    ],
)
def test_only_loopback_addresses_and_sockets_are_local(url: str, local: bool) -> None:
    assert address.is_local(url) is local


def test_the_environment_variables_of_libpq_are_considered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    monkeypatch.setenv("PGSSLMODE", "verify-full")

    assert not address.is_local("postgresql:///app")
    assert address.sslmode("postgresql:///app") == "verify-full"


def load(**changes: Any) -> Settings:
    return config.load(redis_url="redis://127.0.0.1", **changes)


@pytest.mark.parametrize("mode", [None, "disable", "allow", "prefer"])
def test_plain_connections_to_another_host_are_refused_in_production(mode: str | None) -> None:
    for changes in ({"database_sslmode": mode}, {"database_url": f"{REMOTE}?sslmode={mode}" if mode else REMOTE}):
        with pytest.raises(ConfigError, match=r"DATABASE_SSLMODE: .*verify-full .*DATABASE_ALLOW_PLAIN=true"):
            load(**{"database_url": REMOTE} | changes)
    with pytest.raises(ConfigError, match="DATABASE_OWNER_URL"):
        load(database_url="postgresql://localhost/app", database_owner_url=REMOTE, database_sslmode=mode)


@pytest.mark.parametrize(
    "changes",
    [
        {"database_sslmode": "verify-full"},
        {"database_sslmode": "require"},
        {"database_url": f"{REMOTE}?sslmode=verify-full&sslrootcert=/etc/ca.pem"},
        {"database_allow_plain": "true"},
        {"app_env": "staging"},
        {"database_url": "postgresql://127.0.0.1/app"},
    ],
)
def test_an_encrypted_local_or_explicitly_allowed_connection_is_accepted(changes: dict[str, str]) -> None:
    load(**{"database_url": REMOTE} | changes)


def test_every_session_follows_the_settings(settings: Settings) -> None:
    limited = settings.model_copy(update={"database_statement_timeout": 7, "database_idle_in_transaction_timeout": 9})

    with connect(limited, application="test") as conn:
        session = server.session(
            conn, ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone")
        )

    assert session == {
        "statement_timeout": "7000",
        "lock_timeout": "20000",
        "idle_in_transaction_session_timeout": "9000",
        "TimeZone": "UTC",
    }


def test_behind_a_pooler_no_session_setting_is_sent_and_no_statement_is_prepared(settings: Settings) -> None:
    with connect(settings.model_copy(update={"database_pooler": Pooler.TRANSACTION}), application="test") as conn:
        for _ in range(20):
            conn.execute("select 1")

        assert conn.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)
        assert server.session(conn, ("statement_timeout",)) == {"statement_timeout": "0"}
        time_outs = {what: (ok, detail) for what, ok, detail in findings(conn, settings, webs=None, workers=None)}[
            "time-outs"
        ]
    assert not time_outs[0]
    assert "DATABASE_POOLER=transaction" in time_outs[1]


def test_migrations_may_use_another_connection(settings: Settings) -> None:
    assert "dbname=app" in owner_conninfo(
        settings.model_copy(update={"database_owner_url": "postgresql://127.0.0.1/app"})
    )
    assert "sslmode=require" in owner_conninfo(settings.model_copy(update={"database_sslmode": "require"}))


def test_a_connection_to_a_server_that_became_read_only_is_replaced(settings: Settings) -> None:
    with pool(settings, application="test", size=1) as connections:
        with connections.connection() as conn:
            before = conn.info.backend_pid
            conn.execute("set default_transaction_read_only = on")

        with connections.connection() as conn:
            conn.execute("insert into users (id) values ('u')")
            assert conn.info.backend_pid != before


def test_a_refused_write_is_retried_like_an_outage() -> None:
    tries, waited = iter([errors.ReadOnlySqlTransaction("read-only"), None]), []

    def work() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "done"

    assert outlive(work, seconds=60, waiting=lambda error, _: waited.append(error), sleep=lambda _: None) == "done"
    assert [type(error) for error in waited] == [errors.ReadOnlySqlTransaction]
    assert isinstance(waited[0], UNAVAILABLE)


def test_the_budget_names_the_setting_that_frees_the_most_connections(settings: Settings) -> None:
    sized = settings.model_copy(update={"database_pool_size": 10, "web_concurrency": 2, "worker_concurrency": 4})

    assert Budget(settings=sized, webs=2, workers=3).total == 2 * 2 * 2 * 10 + 3 * ((4 + 1 + 2) * 2 + 2) + 3
    assert "WEB_CONCURRENCY" in Budget(settings=sized, webs=2, workers=3).fix
    assert "WORKER_CONCURRENCY" in Budget(settings=sized, webs=2, workers=30).fix
    one = sized.model_copy(update={"web_concurrency": 1})
    assert "DATABASE_POOL_SIZE" in Budget(settings=one, webs=2, workers=1).fix


def test_doctor_compares_the_largest_number_of_connections_with_the_free_ones(settings: Settings) -> None:
    with connect(settings, application="test") as conn:
        free = server.room(conn).free
        others = psycopg.connect(settings.database_url, application_name="somebody else's")
        few = {what: (ok, detail) for what, ok, detail in findings(conn, settings, webs=1, workers=1)}["connections"]
        many = {what: (ok, detail) for what, ok, detail in findings(conn, settings, webs=1, workers=500)}["connections"]

        assert server.room(conn).free < free
        others.close()
    assert few[0]
    assert not many[0]
    assert "lower WORKER_CONCURRENCY" in many[1]
    assert "6000 of worker (500 x (5 child processes x 2 + 2 of backfills))" in many[1]


def test_the_connection_limit_of_the_database_is_considered(settings: Settings) -> None:
    with connect(settings, application="test") as conn:
        conn.execute(f"alter database {conn.info.dbname} connection limit 17")

        assert server.room(conn).allowed == 17


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server with a certificate for `localhost` from its own authority: the server's address, and the folder of the files."""
    version = next((version for version in ("15", "17") if _speaks_tls(version)), None)
    if version is None or shutil.which("openssl") is None:
        pytest.skip("no Postgres with OpenSSL here (the wheel of 16 and 18 has none): apt-get install postgresql-15")
    with tempfile.TemporaryDirectory(prefix="stripe-sync-tls-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        for name in ("authority", "stranger"):
            _openssl("req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", f"/CN={name}",
                     "-keyout", f"{home}/{name}.key", "-out", f"{home}/{name}.crt")  # fmt: skip
        _openssl("req", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost",
                 "-keyout", f"{home}/server.key", "-out", f"{home}/server.csr")  # fmt: skip
        _openssl("x509", "-req", "-in", f"{home}/server.csr", "-CA", f"{home}/authority.crt",
                 "-CAkey", f"{home}/authority.key", "-CAcreateserial", "-days", "2", "-out", f"{home}/server.crt")  # fmt: skip
        running = start_postgres(home / "postgres", version=version)
        try:
            _with_certificate(running, home)
            yield f"postgresql://postgres@localhost:{running.port}/postgres", home
        finally:
            running.close()


def _speaks_tls(version: str) -> bool:
    try:
        program = installs.find(version).binaries / "pg_config"
    except installs.ServerError:
        return False
    built = subprocess.run([str(program), "--configure"], capture_output=True, text=True, check=False)
    return any(word in built.stdout for word in ("with-openssl", "with-ssl=openssl"))


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def _with_certificate(running: Postgres, home: Path) -> None:
    data = running.home / "data"
    owner = data.stat()
    for name in ("server.crt", "server.key"):
        shutil.copy(home / name, data / name)
        (data / name).chmod(0o600)
        os.chown(data / name, owner.st_uid, owner.st_gid)
    with psycopg.connect(running.dsn, autocommit=True) as conn:
        conn.execute("alter system set ssl = on")
        conn.execute("select pg_reload_conf()")
    eventually(lambda: _accepts_tls(running))


def _accepts_tls(running: Postgres) -> bool:
    try:
        psycopg.connect(running.dsn, sslmode="require").close()
    except psycopg.OperationalError:
        return False
    return True


def test_verify_full_accepts_the_server_and_refuses_another(settings: Settings, tls: tuple[str, Path]) -> None:
    url, home = tls

    def encryption(**changes: Any) -> tuple[bool, str]:
        with connect(settings.model_copy(update=changes), application="test") as conn:
            checks = findings(conn, settings.model_copy(update=changes), webs=1, workers=1)
            return next((ok, detail) for what, ok, detail in checks if what == "encryption")

    good, bad = (f"{url}?sslrootcert={home}/{name}.crt" for name in ("authority", "stranger"))
    assert "identity is verified" in encryption(database_url=good, database_sslmode="verify-full")[1]
    assert "does not verify" in encryption(database_url=url, database_sslmode="require")[1]
    for refused in (bad, good.replace("localhost", "127.0.0.1")):
        with pytest.raises(psycopg.OperationalError, match=r"certificate"):
            encryption(database_url=refused, database_sslmode="verify-full")
    with pytest.raises(psycopg.OperationalError) as without:
        encryption(database_url=f"{url}?sslrootcert=/nowhere.crt", database_sslmode="verify-full")
    assert "sslrootcert=FILE" in hint(without.value)
