"""Where a job that reads Stripe a piece at a time stands, in `sync.cursors`."""

from typing import Any

import psycopg
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

__all__ = ["read", "save"]


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
