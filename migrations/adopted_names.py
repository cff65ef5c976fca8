"""Run revisions on an adopted database: its tables keep their names, and `sync_names` is updated.

The SQL of a revision uses `@{users}` (migrations/files.py). While revisions run, the views in `sync_names` are dropped,
because Postgres refuses to change a column that a view uses. The views and the functions are created again in the same
transaction.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, text

from migrations import Refused
from schema import NAMES_SCHEMA
from schema.names import Names, public_tables, quoted

_STAY = (
    "this database was adopted: its tables were there before, so going back to `base` would drop the application's own "
    "users. To remove stripe-sync, stop the daemon and drop the schemas sync_names, stripe, mirror and sync by hand"
)


def recorded(connection: Connection) -> Names | None:
    """The names in an adopted database; None if the database was not adopted."""
    if connection.execute(text("select to_regclass('sync.adoption') is null")).scalar_one():
        connection.rollback()
        return None
    names = connection.execute(text("select names from sync.adoption")).scalar()
    connection.rollback()
    if names is None:
        return None
    read = Names.recorded(names)
    # If the daemon only mirrors, a table that a revision adds to `public` is left out like the others.
    return replace(read, left_out=read.left_out | public_tables().keys()) if "users" in read.left_out else read


@contextlib.contextmanager
def away(connection: Connection, names: Names, *, to_nothing: bool) -> Iterator[None]:
    """Drop the views in `sync_names` during the block, and create them again after it, all in one transaction."""
    if to_nothing:
        raise Refused(_STAY)
    with connection.begin():
        for table in names.mapped:
            connection.execute(text(f"drop view if exists {NAMES_SCHEMA}.{quoted(table)}"))
        yield
        for table in names.mapped:
            connection.execute(text(names.view(table, _columns(connection, names.relation(table)))))
        for function in names.functions.values():
            connection.exec_driver_sql(function, execution_options={"no_parameters": True})
        connection.execute(
            text("update sync.adoption set names = jsonb_set(names, '{left_out}', to_jsonb(cast(:all as text[])))"),
            {"all": sorted(names.left_out)},
        )


def stop_before_nothing(*, step: Any, **_: Any) -> None:
    """Refuse to go back to `base`, which drops tables that belong to the application."""
    if not step.is_upgrade and not step.down_revision_ids:
        raise Refused(_STAY)


def _columns(connection: Connection, relation: str) -> set[str]:
    rows = connection.execute(
        text("select attname::text from pg_attribute where attrelid = to_regclass(:relation) and attnum > 0 "
             "and not attisdropped"),
        {"relation": relation},
    )  # fmt: skip
    return set(rows.scalars())
