"""How far a job that reads along Stripe's clock has come, in `sync.cursors`."""

import psycopg
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

__all__ = ["read", "save"]


def read(conn: psycopg.Connection, name: str) -> int | None:
    """The second that was reached; None where the job never ran."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        found = cursor.execute("select value from sync.cursors where name = %s", (name,)).fetchone()
    return None if found is None else int(found)


def save(conn: psycopg.Connection, name: str, second: int) -> None:
    conn.execute(
        """
        insert into sync.cursors (name, value) values (%s, %s)
        on conflict (name) do update set value = excluded.value, updated_at = now()
        """,
        (name, Jsonb(second)),
    )
