"""The memory of all processes at rest, and of web and worker during a long run of small events."""

import itertools
import time
from collections.abc import Callable
from typing import Any

from benchmarks import client, events, stack
from benchmarks.machine import proportional_bytes, resident_bytes
from benchmarks.stack import Stack

STEPS = 10
CUSTOMERS = 10_000
CONCURRENCY = 64
PATIENCE_SECONDS = 600
REST_SECONDS = 30
_MIB = 1024 * 1024


def at_rest() -> dict[str, float]:
    """The memory of the default processes in MiB, half a minute after some hundred events. Shared pages are counted once."""
    with stack.running({"WORKER_CONCURRENCY": "2"}) as running:
        time.sleep(REST_SECONDS)
        processes = {"web": running.web, "worker": running.worker, "beat": running.beat}
        sizes = {name: proportional_bytes(each.pid) / _MIB for name, each in processes.items() if each is not None}
    return sizes | {"together": sum(sizes.values())}


def measure(running: Stack, *, count: int, minutes: float, say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Send `count` small events in ten steps, and wait after each step until the inbox is empty. Stops early when `minutes`
    have passed."""
    deadline, step = time.monotonic() + minutes * 60, max(count // STEPS, 1)
    made = events.small(count, first=0, among=CUSTOMERS)
    samples = [_sample(running, sent=0)]
    say(samples[0])
    with running.connect() as conn:
        for sent in range(step, count + 1, step):
            requests = events.requests(itertools.islice(made, step), port=running.port)
            client.send(requests, port=running.port, concurrency=CONCURRENCY)
            running.drained(conn, seconds=PATIENCE_SECONDS)
            samples.append(_sample(running, sent=sent))
            say(samples[-1])
            if time.monotonic() > deadline:
                break
    return {"events": samples[-1]["events"], "samples": samples}


def _sample(running: Stack, *, sent: int) -> dict[str, Any]:
    """Megabytes of each process, the parent first."""
    return {"events": sent} | {
        f"{name}_mib": [round(size / _MIB, 1) for _, size in sorted(resident_bytes(pid).items())]
        for name, pid in (("web", running.web.pid), ("worker", running.worker.pid))
    }
