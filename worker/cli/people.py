"""What commands about users share: who is meant, and settings that keep the log quiet."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.cli.output import fail
from worker.config import settings as config
from worker.config.settings import Settings
from worker.observe import log

__all__ = ["find", "quiet_settings"]


def quiet_settings() -> Settings:
    settings = config.load()
    if not settings.membership:
        fail("MEMBERSHIP=off: the mirror is kept alone, and no user is looked at")
    log.configure(settings.model_copy(update={"log_level": "warning"}))
    return settings


def find(conn: psycopg.Connection, named: str, *, by_email: bool = False) -> dict[str, Any]:
    """The one user of that id, else of that e-mail (case aside)."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select id, email, role::text
            from users
            where (id = %(named)s and not %(by_email)s) or lower(email) = lower(%(named)s)
            order by id = %(named)s desc
            limit 3
            """,
            {"named": named, "by_email": by_email},
        ).fetchall()
    if not rows:
        fail(f"there is no user {named}" + (": sign up with that e-mail first" if by_email else ""))
    if rows[0]["id"] != named and len(rows) > 1:
        fail(f"several users have the e-mail {named}: name one by id ({', '.join(row['id'] for row in rows)})")
    return rows[0]
