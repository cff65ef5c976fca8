"""Every change of a user's organization makes the user due to be computed, whichever role or statement makes the change."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

ROLE = f"application_{os.getpid()}"


@pytest.fixture
def application(conn: psycopg.Connection, database: str) -> Iterator[psycopg.Connection]:
    """A connection with rights on the application's tables, and none in `sync`."""
    conn.execute(f"drop role if exists {ROLE}")
    conn.execute(f"create role {ROLE}")
    conn.execute(f"grant select, insert, update, delete on users, organizations to {ROLE}")
    try:
        with psycopg.connect(database, autocommit=True) as own:
            own.execute(f"set role {ROLE}")
            yield own
    finally:
        conn.execute(f"drop owned by {ROLE}")
        conn.execute(f"drop role {ROLE}")


@pytest.fixture
def organizations(conn: psycopg.Connection) -> None:
    conn.execute("insert into organizations (id, name) values ('a', 'A'), ('b', 'B')")


def due(conn: psycopg.Connection) -> list[str]:
    """Take the users that are due now."""
    return sorted(
        row[0] for row in conn.execute("delete from sync.next_changes where due_at <= now() returning user_id")
    )


@pytest.mark.usefixtures("organizations")
def test_users_moved_by_a_database_role_without_rights_in_sync_become_due(
    conn: psycopg.Connection, application: psycopg.Connection
) -> None:
    application.execute("insert into users (id, organization_id) values ('in', 'a'), ('out', null)")
    joined = due(conn)
    application.execute("update users set organization_id = 'b' where id = 'in'")
    moved = due(conn)
    application.execute("update users set organization_id = 'b' where id = 'out'")
    entered = due(conn)
    application.execute("update users set organization_id = null where id = 'in'")
    left = due(conn)
    application.execute("delete from organizations where id = 'b'")
    closed = due(conn)

    assert (joined, moved, entered, left, closed) == (["in"], ["in"], ["out"], ["in"], ["out"])
    with pytest.raises(errors.InsufficientPrivilege):
        application.execute("select * from sync.next_changes")
    assert conn.execute(
        "select has_function_privilege(%s, 'sync.follow_organization()', 'execute')", (ROLE,)
    ).fetchone() == (False,)


@pytest.mark.usefixtures("organizations")
def test_an_update_that_keeps_the_organization_makes_no_user_due(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id, organization_id) values ('u', 'a'), ('v', null)")
    due(conn)

    conn.execute("update users set role = 'PREMIUM', tokens = 5, name = 'New'")
    conn.execute("update users set organization_id = organization_id")

    assert due(conn) == []


@pytest.mark.usefixtures("organizations")
def test_a_later_due_time_becomes_now_and_a_past_one_is_kept(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id) values ('later'), ('over')")
    conn.execute(
        "insert into sync.next_changes values ('later', now() + interval '1 day'), ('over', now() - interval '1 day')"
    )

    conn.execute("update users set organization_id = 'a'")

    assert conn.execute(
        "select user_id, due_at < now() - interval '1 hour' from sync.next_changes where due_at <= now() order by 1"
    ).fetchall() == [("later", False), ("over", True)]


@pytest.mark.usefixtures("organizations")
def test_an_organization_set_by_an_application_s_trigger_counts_too(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id) values ('u')")
    conn.execute(
        """
        create function by_domain() returns trigger language plpgsql as $$
        begin new.organization_id := 'a'; return new; end $$
        """
    )
    conn.execute("create trigger by_domain before update on users for each row execute function by_domain()")

    conn.execute("update users set email = 'u@a.example'")

    assert due(conn) == ["u"]
