"""Everyone computed again: users with a subscription and a paid invoice each, made by SQL right in the mirror.

All new: nothing is granted yet, so that every user, subscription, payment and ledger row is written. Unchanged: what a
second run costs. All changed: the products' role has become another. One: what a worker does for one user.
"""

import time
from typing import Any

import psycopg

from benchmarks import passes
from benchmarks.stack import Stack
from worker import everyone, membership

__all__ = ["measure"]

USERS = 100_000
ONES = 200

# What every row of the mirror has beside its own columns; the raw object is as long as that of a short real one.
_KEPT = "observed_at, observed_rank, observed_in, content_hash, shape, created, data"
_KEPT_VALUES = "now(), 1, 'evt_bench', repeat('0', 32), 'endive', now() - interval '3 days', raw.data"

_ROWS = (
    f"""
    insert into stripe.products (id, name, active, metadata, {_KEPT})
    select 'prod_e' || n, 'Plan ' || n, true, '{{"tokens": "1000", "role": "PREMIUM"}}', {_KEPT_VALUES}
    from generate_series(0, 49) as n, raw
    """,
    f"""
    insert into stripe.prices (id, product, active, type, currency, unit_amount, recurring_interval,
        recurring_interval_count, recurring_usage_type, {_KEPT})
    select 'price_e' || n, 'prod_e' || n % 50, true, 'recurring', 'usd', 1900, 'month', 1, 'licensed', {_KEPT_VALUES}
    from generate_series(0, 99) as n, raw
    """,
    "insert into users (id, email) select 'user-e' || n, 'user-e' || n || '@example.com' from numbers",
    """
    insert into sync.customer_links (stripe_customer_id, user_id, source, linked_at)
    select 'cus_e' || n, 'user-e' || n, 'customer_metadata', now() from numbers
    """,
    f"""
    insert into stripe.customers (id, email, {_KEPT})
    select 'cus_e' || n, n || '@example.com', {_KEPT_VALUES} from numbers, raw
    """,
    f"""
    insert into stripe.subscriptions (id, customer, status, current_period_start, current_period_end, metadata, {_KEPT})
    select 'sub_e' || n, 'cus_e' || n, 'active', now() - interval '3 days', now() + interval '27 days', '{{}}', {_KEPT_VALUES}
    from numbers, raw
    """,
    f"""
    insert into stripe.subscription_items (id, subscription, price, product, quantity, {_KEPT})
    select 'si_e' || n, 'sub_e' || n, 'price_e' || n % 100, 'prod_e' || n % 50, 1, {_KEPT_VALUES} from numbers, raw
    """,
    f"""
    insert into stripe.invoices (id, customer, subscription, status, billing_reason, amount_paid, total, currency,
        status_transitions_paid_at, {_KEPT})
    select 'in_e' || n, 'cus_e' || n, 'sub_e' || n, 'paid', 'subscription_cycle', 1900, 1900, 'usd',
        now() - interval '3 days', {_KEPT_VALUES}
    from numbers, raw
    """,
    f"""
    insert into stripe.invoice_line_items (id, invoice, amount, currency, price, product, subscription,
        subscription_item, proration, quantity, period_start, period_end, {_KEPT})
    select 'il_e' || n, 'in_e' || n, 1900, 'usd', 'price_e' || n % 100, 'prod_e' || n % 50, 'sub_e' || n, 'si_e' || n,
        false, 1, now() - interval '3 days', now() + interval '27 days', {_KEPT_VALUES}
    from numbers, raw
    """,
    f"""
    insert into stripe.payment_intents (id, customer, status, amount, amount_received, currency, {_KEPT})
    select 'pi_e' || n, 'cus_e' || n, 'succeeded', 1900, 1900, 'usd', {_KEPT_VALUES} from numbers, raw
    """,
    f"""
    insert into stripe.invoice_payments (id, invoice, payment_type, payment_payment_intent, status, amount_paid, {_KEPT})
    select 'inpay_e' || n, 'in_e' || n, 'payment_intent', 'pi_e' || n, 'paid', 1900, {_KEPT_VALUES} from numbers, raw
    """,
)
_TABLES = (
    "users, sync.customer_links, sync.token_grants, sync.overrides, user_subscriptions, payment_history,"
    " stripe.products, stripe.prices, stripe.customers, stripe.subscriptions, stripe.subscription_items, stripe.invoices,"
    " stripe.invoice_line_items, stripe.payment_intents, stripe.invoice_payments"
)


# How many users, and a raw object of half a kilobyte for every row of the mirror.
_WITH = """
    with numbers (n) as (select generate_series(1, {count})), raw (data) as (
        select jsonb_build_object('object', 'benchmark', 'livemode', false, 'note', repeat('abcdefgh ', 50))
    )
"""


def measure(stack: Stack, *, count: int = USERS) -> dict[str, Any]:
    """Compute so many users several times over, in one process, then some of them one by one."""
    with stack.connect() as conn:
        with conn.transaction():
            for statement in _ROWS:
                conn.execute(_WITH.format(count=count) + statement)
        conn.execute(f"analyze {_TABLES}")  # as autovacuum does within a minute
    stack.settle()
    return passes.in_a_process(_run, stack.database_url, count)


def _run(database_url: str, count: int) -> dict[str, Any]:
    def connect() -> psycopg.Connection:
        return psycopg.connect(database_url, autocommit=True, options="-c plan_cache_mode=force_custom_plan")

    def everybody() -> everyone.Progress:
        *_, last = everyone.apply(connect, passes.POLICY)
        return last

    result: dict[str, Any] = {"users": count, "peak_mib_at_start": passes.peak_mib()}
    with connect() as conn:
        for name, role, changes in (("all_new", None, True), ("unchanged", None, False), ("all_changed", "USER", True)):
            if role is not None:
                change = "update stripe.products set metadata = metadata || jsonb_build_object('role', %s::text)"
                conn.execute(change + " where id like 'prod_e%%'", (role,))
            began, cpu = time.perf_counter(), time.process_time()
            last = everybody()
            seconds = time.perf_counter() - began
            assert last.changed == (last.users if changes else 0), f"{last.changed} of {last.users} users changed"
            result[name] = {
                "users": last.users,
                "seconds": seconds,
                "users_per_second": last.users / seconds,
                "cpu_us_per_user": (time.process_time() - cpu) * 1e6 / last.users,
            }
        result["peak_mib"] = passes.peak_mib()
        began = time.perf_counter()
        planned = sum(len(piece.changing) for piece in everyone.plan(conn, passes.POLICY))
        result["plan"] = {"users": count, "seconds": time.perf_counter() - began}
        assert planned == 0, f"{planned} users would change though everyone was computed"
        took = sorted(_one(conn, f"user-e{number}") for number in range(1, ONES + 1))
        result["one_ms"] = {"p50": took[len(took) // 2], "p99": took[int(len(took) * 0.99)]}
    return result


def _one(conn: psycopg.Connection, user: str) -> float:
    began = time.perf_counter()
    with conn.transaction():
        membership.compute(conn, [user], passes.POLICY)
    return (time.perf_counter() - began) * 1000
