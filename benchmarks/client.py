"""An HTTP client that uses little CPU: any number of connections on one thread, each with one request at a time."""

import selectors
import socket
import time
from collections.abc import Iterable

SILENCE_SECONDS = 30
LOOPBACK = "127.0.0.1"
_OK = b"HTTP/1.1 200"


class Refused(Exception):
    """The webhook endpoint answered with a status other than 200, or not at all."""


class Connection:
    """One kept-alive connection to the webhook endpoint."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((LOOPBACK, port), timeout=SILENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def post(self, request: bytes) -> None:
        """Send and wait for the 200."""
        self.socket.sendall(request)
        while not self.read():
            pass

    def read(self) -> bool:
        """Receive the available bytes; returns whether the answer is complete. Raises Refused unless it is 200."""
        part = self.socket.recv(65536)
        if not part:
            raise Refused("the webhook endpoint closed the connection")
        self._received += part
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return False
        if not head.startswith(_OK):
            raise Refused(self._received[:500].decode(errors="replace"))
        if b"transfer-encoding: chunked" in head:
            whole = body.endswith(b"0\r\n\r\n")
        else:
            _, _, length = head.partition(b"content-length: ")
            whole = len(body) >= int(length.split(b"\r\n")[0])
        if whole:
            self._received = b""
        return whole

    def close(self) -> None:
        self.socket.close()


def send(requests: Iterable[bytes], *, port: int, concurrency: int) -> float:
    """Send all requests. Each connection sends its next request as soon as the last one is answered. Returns the seconds
    taken."""
    waiting = iter(requests)
    connections = [Connection(port) for _ in range(concurrency)]
    selector = selectors.DefaultSelector()
    try:
        started, open_ = time.perf_counter(), 0
        for connection in connections:
            if (request := next(waiting, None)) is None:
                break
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            # A request fits the socket's empty buffer, so this never waits.
            connection.socket.sendall(request)
            open_ += 1
        while open_:
            ready = selector.select(SILENCE_SECONDS)
            if not ready:
                raise Refused(f"no answer for {SILENCE_SECONDS} s")
            for key, _ in ready:
                connection = key.data
                if not connection.read():
                    continue
                if (request := next(waiting, None)) is None:
                    selector.unregister(connection.socket)
                    open_ -= 1
                else:
                    connection.socket.sendall(request)
        return time.perf_counter() - started
    finally:
        selector.close()
        for connection in connections:
            connection.close()
