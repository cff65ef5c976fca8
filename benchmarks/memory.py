"""A long run of small events, and the memory of web and worker meanwhile."""

import itertools
import time
from collections.abc import Callable
from typing import Any

from benchmarks import client, events
from benchmarks.machine import resident_bytes
from benchmarks.stack import Stack

STEPS = 10
CUSTOMERS = 10_000
CONCURRENCY = 64
PATIENCE_SECONDS = 600
_MIB = 1024 * 1024


def measure(stack: Stack, *, count: int, minutes: float, say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Send `count` small events in ten steps, the inbox empty after each; stops early when `minutes` have passed."""
    deadline, step = time.monotonic() + minutes * 60, max(count // STEPS, 1)
    made = events.small(count, first=0, among=CUSTOMERS)
    samples = [_sample(stack, sent=0)]
    say(samples[0])
    with stack.connect() as conn:
        for sent in range(step, count + 1, step):
            requests = events.requests(itertools.islice(made, step), port=stack.port)
            client.send(requests, port=stack.port, concurrency=CONCURRENCY)
            stack.drained(conn, seconds=PATIENCE_SECONDS)
            samples.append(_sample(stack, sent=sent))
            say(samples[-1])
            if time.monotonic() > deadline:
                break
    return {"events": samples[-1]["events"], "samples": samples}


def _sample(stack: Stack, *, sent: int) -> dict[str, Any]:
    """Megabytes of each process, the parent first."""
    return {"events": sent} | {
        f"{name}_mib": [round(size / _MIB, 1) for _, size in sorted(resident_bytes(pid).items())]
        for name, pid in (("web", stack.web.pid), ("worker", stack.worker.pid))
    }
