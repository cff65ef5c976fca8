"""Row-level security for two users and a visitor, and for the roles that must see every row."""

import contextlib
import json
import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors, sql

from schema import rls
from schema.base import metadata
from tests.postgres.test_roles import Roles, refused, roles_of

ROWS = """
    insert into organizations (id, name) values ('org_a', 'A'), ('org_b', 'B');
    insert into users (id, email, organization_id, tokens) values
        ('anna', 'anna@example.com', 'org_a', 100), ('bob', 'bob@example.com', 'org_b', 100);
    insert into stripe_products (id, name) values ('prod_1', 'Pro');
    insert into stripe_prices (id, product_id) values ('price_1', 'prod_1');
    insert into stripe_customers (user_id, stripe_customer_id) values ('anna', 'cus_a'), ('bob', 'cus_b');
    insert into user_subscriptions (user_id, stripe_customer_id, stripe_subscription_id, status)
        values ('anna', 'cus_a', 'sub_a', 'active'), ('bob', 'cus_b', 'sub_b', 'active');
    insert into user_features (user_id, feature, source) values ('anna', 'export', 'x'), ('bob', 'api', 'x');
    insert into payment_history (user_id, stripe_payment_intent_id, amount, currency, status)
        values ('anna', 'pi_a', 1, 'usd', 'succeeded'), ('bob', 'pi_b', 1, 'usd', 'succeeded');
    insert into sessions (session_token, user_id, expires) values ('secret', 'anna', now());
"""


@pytest.fixture
def secured(database: str) -> Iterator[tuple[Roles, str, str]]:
    """A database with rows of two users, and the roles of users and visitors."""
    user, anonymous = f"authenticated {os.getpid()}", f"anon {os.getpid()}"
    with roles_of(database) as roles, psycopg.connect(database, autocommit=True) as conn:
        conn.execute(ROWS)
        made = rls.statements(
            worker=roles.worker, application=roles.application, reader=roles.reader, user=user, anonymous=anonymous
        )
        try:
            for _ in range(2):
                conn.execute(made)
            yield roles, user, anonymous
        finally:
            for name in map(sql.Identifier, (user, anonymous)):
                conn.execute(sql.SQL("drop owned by {} cascade").format(name))
                conn.execute(sql.SQL("drop role {}").format(name))


@contextlib.contextmanager
def acting(database: str, role: str, sub: str | None) -> Iterator[psycopg.Connection]:
    """Open a transaction with the settings that PostgREST sets for a request."""
    with psycopg.connect(database) as conn:
        conn.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        claims = json.dumps({"role": role} | ({} if sub is None else {"sub": sub}))
        conn.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        yield conn
        conn.rollback()


def visible(conn: psycopg.Connection, table: str) -> list[str]:
    try:
        with conn.transaction():
            rows = conn.execute(f"select to_jsonb(t) from public.{table} as t").fetchall()
    except errors.InsufficientPrivilege:
        return ["refused"]
    names = ("stripe_subscription_id", "stripe_payment_intent_id", "stripe_customer_id", "feature", "id")
    return [next(row[name] for name in names if name in row) for (row,) in rows]


def test_a_user_reads_only_their_own_rows(secured: tuple[Roles, str, str]) -> None:
    roles, user, _ = secured
    tables = sorted(table.name for table in metadata.tables.values() if table.schema is None)

    with acting(roles.database, user, "anna") as conn:
        shown = {table: visible(conn, table) for table in tables}

    assert shown == {
        "accounts": ["refused"],
        "organizations": ["org_a"],
        "payment_history": ["pi_a"],
        "sessions": ["refused"],
        "stripe_customers": ["cus_a"],
        "stripe_prices": ["price_1"],
        "stripe_products": ["prod_1"],
        "user_features": ["export"],
        "user_subscriptions": ["sub_a"],
        "users": ["anna"],
        "verification_tokens": ["refused"],
    }


def test_a_user_cannot_read_others_through_functions_or_write_anything(secured: tuple[Roles, str, str]) -> None:
    roles, user, _ = secured
    with acting(roles.database, user, "bob") as conn:
        features = "select has_feature('bob', 'api'), has_feature('anna', 'export')"
        assert conn.execute(features).fetchone() == (True, False)
        writes = (
            "update users set tokens = 1000000 where id = 'bob'",
            "update users set role = 'ADMIN'",
            "select consume_tokens('bob', 1)",
            "delete from user_subscriptions",
            "insert into user_features (user_id, feature, source) values ('bob', 'export', 'me')",
            "select from stripe.customers",
            "select from sync.events",
            "select from analytics.mrr_daily",
        )
        assert refused(conn, *writes) == list(writes)


def test_a_visitor_sees_only_the_catalogue_and_a_token_without_a_user_id_shows_no_user(
    secured: tuple[Roles, str, str],
) -> None:
    roles, user, anonymous = secured
    with acting(roles.database, anonymous, None) as conn:
        assert visible(conn, "stripe_products") == ["prod_1"]
        assert visible(conn, "users") == ["refused"]
    with acting(roles.database, user, None) as conn:
        assert visible(conn, "users") == []


def test_the_daemon_and_the_application_still_see_every_row(secured: tuple[Roles, str, str]) -> None:
    roles, _, _ = secured
    for role in (roles.worker, roles.application, roles.reader):
        with roles.connect(role) as conn:
            assert len(visible(conn, "users")) == 2
    with roles.connect(roles.application) as conn:
        assert conn.execute("select consume_tokens('anna', 1)").fetchone() == (True,)
    with roles.connect(roles.worker) as conn:
        conn.execute("insert into user_features (user_id, feature, source) values ('anna', 'more', 'x')")
