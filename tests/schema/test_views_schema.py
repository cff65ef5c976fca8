"""The schema of the views can have another name. Another tool's schema with the same name is never changed."""

import io
from pathlib import Path

import psycopg
import pytest
from alembic import command

import migrations
from migrations import drift
from schema import views
from schema.names import Names
from tests.adoption.test_later_revisions import later
from worker.adoption import adopt
from worker.postgres import inventory

SUPABASE = """
    create schema stripe;
    create table stripe.customers (id text primary key, email text);
    insert into stripe.customers values ('cus_theirs', 'a@example.com');
    create view stripe.subscription_items as select id from stripe.customers;
"""


def relations(conn: psycopg.Connection, schema: str) -> set[str]:
    rows = conn.execute("select relname::text from pg_class where relnamespace = to_regnamespace(%s)", (schema,))
    return {name for (name,) in rows}


def test_another_tool_s_schema_is_reported_with_the_fix_and_not_changed(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(SUPABASE)
        before = relations(conn, "stripe")

        with pytest.raises(migrations.Refused, match="STRIPE_SCHEMA=stripe_sync"):
            migrations.migrate(empty_database)
        with pytest.raises(adopt.NotAdoptable, match="STRIPE_SCHEMA=stripe_sync"):
            adopt.adopt(conn, Names(), is_membership=False)
        assert relations(conn, "mirror") == set()

        migrations.migrate(empty_database, views_schema="billing")

        assert relations(conn, "billing") == views.VIEWS.keys()
        assert relations(conn, "stripe") == before
        assert inventory.views_schema(conn) == "billing"
        assert drift.differences(empty_database) == []

        migrations.downgrade(empty_database, "base")
        assert relations(conn, "billing") == set()
        assert conn.execute("select id from stripe.subscription_items").fetchall() == [("cus_theirs",)]


def test_an_adopted_database_has_its_views_in_the_configured_schema(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(SUPABASE)

        adopt.adopt(conn, Names(), is_membership=False, views_schema="billing")

        assert relations(conn, "billing") == views.VIEWS.keys()
        assert relations(conn, "stripe") == {"customers", "customers_pkey", "subscription_items"}
        assert inventory.views_schema(conn) == "billing"


def test_a_migrated_database_keeps_the_name_of_the_views_schema_until_the_setting_changes(empty_database: str) -> None:
    migrations.migrate(empty_database, views_schema="billing")
    migrations.migrate(empty_database)

    with psycopg.connect(empty_database, autocommit=True) as conn:
        assert inventory.views_schema(conn) == "billing"
        conn.execute("create schema taken; create table taken.rows (id text)")
        with pytest.raises(migrations.Refused, match="a schema taken"):
            migrations.migrate(empty_database, views_schema="taken")

        migrations.migrate(empty_database, views_schema="stripe")

        assert relations(conn, "stripe") == views.VIEWS.keys()
        assert relations(conn, "billing") == set()
    assert drift.differences(empty_database) == []


def test_the_sql_of_a_migration_uses_the_configured_schema() -> None:
    printed = io.StringIO()

    migrations.offline_sql("base:head", output=printed, views_schema="billing")

    assert "create view billing.charges" in printed.getvalue()
    assert "comment on schema billing" in printed.getvalue()
    assert " stripe." not in printed.getvalue()


# `db generate` drops changed views and creates them again.
ANEW = '''
from migrations.files import execute
revision, down_revision, branch_labels, depends_on = "9999", "HEAD", None, None

def upgrade():
    execute("""
        drop view @{stripe}.payouts;
        drop view @{stripe}.refunds;
        drop view @{stripe}.topups;
        create view @{stripe}.payouts as select id, account, created, 1 as added from mirror.objects;
        create view @{stripe}.refunds as select id, account, 1 as added from mirror.refunds;
        create view @{stripe}.topups as select id from mirror.objects;
        create view @{stripe}.invented as select id from mirror.objects
    """)

def downgrade():
    execute("""
        drop view @{stripe}.payouts; create view @{stripe}.payouts as select id from mirror.objects; drop view @{stripe}.invented
    """)
'''


def test_a_recreated_view_keeps_an_operator_s_grants(empty_database: str, tmp_path: Path) -> None:
    migrations.migrate(empty_database)
    config = later(empty_database, tmp_path, ANEW)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        reader, analyst = (f'"{name} {conn.info.dbname}"' for name in ("a reader", "an analyst"))
        conn.execute(f"create role {reader}; create role {analyst}")
        try:
            conn.execute(
                f"grant select on stripe.payouts to {reader} with grant option; grant select on stripe.charges to public"
            )
            conn.execute(f"grant select (id, amount), references (account) on stripe.refunds to {analyst}")
            conn.execute(f"alter default privileges in schema stripe grant select on tables to {analyst}")
            granted = """
                select table_name, column_name, grantee, privilege_type, is_grantable
                from information_schema.column_privileges
                where table_schema = 'stripe' and grantee <> grantor and column_name in ('id', 'account', 'added', 'amount')
            """

            command.upgrade(config, "head")
            after = {
                row
                for row in conn.execute(granted).fetchall()
                if row[0] in ("payouts", "refunds", "topups", "invented")
            }
            command.downgrade(config, "-1")
            back = {row for row in conn.execute(granted).fetchall() if row[0] == "payouts"}
            public = conn.execute("select has_table_privilege('public', 'stripe.charges', 'select')").fetchone()
        finally:
            conn.execute(f"drop owned by {reader}, {analyst}; drop role {reader}, {analyst}")

    reader, analyst = reader.strip('"'), analyst.strip('"')
    assert after == {
        *(("payouts", column, reader, "SELECT", "YES") for column in ("id", "account", "added")),
        ("refunds", "id", analyst, "SELECT", "NO"),
        ("refunds", "account", analyst, "REFERENCES", "NO"),
        ("invented", "id", analyst, "SELECT", "NO"),
    }
    assert back == {("payouts", "id", reader, "SELECT", "YES")}
    assert public == (True,)


def test_a_changed_view_is_reported(empty_database: str) -> None:
    migrations.migrate(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("drop view stripe.refunds; create view stripe.mine as select 1 as one")
        conn.execute("drop view stripe.payouts; create view stripe.payouts as select id from mirror.objects")

    assert drift.differences(empty_database) == [
        "the view stripe.mine is not in the catalogue",
        "the view stripe.payouts differs from its declaration in schema/views.py",
        "the view stripe.refunds is missing",
    ]
