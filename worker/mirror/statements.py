"""The SQL statements of the mirror's storage, for each table. Rows are sent as one array for each column."""

from collections.abc import Sequence
from functools import cache

from schema import mirror
from worker.mirror.registry import TYPES, object_type

# How a column of each kind is sent through unnest: the type of the array, and the expression for the value.
_TRAVELS = {
    "text": ("text", "v.{0}"),
    "id": ("text", "v.{0}"),
    "bigint": ("bigint", "v.{0}"),
    "boolean": ("boolean", "v.{0}"),
    "timestamptz": ("bigint", "to_timestamp(v.{0})"),
    "numeric": ("text", "v.{0}::numeric"),
    "jsonb": ("text", "v.{0}::jsonb"),
    "object": ("text", "v.{0}::jsonb"),
}
_BOOKKEEPING = (
    ("created", "timestamptz"),
    ("deleted", "boolean"),
    ("data", "jsonb"),
    ("observed_at", "timestamptz"),
    ("observed_rank", "bigint"),
    ("observed_in", "text"),
    ("content_hash", "text"),
    ("shape", "text"),
    ("rev", "bigint"),
    ("unsettled", "boolean"),
)
_CHILDREN = [children.type for type_ in TYPES.values() for children in type_.children]
TYPE_OF_TABLE = {type_.table.name: type_ for type_ in (*TYPES.values(), *_CHILDREN, object_type("other"))}
_EXCLUDED = 'excluded."{0}"'
# An older API version must not remove a value: if a plan names no product, the known product of its price stays.
_KNOWN_BEFORE = {
    (
        "subscription_items",
        "product",
    ): "coalesce(excluded.product, case when t.price = excluded.price then t.product end)",
}
_VERSION = ("observed_at", "observed_rank", "observed_in", "shape", "rev", "unsettled")


def _typed(table: str) -> list[tuple[str, str]]:
    """All columns except the key, with their kinds, in the order of `_row`."""
    return [(column.name, column.kind) for column in TYPE_OF_TABLE[table].columns] + list(_BOOKKEEPING)


def _unnested(columns: Sequence[tuple[str, str]]) -> str:
    """`unnest(...) as v (...)` with an array for each column, after the three parts of the key."""
    everything = [("object", "text"), ("id", "text"), ("account", "text"), *columns]
    arrays = ", ".join(f"%b::{_TRAVELS[kind][0]}[]" for _, kind in everything)
    names = ", ".join(f'"{name}"' for name, _ in everything)
    return f"unnest({arrays}) as v ({names})"


def _value(name: str, kind: str) -> str:
    return _TRAVELS[kind][1].format(f'"{name}"')


def _matches(table: str) -> str:
    return " and ".join(f't."{name}" = v."{name}"' for name in mirror.tables[table].key)


@cache
def lock(table: str) -> str:
    declared = mirror.tables[table]
    object_ = "t.object" if "object" in declared.columns else "k.object"
    status = "t.status" if "status" in declared.columns else "t.data->>'status'" if table == "objects" else "null"
    joined = "t.object = k.object and " if "object" in declared.columns else ""
    return f"""
        select {object_}, t.id, t.account, {status}, extract(epoch from t.observed_at)::bigint,
            t.observed_rank, t.observed_in, t.content_hash, t.shape, t.rev, t.unsettled
        from mirror.{table} as t
        join unnest(%b::text[], %b::text[], %b::text[]) as k (object, id, account)
            on {joined}t.id = k.id and t.account = k.account
        order by {object_}, t.id, t.account
        for update of t
    """  # noqa: S608 - names from the schema


@cache
def data(table: str) -> str:
    declared = mirror.tables[table]
    object_, joined = ("t.object", "t.object = k.object and ") if "object" in declared.columns else ("k.object", "")
    return f"""
        select {object_}, t.id, t.account, t.data
        from mirror.{table} as t
        join unnest(%b::text[], %b::text[], %b::text[]) as k (object, id, account)
            on {joined}t.id = k.id and t.account = k.account
        order by {object_}, t.id, t.account
    """  # noqa: S608 - names from the schema


@cache
def rewrite(table: str) -> str:
    columns = [(column.name, column.kind) for column in TYPE_OF_TABLE[table].columns]
    columns += [("data", "jsonb"), ("content_hash", "text")]
    changes = ", ".join(f'"{name}" = {_value(name, kind)}' for name, kind in columns)
    return f"""
        update mirror.{table} as t
        set {changes}, synced_at = now()
        from {_unnested(columns)}
        where {_matches(table)}
    """  # noqa: S608


@cache
def insert(table: str) -> str:
    columns = _typed(table)
    names = ", ".join(f'"{name}"' for name in (*mirror.tables[table].key, *(name for name, _ in columns)))
    chosen = ", ".join(
        [*(f'v."{name}"' for name in mirror.tables[table].key), *(_value(*column) for column in columns)]
    )
    object_ = "object" if "object" in mirror.tables[table].key else f"'{TYPE_OF_TABLE[table].name}'"
    return f"""
        insert into mirror.{table} ({names})
        select {chosen}
        from {_unnested(columns)}
        on conflict ({", ".join(mirror.tables[table].key)}) do nothing
        returning {object_}, id, account
    """  # noqa: S608


@cache
def update(table: str) -> str:
    columns = _typed(table)
    changes = ", ".join(f'"{name}" = {_value(name, kind)}' for name, kind in columns)
    return f"""
        update mirror.{table} as t
        set {changes}, synced_at = now()
        from {_unnested(columns)}
        where {_matches(table)}
    """  # noqa: S608


@cache
def doubt(table: str) -> str:
    return f"""
        update mirror.{table} as t
        set unsettled = true, rev = t.rev + v.number, observed_at = greatest(t.observed_at, to_timestamp(v.event_at))
        from {_unnested([("number", "bigint"), ("event_at", "bigint")])}
        where {_matches(table)}
    """  # noqa: S608 - names from the schema


@cache
def touch(table: str) -> str:
    columns = [(name, kind) for name, kind in _BOOKKEEPING if name in _VERSION]
    changes = ", ".join(f'"{name}" = {_value(name, kind)}' for name, kind in columns)
    return f"""
        update mirror.{table} as t
        set {changes}
        from {_unnested(columns)}
        where {_matches(table)}
    """  # noqa: S608


@cache
def upsert(table: str) -> str:
    columns = _typed(table) + ([("parent", "text")] if table == "objects" else [])
    names = ", ".join(f'"{name}"' for name in (*mirror.tables[table].key, *(name for name, _ in columns)))
    chosen = ", ".join(
        [*(f'v."{name}"' for name in mirror.tables[table].key), *(_value(*column) for column in columns)]
    )
    changes = ", ".join(f'"{name}" = {_KNOWN_BEFORE.get((table, name), _EXCLUDED).format(name)}' for name, _ in columns)
    return f"""
        insert into mirror.{table} as t ({names})
        select {chosen}
        from {_unnested(columns)}
        on conflict ({", ".join(mirror.tables[table].key)}) do update set {changes}, synced_at = now()
    """  # noqa: S608


@cache
def absent(table: str, parent: str) -> str:
    return f"""
        update mirror.{table} as t
        set deleted = true, synced_at = now()
        from unnest(%b::text[], %b::text[]) as p (id, account)
        where t.{parent} = p.id and t.account = p.account and not t.deleted
            and not exists (select from unnest(%b::text[]) as m (id) where m.id = t.id)
    """  # noqa: S608
