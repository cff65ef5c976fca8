"""Rows that an application's table refuses, by a NOT NULL or another constraint of its own: held back, and retried.

An adopted table may be stricter than ours. A refused row must not keep its user's access, or other rows, from being
written: it is recorded in `sync.held_rows` with Postgres' error, and written as soon as the table accepts it.
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

# A table refuses a row by a constraint, by a value that its types do not take, or by a trigger that raises.
_REFUSALS = (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRow:
    """A row that a table refuses. `relation` is our name of the table, `id` Stripe's id of the row."""

    relation: str
    id: str
    user_id: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(HeldRow):
    """A recorded refusal, and since when the row is held back."""

    since: datetime


def refusal(conn: Connection, write: Callable[[], object]) -> str | None:
    """Run `write`; if a table refuses a row, undo it and return the reason."""
    try:
        with conn.transaction():
            write()
    except _REFUSALS as error:
        return error.diag.message_primary or type(error).__name__
    return None


def each(
    conn: Connection, relation: str, rows: Iterable[tuple[str, str | None]], write: Callable[[str], object]
) -> list[HeldRow]:
    """Write rows (id, user) one by one; returns those that were refused."""
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
    """Record the rows that are refused now, and remove those of `before` that are not. A new one is logged."""
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
    """Why rows are held back: table, reason, number and an example; the most frequent first."""
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
    """Make the users of held rows due for computing now."""
    conn.execute(
        """
        insert into sync.next_changes as a (user_id, due_at)
        select distinct user_id, now() from sync.held_rows where user_id is not null order by user_id
        on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at)
        """
    )
