"""`stripe-sync dev`: start servers, sandbox, web, worker and beat, and migrate the database. Ctrl-C stops everything."""

import contextlib
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from honcho.manager import Manager
from honcho.printer import Printer

from worker.config.errors import Permanent
from worker.dev import tether
from worker.dev.servers import LOOPBACK, free_port, start_postgres, start_valkey

_ROOT = Path(__file__).parent.parent.parent
_DATABASE = "stripe_sync"
_SANDBOX_KEY, _SANDBOX_SECRET = "sk_test_sandbox", "whsec_sandbox"
_PROCESSES = ("web", "worker", "beat")


class Setup:
    """The environment of the processes, the sandbox's address (None without a sandbox), the folder, and the supervisor's
    lock."""

    def __init__(self, env: dict[str, str], *, sandbox: str | None, home: Path, lock: str) -> None:
        self.env, self.sandbox, self.home, self.lock = env, sandbox, home, lock


def run(*, home: Path, port: int) -> int:
    """Start everything and wait for Ctrl-C. Returns 0 after Ctrl-C, else the exit code of the process that ended first."""
    with setup(home=home, port=port) as made:
        subprocess.run([*_command("db", "migrate", "--yes")], env=made.env, check=True, stdout=subprocess.DEVNULL)
        manager = Manager(Printer(sys.stdout, colour=sys.stdout.isatty()))
        if made.sandbox is not None:
            command = _tethered(made, _sandbox_command(made, port))
            manager.add_process("sandbox", command, env=made.env | {"PYTHONPATH": str(_ROOT)})
        for name in _PROCESSES:
            manager.add_process(name, _tethered(made, shlex.join(_command(name))), env=made.env)
        words = tether.command(made.lock, sys.executable, "-m", "worker.dev.show")
        show = subprocess.Popen(words, env=made.env, start_new_session=True)
        try:
            manager.loop()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(show.pid, signal.SIGTERM)
            show.wait()
        interrupted = manager.returncode in (130, 143)
        return 0 if interrupted else int(manager.returncode or 0)


@contextlib.contextmanager
def setup(*, home: Path, port: int) -> Iterator[Setup]:
    """Run an embedded server for each URL that the environment does not set, until the block ends."""
    _refuse_taken(port)
    home.mkdir(parents=True, exist_ok=True)
    env = {
        **os.environ,
        "APP_ENV": os.environ.get("APP_ENV", "development"),
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    env.setdefault("HOST", LOOPBACK)
    env.setdefault("API_TOKEN", "dev")
    if not env.get("CONSOLE_PASSWORD_HASH"):
        # `show` prints a sign-in link, so developers do not need the password.
        env.setdefault("CONSOLE_PASSWORD", secrets.token_urlsafe(16))
    env.setdefault("CONSOLE_WRITE", "on")
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    postgres_port, valkey_port, sandbox_port = preferred_ports(home)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(tether.held(home))
        if not env.get("DATABASE_URL"):
            postgres = start_postgres(home / "postgres", port=free_port(postgres_port))
            stack.callback(postgres.close)
            _end_with_us(lock, postgres.pid, signal.SIGINT)
            env["DATABASE_URL"] = postgres.create_database(_DATABASE)
        if not env.get("REDIS_URL"):
            valkey = start_valkey(home / "valkey", port=free_port(valkey_port))
            stack.callback(valkey.close)
            _end_with_us(lock, valkey.pid, signal.SIGTERM)
            env["REDIS_URL"] = valkey.url
        sandbox = None
        if not env.get("STRIPE_SECRET_KEY"):
            env["STRIPE_WEBHOOK_SECRET"] = env.get("STRIPE_WEBHOOK_SECRET") or _SANDBOX_SECRET
        if not env.get("STRIPE_SECRET_KEY") and (_ROOT / "sandbox" / "__main__.py").is_file():
            sandbox = f"http://{LOOPBACK}:{free_port(sandbox_port)}"
            env |= {"STRIPE_SECRET_KEY": _SANDBOX_KEY, "STRIPE_API_BASE": sandbox, "STRIPE_SYNC_SANDBOX": sandbox}
        if chosen := os.environ.get("LOG_FORMAT") or ("console" if sys.stdout.isatty() else None):
            env["LOG_FORMAT"] = chosen
        yield Setup(env, sandbox=sandbox, home=home, lock=lock)


def _sandbox_command(made: Setup, port: int) -> str:
    assert made.sandbox is not None
    secret = made.env["STRIPE_WEBHOOK_SECRET"].split(",")[0]
    options = {
        "--port": made.sandbox.rpartition(":")[2],
        "--webhook-url": f"http://{LOOPBACK}:{port}/webhooks/stripe",
        "--webhook-secret": secret,
        "--state": str(made.home / "sandbox.jsonl"),
    }
    words = [sys.executable, "-m", "sandbox", *(word for option in options.items() for word in option)]
    return shlex.join(words)


def _tethered(made: Setup, command: str) -> str:
    """The shell command that runs `command` until this process ends, even by kill -9."""
    return f"exec {shlex.join(tether.command(made.lock))} {command}"


def _end_with_us(lock: str, pid: int, death: signal.Signals) -> None:
    """End an embedded server when this process is killed. On Linux, the kernel does this."""
    if sys.platform != "linux":
        subprocess.Popen(tether.command(lock, "--signal", str(int(death)), str(pid)), start_new_session=True)


def preferred_ports(home: Path) -> tuple[int, int, int]:
    """The preferred ports of Postgres, Valkey and the sandbox.

    A folder always gets the same ports, so other tools can be configured with them. Each folder has its own ports, so a tool
    does not reach another folder's database by mistake.
    """
    first = 20_000 + zlib.crc32(bytes(home.resolve())) % 4_000 * 3
    return first, first + 1, first + 2


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "worker", *words]


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise Permanent(f"port {port} is taken ({error.strerror}): choose another with --port") from None
