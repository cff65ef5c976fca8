"""A receiver of changes that verifies calls, keeps acknowledged ones, and can fail or hang on request."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0IG9mIGEgdGVzdCB0aGF0IHNpZ25z"
OLDER_SECRET = "whsec_" + "YW4gb2xkZXIgc2VjcmV0IG9mIGEgdGVzdA=="


class Receiver:
    """The acknowledged calls in order of arrival, and the settings for the next answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, dict[str, Any]]] = []
        self.status = 204
        self.refuses = ""
        self.hangs, self.going_on = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.refused = self.hung = 0

    @property
    def ids(self) -> list[int]:
        return [id_ for id_, _ in self.calls]

    @property
    def users(self) -> dict[str, list[int]]:
        """The ids of each user's changes, in the order in which they first arrived."""
        by_user: dict[str, list[int]] = {}
        for id_, body in self.calls:
            ids = by_user.setdefault(body["data"]["user_id"], [])
            if id_ not in ids:
                ids.append(id_)
        return by_user

    def take(self, headers: dict[str, str], body: str) -> int:
        if self.hangs.is_set():
            with self.lock:
                self.hung += 1
            self.going_on.wait(120)
            return 503
        content = Webhook(SECRET).verify(body, headers)
        Webhook(OLDER_SECRET).verify(body, headers)
        status = 500 if self.refuses and self.refuses == content["data"]["user_id"] else self.status
        with self.lock:
            if 200 <= status < 300:
                self.calls.append((int(headers["webhook-id"]), content))
            else:
                self.refused += 1
        return status


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors from senders that were killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    """A receiver on loopback, and its address."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            content = self.rfile.read(length)
            if len(content) < length:  # The sender was killed while sending.
                self.close_connection = True
                return
            status = receiver.take({name.lower(): value for name, value in self.headers.items()}, content.decode())
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver, f"http://127.0.0.1:{server.server_port}/hooks?of=test"
    finally:
        receiver.going_on.set()
        server.shutdown()
        server.server_close()
