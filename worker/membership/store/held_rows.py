"""Rows that a table of the application refuses, for example because of a constraint. They are retried later.

An adopted table may be stricter than ours. A refused row must not prevent writing the user's access or other rows. It
is recorded in `sync.held_rows` with the error of Postgres, and written as soon as the table accepts it.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row

from worker.observe import log

Connection = psycopg.Connection
_log = log.get("membership")

# A table refuses a row if a constraint fails, a value does not fit its type, or a trigger raises an error.
_REFUSALS = (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """A row that a table refuses. `relation` is our name for the table, `id` is the Stripe id of the row."""

    relation: str
    id: str
    user_id: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(HeldRow):
    """A recorded refusal. The row has been held back since `since`."""

    since: datetime


def refusal(conn: Connection, write: Callable[[], object]) -> str | None:
    """Run `write`. If a table refuses a row, roll back and return the reason."""
    try:
        with conn.transaction():
            write()
    except _REFUSALS as error:
        return error.diag.message_primary or type(error).__name__
    return None


def each(
    conn: Connection, relation: str, rows: Iterable[tuple[str, str | None]], write: Callable[[str], object]
) -> list[HeldRow]:
    """Write these rows (id and user) one by one; returns the refused rows."""
    tried = ((id_, user, refusal(conn, lambda id_=id_: write(id_))) for id_, user in rows)  # type: ignore[misc]
    return [
        HeldRow(relation=relation, id=id_, user_id=user, reason=reason)
        for id_, user, reason in tried
        if reason is not None
    ]


def concerning(conn: Connection, users: Collection[str], places: Collection[str] = ()) -> list[Held]:
    """The held rows of these users, and of these products and prices."""
    return _held(conn, "user_id = any(%s) or user_id is null and id = any(%s)", (sorted(users), sorted(places)))


def of_catalogue(conn: Connection) -> list[Held]:
    """The products and prices that are held back."""
    return _held(conn, "user_id is null", ())


def _held(conn: Connection, which: str, arguments: tuple[Any, ...]) -> list[Held]:
    with conn.cursor(row_factory=class_row(Held)) as cursor:
        return cursor.execute(
            f"select relation, id, user_id, reason, since from sync.held_rows where {which} order by relation, id",  # noqa: S608
            arguments,
        ).fetchall()


def note(conn: Connection, before: Collection[Held], refused: Collection[HeldRow]) -> None:
    """Record the refused rows, log the new ones, and remove rows of `before` that are no longer refused."""
    now = {(row.relation, row.id) for row in refused}
    gone = [row for row in before if (row.relation, row.id) not in now]
    known = {(row.relation, row.id) for row in before}
    for row in refused:
        if (row.relation, row.id) not in known:
            _log.warning("row.held_back", table=row.relation, object_id=row.id, user=row.user_id, error=row.reason)
    if gone:
        conn.execute(
            """
            delete from sync.held_rows as h using unnest(%b::text[], %b::text[]) as g (relation, id)
            where h.relation = g.relation and h.id = g.id
            """,
            ([row.relation for row in gone], [row.id for row in gone]),
        )
    if refused:
        conn.execute(
            """
            insert into sync.held_rows (relation, id, user_id, reason)
            select * from unnest(%b::text[], %b::text[], %b::text[], %b::text[]) as n (relation, id, user_id, reason)
            order by relation, id
            on conflict (relation, id) do update set user_id = excluded.user_id, reason = excluded.reason
            """,
            (
                [row.relation for row in refused],
                [row.id for row in refused],
                [row.user_id for row in refused],
                [row.reason for row in refused],
            ),
        )


def counts(conn: Connection) -> dict[str, int]:
    """The number of held rows, by table."""
    rows = conn.execute("select relation, count(*) from sync.held_rows group by relation order by relation")
    return dict(rows.fetchall())


def reasons(conn: Connection, *, limit: int = 20) -> list[dict[str, Any]]:
    """The reasons for which rows are held back, the most frequent first: table, reason, number of rows and an
    example."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select relation, reason, count(*) as rows, min(id) as example
            from sync.held_rows
            group by relation, reason
            order by rows desc, relation, reason
            limit %s
            """,
            (limit,),
        ).fetchall()


def request_again(conn: Connection) -> None:
    """Request that each user who has a held row be computed now."""
    conn.execute(
        """
        insert into sync.next_changes as a (user_id, due_at)
        select distinct user_id, now() from sync.held_rows where user_id is not null order by user_id
        on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at)
        """
    )
