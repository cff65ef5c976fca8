"""Inspect our objects in a database: invalid indexes, row counts, and the objects that a reset drops."""

from collections.abc import Collection

import psycopg
from psycopg import sql
from psycopg.rows import scalar_row

from schema import FIND_VIEWS_SCHEMA, SYNC_MARK, revenue

SCHEMAS = ("mirror", "sync")


def invalid_indexes(conn: psycopg.Connection) -> list[str]:
    """Indexes that an interrupted CREATE INDEX CONCURRENTLY left invalid. Indexes that are being built are left out."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select i.indexrelid::regclass::text
            from pg_index as i
            join pg_class as c on c.oid = i.indexrelid
            where not i.indisvalid
                and c.relnamespace in (select oid from pg_namespace where nspname in ('public', 'sync', 'mirror'))
                and not exists (select from pg_stat_progress_create_index as p where p.index_relid = i.indexrelid)
            order by 1
            """
        ).fetchall()


def tables_in(conn: psycopg.Connection, schema: str, kind: str = "r") -> list[str]:
    """The names of a schema's tables, in order. With the kind `v`, the names of its views."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            "select relname::text from pg_class where relnamespace = to_regnamespace(%s) and relkind = any(%s) order by 1",
            (schema, ["r", "p"] if kind == "r" else [kind]),
        ).fetchall()


def row_counts(conn: psycopg.Connection, tables: Collection[str]) -> dict[str, int]:
    """The number of rows in each of these tables of `public`."""
    counted: dict[str, int] = {}
    with conn.cursor(row_factory=scalar_row) as cursor:
        for table in tables:
            query = sql.SQL("select count(*) from {}").format(sql.Identifier("public", table))
            counted[table] = cursor.execute(query).fetchone() or 0
    return counted


def drop_ours(
    conn: psycopg.Connection, *, tables: Collection[str], functions: Collection[str], types: Collection[str]
) -> None:
    """Drop our schemas, our views in `analytics`, and these tables, functions and types of `public`, in one transaction.

    There is no CASCADE. If another object depends on ours, nothing is dropped, and
    psycopg.errors.DependentObjectsStillExist names it.
    """
    shown = views_schema(conn)
    schemas = [*([shown] if shown is not None else []), *SCHEMAS]
    named = [sql.Identifier("public", table) for table in tables]
    named += [sql.Identifier(schema, table) for schema in SCHEMAS for table in tables_in(conn, schema)]
    with conn.transaction():
        analytics = set(tables_in(conn, revenue.SCHEMA, "v"))
        for view in reversed(revenue.VIEWS):
            if view in analytics:
                conn.execute(sql.SQL("drop view {}").format(sql.Identifier(revenue.SCHEMA, view)))
        for view in tables_in(conn, shown, "v") if shown is not None else ():
            conn.execute(sql.SQL("drop view {}").format(sql.Identifier(shown or "", view)))
        if named:
            conn.execute(sql.SQL("drop table {}").format(sql.SQL(", ").join(named)))
        for schema, name, arguments in conn.execute(
            """
            select n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)
            from pg_proc as p
            join pg_namespace as n on n.oid = p.pronamespace
            where n.nspname = any(%(schemas)s::text[]) or n.nspname || '.' || p.proname = any(%(functions)s::text[])
            """,
            {"schemas": list(SCHEMAS), "functions": list(functions)},
        ).fetchall():
            conn.execute(sql.SQL("drop function {}({})").format(sql.Identifier(schema, name), sql.SQL(arguments)))
        for name in types:
            conn.execute(sql.SQL("drop type if exists {}").format(sql.Identifier("public", name)))
        for schema in schemas:
            conn.execute(sql.SQL("drop schema if exists {}").format(sql.Identifier(schema)))


def views_schema(conn: psycopg.Connection) -> str | None:
    """Return the name of the schema that has our views; None if the database has none."""
    row = conn.execute(FIND_VIEWS_SCHEMA).fetchone()
    return None if row is None else str(row[0])


def is_prerelease(conn: psycopg.Connection) -> bool:
    """Whether a version before the first release created our tables. They had other names, and can't be migrated."""
    unmarked = "select obj_description(to_regnamespace('sync'), 'pg_namespace') is distinct from %s"
    return revision(conn) is not None and conn.execute(unmarked, (SYNC_MARK,)).fetchone() == (True,)


def revision(conn: psycopg.Connection) -> str | None:
    """The database's revision; None if the database was never migrated."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        if cursor.execute("select to_regclass('sync.alembic_version')").fetchone() is None:
            return None
        return cursor.execute("select version_num from sync.alembic_version").fetchone()
