"""The time from the POST until another connection sees the mirrored row."""

import threading
import time
from typing import Any

import psycopg

from benchmarks import events
from benchmarks.client import Connection
from benchmarks.machine import Cpu
from benchmarks.stack import Stack, Stuck

PATIENCE_SECONDS = 30
POLL_SECONDS = 0.001
_TABLES = {"customer": "customers", "invoice": "invoices", "subscription": "subscriptions"}
PER_SECOND, SECONDS = 50, 20


def measure(
    stack: Stack, *, first: int, linked: bool = False, per_second: int = PER_SECOND, seconds: int = SECONDS
) -> dict[str, Any]:
    """Send events of new objects for this long.

    With `linked`, every customer is a user of the application, who is computed in the transaction that writes the row.
    """
    count = per_second * seconds
    if linked:
        with stack.connect() as conn:
            events.add_users(conn, count, first=first)
    made = events.mixed(count, first=first, linked=linked)
    return measure_of(stack, made, per_second=per_second) | {"linked_users": linked}


def measure_of(stack: Stack, made: list[events.Delivery], *, per_second: int = PER_SECOND) -> dict[str, Any]:
    """Send at a steady rate, without waiting for earlier answers, and look for the awaited rows every millisecond."""
    stack.settle()
    sent: dict[str, float] = {}
    answered: list[float] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def send() -> None:
        # Two connections in turn, so that a late answer does not delay the next request.
        connections = [Connection(stack.port) for _ in range(2)]
        try:
            began = time.perf_counter()
            for number, request in enumerate(events.requests(made, port=stack.port)):
                if over.wait(max(0.0, began + number / per_second - time.perf_counter())):
                    return
                sent[made[number].id] = time.perf_counter()
                connections[number % 2].post(request)
                answered.append(time.perf_counter() - sent[made[number].id])
        except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
            failed.append(error)
        finally:
            for connection in connections:
                connection.close()

    cpu = Cpu(stack.pids)
    sender = threading.Thread(target=send, name="sender")
    sender.start()
    try:
        with stack.connect() as conn:
            seen = _watch(conn, made, sent, failed)
    finally:
        over.set()
        sender.join()
    spent = cpu.spent()
    return {
        "events": len(made),
        "linked_users": False,
        "per_second": per_second,
        "post_to_row_ms": percentiles([(seen[id_] - sent[id_]) * 1000 for id_ in sent]),
        "post_to_answer_ms": percentiles([value * 1000 for value in answered]),
        "cpu_us_per_event": {name: spent[name] * 1e6 / len(made) for name in ("web", "worker", "postgres")},
    }


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": ordered[round(last * 0.50)],
        "p90": ordered[round(last * 0.90)],
        "p99": ordered[round(last * 0.99)],
        "max": ordered[last],
    }


def _watch(
    conn: psycopg.Connection[Any],
    made: list[events.Delivery],
    sent: dict[str, float],
    failed: list[BaseException],
) -> dict[str, float]:
    """The time at which each event was first seen in its object's row. Only rows of unfinished events are read, by key."""
    seen: dict[str, float] = {}
    position, awaited = 0, {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(seen) < len(made):
        while position < len(made) and made[position].id in sent:
            awaited[made[position].object_id] = made[position]
            position += 1
            deadline = time.monotonic() + PATIENCE_SECONDS
        for type_ in {delivery.object_type for delivery in awaited.values()}:
            wanted = [delivery for delivery in awaited.values() if delivery.object_type == type_]
            rows = conn.execute(
                f"select id from stripe.{_TABLES[type_]} where id = any(%s) and account = '' and observed_in = any(%s)",
                ([delivery.object_id for delivery in wanted], [delivery.id for delivery in wanted]),
            ).fetchall()
            now = time.perf_counter()
            for (id_,) in rows:
                seen[awaited.pop(id_).id] = now
        if failed:
            raise failed[0]
        if time.monotonic() > deadline:
            raise Stuck(f"{len(awaited)} rows did not arrive")
        time.sleep(POLL_SECONDS)
    return seen
