"""The real processes with their own servers: Postgres, Valkey, web, one worker and beat. All are stopped at the end."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import events, objects
from benchmarks.client import Connection
from worker.dev.servers import LOOPBACK, Postgres, free_port, start_postgres, start_valkey

READY_SECONDS, STOP_SECONDS = 60, 40
WARM_UP = 600
API_TOKEN = "bench"
# Numbers from here on are used only by the warm-up.
WARM_UP_FIRST = 900_000_000


class Stuck(Exception):
    """An expected state was not reached in time."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything that runs, and its addresses."""

    port: int
    database_url: str
    redis_url: str
    postgres: Postgres
    web: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    beat: subprocess.Popen[bytes] | None

    @property
    def pids(self) -> dict[str, int]:
        return {"web": self.web.pid, "worker": self.worker.pid, "postgres": self.postgres.pid}

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database_url, autocommit=True)

    def drained(self, conn: psycopg.Connection[Any], *, seconds: float) -> None:
        """Wait until no event is pending. The check reads only the index of pending events."""
        wait_for(
            lambda: conn.execute("select from sync.events where status = 'pending' limit 1").fetchone() is None,
            what="an empty inbox",
            seconds=seconds,
            pause=0.005,
        )

    @contextlib.contextmanager
    def worker_stopped(self) -> Iterator[None]:
        """Stop the worker during this block. Afterwards it finds all events that arrived meanwhile, so its batches are full."""
        os.killpg(self.worker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.worker.pid, signal.SIGCONT)

    def settle(self) -> None:
        """Write dirty pages of earlier measurements to disk, so that they do not count for the next measurement."""
        with self.connect() as conn:
            conn.execute("checkpoint")
        time.sleep(1)


@contextlib.contextmanager
def running(
    settings: Mapping[str, str] | None = None,
    *,
    beat: bool = True,
    through: Callable[[str], contextlib.AbstractContextManager[str]] = contextlib.nullcontext,
) -> Iterator[Stack]:
    """The stack with these additional settings, migrated, with a catalogue, and warmed up. `through` starts a proxy between the
    daemon and Postgres, and gives the URL for the daemon."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stripe-sync-bench-")))
        home.chmod(0o711)  # Postgres may run under another account
        postgres = start_postgres(home / "postgres")
        stack.callback(postgres.close)
        valkey = start_valkey(home / "valkey")
        stack.callback(valkey.close)
        database_url, port = postgres.create_database("bench"), free_port()
        seen_url = stack.enter_context(through(database_url))
        env = _environment(database_url=seen_url, redis_url=valkey.url, port=port) | dict(settings or {})
        migrate(database_url)

        def start(name: str, *words: str) -> subprocess.Popen[bytes]:
            with (home / f"{name}.log").open("wb") as log:
                process = subprocess.Popen(
                    _command(*words),
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C is handled here; the processes are stopped after the report.
                    start_new_session=True,
                )
            stack.callback(_stop, process)
            return process

        made = Stack(
            port,
            database_url,
            valkey.url,
            postgres,
            start("web", "web"),
            start("worker", "worker", *(() if settings else ("--concurrency", "1"))),
            start("beat", "beat") if beat else None,
        )
        try:
            wait_for(lambda: _is_ready(port), what="/readyz to say ok", seconds=READY_SECONDS)
            _warm_up(made)
        except Exception:
            for log_file in sorted(home.glob("*.log")):
                sys.stderr.write(f"--- the end of {log_file.name}\n{log_file.read_text(errors='replace')[-2000:]}\n")
            raise
        yield made


def migrate(database_url: str) -> None:
    """Bring the database to head."""
    env = _environment(database_url=database_url, redis_url="redis://127.0.0.1:1/0", port=1)
    subprocess.run(_command("db", "migrate", "--yes"), env=env, check=True, stdout=subprocess.DEVNULL)


def wait_for(is_true: Callable[[], bool], *, what: str, seconds: float, pause: float = 0.05) -> None:
    """Wait until it is true; raises Stuck if that takes too long."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise Stuck(f"waited {seconds:.0f} s for {what}, in vain")
        time.sleep(pause)


def _warm_up(stack: Stack) -> None:
    """Send a catalogue, so that subscriptions find their prices, and some events of every kind."""
    made = [events.around("product.created", objects.product(number)) for number in range(objects.PRODUCTS)]
    made += [events.around("price.created", objects.price(number)) for number in range(objects.PRICES)]
    made += events.mixed(WARM_UP, first=WARM_UP_FIRST)
    connection = Connection(stack.port)
    try:
        for request in events.requests(made, port=stack.port):
            connection.post(request)
    finally:
        connection.close()
    with stack.connect() as conn:
        stack.drained(conn, seconds=READY_SECONDS)


def _environment(*, database_url: str, redis_url: str, port: int) -> dict[str, str]:
    """The environment of the processes, without an API key or an address of Stripe, and without the STRIPE_ settings of this
    shell."""
    kept = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
    }
    return kept | {
        "APP_ENV": "production",
        "API_TOKEN": API_TOKEN,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STRIPE_LIVEMODE": "false",
        "STRIPE_WEBHOOK_SECRET": events.SECRET,
        "HOST": LOOPBACK,
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
    }


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "worker", *words]


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the process; kill it and its children if it does not end."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
