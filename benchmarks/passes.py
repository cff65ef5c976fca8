"""Lists without a network: a source that returns pages as Stripe does, and a separate process that reads them.

Each page is made and encoded when it is requested, so no list is held in memory. The time for making pages is subtracted
from the results. The remaining time is the daemon's work: decode, decide, write.
"""

import itertools
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from worker.config import settings
from worker.jobs import process_group
from worker.membership.rules.access import Policy
from worker.mirror import shards
from worker.observe import log
from worker.postgres import runs
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.rate_limit import RateLimiter
from worker.writers.list_pass import Tally
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options, every_shape

PAGE = 100
ANSWER_SECONDS = 0.2
POLICY = Policy()
_numbers = itertools.count()

Make = Callable[[int], dict[str, Any]]


class PagesOf:
    """A source of lists. `lists` has the number of objects for each path, and the function that makes object n.

    Lists are sorted by `created`, newest first, and show the state at `read_at`. Object n was created n seconds before
    `newest`, so `created[gte]`, `created[lt]` and `starting_after` work. With a `limiter` each request waits for its turn,
    and then for as long as a typical answer from Stripe takes.
    """

    def __init__(
        self,
        lists: Mapping[str, tuple[int, Make]],
        *,
        newest: int,
        read_at: int,
        page: int = PAGE,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._lists, self._newest, self._read_at, self._page, self._limiter = lists, newest, read_at, page, limiter
        self.requested_at: list[float] = []
        self.making_seconds, self._lock = 0.0, threading.Lock()

    def page(self, path: str, params: Mapping[str, Any] | None = None) -> Page:
        if self._limiter is not None:
            self._limiter.acquire(f"GET {path}", within=60)
            self.requested_at.append(time.perf_counter())
            time.sleep(ANSWER_SECONDS)
        began = time.thread_time()
        count, make = self._lists[path]
        asked = params or {}
        first, end = self._span(count, asked)
        if "starting_after" in asked:
            first = int(asked["starting_after"].rpartition("_")[2]) + 1
        last = min(first + self._page, end)
        body = msgspec.json.encode([make(number) | {"created": self._newest - number} for number in range(first, last)])
        making = time.thread_time() - began
        with self._lock:
            self.making_seconds += making
        return Page(msgspec.json.decode(body, type=list[msgspec.Raw]), last < end, self._read_at, encoded=True)

    def retrieve(self, path: str) -> Answer:
        raise AssertionError(f"no object is missing from the lists, so {path} should not be read")

    def _span(self, count: int, asked: Mapping[str, Any]) -> tuple[int, int]:
        lt, gte = asked.get("created[lt]"), asked.get("created[gte]")
        first = 0 if lt is None else max(0, self._newest - lt + 1)
        end = count if gte is None else min(count, self._newest - gte + 1)
        return first, end


def read_lists(
    conn: psycopg.Connection[Any], source: PagesOf, lists: Iterable[str], options: Options
) -> dict[str, Any]:
    """Read these lists from beginning to end, as a list pass does. Returns the counts of what it found."""
    run, _ = shards.begin(conn, f"bench {next(_numbers)}", Tally().as_dict())
    shards.add(conn, run, [(name, None, None) for name in lists])
    finished = passes.carry_out(conn, source, POLICY, run, every_shape(), options, should_continue=lambda: True)
    assert finished, "the pass is not finished"
    result = runs.result(conn, run)
    assert result is not None
    return result


def timed(work: Callable[[], Any], source: PagesOf, *, objects: int) -> dict[str, Any]:
    """Do the work. Returns objects per second and CPU per object, without the time for making pages."""
    wall, cpu, making = time.perf_counter(), time.process_time(), source.making_seconds
    work()
    making = source.making_seconds - making
    seconds = time.perf_counter() - wall - making
    return {
        "objects": objects,
        "seconds": seconds,
        "objects_per_second": objects / seconds,
        "cpu_us_per_object": (time.process_time() - cpu - making) * 1e6 / objects,
    }


def peak_mib() -> float:
    """The most memory that this process ever used. (ru_maxrss would include its parent's.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def in_a_process(job: Callable[[str, int], dict[str, Any]], database_url: str, count: int) -> dict[str, Any]:
    """Run `job` in a fresh process and return its result. The process logs as a worker does; its log lines are discarded."""
    with multiprocessing.get_context("spawn").Pool(1, _as_a_worker, (database_url,)) as pool:
        return pool.apply(job, (database_url, count))


def _as_a_worker(database_url: str) -> None:
    sys.stderr = Path("/dev/null").open("w")  # noqa: SIM115 - for as long as the process lives
    log.configure(settings.load(database_url=database_url, redis_url="redis://localhost", app_env="production"))
    process_group.freeze()
