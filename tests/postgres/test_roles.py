"""Least privilege: the statements that each role may run, also on tables that later revisions create."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

import migrations
import schema.tables
from schema.roles import DAEMONS_COLUMNS, statements
from worker.cli.doctor.connections import TIMEOUTS

_numbers = itertools.count()


@dataclass
class Roles:
    """Roles with names that only this test uses, because all databases of a server share the roles."""

    database: str
    owner: str
    worker: str
    application: str
    reader: str
    sql: str = field(init=False)

    def __post_init__(self) -> None:
        self.sql = statements(
            owner=self.owner, worker=self.worker, application=self.application, reader=self.reader,
            settings=dict.fromkeys(TIMEOUTS, "60000"),
        )  # fmt: skip

    def url(self, role: str) -> str:
        return make_conninfo(self.database, user=role)

    def connect(self, role: str) -> psycopg.Connection:
        return psycopg.connect(self.url(role), autocommit=True)

    def grant(self) -> None:
        with psycopg.connect(self.database, autocommit=True) as conn:
            conn.execute(self.sql)


@contextlib.contextmanager
def roles_of(database: str) -> Iterator[Roles]:
    """Create roles without passwords, and drop them at the end. Skip the test if the server refuses the roles or their login."""
    ending = f"{os.getpid()}_{next(_numbers)}"
    made = Roles(database, *(f"{name} {ending}" for name in ("owner", "Worker's", "application", "reader")))
    try:
        made.grant()
        made.connect(made.worker).close()
    except (errors.InsufficientPrivilege, psycopg.OperationalError) as error:
        pytest.skip(f"the tests may not create roles on this server: {error}")
    try:
        yield made
    finally:
        with psycopg.connect(database, autocommit=True) as conn:
            for name in map(sql.Identifier, (made.owner, made.worker, made.application, made.reader)):
                conn.execute(sql.SQL("drop owned by {} cascade").format(name))
                conn.execute(sql.SQL("drop role {}").format(name))


@pytest.fixture
def roles(database: str) -> Iterator[Roles]:
    """Roles for a database whose tables still belong to another role."""
    with roles_of(database) as made:
        yield made


def refused(conn: psycopg.Connection, *queries: str) -> list[str]:
    """The queries that the role is not allowed to run."""
    refusals = []
    for query in queries:
        try:
            with conn.transaction(force_rollback=True):
                conn.execute(query)
        except errors.InsufficientPrivilege:
            refusals.append(query)
    return refusals


def test_an_empty_database_is_prepared_migrated_by_its_owner_and_used(empty_database: str) -> None:
    with roles_of(empty_database) as roles:
        migrations.migrate(roles.url(roles.owner))
        roles.grant()

        with roles.connect(roles.worker) as conn:
            conn.execute("insert into users (id, role) values ('u', 'PREMIUM')")
        with roles.connect(roles.application) as conn:
            conn.execute(
                "insert into accounts (user_id, type, provider, provider_account_id) values ('u', 'o', 'p', '1')"
            )
            assert conn.execute("select role::text from users").fetchall() == [("PREMIUM",)]
        migrations.downgrade(roles.url(roles.owner), "base")


def test_the_worker_writes_every_row_and_changes_no_table(roles: Roles) -> None:
    with roles.connect(roles.worker) as conn:
        for table in schema.tables.metadata.sorted_tables:
            assert not refused(conn, f"select from {table.fullname} for update", f"delete from {table.fullname}")

        assert (
            len(
                refusals := refused(
                    conn,
                    "truncate sync.events",
                    "drop table users",
                    "alter table users add column x int",
                    "drop function consume_tokens",
                    "create table stripe.x ()",
                    "create table sync.x ()",
                    "create table public.x ()",
                    "create schema x",
                    "create role x",
                    "update sync.alembic_version set version_num = version_num || ''; drop table sync.alembic_version",
                )
            )
            == 10
        ), refusals
        assert conn.execute("show statement_timeout").fetchone() == ("1min",)


def test_the_application_writes_its_own_tables_and_reads_the_rest(roles: Roles) -> None:
    with roles.connect(roles.application) as conn:
        conn.execute("insert into organizations (id, name) values ('o', 'Org')")
        conn.execute("insert into users (id, email, tokens) values ('u', 'a@example.com', 5)")
        conn.execute("update users set id = 'u', email = 'b@example.com', name = 'B', organization_id = 'o'")
        conn.execute("insert into sessions (session_token, user_id, expires) values ('s', 'u', now())")
        conn.execute("insert into verification_tokens (identifier, token, expires) values ('i', 't', now())")
        conn.execute("insert into stripe_customers (user_id, stripe_customer_id) values ('u', 'cus_1')")

        assert conn.execute("select consume_tokens('u', 2)").fetchone() == (True,)
        assert conn.execute("select token_balance('u')").fetchone() == (3,)
        assert not refused(
            conn, "select from user_subscriptions", "select from payment_history", "select from stripe.subscriptions"
        )
        refusals = refused(
            conn,
            "insert into stripe.customers (id, account) values ('x', '')",
            "delete from stripe.subscriptions",
            "delete from user_subscriptions",
            "delete from payment_history",
            "delete from stripe_products",
            "select from sync.events",
            "select from sync.token_grants",
            "delete from sync.token_grants",
            *(f"update users set {column} = {column}" for column in sorted(DAEMONS_COLUMNS)),
        )
        assert len(refusals) == 8 + len(DAEMONS_COLUMNS), refusals

        conn.execute("delete from users")
        assert conn.execute("select from sessions union all select from stripe_customers").fetchall() == []


def test_a_reader_can_read_but_not_write(roles: Roles) -> None:
    with roles.connect(roles.worker) as conn:
        conn.execute("insert into users (id, tokens) values ('u', 5)")
    with roles.connect(roles.reader) as conn:
        assert conn.execute("select token_balance('u')").fetchone() == (5,)
        assert not refused(conn, "select from users", "select from stripe.invoices")
        refusals = refused(
            conn,
            "select consume_tokens('u', 1)",
            "update users set name = 'x'",
            "insert into sessions (session_token, user_id, expires) values ('s', 'u', now())",
            "delete from stripe.invoices",
            "select from sync.events",
        )
        assert len(refusals) == 5, refusals


def test_a_later_revision_grants_rights_on_its_tables(roles: Roles) -> None:
    with roles.connect(roles.owner) as conn:
        for table in ("public.later", "mirror.later", "sync.later"):
            conn.execute(f"create table {table} (id bigint generated always as identity, x int)")
    with roles.connect(roles.worker) as conn:
        for table in ("public.later", "mirror.later", "sync.later"):
            conn.execute(f"insert into {table} (x) values (1)")
    for role in (roles.application, roles.reader):
        with roles.connect(role) as conn:
            refusals = refused(conn, *(f"select from {schema}.later" for schema in ("public", "mirror", "sync")))
            assert refusals == ["select from mirror.later", "select from sync.later"]


def test_a_table_made_by_the_application_keeps_its_owner(roles: Roles) -> None:
    with psycopg.connect(roles.database, autocommit=True) as conn:
        for kind in ("table users", "type user_role"):
            conn.execute(sql.SQL(f"alter {kind} owner to {{}}").format(sql.Identifier(roles.application)))

    roles.grant()

    with roles.connect(roles.application) as conn:
        conn.execute("alter table users add column phone text")
        conn.execute("alter type user_role add value 'GUEST'")
    with roles.connect(roles.worker) as conn:
        conn.execute("insert into users (id, role) values ('u', 'PREMIUM')")


def test_the_worker_uses_our_names_for_an_adopted_application_s_tables(roles: Roles) -> None:
    with psycopg.connect(roles.database, autocommit=True) as conn:
        conn.execute("create table public.app_user (id text primary key)")
        conn.execute("create schema sync_names")
        conn.execute("create view sync_names.users as select id from public.app_user")
    roles.grant()

    with roles.connect(roles.worker) as conn:
        conn.execute("insert into sync_names.users (id) values ('jenny')")
        rows = conn.execute("select id from sync_names.users").fetchall()

    assert rows == [("jenny",)]
    with roles.connect(roles.application) as conn, pytest.raises(errors.InsufficientPrivilege):
        conn.execute("select from sync_names.users")
