"""The cost of metrics and traces. Three stacks are up at the same time: with neither, with metrics, and with both. In each
round they get the same events, one after the other.

Only the CPU of stacks in the same round is compared, and batches are full, so that other load on the machine has
little effect. The cost is the CPU of `web` and `worker`, because only they make metrics and traces. The CPU of Postgres is left
out, because it varies with checkpoints and autovacuum.
"""

import contextlib
import http.server
import math
import statistics
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import stack, throughput
from benchmarks.client import LOOPBACK
from benchmarks.stack import API_TOKEN, Stack

ROUNDS, EVENTS, CONCURRENCY = 30, 3_000, 32
SCRAPE_SECONDS = 15
# No setting turns metrics off. This code does: it is written to a file `sitecustomize.py`, which Python imports whenever
# it starts.
_WITHOUT_METRICS = """
from prometheus_client import Counter, Gauge, Histogram
for kind in (Counter, Gauge, Histogram):
    kind.labels = lambda self, *labels, **more: self
    kind.inc = kind.dec = kind.set = kind.observe = lambda self, *values: None
"""


def measure() -> dict[str, Any]:
    """The CPU per event in microseconds, and the percentage that metrics and traces add to it, as medians of the rounds."""
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        (folder / "sitecustomize.py").write_text(_WITHOUT_METRICS)
        collector = opened.enter_context(_collector())
        same = {"WORKER_CONCURRENCY": "1"}
        settings = {
            "neither": {**same, "PYTHONPATH": str(folder)},
            "metrics": same,
            "metrics and traces": {**same, "OTEL_EXPORTER_OTLP_ENDPOINT": collector},
        }
        running = {name: opened.enter_context(stack.running(of, beat=False)) for name, of in settings.items()}
        for name in ("metrics", "metrics and traces"):
            opened.enter_context(_scraped(running[name]))
        used: dict[str, list[float]] = {name: [] for name in settings}
        whole: dict[str, list[float]] = {name: [] for name in settings}
        for number in range(ROUNDS):
            names = list(running)
            # Each stack is the first in a third of the rounds.
            for name in names[number % 3 :] + names[: number % 3]:
                figures = throughput.measure(
                    running[name],
                    count=EVENTS,
                    first=number * EVENTS,
                    concurrency=CONCURRENCY,
                    linked=False,
                    full_batches=True,
                )
                spent = figures["cpu_us_per_event"]
                used[name].append(spent["web"] + spent["worker"])
                whole[name].append(figures["cpu_us_per_event_in_all"])
    typical = statistics.median(whole["neither"])
    return {
        "events_a_round": EVENTS,
        "rounds": ROUNDS,
        "cpu_us_per_event": {name: statistics.median(of) for name, of in whole.items()},
        "of_web_and_worker": used,
        "quiet_us": {name: _quiet(of) for name, of in used.items()},
        "added_percent": {
            name: _spread([(one - none) / typical * 100 for one, none in zip(of, used["neither"], strict=True)])
            | {"quiet": (_quiet(of) - _quiet(used["neither"])) / typical * 100}
            for name, of in used.items()
            if name != "neither"
        },
    }


def _quiet(values: list[float]) -> float:
    """The first quartile: other load on the machine can only add to the CPU of an event."""
    return statistics.quantiles(values, n=4)[0]


def _spread(values: list[float]) -> dict[str, float]:
    """The median, and its 95 % confidence interval, whose ends are two of the values."""
    ordered, count = sorted(values), len(values)
    away = math.ceil(0.98 * math.sqrt(count))
    low, high = ordered[max(0, count // 2 - away)], ordered[min(count - 1, (count - 1) // 2 + away)]
    return {"median": statistics.median(ordered), "from": low, "to": high}


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    """The address of a server that receives spans and discards them."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _scraped(running: Stack) -> Iterator[None]:
    """Request /metrics as Prometheus does, until the end of the block."""
    over = threading.Event()
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{running.port}/metrics", headers={"authorization": f"Bearer {API_TOKEN}"}
    )

    def scrape() -> None:
        while not over.wait(SCRAPE_SECONDS):
            with urllib.request.urlopen(request, timeout=SCRAPE_SECONDS) as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
