"""On a database without the tables of this release, every command says what to do."""

import psycopg
import pytest
from psycopg import sql

from schema import SYNC_MARK
from tests.backends import Backend
from tests.cli.conftest import Run, command_on
from worker.postgres import schema_state
from worker.postgres.schema_state import SchemaState

COMMANDS = [
    ("worker",),
    ("beat",),
    ("status",),
    ("why", "jenny"),
    ("link", "--list"),
    ("link", "cus_1", "jenny"),
    ("override", "jenny", "--lift"),
    ("setup-admin", "jenny@example.com"),
    ("erase", "jenny", "--yes"),
    ("events", "list"),
    ("events", "show", "evt_1"),
    ("events", "replay", "evt_1"),
    ("events", "discard", "evt_1"),
    ("membership", "plan"),
    ("membership", "apply"),
    ("membership", "apply", "jenny"),
    ("sync", "user", "jenny"),
    ("sync", "products"),
    ("sync", "all"),
]


@pytest.fixture
def run(backend: Backend, empty_database: str) -> Run:
    more = {"STRIPE_WEBHOOK_SECRET": "whsec_test", "STRIPE_SECRET_KEY": "sk_test_1"}
    return command_on(empty_database, backend, **more)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_on_an_empty_database_says_to_migrate(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)

    assert done.returncode == 1
    assert done.stderr == "stripe-sync: the database has no tables of ours yet: run `stripe-sync db migrate`\n"
    assert done.stdout == ""


def test_a_command_on_the_database_of_an_application_says_to_adopt_it(run: Run, empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("create table users (id text primary key)")

    done = run("why", "jenny")

    assert done.returncode == 1
    assert "tables of an application (users), but none of ours: run `stripe-sync db adopt`" in done.stderr


def test_older_and_newer_databases_get_different_messages(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        _set_revision(conn, "0007")
        older, to_migrate = schema_state.look(conn, known=("0006", "0007", "0008"))
        newer, to_replace = schema_state.look(conn, known=("0005", "0006"))
        current = schema_state.look(conn, known=("0006", "0007"))

    assert (older, newer) == (SchemaState.OLDER, SchemaState.NEWER)
    assert "at revision 0007, but this release needs 0008: run `stripe-sync db migrate`" in to_migrate
    assert "which this release does not know (its newest is 0006): a newer release migrated it" in to_replace
    assert current == (SchemaState.CURRENT, "")


def _set_revision(conn: psycopg.Connection, revision: str) -> None:
    conn.execute("create schema if not exists sync")
    conn.execute(sql.SQL("comment on schema sync is {}").format(SYNC_MARK))
    conn.execute("create table if not exists sync.alembic_version (version_num text)")
    conn.execute("delete from sync.alembic_version")
    conn.execute("insert into sync.alembic_version values (%s)", (revision,))
