"""The server's limits for our sessions: connections and time-outs."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Numbers of connections: allowed to this role in this database, reserved by the server, and held by others."""

    allowed: int
    reserved: int
    others: int

    @property
    def free(self) -> int:
        """The number of connections that all of our processes together may hold."""
        return self.allowed - self.reserved - self.others


def room(conn: psycopg.Connection) -> Room:
    """Read the connection limits of the server, the database and the role; the lowest counts.

    `reserved_connections` exists since PostgreSQL 16.
    """
    with conn.cursor(row_factory=class_row(Room)) as cursor:
        limits = cursor.execute(
            """
            select
                least(
                    current_setting('max_connections')::int,
                    (select nullif(datconnlimit, -1) from pg_database where datname = current_database()),
                    (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user)
                ) as allowed,
                current_setting('superuser_reserved_connections')::int
                    + coalesce(current_setting('reserved_connections', true)::int, 0) as reserved,
                (
                    select count(*)::int from pg_stat_activity
                    where datid is not null
                        and coalesce(backend_type, 'client backend') = 'client backend'
                        and coalesce(application_name, '') not like 'stripe-sync %'
                ) as others
            """
        ).fetchone()
    assert limits is not None
    return limits


def session(conn: psycopg.Connection, names: Sequence[str]) -> dict[str, str]:
    """The values of these settings in this session. Times are in milliseconds."""
    rows = conn.execute("select name, setting from pg_settings where name = any(%b::text[])", (list(names),)).fetchall()
    return dict(rows)
