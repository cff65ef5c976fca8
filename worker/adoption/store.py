"""Read the catalog of an existing database, and run the statements that adopt it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from schema import NAMES_SCHEMA, VIEWS_SCHEMA
from schema.functions import FUNCTIONS
from schema.names import Names, quoted
from worker.adoption.rules.findings import Column, Finding, ForeignKey, Found, Function, Index, Relation
from worker.membership.store import save_rows
from worker.postgres import inventory

Connection = psycopg.Connection
Row = dict[str, Any]

# The note of overrides that an adoption made. Only these are settled later; an operator's overrides never are.
ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class Adoption:
    """The names and the time of an adoption. Payments since `tokens_since` grant tokens (None: all payments)."""

    names: Names
    adopted_at: datetime
    tokens_since: datetime | None


# The name of a table of `public`; for any other table, schema and name.
_NAME = """
    case when {0}.relnamespace = 'public'::regnamespace then '' else {0}.relnamespace::regnamespace::text || '.' end
        || {0}.relname"""
_SCHEMAS = "array(select oid from pg_namespace where nspname = any(%(schemas)s))"
_NAMED = {"relation": _NAME.format("c"), "target": _NAME.format("t"), "schemas": _SCHEMAS}
_COLUMNS = """
    select {relation} as relation, c.relkind::text as kind, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
        not a.attnotnull as nullable, pg_get_expr(d.adbin, d.adrelid) as default,
        a.attidentity <> '' or a.attgenerated <> '' as generated, t.typtype = 'e' as is_enum
    from pg_class as c
    join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type as t on t.oid = a.atttypid
    left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = any({schemas}) and c.relkind in ('r', 'p', 'v', 'm', 'f')
    order by c.relname, a.attnum
"""
_INDEXES = """
    select {relation} as relation, i.relname as name, x.indisunique as unique, pg_get_expr(x.indpred, x.indrelid) as where,
        pg_get_indexdef(x.indexrelid) as definition,
        array(
            select a.attname::text
            from unnest(x.indkey::int2[]) with ordinality as k (attnum, place)
            left join pg_attribute as a on a.attrelid = c.oid and a.attnum = k.attnum and k.attnum > 0
            where k.place <= x.indnkeyatts
            order by k.place
        ) as columns
    from pg_index as x
    join pg_class as c on c.oid = x.indrelid
    join pg_class as i on i.oid = x.indexrelid
    where c.relnamespace = any({schemas}) and x.indisvalid
    order by c.relname, i.relname
"""
_REFERENCES = """
    select {relation} as relation, {target} as to, k.confdeltype::text as on_delete,
        array(
            select a.attname::text
            from unnest(k.conkey) with ordinality as p (attnum, place)
            join pg_attribute as a on a.attrelid = c.oid and a.attnum = p.attnum
            order by p.place
        ) as columns,
        array(
            select a.attname::text
            from unnest(k.confkey) with ordinality as p (attnum, place)
            join pg_attribute as a on a.attrelid = t.oid and a.attnum = p.attnum
            order by p.place
        ) as to_columns
    from pg_constraint as k
    join pg_class as c on c.oid = k.conrelid
    join pg_class as t on t.oid = k.confrelid and t.relnamespace = any({schemas})
    where k.contype = 'f' and c.relnamespace = any({schemas})
"""
_TRIGGERS = """
    select {relation} as relation, t.tgname as name
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    where not t.tgisinternal and c.relnamespace = any({schemas})
"""
_ENUMS = """
    select format_type(t.oid, null) as name, array_agg(e.enumlabel::text order by e.enumsortorder) as labels
    from pg_type as t
    join pg_enum as e on e.enumtypid = t.oid
    where t.typnamespace <> coalesce(to_regnamespace('sync_names'), 0)
    group by t.oid
"""
_FUNCTIONS = """
    select o.name, jsonb_build_object('signature', p.oid::regprocedure::text, 'body', p.prosrc) as found
    from unnest(%s::text[]) as o (name)
    join pg_proc as p on p.proname = split_part(o.name, '.', 2)
        and p.pronamespace in (to_regnamespace(split_part(o.name, '.', 1)), to_regnamespace('sync_names'))
    order by p.pronamespace <> to_regnamespace('sync_names')  -- of two rows with the same name, the last is used
"""
_ASIDE = """
    select relname::text, relkind::text from pg_class
    where relnamespace = to_regnamespace(%(schema)s) and relkind in ('r', 'v')
    union all
    select typname::text, 'type' from pg_type
    where typnamespace = to_regnamespace(%(schema)s) and typtype in ('d', 'e')
    union all
    select %(schema)s, 'schema' where to_regnamespace(%(schema)s) is not null
"""
_FOREIGN = """
    select n.nspname::text from pg_namespace as n
    where n.nspname in ('mirror', 'sync', %s, %s) and exists (select from pg_class as c where c.relnamespace = n.oid)
"""


def look(conn: Connection, names: Names, *, views_schema: str = VIEWS_SCHEMA) -> Found:
    """The objects in `public`, and in other schemas that `names` mentions.

    Sets the search_path of the caller's transaction to `public`, so that names are returned without this schema.
    """
    conn.execute("set local search_path = public")
    revision = inventory.revision(conn)
    schemas = {schema for table in names.tables.values() if (schema := table.rpartition(".")[0])}
    before = adopted(conn)
    return Found(
        relations=_relations(conn, ["public", *sorted(schemas)]),
        enums={row["name"]: tuple(row["labels"]) for row in _rows(conn, _ENUMS)},
        functions={
            row["name"]: Function(**row["found"])
            for row in _rows(conn, _FUNCTIONS, ([*FUNCTIONS, "sync.forget_user"],))
        },
        foreign_schemas=frozenset(
            row["nspname"] for row in (_rows(conn, _FOREIGN, (NAMES_SCHEMA, views_schema)) if revision is None else ())
        ),
        revision=revision,
        aside=dict(conn.execute(_ASIDE, {"schema": NAMES_SCHEMA}).fetchall()),
        names=before.names if before else None,
    )


def adopted(conn: Connection) -> Adoption | None:
    """The last adoption of this database; None if it was never adopted."""
    if conn.execute("select to_regclass('sync.adoption')").fetchone() == (None,):
        return None
    row = conn.execute("select names, adopted_at, tokens_since from sync.adoption").fetchone()
    return None if row is None else Adoption(Names.recorded(row[0]), row[1], row[2])


def record(conn: Connection, adoption: Adoption) -> None:
    """Record the adoption for the next one, and for migrations."""
    conn.execute(
        """
        insert into sync.adoption as a (names, adopted_at, tokens_since) values (%s, %s, %s)
        on conflict (is_only) do update
        set names = excluded.names, adopted_at = excluded.adopted_at, tokens_since = excluded.tokens_since
        where row(a.names, a.adopted_at, a.tokens_since)
            is distinct from row(excluded.names, excluded.adopted_at, excluded.tokens_since)
        """,
        (Jsonb(adoption.names.record), adoption.adopted_at, adoption.tokens_since),
    )


def count(conn: Connection, query: str) -> int:
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0


def add(conn: Connection, findings: Iterable[Finding]) -> None:
    """Run the statements of these findings."""
    for finding in findings:
        for statement in finding.statements:
            conn.execute(statement)


def keep_roles(conn: Connection, names: Names) -> int:
    """Give every user who is PREMIUM today an override that keeps the role. Returns how many."""
    users, id_, role = names.relation("users"), names.column("users", "id"), names.column("users", "role")
    statement = f"""
        insert into sync.overrides (user_id, role, note)
        select {quoted(id_)}::text, {quoted(role)}, '{ADOPTED}' from {users} where {quoted(role)}::text = 'PREMIUM'
        on conflict (user_id) do nothing
        """  # noqa: S608 - quoted names
    return conn.execute(statement).rowcount


def holders(conn: Connection, names: Names) -> int:
    """The number of users with tokens, according to the application's column."""
    return count(
        conn,
        f"select count(*) from {names.relation('users')} where {quoted(names.column('users', 'tokens'))} > 0",  # noqa: S608
    )


def follow_the_mirror(conn: Connection) -> None:
    """Write the mirrored catalogue to the users' tables, and request a recompute for all mirrored customers."""
    ids: dict[str, list[str]] = {}
    for table in ("products", "prices"):
        rows = _rows(conn, f"select id from mirror.{table} where account = ''")  # noqa: S608 - one of two literals
        ids[table] = [row["id"] for row in rows]
    save_rows.of_catalogue(conn, products=ids["products"], prices=ids["prices"])
    conn.execute(
        """
        insert into sync.recompute_queue as r (stripe_customer_id)
        select id from mirror.customers where account = ''
        union
        select customer from mirror.subscriptions where account = '' and customer is not null
        on conflict (stripe_customer_id) do update set requested_at = r.requested_at
        """
    )
    conn.execute(
        """
        insert into sync.organization_queue as r (organization_id)
        select distinct metadata_organization_id
        from mirror.subscriptions
        where metadata_organization_id is not null and account = '' and not deleted
        on conflict (organization_id) do update set place = '' where r.place <> ''
        """
    )


def resolves(conn: Connection) -> bool:
    """Whether `users` on this connection is the adopted table. It is not if a pooler dropped the search_path."""
    row = conn.execute(
        "select to_regclass('sync_names.users') is null or to_regclass('users') = to_regclass('sync_names.users')"
    ).fetchone()
    return bool(row and row[0])


def is_read_since(conn: Connection, moment: datetime) -> bool:
    """Whether `sync all` has read customers and subscriptions since then."""
    query = """
        select count(distinct job) = 2 from sync.runs
        where job in ('customer', 'subscription') and outcome = 'done' and started_at >= %s
        """
    return conn.execute(query, (moment,)).fetchone() == (True,)


def held(conn: Connection, *, after: str, limit: int) -> list[Row]:
    """Overrides of an adoption, ordered by user, with the user's subscriptions that were alive at the adoption."""
    return _rows(
        conn,
        """
        select o.user_id, u.email,
            array(
                select s.id
                from sync.customer_links as l
                join mirror.subscriptions as s on s.customer = l.stripe_customer_id and s.account = '' and not s.deleted
                where l.user_id = o.user_id and s.status not in ('incomplete', 'incomplete_expired')
                    and (s.status <> 'canceled' or coalesce(s.ended_at, s.canceled_at) >= o.created_at)
                order by s.id
            ) as lived,
            exists (select from sync.customer_links as l where l.user_id = o.user_id) as has_customer
        from sync.overrides as o
        join users as u on u.id = sync.user_key(o.user_id)
        where o.note = %s and o.user_id > %s
        order by o.user_id
        limit %s
        """,
        (ADOPTED, after, limit),
    )


def _relations(conn: Connection, schemas: list[str]) -> dict[str, Relation]:
    columns: dict[tuple[str, str], dict[str, Column]] = defaultdict(dict)
    for row in _rows(conn, _COLUMNS.format(**_NAMED), {"schemas": schemas}):
        key = row.pop("relation"), row.pop("kind")
        columns[key][row["name"]] = Column(**row)
    indexes, references, triggers = (
        _by_relation(conn, _INDEXES, schemas),
        _by_relation(conn, _REFERENCES, schemas),
        _by_relation(conn, _TRIGGERS, schemas),
    )
    return {
        name: Relation(
            name=name,
            kind=kind,
            columns=of,
            indexes=tuple(Index(**{**row, "columns": tuple(row["columns"])}) for row in indexes[name]),
            foreign_keys=tuple(
                ForeignKey(**{**row, "columns": tuple(row["columns"]), "to_columns": tuple(row["to_columns"])})
                for row in references[name]
            ),
            triggers=frozenset(row["name"] for row in triggers[name]),
        )
        for (name, kind), of in columns.items()
    }


def _by_relation(conn: Connection, query: str, schemas: list[str]) -> dict[str, list[Row]]:
    actual: dict[str, list[Row]] = defaultdict(list)
    for row in _rows(conn, query.format(**_NAMED), {"schemas": schemas}):
        actual[row.pop("relation")].append(row)
    return actual


def _rows(conn: Connection, query: str, arguments: Sequence[object] | Mapping[str, object] | None = None) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, arguments).fetchall()
