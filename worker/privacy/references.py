"""Find the mirrored rows and inbox events that belong to, or mention, an erased object."""

from collections.abc import Collection, Sequence

import psycopg
from psycopg.rows import dict_row

from schema import mirror as declared
from worker.mirror import store as mirror
from worker.mirror.fold import Key
from worker.mirror.registry import TYPES
from worker.stripe_api.event import ObjectRef

Connection = psycopg.Connection

BLOCKS = 1000  # blocks of 8 KiB that are searched at a time
_OWNERS = ("customer", "charge", "payment_intent", "invoice", "subscription")
_CHILD_TABLES = {kind.type.table.name for type_ in TYPES.values() for kind in type_.children}


def mirrored(conn: Connection, objects: Collection[ObjectRef]) -> list[Key]:
    """The mirrored rows of these objects, and the rows that belong to them.

    A row that names a customer belongs only to that customer.
    """
    known = {(id_, account) for _, id_, account in objects}
    ids = sorted({id_ for id_, _ in known})
    keys: list[Key] = []
    for table, columns in _owner_columns().items():
        where = " or ".join(f"{column} = any(%(ids)s)" for column in ("id", *columns))
        with conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                f"select {', '.join(('id', 'account', *columns))} from mirror.{table} where {where}",  # noqa: S608
                {"ids": ids},
            )
            for row in rows:
                named = [row["customer"]] if row.get("customer") else [row[column] for column in columns]
                if any((id_, row["account"]) in known for id_ in (row["id"], *named)):
                    keys.append(Key(table, mirror.type_of_table(table).name, row["id"], row["account"]))
    rows_ = conn.execute(
        """
        select o.object, o.id, o.account
        from mirror.objects as o
        join unnest(%b::text[], %b::text[], %b::text[]) as f (object, id, account)
            on o.object = f.object and o.id = f.id and o.account = f.account
        """,
        ([one[0] for one in objects], [one[1] for one in objects], [one[2] for one in objects]),
    )
    return keys + [Key("objects", *row) for row in rows_]


def children_of(conn: Connection, objects: Collection[ObjectRef]) -> list[Key]:
    """The rows of the lists that are embedded in these objects."""
    keys: list[Key] = []
    for type_ in TYPES.values():
        known = {(id_, account) for object_, id_, account in objects if object_ == type_.name}
        for children in type_.children if known else ():
            table = children.type.table.name
            rows = conn.execute(
                f"select id, account, {children.parent} from mirror.{table} where {children.parent} = any(%s)",  # noqa: S608
                (sorted({id_ for id_, _ in known}),),
            )
            keys += [
                Key(table, children.type.name, id_, account) for id_, account, of in rows if (of, account) in known
            ]
    return keys


def paid_by_guests(conn: Connection, objects: Collection[ObjectRef]) -> set[ObjectRef]:
    """The payments, charges and cards that these objects refer to. Objects with a customer are skipped."""
    more: set[ObjectRef] = set()
    for of, column, kind in (
        ("checkout.session", "payment_intent", "payment_intent"),
        ("checkout.session", "setup_intent", "setup_intent"),
        ("payment_intent", "latest_charge", "charge"),
        ("payment_intent", "payment_method", "payment_method"),
        ("charge", "payment_method", "payment_method"),
    ):
        ids = [ref.id for ref in objects if ref.object == of]
        rows = conn.execute(
            f"""
            select {column}, account from mirror.{TYPES[of].table.name}
            where id = any(%s) and customer is null and {column} is not null
            """,  # noqa: S608 - the names above
            (ids,),
        )
        more |= {ObjectRef(kind, id_, account) for id_, account in rows}
    return more


def others_naming(conn: Connection, names: Sequence[str], *, block: int) -> list[tuple[Key, dict[str, object]]]:
    """The objects in a range of blocks of `mirror.objects` whose text contains one of the names."""
    rows = conn.execute(
        """
        select object, id, account, data
        from mirror.objects
        where ctid >= %s::tid and ctid < %s::tid and data::text like any (%b::text[])
        """,
        (*_range(block), _patterns(names)),
    )
    return [(Key("objects", object_, id_, account), data) for object_, id_, account, data in rows]


def events_of(conn: Connection, objects: Collection[ObjectRef], *, after: str, limit: int) -> list[tuple[str, str]]:
    """The next events about these objects, with their bodies, ordered by id. The events are locked."""
    rows = sorted({(ref.id, ref.account) for ref in objects if ref.object != "user"})
    return conn.execute(
        """
        select e.id, e.body
        from unnest(%b::text[], %b::text[]) as f (id, account)
        join sync.events as e on e.object_id = f.id and e.account = f.account
        where e.id > %s
        order by e.id
        limit %s
        for update of e
        """,
        ([id_ for id_, _ in rows], [account for _, account in rows], after, limit),
    ).fetchall()


def events_naming(conn: Connection, names: Sequence[str], *, block: int) -> list[tuple[str, str]]:
    """The events in a range of blocks whose text contains one of the names, with their bodies. The events are locked."""
    return conn.execute(
        """
        select id, body
        from sync.events
        where ctid >= %s::tid and ctid < %s::tid and body like any (%b::text[])
        order by id
        for update
        """,
        (*_range(block), _patterns(names)),
    ).fetchall()


def parked(conn: Connection) -> list[tuple[str, str]]:
    """The parked events, with their bodies. The events are locked."""
    return conn.execute("select id, body from sync.events where status = 'parked' order by id for update").fetchall()


def block_count(conn: Connection, table: str) -> int:
    """The size of a table in blocks of 8 KiB."""
    row = conn.execute(
        "select pg_relation_size(%s::regclass) / current_setting('block_size')::int", (table,)
    ).fetchone()
    return int(row[0]) if row else 0


def _range(block: int) -> tuple[str, str]:
    return f"({block},0)", f"({block + BLOCKS},0)"


def _patterns(names: Sequence[str]) -> list[str]:
    escaped = (name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for name in names)
    return [f'%"{name}"%' for name in escaped]


def _owner_columns() -> dict[str, list[str]]:
    """The tables of top-level objects, with their indexed columns that name an owner."""
    owner_columns: dict[str, list[str]] = {}
    for name, table in declared.tables.items():
        columns = [column for column in _OWNERS if column in table.indexed]
        if name not in _CHILD_TABLES and name != "objects" and (columns or name == "customers"):
            owner_columns[name] = columns
    return owner_columns
