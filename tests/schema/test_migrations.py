"""The revisions compared with the metadata."""

import subprocess
import sys

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

import migrations
from schema.functions import FUNCTIONS, TOUCHED_TABLES


def revisions() -> list[str]:
    script = ScriptDirectory.from_config(migrations.configuration())
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def test_the_migrated_database_equals_the_metadata(database: str) -> None:
    command.check(migrations.configuration(database))


def test_the_check_finds_a_missing_column(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("alter table sync.cursors drop column value")

    with pytest.raises(Exception, match="cursors"):
        command.check(migrations.configuration(database))


def test_every_revision_can_be_applied_and_reverted(empty_database: str) -> None:
    for revision in revisions():
        migrations.migrate(empty_database, revision)
        migrations.downgrade(empty_database, "-1")
        migrations.migrate(empty_database, revision)

    migrations.downgrade(empty_database, "base")

    with psycopg.connect(empty_database) as conn:
        left = conn.execute(
            """
            select n.nspname || '.' || c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname in ('public', 'sync', 'mirror', 'stripe', 'analytics') and c.relname not like 'alembic_version%'
            union all
            select typname from pg_type where typname in ('user_role', 'membership_status')
            union all
            select proname from pg_proc where proname in (
                'touch_updated_at', 'token_balance', 'consume_tokens', 'follow_organization', 'has_feature', 'publish_change',
                'notice_low_tokens'
            )
            """
        ).fetchall()
    assert left == []


def test_the_application_s_own_relations_in_analytics_survive_a_downgrade(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("create schema analytics; create table analytics.visits (day date)")
        migrations.migrate(empty_database)
        migrations.downgrade(empty_database, "base")

        left = conn.execute(
            "select relname::text from pg_class where relnamespace = 'analytics'::regnamespace"
        ).fetchall()
    assert left == [("visits",)]


@pytest.mark.parametrize("revision", ["0001", "0008", "0014"])
def test_a_database_from_before_the_first_release_is_refused_unchanged(empty_database: str, revision: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("create schema sync")
        conn.execute("create table sync.alembic_version (version_num varchar(32) not null)")
        conn.execute("insert into sync.alembic_version values (%s)", (revision,))

        with pytest.raises(migrations.Refused, match="before the first release"):
            migrations.migrate(empty_database)

        tables = conn.execute("select count(*) from pg_tables where schemaname = 'sync'").fetchone()
    assert tables == (1,)


def test_two_concurrent_releases_are_harmless(empty_database: str) -> None:
    release = [sys.executable, "-c", "import sys, migrations; migrations.migrate(sys.argv[1])", empty_database]

    releases = [subprocess.Popen(release) for _ in range(3)]

    assert [one.wait() for one in releases] == [0, 0, 0]
    command.check(migrations.configuration(empty_database))


def test_functions_equal_the_schema_s_definitions(conn: psycopg.Connection, empty_database: str) -> None:
    def source(of: psycopg.Connection, name: str) -> object:
        row = of.execute("select pg_get_functiondef(%s::regproc)", (name,)).fetchone()
        return row and row[0]

    with psycopg.connect(empty_database, autocommit=True) as declared:
        declared.execute("create schema sync; create schema mirror")
        for name, statement in FUNCTIONS.items():
            declared.execute(statement)

            assert source(conn, name) == source(declared, name)


@pytest.mark.parametrize("table", TOUCHED_TABLES)
def test_the_database_maintains_updated_at(conn: psycopg.Connection, table: str) -> None:
    row = conn.execute(
        """
        select count(*) from pg_trigger
        where tgrelid = %s::regclass and tgname = 'touch_updated_at' and not tgisinternal
        """,
        (f"public.{table}",),
    ).fetchone()

    assert row == (1,)


def test_changing_a_user_sets_updated_at(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id, updated_at) values ('u', '2020-01-01Z')")

    conn.execute("update users set name = 'New' where id = 'u'")

    assert conn.execute("select updated_at > now() - interval '1 minute' from users").fetchone() == (True,)


def test_a_row_inserted_without_an_id_gets_one(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (email) values ('a@example.com')")

    assert conn.execute("select length(id), role::text, membership_status::text, tokens from users").fetchone() == (
        36,
        "USER",
        "ACTIVE",
        0,
    )


def test_deleting_a_user_deletes_their_rows(conn: psycopg.Connection) -> None:
    conn.execute("insert into organizations (id, name) values ('o', 'Org')")
    conn.execute("insert into stripe_products (id, name) values ('p', 'Pro')")
    conn.execute("insert into users (id, organization_id, stripe_product_id) values ('u', 'o', 'p')")
    conn.execute("insert into stripe_customers (user_id, stripe_customer_id) values ('u', 'cus_1')")
    conn.execute(
        """
        insert into user_subscriptions (user_id, stripe_customer_id, stripe_subscription_id, status)
        values ('u', 'cus_1', 'sub_1', 'active')
        """
    )
    conn.execute("insert into sync.customer_links values ('cus_1', 'u', 'email', now())")

    conn.execute("delete from stripe_products")
    conn.execute("delete from organizations")
    kept = conn.execute("select organization_id, stripe_product_id from users").fetchone()
    conn.execute("delete from users")

    assert kept == (None, None)
    for table in ("stripe_customers", "user_subscriptions", "sync.customer_links"):
        assert conn.execute(f"select count(*) from {table}").fetchone() == (0,)


def test_a_revision_that_cannot_get_its_locks_in_time_gives_up_and_changes_nothing(empty_database: str) -> None:
    migrations.migrate(empty_database, "0001")

    with psycopg.connect(empty_database) as busy:
        busy.execute("select 1 from users")  # a share lock that is held until the transaction ends
        with pytest.raises(Exception, match="lock timeout"):
            migrations.downgrade(empty_database, "base")

    migrations.migrate(empty_database)
    command.check(migrations.configuration(empty_database))
