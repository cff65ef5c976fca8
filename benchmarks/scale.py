"""Costs with large tables: the same measurements on nearly empty tables, and with 10,000,000 done events and 5,000,000 objects.

SQL makes the rows. With `--events N` there are N events and half as many objects.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg

from benchmarks import console, everyone, passes, stack, throughput
from benchmarks.stack import Stack
from worker.inbox import retention_store
from worker.membership.why import why
from worker.mirror import absences, history
from worker.on_access import store as on_access

EVENTS = 10_000_000
DOOR_EVENTS, LINKED_EVENTS = 12_000, 6_000
REPEATED = 50
# The events in nearly empty tables.
SMALL = 60_000
# Objects that `everyone.fill` makes for a user.
_OF_A_USER = 7
_TABLES = """
    select format('%I.%I', schemaname, tablename) from pg_tables
    where schemaname = 'mirror'
        or (schemaname, tablename) in (('sync', 'events'), ('sync', 'customer_links'), ('public', 'users'))
"""
_SIZES = """
    select n.nspname || '.' || c.relname as name, c.reltuples::bigint as rows, pg_total_relation_size(c.oid) as bytes,
        pg_indexes_size(c.oid) as index_bytes
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname in ('mirror', 'sync', 'public') and pg_total_relation_size(c.oid) > 50000000
    order by bytes desc
"""


def measure(*, count: int) -> dict[str, Any]:
    """The figures for both sizes, the sizes of the filled tables, and the seconds that filling took."""
    with stack.running() as running:
        with running.connect() as conn:
            _fill(conn, SMALL)
        empty = _figures(running, first=0)
        began = time.monotonic()
        with running.connect() as conn:
            _fill(conn, count)
            rows = conn.execute(_SIZES).fetchall()
        seconds = time.monotonic() - began
        full = _figures(running, first=1_000_000)
    sizes = [dict(zip(("name", "rows", "bytes", "index_bytes"), row, strict=True)) for row in rows]
    return {
        "events": count,
        "objects": count // 2,
        "seconds_to_fill": seconds,
        "empty": empty,
        "full": full,
        "sizes": sizes,
    }


def _fill(conn: psycopg.Connection[Any], events: int) -> None:
    """Replace all rows by this many done events and half as many objects. Two thirds of the objects belong to users."""
    users = events // 2 // _OF_A_USER // 3 * 2
    for (table,) in conn.execute(_TABLES).fetchall():
        conn.execute(f"truncate {table} cascade")
    everyone.fill(conn, users)
    conn.execute(console.EVENT_ROWS.format(events=events))
    conn.execute(console.SUBSCRIPTION_ROWS.format(subscriptions=events // 2 - users * _OF_A_USER))
    conn.execute("vacuum analyze")


def _figures(running: Stack, *, first: int) -> dict[str, float]:
    door = throughput.measure(running, count=DOOR_EVENTS, first=first, concurrency=128)
    linked = throughput.measure(running, count=LINKED_EVENTS, first=first + DOOR_EVENTS, concurrency=128, linked=True)
    with running.connect() as conn:
        return {
            "an event, CPU in us": door["cpu_us_per_event_in_all"],
            "an event of a linked user, CPU in us": linked["cpu_us_per_event_in_all"],
            "why, ms": _timed(lambda n: _rolled_back(conn, lambda: why(conn, f"user-e{n}", passes.POLICY))),
            "access, ms": _timed(lambda n: on_access.stored(conn, f"user-e{n}")),
            "an object's versions, ms": _timed(lambda n: history.versions(conn, f"sub_c{n}")),
            "the rows of a page of the audit, ms": _timed(lambda n: _page(conn, n)),
            "removing a range of the inbox, ms": _timed(
                lambda n: _rolled_back(
                    conn, lambda: retention_store.events(conn, block=n * 1000, keep=timedelta(days=31), limit=5000)
                )
            ),
        }


def _page(conn: psycopg.Connection[Any], number: int) -> None:
    """Select the rows that a page with 100 objects should contain: rows created within 100 minutes."""
    upto = int(time.time()) - number * 86_400
    absences.expected(conn, "subscription", account="", before=int(time.time()), above=upto - 6000, upto=upto)


def _timed(work: Callable[[int], object]) -> float:
    """The median of some calls in milliseconds; each call gets another number."""
    took = []
    for number in range(1, REPEATED + 1):
        began = time.perf_counter()
        work(number)
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)[REPEATED // 2]


def _rolled_back(conn: psycopg.Connection[Any], work: Callable[[], object]) -> None:
    with conn.transaction(force_rollback=True):
        work()
