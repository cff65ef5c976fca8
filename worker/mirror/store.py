"""The storage of the mirror: lock rows and write outcomes. Only this module writes the tables behind `stripe.*`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psycopg

from schema import mirror
from worker.mirror import statements
from worker.mirror.fold import Key, Outcome
from worker.mirror.registry import ObjectType, object_type
from worker.mirror.rows import Family, families, values
from worker.mirror.version import DELETED_HASH, Version, content_hash
from worker.stripe_api.json_paths import Json, canonical, fit

Connection = psycopg.Connection


def lock(conn: Connection, keys: Iterable[Key]) -> dict[Key, Version]:
    """Lock the existing rows of these keys, in the order of the keys; returns their versions."""
    current: dict[Key, Version] = {}
    by_table: dict[str, list[Key]] = defaultdict(list)
    for key in sorted(set(keys)):
        by_table[key.table].append(key)
    for table, wanted in by_table.items():
        rows = conn.execute(
            statements.lock(table), ([k.object for k in wanted], [k.id for k in wanted], [k.account for k in wanted])
        )
        for object_, id_, account, status, *version in rows:
            observed_at, rank, observed_in, content_hash, shape, rev, unsettled = version
            current[Key(table, object_, id_, account)] = Version(
                observed_at=observed_at,
                rank=rank,
                observed_in=observed_in,
                content_hash=content_hash,
                shape=shape,
                rev=rev,
                unsettled=unsettled,
                final=status in object_type(object_).final,
            )
    return current


def write(conn: Connection, outcomes: Sequence[Outcome]) -> set[Key]:
    """Write the outcomes; returns the keys that another worker has inserted in the meantime, to be planned again.

    A locked row gets new content, or only a new version. A missing row is inserted, unless another worker was faster.
    """
    inserts: dict[str, list[Outcome]] = defaultdict(list)
    updates: dict[str, list[Outcome]] = defaultdict(list)
    touches: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.key):
        if not outcome.touched:
            continue
        way = inserts if outcome.before is None else touches if outcome.object is None else updates
        way[outcome.key.table].append(outcome)
    for table, touched in touches.items():
        conn.execute(statements.touch(table), _columns(map(_touch_row, touched)))
    for table, changed in updates.items():
        conn.execute(statements.update(table), _columns(map(_outcome_row, changed)))
    lost: set[Key] = set()
    for table, fresh in inserts.items():
        inserted = set(conn.execute(statements.insert(table), _columns(map(_outcome_row, fresh))))
        lost |= {o.key for o in fresh if (o.key.object, o.key.id, o.key.account) not in inserted}
    _write_children(conn, [o for o in outcomes if o.touched and o.object is not None and o.key not in lost])
    return lost


def rewrite(conn: Connection, keys: Iterable[Key], change: Callable[[Json], Json]) -> int:
    """Replace the content of these objects' rows by the result of `change`; returns how many rows changed.

    The observation stays the same, so no other column of the version changes.
    """
    locked, written = lock(conn, keys), 0
    by_table: dict[str, list[Key]] = defaultdict(list)
    for key in locked:
        by_table[key.table].append(key)
    for table, wanted in by_table.items():
        held = conn.execute(
            statements.data(table), ([k.object for k in wanted], [k.id for k in wanted], [k.account for k in wanted])
        ).fetchall()
        rows = []
        for object_, id_, account, data in held:
            if (now := change(data)) != data:
                type_ = object_type(object_) if table == "objects" else statements.TYPE_OF_TABLE[table]
                hash_ = DELETED_HASH if locked[Key(table, object_, id_, account)].deleted else content_hash(now)
                rows.append((object_, id_, account, *values(type_, now), canonical(now), hash_))
        if rows:
            conn.execute(statements.rewrite(table), _columns(rows))
        written += len(rows)
    return written


def type_of_table(table: str) -> ObjectType:
    """The type of the objects in a table. Not for `objects`, which holds several types."""
    return statements.TYPE_OF_TABLE[table]


def standing(conn: Connection, key: Key) -> tuple[int, bool]:
    """The revision of an object's row, and whether it is deleted; 0 and False if there is no row."""
    of_type = " and object = %s" if key.table == "objects" else ""
    row = conn.execute(
        f"select rev, deleted from mirror.{key.table} where id = %s and account = %s{of_type}",  # noqa: S608
        (key.id, key.account, *([key.object] if of_type else [])),
    ).fetchone()
    return (row[0], row[1]) if row else (0, False)


def file_under(conn: Connection, objects: Iterable[tuple[str, str]], *, account: str, parent: str) -> None:
    """Store the parent of these objects (type, id), which were read from its list.

    The transaction has locked their rows.
    """
    named = list(objects)
    conn.execute(
        """
        update mirror.objects as t set parent = %s
        from unnest(%b::text[], %b::text[]) as v (object, id)
        where t.object = v.object and t.id = v.id and t.account = %s and t.parent is distinct from %s
        """,
        (parent, [object_ for object_, _ in named], [id_ for _, id_ in named], account, parent),
    )


def doubt(conn: Connection, named: Sequence[tuple[Key, int]]) -> None:
    """Mark the rows of these objects as uncertain, because an event at that second named the object without its
    content.

    Missing rows are skipped.
    """
    newest: dict[Key, tuple[int, int]] = {}
    for key, event_at in named:
        number, latest = newest.get(key, (0, event_at))
        newest[key] = (number + 1, max(latest, event_at))
    by_table: dict[str, list[Key]] = defaultdict(list)
    for key in lock(conn, newest):
        by_table[key.table].append(key)
    for table, keys in by_table.items():
        rows = [(key.object, key.id, key.account, *newest[key]) for key in keys]
        conn.execute(statements.doubt(table), _columns(rows))


def differing(conn: Connection, hashes: Mapping[Key, str]) -> dict[Key, tuple[Json, int]]:
    """The rows whose hash differs from the given one, with the mirrored object and the second of its observation."""
    by_table: dict[str, list[tuple[str, str, str, str]]] = defaultdict(list)
    for key, hash_ in hashes.items():
        by_table[key.table].append((key.object, key.id, key.account, hash_))
    held: dict[Key, tuple[Json, int]] = {}
    for table, seen in by_table.items():
        # Before PostgreSQL 18, a join without the first column of the key reads the whole index.
        joined = " and ".join(f"m.{column} = seen.{column}" for column in mirror.tables[table].key)
        rows = conn.execute(
            f"""
            select seen.object, m.id, m.account, m.data, extract(epoch from m.observed_at)::bigint
            from unnest(%b::text[], %b::text[], %b::text[], %b::text[]) as seen (object, id, account, content_hash)
            join mirror.{table} as m on {joined} and m.content_hash <> seen.content_hash
            """,  # noqa: S608 - names from the schema
            _columns(seen),
        )
        held |= {Key(table, object_, id_, account): (data, second) for object_, id_, account, data, second in rows}
    return held


def analyze(conn: Connection) -> None:
    """Analyze the tables that have changed by more than a tenth, earlier than autovacuum would.

    Without statistics the planner reads whole indexes to find the rows of a customer. The column `data` is left out,
    because reading it takes most of the time. If our role does not own the tables, Postgres warns and does nothing.
    """
    rows = conn.execute(
        """
        select relname from pg_stat_user_tables
        where schemaname = 'mirror' and n_mod_since_analyze > 50 + n_live_tup / 10
        order by relname
        """
    ).fetchall()
    for (name,) in rows:
        if (table := mirror.tables.get(name)) is not None:
            columns = ", ".join(f'"{column}"' for column in table.columns if column != "data")
            conn.execute(f"analyze mirror.{name} ({columns})")


def count_unsettled(conn: Connection) -> int:
    """The number of unsettled objects, whose mirrored state may be outdated."""
    each = " union all ".join(
        f"select count(*) as n from mirror.{name} where unsettled"  # noqa: S608 - names from the schema
        for name in mirror.tables
    )
    row = conn.execute(f"select sum(n) from ({each}) as counted").fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def _write_children(conn: Connection, parents: Sequence[Outcome]) -> None:
    """Write the children of written parents: upsert the children in the object, and mark missing ones deleted."""
    by_type: dict[tuple[str, str], list[tuple[Outcome, Family]]] = defaultdict(list)
    for outcome in parents:
        assert outcome.object is not None
        assert outcome.version is not None
        for family in families(outcome.type, outcome.object, deleted=outcome.version.deleted):
            type_ = family.children.type
            by_type[type_.table.name, type_.name].append((outcome, family))
    for (table, object_), current in by_type.items():
        type_, parent = current[0][1].children.type, current[0][1].children.parent
        if table == "objects":
            _write_children_apart(conn, object_, current)
            continue
        # A new parent has no mirrored children that could be missing.
        complete = [(outcome, family) for outcome, family in current if family.complete and outcome.before is not None]
        if complete:
            conn.execute(
                statements.absent(type_.table.name, parent),
                (
                    [outcome.key.id for outcome, _ in complete],
                    [outcome.key.account for outcome, _ in complete],
                    [id_ for _, family in complete for id_ in family.members],
                ),
            )
        rows = {
            (id_, outcome.key.account): _child_row(type_, outcome, id_, member)
            for outcome, family in current
            for id_, member in family.members.items()
        }
        if rows:
            conn.execute(statements.upsert(type_.table.name), _columns(rows[key] for key in sorted(rows)))


def _write_children_apart(conn: Connection, object_: str, current: Sequence[tuple[Outcome, Family]]) -> None:
    """Write children without a table of their own. The column `parent` holds the parent's id."""
    rows: dict[tuple[str, str], tuple[Any, ...]] = {}
    for outcome, family in current:
        assert outcome.version is not None
        if family.complete:
            conn.execute(
                """
                update mirror.objects
                set deleted = true, content_hash = %s, observed_at = to_timestamp(%s), observed_in = %s, rev = rev + 1,
                    synced_at = now()
                where object = %s and parent = %s and account = %s and not deleted and id <> all (%s::text[])
                """,
                (
                    DELETED_HASH,
                    outcome.version.observed_at,
                    outcome.version.observed_in,
                    object_,
                    outcome.key.id,
                    outcome.key.account,
                    list(family.members),
                ),
            )
        for id_, member in family.members.items():
            row = _child_row(family.children.type, outcome, id_, member)
            rows[id_, outcome.key.account] = (*row, outcome.key.id)
    if rows:
        conn.execute(statements.upsert("objects"), _columns(rows[key] for key in sorted(rows)))


def _outcome_row(outcome: Outcome) -> tuple[Any, ...]:
    assert outcome.object is not None
    assert outcome.version is not None
    return _row(outcome.type, outcome.key.id, outcome.key.account, outcome.object, outcome.version)


def _child_row(type_: ObjectType, parent: Outcome, id_: str, member: Json) -> tuple[Any, ...]:
    """The row of a child. It has the version of its parent.

    Only the parent is marked unsettled, because only the parent can be read.
    """
    assert parent.version is not None
    return _row(type_, id_, parent.key.account, member, replace(parent.version, unsettled=False))


def _row(type_: ObjectType, id_: str, account: str, obj: Json, version: Version) -> tuple[Any, ...]:
    return (
        type_.name,
        id_,
        account,
        *values(type_, obj),
        fit("timestamptz", obj.get("created")),
        version.deleted,
        canonical(obj),
        version.observed_at,
        version.rank,
        version.observed_in,
        version.content_hash,
        version.shape,
        version.rev,
        version.unsettled,
    )


def _touch_row(outcome: Outcome) -> tuple[Any, ...]:
    key, version = outcome.key, outcome.version
    assert version is not None
    return (
        key.object,
        key.id,
        key.account,
        version.observed_at,
        version.rank,
        version.observed_in,
        version.shape,
        version.rev,
        version.unsettled,
    )


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
