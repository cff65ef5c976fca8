"""`./run bench`: start everything, measure, print tables, write JSON, stop everything."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import (
    access,
    backfill,
    beside,
    compare,
    console,
    distant,
    everyone,
    latency,
    limit,
    machine,
    memory,
    observing,
    profile,
    reconcile,
    refresh,
    report,
    revenue,
    scale,
    sizes,
    stack,
    throughput,
)
from benchmarks.stack import Stack

# Parts of a plain run, and parts that run only when they are named.
PLAIN = ("limit", "door", "updates", "latency", "access", "refresh", "reconcile")
LONG = (
    "everyone", "memory", "revenue", "backfill", "beside", "console", "observing", "scale", "rest", "profile", "distant",
    "sizes",
)  # fmt: skip
CONCURRENCIES = (32, 128)
MEMORY_EVENTS = 1_000_000
MEMORY_MINUTES = 15
BESIDE_SECONDS = 180


def main() -> int:
    arguments = _arguments()
    if sys.platform != "linux":
        sys.stderr.write("bench: needs Linux, because CPU and memory are read from /proc\n")
        return 2
    # The servers must end with this process. (A shell starts background jobs with SIGINT ignored.)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, _interrupt)
    began = time.monotonic()
    try:
        if arguments.compare is not None:
            words = ("--only", ",".join(arguments.only), "--events", str(arguments.events))
            result = compare.measure(arguments.compare, words, rounds=arguments.rounds)
            report.say_comparison(result)
        else:
            with stack.running() as running:
                result = _measure(running, arguments)
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted, everything is stopped\n")
        return 130
    result["total_seconds"] = round(time.monotonic() - began, 1)
    report.console.print(f"{result['total_seconds']:.0f} s in all")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(_rounded(result), indent=2) + "\n")
    return 0


def _measure(running: Stack, arguments: argparse.Namespace) -> dict[str, Any]:
    only, count = arguments.only, arguments.events
    result: dict[str, Any] = {"facts": machine.facts() | _server_facts(running)}
    report.say_facts(result["facts"])
    first = 0
    if "limit" in only:
        result["limit"] = limit.measure(running, count=count, first=first)
        report.say_limit(result["limit"])
        first += count
    if "door" in only:
        result["door"] = []
        for concurrency, linked in (*((each, False) for each in CONCURRENCIES), (CONCURRENCIES[-1], True)):
            # A user costs more than an event, so half as many are enough.
            some = count // 2 if linked else count
            first += -first % 3
            result["door"].append(
                throughput.measure(running, count=some, first=first, concurrency=concurrency, linked=linked)
            )
            first += some
        report.say_throughput(result["door"], result.get("limit"))
    if "updates" in only:
        first += 3 - first % 3
        some = count - count % 6
        result["updates"] = throughput.measure_updates(running, count=some, first=first, concurrency=CONCURRENCIES[-1])
        first += some
        report.say_throughput([result["updates"]], result.get("limit"))
    if "latency" in only:
        result["latency"] = []
        for linked in (False, True):
            first += -first % 3
            result["latency"].append(latency.measure(running, first=first, linked=linked))
            first += result["latency"][-1]["events"]
        report.say_latency(result["latency"])
    if "access" in only:
        result["access"] = access.measure(running)
        report.say_access(result["access"])
    for name, measure in (("refresh", refresh.measure), ("reconcile", reconcile.measure)):
        if name in only:
            result[name] = measure(running)
            report.say_passes(name, result[name])
    if "everyone" in only:
        result["everyone"] = everyone.measure(running)
        report.say_everyone(result["everyone"])
    if "revenue" in only:
        result["revenue"] = revenue.measure(running)
        report.say_revenue(result["revenue"])
    if "backfill" in only:
        result["backfill"] = backfill.measure(running, count=count if arguments.events_given else backfill.GENERATED)
        report.say_backfill(result["backfill"])
    if "beside" in only:
        result["beside"] = beside.measure(seconds=BESIDE_SECONDS)
        report.say_latency(result["beside"])
    if "console" in only:
        result["console"] = console.measure()
        report.say_console(result["console"])
    if "observing" in only:
        result["observing"] = observing.measure()
        report.say_observing(result["observing"])
    if "scale" in only:
        result["scale"] = scale.measure(count=count if arguments.events_given else scale.EVENTS)
        report.say_scale(result["scale"])
    if "rest" in only:
        result["rest"] = memory.at_rest()
        report.say_rest(result["rest"])
    if "distant" in only:
        result["distant"] = distant.measure()
        report.say_latency(result["distant"])
    if "sizes" in only:
        result["sizes"] = sizes.measure(running, count=count if arguments.events_given else sizes.EVENTS)
        report.say_sizes(result["sizes"])
    if "profile" in only:
        result["profile"] = profile.measure(count if arguments.events_given else profile.EVENTS)
        report.say_profile(result["profile"])
    if "memory" in only:
        count = arguments.events if arguments.events_given else MEMORY_EVENTS
        result["memory"] = memory.measure(running, count=count, minutes=MEMORY_MINUTES, say=report.console.print)
    return result


def _server_facts(running: Stack) -> dict[str, object]:
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
    with running.connect() as conn:
        shown = {name: conn.execute(f"show {name}").fetchone() for name in names}
    return {
        f"postgres {name}".replace("postgres server_version", "postgres"): row[0] for name, row in shown.items() if row
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench", description="Measure, print tables, write JSON.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--events", type=int, metavar="N", help="how many events (20,000; memory: 1,000,000)")
    parser.add_argument(
        "--only",
        type=_parts,
        default=PLAIN,
        metavar="A,B",
        help=f"some of {','.join((*PLAIN, *LONG))} (the plain run: {','.join(PLAIN)})",
    )
    parser.add_argument("--compare", metavar="REV", help="run that revision and this tree in turn, and print ratios")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each is run by --compare (5)")
    arguments = parser.parse_args()
    arguments.events_given = arguments.events is not None
    arguments.events = arguments.events or 20_000
    return arguments


def _parts(text: str) -> Sequence[str]:
    parts = text.split(",")
    if unknown := set(parts) - {*PLAIN, *LONG}:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose among {', '.join((*PLAIN, *LONG))}")
    return parts


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_rounded(member) for member in value]
    return round(value, 2) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
