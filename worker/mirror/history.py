"""The history of one Stripe object: its present row, the versions in its events, and the repairs by reads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from schema import mirror
from worker.stripe_api.json_paths import Json

Row = dict[str, Any]
_COLUMNS = "id, account, created, deleted, data, observed_at, observed_in, shape, rev, unsettled, synced_at"
# The key of `mirror.objects` begins with the type. Before version 18, PostgreSQL reads the whole index if only the id
# is given. So this finds the existing types first, with one index lookup for each.
_TYPES = """
    with recursive types (object) as (
        (select object from mirror.objects order by object limit 1)
        union all
        select (select o.object from mirror.objects as o where o.object > t.object order by o.object limit 1)
        from types as t where t.object is not null
    )
"""
_BY_ID = sql.SQL(_TYPES) + sql.SQL(" union all ").join(
    sql.SQL("select {object} as object, {name} as table, {columns} from {table} where {of_type}id = %(id)s").format(
        object=sql.Identifier("object") if table.is_shared else sql.SQL("data ->> 'object'"),
        name=sql.Literal(table.name),
        columns=sql.SQL(_COLUMNS),
        table=sql.Identifier(mirror.SCHEMA, table.name),
        of_type=sql.SQL("object in (select t.object from types as t) and " if table.is_shared else ""),
    )
    for table in mirror.tables.values()
)


class Difference(NamedTuple):
    """A field that differs, by its dotted path. Lists are compared as a whole. None may also mean that the field is
    absent."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Version:
    """The object as one event or read contained it.

    `differences` are the differences from the version before, or None for the oldest version. `source` is the id of the
    event, or the read (`get:` or `list:` with unix seconds). `outcome` is the outcome of the event.
    """

    at: datetime
    source: str
    type: str
    outcome: str | None
    differences: tuple[Difference, ...] | None


def find(conn: psycopg.Connection, id_: str) -> list[Row]:
    """The mirrored rows with this id. Usually there is one, but a recurring price is also a plan, and accounts may
    share ids."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_BY_ID, {"id": id_}).fetchall()


def versions(conn: psycopg.Connection, id_: str, *, limit: int = 50) -> list[Version]:
    """The newest versions, the newest first, from the events that the inbox still has and from the present row."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select id, account, object_type, type, coalesce(outcome, status::text) as outcome, created, body
            from sync.events where object_id = %s order by created desc, id desc limit %s
            """,
            (id_, limit + 1),
        ).fetchall()
    kept: list[Version] = []
    for key in sorted({_of(row) for row in rows}):
        kept += _of_events([row for row in rows if _of(row) == key])
    kept += _read_since(find(conn, id_), rows)
    return sorted(kept, key=lambda version: version.at, reverse=True)[:limit]


def drift(conn: psycopg.Connection, id_: str) -> list[Row]:
    """The repairs of this object by reads of Stripe, newest first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select found_at, found_by, fields, behind from sync.drift where object_id = %s order by id desc limit 20
            """,
            (id_,),
        ).fetchall()


def differences(before: Json, after: Json, path: str = "") -> Iterator[Difference]:
    """The fields that differ between two objects, sorted by path."""
    for name in sorted(before.keys() | after.keys()):
        old, new, place = before.get(name), after.get(name), f"{path}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from differences(old, new, f"{place}.")
        elif old != new:
            yield Difference(place, old, new)


def is_read(observed_in: str) -> bool:
    """Whether the content of the row comes from a read of Stripe and not from an event."""
    return observed_in.startswith(("get:", "list:"))


def _of(row: Row) -> tuple[str, str]:
    return (row["account"], row["object_type"] or "")


def _of_events(rows: Sequence[Row]) -> Iterator[Version]:
    shown = [_shown(row["body"]) for row in rows]
    for row, obj, older in zip(rows, shown, [*shown[1:], {}], strict=True):
        changed = tuple(differences(older, obj)) if older and obj else None
        yield Version(row["created"], row["id"], row["type"], row["outcome"], changed)


def _read_since(standing: Sequence[Row], events: Sequence[Row]) -> Iterator[Version]:
    """The present rows as versions, if their content comes from a read of Stripe."""
    for row in standing:
        if not is_read(row["observed_in"]):
            continue
        older: Mapping[str, Any] | None = next(
            (_shown(event["body"]) for event in events if event["object_type"] == row["object"]), None
        )
        changed = tuple(differences(dict(older), row["data"])) if older else None
        yield Version(row["observed_at"], row["observed_in"], "read from Stripe", None, changed)


def _shown(body: str) -> Json:
    """The object in an event; empty for a thin event, which contains none."""
    try:
        obj = msgspec.json.decode(body)["data"]["object"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return {}
    return obj if isinstance(obj, dict) else {}
