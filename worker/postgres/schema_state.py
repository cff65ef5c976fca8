"""Compare the revision of a database with this release, before anything relies on its tables."""

import enum
from collections.abc import Sequence

import psycopg

import migrations
from worker.config.errors import Permanent
from worker.postgres import inventory


class SchemaState(enum.StrEnum):
    """The state of a database's tables, compared with this release."""

    CURRENT = "current"
    EMPTY = "empty"
    FOREIGN = "foreign"
    """There are tables, but none of ours: the database of an application, not adopted yet."""
    OLDER = "older"
    NEWER = "newer"
    """The revision is unknown to this release."""
    PRERELEASE = "prerelease"
    """A version before the first release created the tables, with other names."""


class SchemaNotReady(Permanent):
    """The database does not have the tables of this release."""

    def __init__(self, message: str, state: SchemaState) -> None:
        super().__init__(message)
        self.state = state


def look(conn: psycopg.Connection, known: Sequence[str] = ()) -> tuple[SchemaState, str]:
    """The state of the database, and a sentence on what to do; the sentence is empty if the state is CURRENT.

    `known` are the revisions of a release, oldest first; by default, of this release.
    """
    known = known or migrations.known()
    at, head = inventory.revision(conn), known[-1]
    if inventory.is_prerelease(conn):
        return SchemaState.PRERELEASE, migrations.PRERELEASE
    if at == head:
        return SchemaState.CURRENT, ""
    if at is None:
        return _without_revision(conn)
    if at in known:
        return SchemaState.OLDER, (
            f"the database is at revision {at}, but this release needs {head}: run `stripe-sync db migrate`"
        )
    return SchemaState.NEWER, (
        f"the database is at revision {at}, which this release does not know (its newest is {head}): a newer release "
        "migrated it. Run that release"
    )


def require(conn: psycopg.Connection) -> None:
    """Raise SchemaNotReady unless the database is at the newest revision of this release."""
    state, advice = look(conn)
    if state is not SchemaState.CURRENT:
        raise SchemaNotReady(advice, state)


def _without_revision(conn: psycopg.Connection) -> tuple[SchemaState, str]:
    if tables := inventory.tables_in(conn, "public"):
        named = ", ".join(tables[:3]) + (", ..." if len(tables) > 3 else "")
        return SchemaState.FOREIGN, (
            f"the database has tables of an application ({named}), but none of ours: run `stripe-sync db adopt` to see "
            "what is missing, and `stripe-sync db adopt --apply` to add it"
        )
    return SchemaState.EMPTY, "the database has no tables of ours yet: run `stripe-sync db migrate`"
