"""A real sandbox, shared by all tests, and a webhook endpoint that records its deliveries."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe

ROOT = Path(__file__).parents[2]
SECRET = "whsec_of_the_tests"


@dataclass
class Sandbox:
    """A running sandbox, and ways to send it requests."""

    url: str
    process: subprocess.Popen[str]
    transport: stripe.HTTPClient = field(default_factory=stripe.RequestsClient)

    def http(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Send a request, and return its status, headers (in lower case) and JSON."""
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(text)
        finally:
            connection.close()

    def api(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Send an API request with a key. Header names have underscores for hyphens."""
        given = {"Authorization": "Bearer sk_test_sandbox"}
        given.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.http(method, path, body, given)

    def control(self, name: str, **params: Any) -> Any:
        """POST a control, which must succeed."""
        status, _, answer = self.http("POST", f"/_sandbox/{name}", json.dumps(params))
        assert status == 200, answer
        return answer

    def look(self, name: str) -> Any:
        """GET a control."""
        status, _, answer = self.http("GET", f"/_sandbox/{name}")
        assert status == 200, answer
        return answer

    def story(self, name: str, **params: Any) -> Any:
        """Play a story."""
        return self.control(f"stories/{name}", **params)

    def client(self, key: str = "sk_test_sandbox", version: str | None = None) -> stripe.StripeClient:
        """Return a client of the real SDK that uses the sandbox as Stripe."""
        return stripe.StripeClient(
            key,
            stripe_version=version,
            base_addresses={"api": self.url},
            max_network_retries=0,
            http_client=self.transport,
        )


def start(*arguments: str) -> Sandbox:
    """Start a sandbox on a free port and wait until it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", "--port", "0", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.stdout.close()
        raise RuntimeError(f"the sandbox did not start: {process.wait(5)}")
    assert line.startswith("sandbox ready on http://127.0.0.1:"), line
    return Sandbox(line.split()[-1], process)


def stop(sandbox: Sandbox) -> None:
    """Stop a sandbox, which must end quickly and without an error."""
    sandbox.transport.close()  # type: ignore[no-untyped-call]
    sandbox.process.terminate()
    assert sandbox.process.wait(5) == 0
    assert sandbox.process.stdout is not None
    sandbox.process.stdout.close()


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    sandbox = start()
    yield sandbox
    stop(sandbox)


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    """The shared sandbox, emptied for this test."""
    running.control("reset", seed=0, endpoints=True)
    return running


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Start separate sandboxes for a test, and stop them at its end."""
    started: list[Sandbox] = []

    def launched(*arguments: str) -> Sandbox:
        started.append(start(*arguments))
        return started[-1]

    yield launched
    for each in started:
        if each.process.poll() is None:
            stop(each)
        elif each.process.stdout is not None:
            each.process.stdout.close()


@dataclass
class Delivery:
    """A received delivery."""

    body: bytes
    signature: str

    @property
    def event(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """A webhook endpoint that records deliveries, and answers as configured."""

    url: str
    secret: str = SECRET
    heard: "queue.Queue[Delivery]" = field(default_factory=queue.Queue)
    statuses: list[int] = field(default_factory=list)

    def next(self) -> Delivery:
        """Wait for the next delivery, and return it."""
        return self.heard.get(timeout=10)

    def all(self) -> list[Delivery]:
        """Return all deliveries so far that no earlier call has returned."""
        taken = []
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(self.heard.get_nowait())
        return taken


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = made.statuses.pop(0) if made.statuses else 200
            made.heard.put(Delivery(body, self.headers["Stripe-Signature"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    made = Receiver(f"http://127.0.0.1:{server.server_port}/webhooks/stripe")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def endpoint(sandbox: Sandbox, receiver: Receiver) -> Receiver:
    """The receiver, registered for every event in the newest shape."""
    sandbox.control("endpoints", url=receiver.url, secrets=[SECRET])
    return receiver
