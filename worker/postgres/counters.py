"""The counts of all processes, in `sync.counters`. `web` shows them at GET /metrics."""

from collections.abc import Mapping

import psycopg

CAUGHT_UP = "events_caught_up"
FETCHED = "objects_fetched"


def add(conn: psycopg.Connection, name: str, number: int) -> None:
    """Add `number` to the count with this name."""
    if number:
        add_all(conn, {name: number})


def add_all(conn: psycopg.Connection, numbers: Mapping[str, int]) -> None:
    """Add to several counts."""
    if numbers:
        names = sorted(numbers)
        conn.execute(
            """
            insert into sync.counters as c (name, value)
            select name, value from unnest(%b::text[], %b::bigint[]) as n (name, value) order by name
            on conflict (name) do update set value = c.value + excluded.value
            """,
            (names, [numbers[name] for name in names]),
        )


def read(conn: psycopg.Connection) -> dict[str, int]:
    """All counts since the database was created."""
    return dict(conn.execute("select name, value from sync.counters").fetchall())
