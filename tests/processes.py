"""Start the daemon's real processes as an operator does, and deliver events as Stripe does."""

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from worker.dev.servers import free_port

SECRET = "whsec_test"


def sign(body: bytes, *, secret: str = SECRET, timestamp: int | None = None) -> str:
    """Return a Stripe-Signature header for the body."""
    moment = str(int(time.time()) if timestamp is None else timestamp)
    digest = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def deliver(connection: http.client.HTTPConnection, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """Deliver an event, and return the status and the JSON of the webhook endpoint's answer."""
    sent = {"content-type": "application/json", "stripe-signature": sign(body)}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/webhooks/stripe", body, sent)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def eventually(read: Callable[[], Any], *, within: float = 30) -> Any:
    """Call `read` until it returns a true value, and return that. Fail with the last value after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := read()):
        assert time.monotonic() < deadline, f"still {value!r} after {within} s"
        time.sleep(0.02)
    return value


class Daemon:
    """The daemon's processes on one database and one broker."""

    def __init__(self, database_url: str, redis_url: str, logs: Path, **env: str) -> None:
        self.database_url, self.port = database_url, free_port()
        self.webhook = f"http://127.0.0.1:{self.port}/webhooks/stripe"
        self._logs = logs
        # New processes run this source tree, unless a test names the tree of another release.
        self.source = Path(__file__).parents[1]
        self.env = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_LIVEMODE": "false",
            "APP_ENV": "test",
            "API_TOKEN": "token",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "WAKE_INTERVAL": "1",
            **env,
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a process in its own session, so that it can be killed with its children."""
        with (self._logs / f"{command[0]}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", *command],
                env=self.env,
                cwd=self.source,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_web(self) -> None:
        self.start("web")
        eventually(self._is_healthy)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill with -9, including the children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.processes:
            self.kill(process)

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            yield connection
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        with self.connection() as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def count(self, query: str) -> int:
        with psycopg.connect(self.database_url) as conn:
            row = conn.execute(query).fetchone()
        return int(row[0]) if row else 0

    def wait_until_applied(self, *, within: float = 60) -> None:
        eventually(lambda: self.count("select count(*) from sync.events where status = 'pending'") == 0, within=within)

    def logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')}" for log in sorted(self._logs.iterdir()))

    def _is_healthy(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/healthz")[0] == 200
        return False
