"""Where a job that works a piece at a time stands, in `sync.cursors`."""

from typing import Any

import psycopg
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb


def read(conn: psycopg.Connection, name: str) -> Any:
    """Where the job stands, as it saved it; None where it never ran."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute("select value from sync.cursors where name = %s", (name,)).fetchone()


def save(conn: psycopg.Connection, name: str, value: Any) -> None:
    """Where the job stands, as JSON."""
    conn.execute(
        """
        insert into sync.cursors (name, value) values (%s, %s)
        on conflict (name) do update set value = excluded.value, updated_at = now()
        """,
        (name, Jsonb(value)),
    )


def move(conn: psycopg.Connection, name: str, before: Any, after: Any) -> bool:
    """The job stands at `after` now; False where it did not stand at `before`, because somebody else has moved it."""
    return (
        conn.execute(
            "update sync.cursors set value = %s, updated_at = now() where name = %s and value = %s",
            (Jsonb(after), name, Jsonb(before)),
        ).rowcount
        == 1
    )


def drop(conn: psycopg.Connection, name: str) -> None:
    """The job is done, and begins anew the next time."""
    conn.execute("delete from sync.cursors where name = %s", (name,))
