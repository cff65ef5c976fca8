"""Statements about one user use the indexes of the application's tables, whatever type the ids have."""

from collections.abc import Callable

import pytest

from tests.adoption.applications import DRIZZLE_SERIAL, DRIZZLE_UUID
from tests.adoption.conftest import Application
from tests.adoption.test_adopt import sign_up
from tests.plans import Plans
from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.membership.store import links
from worker.membership.why import why
from worker.on_access import store
from worker.privacy import store as privacy_store

New = Callable[[str], Application]

BIGINT = DRIZZLE_SERIAL.replace("serial", "bigserial").replace("integer", "bigint")
TABLES = ("users", "stripe_customers", "user_subscriptions", "payment_history")


@pytest.mark.parametrize(
    ("sql", "jenny", "other"),
    [
        pytest.param(DRIZZLE_UUID, "0a000000-0000-4000-8000-000000000041", "gen_random_uuid()", id="uuid"),
        pytest.param(BIGINT, "41", "100 + n", id="bigint"),
    ],
)
def test_statements_about_a_user_scan_no_table_of_the_application(
    application: New, sql: str, jenny: str, other: str
) -> None:
    app = application(sql)
    app.adopt()
    app.apply(*sign_up(user_id=jenny))
    row_id = "1000 + email::int" if sql is BIGINT else "gen_random_uuid()"
    app.sql(f"""
        insert into users (id, email) select {other}, n::text from generate_series(1, 5000) as n;
        insert into stripe_customers (id, user_id, stripe_customer_id) overriding system value
        select {row_id}, id, 'cus_of_' || email from users where email ~ '^[0-9]+$';
        insert into user_subscriptions (id, user_id, stripe_customer_id, stripe_subscription_id, status)
        select {row_id}, id, 'cus_of_' || email, 'sub_of_' || email, 'active' from users where email ~ '^[0-9]+$';
        insert into payment_history (id, user_id, stripe_payment_intent_id, amount, currency, status)
        select {row_id}, id, 'pi_of_' || email, 1, 'usd', 'succeeded' from users where email ~ '^[0-9]+$';
        analyze
    """)
    plans = Plans(app.database)

    with plans.connect() as conn:
        why(conn, jenny, Policy())
        store.stored(conn, jenny)
        links.unlinked(conn, limit=10)
        with conn.transaction():
            compute.compute(conn, [jenny], Policy())
        privacy_store.customers_of(conn, jenny, None)

    read_whole = tuple(f"reads .{table} " for table in TABLES)
    assert [fault for fault in plans.faults.values() if fault.startswith(read_whole)] == []
    assert len(plans.seen) > 20
