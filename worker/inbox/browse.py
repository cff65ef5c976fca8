"""Read events of the inbox to show them to people."""

from typing import Any

import psycopg
from psycopg.rows import dict_row


def newest(conn: psycopg.Connection, *, status: str | None, object_id: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest events, without their bodies. If given, only events with this status, or of this object."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select id, type, object_id, status, outcome, attempts, created, last_error
            from sync.events
            where (%(status)s::text is null or status = %(status)s)
                and (%(object_id)s::text is null or object_id = %(object_id)s)
            order by created desc, id
            limit %(limit)s
            """,
            {"status": status, "object_id": object_id, "limit": limit},
        ).fetchall()


def one(conn: psycopg.Connection, event_id: str) -> dict[str, Any] | None:
    """The whole row of one event; None if there is no such event."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from sync.events where id = %s", (event_id,)).fetchone()
