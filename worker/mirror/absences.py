"""Mirrored objects that are absent from a list (`sync.absences`).

Each is read by its id. Nothing is marked deleted before the whole list was read, because with a truncated list, or with
the key of another account, most of a table would look deleted.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from worker.mirror.fold import Key
from worker.mirror.registry import object_type

LEASE_SECONDS = 60
# After this many attempts an object is left to the next pass.
MOST_ATTEMPTS = 3
# If the planner has no statistics of a table yet, rows are counted up to this number.
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Absence:
    """A mirrored object that is absent from a list. Its row had the revision `rev`.

    `read_at` is when Stripe answered that the object does not exist (by Stripe's clock, in unix seconds).
    """

    list: str
    object: str
    id: str
    account: str
    rev: int
    read_at: int | None

    @property
    def key(self) -> Key:
        return Key(object_type(self.object).table.name, self.object, self.id, self.account)


def expected(
    conn: psycopg.Connection,
    object_: str,
    *,
    account: str,
    before: int,
    final: Sequence[str] = (),
    above: int | None = None,
    upto: int | None = None,
    parent: tuple[str, str] | None = None,
) -> list[tuple[str, int]]:
    """The ids and revs of rows that a list should contain for the span (above, upto] of `created`.

    With `parent` (column, id), only children of that parent. The rows are not deleted, have none of the `final`
    statuses, and were not observed since `before`. Times are in unix seconds.
    """
    table = object_type(object_).table
    bounds = ["account = %(account)s", "not deleted", "observed_at < to_timestamp(%(before)s)"]
    bounds += ["object = %(object)s"] if "object" in table.columns else []
    # Each bound is a condition of its own, so that every version of the server uses the index on `created`.
    bounds += ["created > to_timestamp(%(above)s)"] if above is not None else []
    bounds += ["created <= to_timestamp(%(upto)s)"] if upto is not None else []
    status = "status" if "status" in table.columns else "data ->> 'status'"
    bounds += [f"{status} <> all (%(final)s::text[])"] if final else []
    bounds += [f'"{parent[0]}" = %(parent)s'] if parent is not None else []
    values = {
        "object": object_,
        "account": account,
        "before": before,
        "above": above,
        "upto": upto,
        "final": list(final),
    }
    return conn.execute(
        f"select id, rev from mirror.{table.name} where {' and '.join(bounds)}",  # noqa: S608
        values | {"parent": parent[1] if parent is not None else None},
    ).fetchall()


def add(
    conn: psycopg.Connection,
    run: int,
    list_: str,
    object_: str,
    account: str,
    absent: Collection[tuple[str, int]],
    *,
    read_at: int | None = None,
) -> None:
    """Store these absent objects for the run, to be read.

    If `read_at` is given, the absence from the list is proof enough, and the objects are not read.
    """
    if absent:
        conn.execute(
            """
            insert into sync.absences (run_id, list, object, id, account, rev, read_at)
            select %s, %s, %s, id, %s, rev, %s from unnest(%b::text[], %b::bigint[]) as a (id, rev)
            on conflict (run_id, object, id, account) do update set rev = excluded.rev, read_at = excluded.read_at
            """,
            (run, list_, object_, account, read_at, [id_ for id_, _ in absent], [rev for _, rev in absent]),
        )


def lease(conn: psycopg.Connection, run: int, *, limit: int) -> list[Absence]:
    """Lease absent objects that no other worker reads."""
    with conn.cursor(row_factory=class_row(Absence)) as cursor:
        return cursor.execute(
            """
            update sync.absences as a set leased_until = now() + make_interval(secs => %s), attempts = attempts + 1
            from (
                select run_id, object, id, account from sync.absences
                where run_id = %s and read_at is null and (leased_until is null or leased_until < now())
                    and attempts < %s
                limit %s
                for update skip locked
            ) as l
            where a.run_id = l.run_id and a.object = l.object and a.id = l.id and a.account = l.account
            returning a.list, a.object, a.id, a.account, a.rev, a.read_at
            """,
            (LEASE_SECONDS, run, MOST_ATTEMPTS, limit),
        ).fetchall()


def any_put_off(conn: psycopg.Connection, run: int) -> bool:
    """Whether an absent object is being read, or waits for a retry."""
    return (
        conn.execute(
            """
            select from sync.absences
            where run_id = %s and read_at is null and (leased_until > now() or attempts < %s)
            limit 1
            """,
            (run, MOST_ATTEMPTS),
        ).fetchone()
        is not None
    )


def missing(conn: psycopg.Connection, run: int, absence: Absence, *, read_at: int) -> None:
    """Record that Stripe does not have the object. It will be marked deleted after the whole list was read."""
    conn.execute(
        "update sync.absences set read_at = %s where run_id = %s and object = %s and id = %s and account = %s",
        (read_at, run, absence.object, absence.id, absence.account),
    )


def drop(conn: psycopg.Connection, run: int, absences: Collection[Absence]) -> None:
    """Remove these objects, because they are done."""
    conn.execute(
        """
        delete from sync.absences as a using unnest(%b::text[], %b::text[], %b::text[]) as d (object, id, account)
        where a.run_id = %s and a.object = d.object and a.id = d.id and a.account = d.account
        """,
        ([a.object for a in absences], [a.id for a in absences], [a.account for a in absences], run),
    )


def drop_list(conn: psycopg.Connection, run: int, list_: str) -> None:
    """Remove everything recorded for this list."""
    conn.execute("delete from sync.absences where run_id = %s and list = %s", (run, list_))


def counts(conn: psycopg.Connection, run: int) -> dict[str, tuple[int, int]]:
    """For each list of the run, how many absent objects are still to be read, and how many Stripe no longer has."""
    return {
        list_: (unasked, gone)
        for list_, unasked, gone in conn.execute(
            """
            select list,
                count(*) filter (where read_at is null and (attempts < %s or leased_until > now())),
                count(*) filter (where read_at is not null)
            from sync.absences where run_id = %s group by list
            """,
            (MOST_ATTEMPTS, run),
        )
    }


def gone(conn: psycopg.Connection, run: int, list_: str, *, limit: int) -> list[Absence]:
    """Absent objects that Stripe no longer has and that are not marked deleted yet."""
    with conn.cursor(row_factory=class_row(Absence)) as cursor:
        return cursor.execute(
            """
            select list, object, id, account, rev, read_at from sync.absences
            where run_id = %s and list = %s and read_at is not null order by object, id limit %s
            """,
            (run, list_, limit),
        ).fetchall()


def count(
    conn: psycopg.Connection,
    object_: str,
    *,
    account: str,
    final: Sequence[str] = (),
    parent: str | None = None,
    most: int,
) -> int:
    """The number of rows that belong to a list, counted up to `most`: not deleted, and with none of the `final`
    statuses.

    For a list under parents, only rows with a value in the column `parent`.
    """
    table = object_type(object_).table
    bounds = ["account = %(account)s", "not deleted"]
    bounds += ["object = %(object)s"] if "object" in table.columns else []
    status = "status" if "status" in table.columns else "data ->> 'status'"
    bounds += [f"coalesce({status} <> all (%(final)s::text[]), true)"] if final else []
    bounds += [f'"{parent}" is not null'] if parent is not None else []
    # The oldest blocks may have only deleted rows. In the order of ids they are mixed, so the limit is reached early.
    row = conn.execute(
        f"""
        select count(*) from (
            select from mirror.{table.name} where {" and ".join(bounds)} order by id limit %(most)s
        ) as counted
        """,  # noqa: S608 - names from the schema
        {"object": object_, "account": account, "final": list(final), "most": most},
    ).fetchone()
    return int(row[0]) if row else 0


def parents_of(
    conn: psycopg.Connection, object_: str, field: str, absences: Collection[Absence]
) -> dict[tuple[str, str], str]:
    """The parent of each object, as the column `field` names it, by id and account."""
    table = object_type(object_).table.name
    return {
        (id_, account): parent
        for id_, account, parent in conn.execute(
            f"""
            select m.id, m.account, m."{field}" from mirror.{table} as m
            join unnest(%b::text[], %b::text[]) as a (id, account) on a.id = m.id and a.account = m.account
            """,  # noqa: S608 - names from the schema
            ([each.id for each in absences], [each.account for each in absences]),
        )
    }


def rows_of(conn: psycopg.Connection, object_: str) -> int:
    """The approximate number of mirrored objects of a type: the planner's estimate, or else a count up to
    MOST_COUNTED."""
    table = object_type(object_).table
    if "object" not in table.columns:
        row = conn.execute(
            "select reltuples::bigint from pg_class where oid = %s::regclass", (f"mirror.{table.name}",)
        ).fetchone()
        if row is not None and row[0] >= 0:
            return int(row[0])
    of_type = " where object = %(object)s" if "object" in table.columns else ""
    row = conn.execute(
        f"select count(*) from (select from mirror.{table.name}{of_type} limit %(most)s) as counted",  # noqa: S608
        {"object": object_, "most": MOST_COUNTED},
    ).fetchone()
    return int(row[0]) if row else 0
