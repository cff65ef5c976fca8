"""What the workers count, in `sync.counters`: the web process shows it at GET /metrics."""

import psycopg

__all__ = ["CAUGHT_UP", "FETCHED", "add", "read"]

CAUGHT_UP = "events_caught_up"
FETCHED = "objects_fetched"


def add(conn: psycopg.Connection, name: str, number: int) -> None:
    """Count so many more."""
    if number:
        conn.execute(
            """
            insert into sync.counters as c (name, value) values (%s, %s)
            on conflict (name) do update set value = c.value + excluded.value
            """,
            (name, number),
        )


def read(conn: psycopg.Connection) -> dict[str, int]:
    """All that was counted since the database was made."""
    return dict(conn.execute("select name, value from sync.counters").fetchall())
