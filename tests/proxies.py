"""A proxy between the daemon and a server. It can go silent, like a network that drops packets, and it records requests."""

import contextlib
import re
import socket
import threading
import time
from typing import Self

_REQUEST = re.compile(rb"^GET (\S+) HTTP/1\.1\r$", re.MULTILINE)


class Proxy:
    """Forward connections to a port of this machine. After `mute`, connections stay open, but no data passes. After
    `refuse`, all connections are closed.

    `requests` are the HTTP requests that passed the proxy, in order, each with its time (in unix seconds) and address.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[tuple[float, str]] = []
        self._open: list[socket.socket] = []
        self._forwards = threading.Event()
        self._forwards.set()
        self._refuses = False
        threading.Thread(target=self._accept, daemon=True).start()

    def mute(self) -> None:
        """Hold back everything from now on."""
        self._forwards.clear()

    def refuse(self) -> None:
        """Close all connections, and close each new one at once."""
        self._refuses = True
        self._close()

    def unmute(self) -> None:
        """Forward again, beginning with the data that was held back."""
        self._refuses = False
        self._forwards.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unmute()
        self._listener.close()
        self._close()

    def _close(self) -> None:
        while self._open:
            each = self._open.pop()
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._forwards.wait()
                if self._refuses:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink, source is client), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._forwards.wait()
                if is_client:
                    self.requests += [(time.time(), address.decode()) for address in _REQUEST.findall(data)]
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
