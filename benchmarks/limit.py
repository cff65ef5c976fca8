"""The limit: plain SQL writes the same rows as the daemon, on the same server.

There are two transactions per batch. The first inserts into the inbox. The second has one upsert per table of the mirror,
and marks the events done. The statements are in this file, so that the limit stays the same when the daemon's statements
change. Values are made before the clock starts, and sent in the binary format (%b), because psycopg escapes arrays of text
in Python, which takes 200 us per event.
"""

import threading
import time
from collections import defaultdict
from typing import Any

import msgspec
import psycopg

from benchmarks import events
from benchmarks.machine import Cpu
from benchmarks.stack import Stack
from schema import mirror
from worker.mirror.registry import TYPES
from worker.mirror.rows import families, values
from worker.stripe_api.json_paths import canonical

BATCH, CONNECTIONS = 500, 2

_INBOX = """
    insert into sync.events (id, type, object_type, object_id, livemode, created, body)
    select id, type, object_type, object_id, false, to_timestamp(created), body
    from unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::float8[], %b::text[])
        as e (id, type, object_type, object_id, created, body)
    on conflict (id) do nothing
"""
_DONE = "update sync.events set status = 'done', outcome = 'written', done_at = now() where id = any(%b)"

_Columns = list[list[Any]]


class _Batch:
    """All values of one batch as arrays, column by column."""

    def __init__(self, made: list[events.Delivery]) -> None:
        inbox, rows = [], defaultdict(list)
        for delivery in made:
            event = msgspec.json.decode(delivery.body)
            obj = event["data"]["object"]
            body = delivery.body.decode()
            inbox.append((delivery.id, event["type"], delivery.object_type, delivery.object_id, event["created"], body))
            type_ = TYPES[delivery.object_type]
            rows[type_.table.name].append(_row(type_, obj, event))
            for family in families(type_, obj, deleted=False):
                child = family.children.type
                rows[child.table.name].extend(_row(child, member, event) for member in family.members.values())
        self.ids = [delivery.id for delivery in made]
        self.inbox = _turned(inbox)
        self.tables = {table: _turned(each) for table, each in rows.items()}


def measure(stack: Stack, *, count: int, first: int) -> dict[str, Any]:
    """Write `count` events with plain SQL over two connections."""
    made = events.mixed(count, first=first)
    batches = [_Batch(made[start : start + BATCH]) for start in range(0, count, BATCH)]
    statements = {table: _upsert(table) for table in {name for batch in batches for name in batch.tables}}
    waiting = iter(batches)
    taking = threading.Lock()
    failed: list[BaseException] = []

    def write(conn: psycopg.Connection[Any]) -> None:
        try:
            while True:
                with taking:
                    batch = next(waiting, None)
                if batch is None:
                    return
                conn.execute(_INBOX, batch.inbox)
                with conn.transaction():
                    for table, columns in sorted(batch.tables.items()):
                        conn.execute(statements[table], columns)
                    conn.execute(_DONE, (batch.ids,))
        except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
            failed.append(error)

    connections = [stack.connect() for _ in range(CONNECTIONS)]
    try:
        stack.settle()
        cpu, started = Cpu({"postgres": stack.postgres.pid}), time.perf_counter()
        threads = [threading.Thread(target=write, args=(conn,)) for conn in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, spent = time.perf_counter() - started, cpu.spent()
    finally:
        for conn in connections:
            conn.close()
    if failed:
        raise failed[0]
    return {
        "events": count,
        "batch": BATCH,
        "connections": CONNECTIONS,
        "events_per_second": count / seconds,
        "postgres_cpu_us_per_event": spent["postgres"] * 1e6 / count,
        "client_cpu_us_per_event": spent["client"] * 1e6 / count,
    }


def _row(type_: Any, obj: dict[str, Any], event: dict[str, Any]) -> tuple[Any, ...]:
    return (obj["id"], *values(type_, obj), obj.get("created"), canonical(obj), event["created"], event["id"], "0" * 32)


def _turned(rows: list[tuple[Any, ...]]) -> _Columns:
    return [list(column) for column in zip(*rows, strict=True)]


def _upsert(table: str) -> str:
    type_ = next(
        each
        for row in TYPES.values()
        for each in (row, *(children.type for children in row.children))
        if each.table.name == table
    )
    kinds = [(column.name, column.kind) for column in type_.columns]
    kinds = [
        ("id", "text"), *kinds, ("created", "timestamptz"), ("data", "jsonb"), ("observed_at", "timestamptz"),
        ("observed_in", "text"), ("content_hash", "text"),
    ]  # fmt: skip
    assert {name for name, _ in kinds} <= set(mirror.tables[table].columns)
    arrays = ", ".join(f"%b::{'bigint' if kind == 'timestamptz' else _sent_as(kind)}[]" for _, kind in kinds)
    names = ", ".join(f'"{name}"' for name, _ in kinds)
    chosen = ", ".join(_value(name, kind) for name, kind in kinds)
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name, _ in kinds if name != "id")
    return f"""
        insert into mirror.{table} ({names}, observed_rank, shape)
        select {chosen}, 1, 'endive' from unnest({arrays}) as v ({names})
        on conflict (id, account) do update set {changes}
    """


def _sent_as(kind: str) -> str:
    return kind if kind in ("bigint", "boolean") else "text"


def _value(name: str, kind: str) -> str:
    if kind == "timestamptz":
        return f'to_timestamp(v."{name}")'
    return f'v."{name}"::{kind}' if kind in ("jsonb", "numeric") else f'v."{name}"'
