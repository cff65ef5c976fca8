"""Where an event's time goes. Events are inserted directly into the inbox and applied in this process, without web and Celery.

Events of each kind are applied twice: first normally, while the server logs durations, then under cProfile, which slows
Python down. Round trips are counted in libpq's trace of the connection.
"""

import cProfile
import pstats
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import events, objects, stack
from benchmarks.machine import cpu_seconds
from benchmarks.trips import count as count_trips
from worker.config.settings import AppEnv, Settings
from worker.dev.servers import start_postgres
from worker.inbox import store as inbox
from worker.jobs.process import applier_of
from worker.postgres.pool import connect
from worker.stripe_api.envelope import read_envelope
from worker.writers.apply import Applier, compute_waiting

EVENTS, STORED_AT_ONCE = 6_000, 100
SHOWN_STATEMENTS, SHOWN_FUNCTIONS = 30, 30
# Postgres logs how long it parsed, planned (`bind`) and executed each statement; any server can do that.
_LOGGED = {"log_min_duration_statement": "0", "log_parameter_max_length": "0", "log_line_prefix": "@@"}
_LINE = re.compile(r"LOG:  duration: ([\d.]+) ms  (parse|bind|execute|statement) ?[^:]*: (.*)", re.DOTALL)


def measure(count: int = EVENTS) -> dict[str, Any]:
    """For each kind of event: the CPU of this process and of its backend, and the time of statements and functions, in
    microseconds per event. Also the number of statements and round trips of a single event."""
    count -= count % 6
    with tempfile.TemporaryDirectory(prefix="stripe-sync-profile-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        postgres = start_postgres(home / "postgres", settings=_LOGGED)
        try:
            url = postgres.create_database("bench")
            settings = _settings(url)
            stack.migrate(url)
            with connect(settings, application="profile") as conn, psycopg.connect(url, autocommit=True) as watch:
                watch.execute("set log_min_duration_statement = -1")
                return _measured(_Bench(conn, watch, applier_of(settings), postgres.home / "log"), count)
        finally:
            postgres.close()


@dataclass(slots=True)
class _Statement:
    calls: int = 0
    executed_us: float = 0.0
    planned_us: float = 0.0

    def add(self, phase: str, microseconds: float) -> None:
        if phase in ("execute", "statement"):
            self.calls += 1
            self.executed_us += microseconds
        else:
            self.planned_us += microseconds


@dataclass(frozen=True, slots=True)
class _Bench:
    """The worker's connection, a second connection that is not measured, and the server's log."""

    conn: psycopg.Connection
    watch: psycopg.Connection[Any]
    applier: Applier
    log: Path

    def store(self, made: Sequence[events.Delivery]) -> None:
        for first in range(0, len(made), STORED_AT_ONCE):
            part = made[first : first + STORED_AT_ONCE]
            inbox.store(self.conn, [read_envelope(each.body.decode()) for each in part])

    def drain(self) -> int:
        """Drain the inbox as the task does; returns the number of batches."""
        drained = self.applier.drain(self.conn)
        compute_waiting(self.conn, self.applier.policy)
        return drained.batches

    def cpu(self) -> tuple[float, float]:
        return time.process_time(), cpu_seconds(self.conn.info.backend_pid)

    def statements(self, began: int) -> dict[str, _Statement]:
        """The statements logged after the log had the size `began`."""
        logged: dict[str, _Statement] = defaultdict(_Statement)
        for line in self.log.read_bytes()[began:].decode(errors="replace").split("@@"):
            if (match := _LINE.match(line)) is not None:
                logged[_short(match[3])].add(match[2], float(match[1]) * 1000)
        return logged


def _measured(bench: _Bench, count: int) -> dict[str, Any]:
    made = [events.around("product.created", objects.product(number)) for number in range(objects.PRODUCTS)]
    made += [events.around("price.created", objects.price(number)) for number in range(objects.PRICES)]
    bench.store(made + events.mixed(600, first=900_000_000))
    bench.drain()
    result: dict[str, Any] = {}
    first = 0
    for name, linked in (("new", False), ("new, linked users", True)):
        if linked:
            events.add_users(bench.watch, 2 * count, first=first)
        both = events.mixed(2 * count, first=first, linked=linked)
        first += 2 * count
        result[name] = _of_kind(bench, both[:count], both[count:])
    both = events.updates(2 * count, first=first - count)
    result["updates, linked users"] = _of_kind(bench, both[:count], both[count:])
    first += 6  # `add_users` makes one user more
    events.add_users(bench.watch, 30, first=first)
    singles = events.mixed(30, first=first, linked=True)
    for single in singles[:27]:
        bench.store([single])
        bench.drain()
    result["one event alone"] = {single.object_type: _alone(bench, single) for single in singles[27:]}
    return result


def _of_kind(bench: _Bench, plain: Sequence[events.Delivery], profiled: Sequence[events.Delivery]) -> dict[str, Any]:
    bench.watch.execute("vacuum analyze")
    bench.watch.execute("checkpoint")
    logged = bench.log.stat().st_size
    before = bench.cpu()
    bench.store(plain)
    stored, started = bench.cpu(), time.perf_counter()
    number = bench.drain()
    drained, seconds = bench.cpu(), time.perf_counter() - started
    statements = bench.statements(logged)
    profile = cProfile.Profile(time.process_time)
    bench.store(profiled)
    profile.enable()
    bench.drain()
    profile.disable()
    count = len(plain)
    return {
        "events": count,
        "per_second": count / seconds,
        "worker_us": (drained[0] - stored[0]) * 1e6 / count,
        "postgres_us": (drained[1] - stored[1]) * 1e6 / count,
        "postgres_storing_us": (stored[1] - before[1]) * 1e6 / count,
        "batches": number,
        "statements_a_batch": (sum(each.calls for each in statements.values()) - count / STORED_AT_ONCE) / number,
        "executing_us": sum(each.executed_us for each in statements.values()) / count,
        "planning_us": sum(each.planned_us for each in statements.values()) / count,
        "statements": [
            {
                "statement": text,
                "calls": each.calls,
                "executed_us": each.executed_us / count,
                "planned_us": each.planned_us / count,
            }
            for text, each in sorted(statements.items(), key=lambda item: -(item[1].executed_us + item[1].planned_us))[
                :SHOWN_STATEMENTS
            ]
        ],
        "functions": _functions(profile, len(profiled)),
    }


def _functions(profile: cProfile.Profile, number: int) -> list[dict[str, Any]]:
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own = sorted(stats.items(), key=lambda item: -item[1][2])[:SHOWN_FUNCTIONS]
    return [
        {
            "function": f"{Path(file).parent.name}/{Path(file).name}:{line} {name}" if line else name,
            "calls": called,
            "own_us": alone * 1e6 / number,
            "with_callees_us": whole * 1e6 / number,
        }
        for (file, line, name), (_, called, alone, whole, _) in own
    ]


def _alone(bench: _Bench, delivery: events.Delivery) -> dict[str, int]:
    """The statements and round trips of the worker for one event, until the row is there."""
    bench.store([delivery])
    once = replace(bench.applier, drain_seconds=-1)
    statements, trips = count_trips(bench.conn, lambda: once.drain(bench.conn))
    bench.drain()
    return {"statements": statements, "round_trips": trips}


def _short(query: str) -> str:
    return re.sub(r"\s+", " ", query).strip()[:110]


def _settings(url: str) -> Settings:
    return Settings(database_url=url, redis_url="redis://127.0.0.1:1/0", app_env=AppEnv.TEST, stripe_livemode=False)
