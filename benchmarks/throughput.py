"""Send events as fast as the webhook endpoint accepts them. Measures events acknowledged and applied per second, and the CPU of
each process."""

import contextlib
import time
from typing import Any

from benchmarks import client, events
from benchmarks.machine import Cpu
from benchmarks.stack import Stack

PATIENCE_SECONDS = 120


def measure(
    stack: Stack, *, count: int, first: int, concurrency: int, linked: bool = False, full_batches: bool = False
) -> dict[str, Any]:
    """Send `count` events and wait until the inbox is empty.

    With `linked`, every customer is a user of the application, who gets a role and tokens for payments. With
    `full_batches`, the worker begins after the last answer, so that other load on the machine does not change the size of
    the batches.
    """
    if linked:
        with stack.connect() as conn:
            events.add_users(conn, count, first=first)
    made = events.mixed(count, first=first, linked=linked)
    return _measured(stack, made, concurrency, full_batches=full_batches) | {"linked_users": linked}


def measure_updates(stack: Stack, *, count: int, first: int, concurrency: int) -> dict[str, Any]:
    """Send `count` updates of half as many existing objects of users; see `events.updates`."""
    with stack.connect() as conn:
        events.add_users(conn, count // 2, first=first)
        seed = events.mixed(count // 2, first=first, linked=True)
        client.send(events.requests(seed, port=stack.port), port=stack.port, concurrency=concurrency)
        stack.drained(conn, seconds=PATIENCE_SECONDS)
        conn.execute("vacuum analyze")
    return _measured(stack, events.updates(count, first=first), concurrency) | {"updated": True}


def _measured(
    stack: Stack, made: list[events.Delivery], concurrency: int, *, full_batches: bool = False
) -> dict[str, Any]:
    count = len(made)
    with stack.connect() as conn:
        stack.settle()
        requests = list(events.requests(made, port=stack.port))
        cpu, started = Cpu(stack.pids), time.perf_counter()
        with stack.worker_stopped() if full_batches else contextlib.nullcontext():
            sent_seconds = client.send(requests, port=stack.port, concurrency=concurrency)
        backlog = conn.execute("select count(*) from sync.events where status = 'pending'").fetchone()
        stack.drained(conn, seconds=PATIENCE_SECONDS)
        seconds, spent = time.perf_counter() - started, cpu.spent()
        _prove(conn, made)
    each = {name: value * 1e6 / count for name, value in spent.items()}
    return {
        "events": count,
        "concurrency": concurrency,
        "mean_body_bytes": sum(len(delivery.body) for delivery in made) // count,
        "acknowledged_per_second": count / sent_seconds,
        "applied_per_second": count / seconds,
        "waiting_when_all_were_acknowledged": backlog[0] if backlog else 0,
        "cpu_us_per_event": {name: each[name] for name in ("web", "worker", "postgres")},
        "cpu_us_per_event_in_all": each["web"] + each["worker"] + each["postgres"],
        "client_cpu_us_per_event": each["client"],
        "seconds": seconds,
    }


def _prove(conn: Any, made: list[events.Delivery]) -> None:
    """Check the result: every event was written, and every object is stored."""
    ids = [delivery.id for delivery in made]
    (written,) = conn.execute(
        "select count(*) from sync.events where id = any(%s) and status = 'done' and outcome = 'written'", (ids,)
    ).fetchone()
    assert written == len(made), f"{written} of {len(made)} events were written"
    for table, type_ in (("customers", "customer"), ("invoices", "invoice"), ("subscriptions", "subscription")):
        wanted = sorted({delivery.object_id for delivery in made if delivery.object_type == type_})
        (count,) = conn.execute(f"select count(*) from stripe.{table} where id = any(%s)", (wanted,)).fetchone()
        assert count == len(wanted), f"{count} of {len(wanted)} rows are in stripe.{table}"
