"""Revisions on a database that was adopted: they find every table under the name they know.

Tables and columns that are called otherwise are given our names, what is left out comes in from `sync_names`, the
revisions run, and everything is called as before: in one transaction, so nobody else ever sees it. Another relation
under one of our names steps aside for that long.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text

from migrations import Refused
from schema import NAMES_SCHEMA
from schema.functions import FUNCTIONS
from schema.names import Names, public_tables, quoted

_ASIDE = "__beside_stripe_sync"
_STAY = (
    "this database was adopted: its tables were there before, so going back to `base` would drop the application's own "
    "users. To leave, stop the daemon and drop the schemas sync_names, stripe, mirror and sync by hand"
)


@contextlib.contextmanager
def as_ours(connection: Connection, *, to_nothing: bool) -> Iterator[bool]:
    """Whether the database was adopted; then one transaction holds everything that is done inside."""
    names = _recorded(connection)
    if names is None:
        yield False
        return
    if to_nothing:
        raise Refused(_STAY)
    with connection.begin():
        connection.execute(text(f"set local search_path = public, {NAMES_SCHEMA}"))
        before = _relations(connection, "public")
        back = _Names(connection, names).exchange()
        yield True
        for statement in reversed(back):
            connection.execute(text(statement))
        _name_again(connection, names, before)


def stop_before_nothing(*, step: Any, **_: Any) -> None:
    """Refuse to go back to `base`: that drops tables which were the application's before they were ours."""
    if not step.is_upgrade and not step.down_revision_ids:
        raise Refused(_STAY)


class _Names:
    """The exchange of names, and how it is undone."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection, self._names = connection, names
        self._back: list[str] = []

    def exchange(self) -> list[str]:
        """Everything is called as revisions call it; returns what undoes that, to be run from the last to the first."""
        for view in _relations(self._connection, NAMES_SCHEMA, "v"):
            self._connection.execute(text(f"drop view {NAMES_SCHEMA}.{quoted(view)}"))
        for table in self._names.mapped:
            self._rename(table)
        for table in sorted(self._names.left_out):
            for name in [table, *_indexes_of(self._connection, table)]:
                self._make_room(name)
            self._move("table", quoted(table))
        for name, type_ in self._names.types.items():
            if type_ == f"{NAMES_SCHEMA}.{name}":
                self._make_room_for_type(name)
                self._move("type", name)
        for name in FUNCTIONS:
            schema, _, function = name.partition(".")
            if schema == "public" and "users" in self._names.left_out:
                self._move("function", function)
        return self._back

    def _rename(self, table: str) -> None:
        real = self._names.table(table)
        if real != table:
            self._make_room(table)
            self._do(f"alter table public.{quoted(real)} rename to {quoted(table)}",
                     f"alter table public.{quoted(table)} rename to {quoted(real)}")  # fmt: skip
        for ours, called in self._names.columns.get(table, {}).items():
            if called != ours:
                if ours in _columns(self._connection, table):
                    self._rename_column(table, ours, ours + _ASIDE)
                self._rename_column(table, called, ours)

    def _rename_column(self, table: str, old: str, new: str) -> None:
        change = f"alter table public.{quoted(table)} rename column"
        self._do(f"{change} {quoted(old)} to {quoted(new)}", f"{change} {quoted(new)} to {quoted(old)}")

    def _make_room(self, name: str) -> None:
        if name in _relations(self._connection, "public"):
            aside = quoted(name + _ASIDE)
            self._do(f"alter table public.{quoted(name)} rename to {aside}",
                     f"alter table public.{aside} rename to {quoted(name)}")  # fmt: skip

    def _make_room_for_type(self, name: str) -> None:
        there = "select to_regtype('public.' || :name) is not null"
        if self._connection.execute(text(there), {"name": name}).scalar_one():
            aside = name + _ASIDE
            self._do(f"alter type public.{name} rename to {aside}", f"alter type public.{aside} rename to {name}")

    def _move(self, kind: str, name: str) -> None:
        self._do(
            f"alter {kind} {NAMES_SCHEMA}.{name} set schema public",
            f"alter {kind} public.{name} set schema {NAMES_SCHEMA}",
        )

    def _do(self, statement: str, back: str) -> None:
        self._connection.execute(text(statement))
        self._back.append(back)


def _recorded(connection: Connection) -> Names | None:
    if connection.execute(text("select to_regclass('sync.adoption') is null")).scalar_one():
        connection.rollback()
        return None
    recorded = connection.execute(text("select names from sync.adoption")).scalar()
    connection.rollback()
    return None if recorded is None else Names.recorded(recorded)


def _name_again(connection: Connection, names: Names, before: set[str]) -> None:
    """Name the additions of the revisions as the rest is named: new columns in the views, new tables apart where all are."""
    if "users" in names.left_out:
        fresh = sorted((_relations(connection, "public", "r") - before) & public_tables().keys())
        for table in fresh:
            connection.execute(text(f"alter table public.{quoted(table)} set schema {NAMES_SCHEMA}"))
        if fresh:
            connection.execute(
                text("update sync.adoption set names = jsonb_set(names, '{left_out}', to_jsonb(cast(:all as text[])))"),
                {"all": sorted({*names.left_out, *fresh})},
            )  # fmt: skip
        return
    for table in names.mapped:
        connection.execute(text(names.view(table, _columns(connection, names.table(table)))))
    if names.is_mapped("users"):
        for function in names.functions.values():
            connection.exec_driver_sql(function.replace("%", "%%"))


def _relations(connection: Connection, schema: str, kind: str = "") -> set[str]:
    rows = connection.execute(
        text("select relname::text from pg_class where relnamespace = to_regnamespace(:schema) "
             "and (:kind = '' or relkind::text = :kind)"),
        {"schema": schema, "kind": kind},
    )  # fmt: skip
    return set(rows.scalars())


def _columns(connection: Connection, table: str) -> set[str]:
    rows = connection.execute(
        text("select attname::text from pg_attribute where attrelid = to_regclass(:table) and attnum > 0 "
             "and not attisdropped"),
        {"table": f"public.{quoted(table)}"},
    )  # fmt: skip
    return set(rows.scalars())


def _indexes_of(connection: Connection, table: str) -> list[str]:
    rows = connection.execute(
        text("select c.relname::text from pg_index join pg_class as c "
             "on c.oid = indexrelid where indrelid = to_regclass(:table)"),
        {"table": f"{NAMES_SCHEMA}.{quoted(table)}"},
    )  # fmt: skip
    return sorted(rows.scalars())
