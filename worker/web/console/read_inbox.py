"""Queries of the inbox pages. Each reads a bounded number of rows, independent of the filters and the table's size."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

PAGE = 50
# A page searches at most this many events, then offers to continue, so that a filter that rarely matches does not read the
# whole table.
SEARCHED = 20_000
GROUPED = 5_000
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The filters of the list. `before` and `before_id` are the key of the previous page's last event."""

    status: str | None = None
    type: str | None = None
    object: str | None = None
    account: str | None = None
    error: str | None = None
    until: datetime | None = None
    before: datetime | None = None
    before_id: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of events. `next` is the key after which the next page begins, None at the end.

    `is_partial` means that the search stopped before the page was full.
    """

    rows: list[Row]
    next: tuple[str, str] | None
    is_partial: bool


def events(conn: psycopg.Connection, filters: Filters) -> Page:
    """The newest events that match, without their bodies."""
    conditions = ["(created, id) < (%(before)s, %(before_id)s)"]
    if filters.object is not None:
        conditions.append("object_id = %(object)s")
    if filters.status is not None:
        conditions.append("status = %(status)s")
    where = " and ".join(conditions)
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            f"""
            select id, account, type, object_type, object_id, status, outcome, attempts, created, received_at, last_error
            from (
                select *
                from sync.events
                where {where}
                order by created desc, id desc
                limit %(searched)s
            ) as newest
            where (%(type)s::text is null or type like %(type)s)
                and (%(account)s::text is null or account = %(account)s)
                and (%(error)s::text is null or last_error ilike %(error)s)
            order by created desc, id desc
            limit %(page)s
            """,  # noqa: S608 - `where` is made of the literals above
            {
                "before": filters.before or filters.until or datetime.max.replace(tzinfo=UTC),
                "before_id": filters.before_id or "",
                "object": filters.object,
                "status": filters.status,
                "type": _pattern(filters.type, whole=True),
                "account": filters.account,
                "error": _pattern(filters.error),
                "searched": SEARCHED,
                "page": PAGE + 1,
            },
        ).fetchall()
        if len(rows) > PAGE:
            return Page(rows[:PAGE], _key(rows[PAGE - 1]), is_partial=False)
        end = cursor.execute(
            f"""
            select created, id from sync.events where {where}
            order by created desc, id desc offset %(searched)s limit 1
            """,  # noqa: S608 - as above
            {
                "before": filters.before or filters.until or datetime.max.replace(tzinfo=UTC),
                "before_id": filters.before_id or "",
                "object": filters.object,
                "status": filters.status,
                "searched": SEARCHED - 1,
            },
        ).fetchone()
    return Page(rows, _key(end) if end else None, is_partial=end is not None)


def event(conn: psycopg.Connection, id_: str) -> Row | None:
    """One event, with its body parsed; a body that is not JSON stays text. None if there is no such event."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute("select * from sync.events where id = %s", (id_,)).fetchone()
    if row is not None:
        try:
            row["body"] = json.loads(row["body"])
        except ValueError:
            row["body"] = str(row["body"])
    return row


def parked_groups(conn: psycopg.Connection) -> list[Row]:
    """Parked events, grouped by type and the first line of the error, the largest group first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select type, error, count(*) as number, min(created) as oldest, max(created) as newest, min(id) as example
            from (
                select id, type, created, left(split_part(coalesce(last_error, 'no error'), E'\\n', 1), 200) as error
                from sync.events
                where status = 'parked'
                order by created
                limit %s
            ) as parked
            group by type, error
            order by number desc, type
            """,
            (GROUPED,),
        ).fetchall()


def parked_with_error(conn: psycopg.Connection, type_: str, error: str) -> list[str]:
    """The ids of the events in one group of `parked_groups`."""
    return [
        id_
        for (id_,) in conn.execute(
            """
            select id
            from sync.events
            where status = 'parked' and type = %s
                and left(split_part(coalesce(last_error, 'no error'), E'\\n', 1), 200) = %s
            order by created
            limit %s
            """,
            (type_, error, GROUPED),
        )
    ]


def _key(row: Row) -> tuple[str, str]:
    return row["created"].isoformat(), row["id"]


def _pattern(text: str | None, *, whole: bool = False) -> str | None:
    """A LIKE pattern in which `*` matches any text, and every other character matches itself."""
    if not text:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
    return escaped if whole else f"%{escaped}%"
