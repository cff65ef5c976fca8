"""Queries of the object page: the mirrored row of any Stripe id, its events and what was repaired."""

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from schema import mirror

Row = dict[str, Any]
_COLUMNS = "id, account, created, deleted, data, observed_at, observed_in, shape, rev, unsettled, synced_at"
_BY_ID = sql.SQL(" union all ").join(
    sql.SQL("select {object} as object, {columns} from {table} where id = %(id)s").format(
        object=sql.Identifier("object") if "object" in table.c else sql.Literal(table.name),
        columns=sql.SQL(_COLUMNS),
        table=sql.Identifier(str(table.schema), table.name),
    )
    for table in mirror.tables.values()
)


def find(conn: psycopg.Connection, id_: str) -> list[Row]:
    """The mirrored rows of this id: usually one; a recurring price is a plan too, and accounts may share ids."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_BY_ID, {"id": id_}).fetchall()


def events_of(conn: psycopg.Connection, id_: str, *, limit: int = 50) -> list[Row]:
    """The newest events of this object, with their bodies."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select id, type, status, outcome, created, received_at, body
            from sync.events
            where object_id = %s
            order by created desc, id desc
            limit %s
            """,
            (id_, limit),
        ).fetchall()


def drift(conn: psycopg.Connection, id_: str) -> list[Row]:
    """The repairs of this object by reads of Stripe, newest first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select found_at, found_by, fields, behind from sync.drift where object_id = %s order by id desc limit 20
            """,
            (id_,),
        ).fetchall()
