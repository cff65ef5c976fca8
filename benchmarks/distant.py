"""POST to row while Postgres is far away: a proxy between the daemon and Postgres delays both directions."""

import contextlib
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from benchmarks import latency, stack
from benchmarks.client import LOOPBACK

ROUND_TRIP_MS, PER_SECOND, SECONDS = 5.0, 20, 30
WARM_UP_SECONDS = 5


def measure() -> list[dict[str, Any]]:
    """Send 20 events a second, first of unlinked customers, then of linked users. A round trip to Postgres takes 5 ms."""
    with stack.running(through=_proxy) as running:
        runs = []
        for linked in (False, True):
            for first, seconds in ((6_000 * linked, WARM_UP_SECONDS), (6_000 * linked + 3_000, SECONDS)):
                run = latency.measure(running, per_second=PER_SECOND, seconds=seconds, first=first, linked=linked)
            runs.append(run)
    return [run | {"round_trip_ms": ROUND_TRIP_MS} for run in runs]


@contextlib.contextmanager
def _proxy(url: str) -> Iterator[str]:
    """The URL of a proxy for this Postgres, which runs in a separate process."""
    parts = urlsplit(url)
    command = [sys.executable, "-m", "benchmarks.distant", str(parts.port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        far = urlunsplit(parts._replace(netloc=f"{parts.username}@{LOOPBACK}:{port}"))
        _check(far)
        yield far
    finally:
        process.terminate()
        process.wait()


def _check(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("select 1")
        began = time.perf_counter()
        for _ in range(10):
            conn.execute("select 1")
        measured = (time.perf_counter() - began) * 100
    if not ROUND_TRIP_MS <= measured < 2 * ROUND_TRIP_MS:
        raise stack.Stuck(f"a round trip took {measured:.1f} ms instead of {ROUND_TRIP_MS}")


def _serve(target: int) -> None:
    with socket.create_server((LOOPBACK, 0), backlog=64) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((LOOPBACK, target))
            for source, sink in ((client, server), (server, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                held: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=_receive, args=(source, held), daemon=True).start()
                threading.Thread(target=_send, args=(sink, held), daemon=True).start()


def _receive(source: socket.socket, held: "queue.SimpleQueue[tuple[float, bytes]]") -> None:
    data = b"begin"
    while data:
        try:
            data = source.recv(262_144)
        except OSError:
            data = b""
        held.put((time.perf_counter() + ROUND_TRIP_MS / 2000, data))


def _send(sink: socket.socket, held: "queue.SimpleQueue[tuple[float, bytes]]") -> None:
    while True:
        due, data = held.get()
        time.sleep(max(0.0, due - time.perf_counter()))
        with contextlib.suppress(OSError):
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
