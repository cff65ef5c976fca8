"""Find the user that a command is about."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.cli.output import fail


def find(conn: psycopg.Connection, id_or_email: str, *, by_email: bool = False) -> dict[str, Any]:
    """The id, email and role of the user with this id, or else with this e-mail, ignoring case.

    Ends the command if there is no such user, or if several users share the e-mail.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select id::text, email, role::text
            from users
            where (id = sync.user_key(%(named)s) and not %(by_email)s) or lower(email) = lower(%(named)s)
            order by coalesce(id = sync.user_key(%(named)s), false) desc
            limit 3
            """,
            {"named": id_or_email, "by_email": by_email},
        ).fetchall()
    if not rows:
        fail(f"there is no user {id_or_email}" + (": sign up with that e-mail first" if by_email else ""))
    if rows[0]["id"] != id_or_email and len(rows) > 1:
        ids = ", ".join(row["id"] for row in rows)
        fail(f"several users have the e-mail {id_or_email}: give the id of one of them ({ids})")
    return rows[0]
