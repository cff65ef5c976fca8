"""The progress of jobs that work in steps, in `sync.cursors`."""

from typing import Any

import psycopg
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb


def read(conn: psycopg.Connection, name: str) -> Any:
    """The progress that the job saved; None if there is none."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute("select value from sync.cursors where name = %s", (name,)).fetchone()


def save(conn: psycopg.Connection, name: str, value: Any) -> None:
    """Save the job's progress, as JSON."""
    conn.execute(
        """
        insert into sync.cursors (name, value) values (%s, %s)
        on conflict (name) do update set value = excluded.value, updated_at = now()
        """,
        (name, Jsonb(value)),
    )


def move(conn: psycopg.Connection, name: str, before: Any, after: Any) -> bool:
    """Change the job's progress from `before` to `after`. Returns False if another process changed it first."""
    return (
        conn.execute(
            "update sync.cursors set value = %s, updated_at = now() where name = %s and value = %s",
            (Jsonb(after), name, Jsonb(before)),
        ).rowcount
        == 1
    )


def drop(conn: psycopg.Connection, name: str) -> None:
    """Delete the job's progress, so that the job starts from the beginning next time."""
    conn.execute("delete from sync.cursors where name = %s", (name,))
