"""Write a database's catalogue as lines of text. Equal databases give equal lines."""

import psycopg

_RELATIONS = """
    select 'table ' || n.nspname || '.' || c.relname || coalesce(' -- ' || obj_description(c.oid), '')
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
    where c.relkind in ('r', 'v') and {where}
    union all
    select 'column ' || n.nspname || '.' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        || ' ' || a.attnotnull || ' ' || a.attidentity::text || a.attstorage::text || a.attcompression::text
        || coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), '')
        || coalesce(' -- ' || col_description(c.oid, a.attnum), '')
    from pg_attribute as a
    join pg_class as c on c.oid = a.attrelid and c.relkind in ('r', 'v')
    join pg_namespace as n on n.oid = c.relnamespace
    left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped and {where}
    union all
    select 'constraint ' || c.conrelid::regclass || ' ' || c.conname || ' ' || pg_get_constraintdef(c.oid)
    from pg_constraint as c join pg_namespace as n on n.oid = c.connamespace
    where c.contype <> 'n' and c.conrelid <> 0 and {where}
    union all
    select 'index ' || pg_get_indexdef(c.oid)
    from pg_class as c join pg_namespace as n on n.oid = c.relnamespace where c.relkind = 'i' and {where}
    union all
    select 'trigger ' || pg_get_triggerdef(t.oid)
    from pg_trigger as t
    join pg_class as c on c.oid = t.tgrelid
    join pg_namespace as n on n.oid = c.relnamespace
    where not t.tgisinternal and {where}
    union all
    select 'function ' || pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '')
    from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
    where p.prokind = 'f' and {where}
    union all
    select 'type ' || t.oid::regtype || ' ' || coalesce(
        (select string_agg(enumlabel, ',' order by enumsortorder) from pg_enum where enumtypid = t.oid),
        format_type(t.typbasetype, t.typtypmod)
    )
    from pg_type as t join pg_namespace as n on n.oid = t.typnamespace where t.typtype in ('e', 'd') and {where}
    order by 1
"""


def everything(database: str, *schemas: str) -> list[str]:
    """The objects in these schemas, or in all of them."""
    chosen = ", ".join(f"'{schema}'" for schema in schemas)
    where = (
        f"n.nspname in ({chosen})" if schemas else "n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"
    )
    with psycopg.connect(database) as conn:
        return [line for (line,) in conn.execute(_RELATIONS.format(where=where)).fetchall()]
