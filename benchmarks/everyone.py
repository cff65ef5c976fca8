"""Recompute all users, each with a subscription and a paid invoice, which SQL writes directly into the mirror.

- All new: nothing is granted yet, so every user, subscription, payment and ledger row is written.
- Unchanged: a second run, which writes nothing.
- All changed: the role of the products has changed. `membership plan` runs, then `membership apply`.
- One: each user is computed in a separate transaction, as for an event of one customer.
"""

import time
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks import passes
from benchmarks.machine import Cpu
from benchmarks.stack import Stack
from worker.membership import compute, recompute_all

USERS = 100_000
ONES = 200

# The columns that every row of the mirror has; the raw object is as long as a short real one.
_KEPT = "observed_at, observed_rank, observed_in, content_hash, shape, created, data"
_KEPT_VALUES = "now(), 1, 'evt_bench', repeat('0', 32), 'endive', now() - interval '3 days', raw.data"

_ROWS = (
    f"""
    insert into mirror.products (id, name, active, metadata, {_KEPT})
    select 'prod_e' || n, 'Plan ' || n, true, '{{"tokens": "1000", "role": "PREMIUM"}}', {_KEPT_VALUES}
    from generate_series(0, 49) as n, raw
    """,
    f"""
    insert into mirror.prices (id, product, active, type, currency, unit_amount, recurring_interval,
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
    insert into mirror.customers (id, email, {_KEPT})
    select 'cus_e' || n, n || '@example.com', {_KEPT_VALUES} from numbers, raw
    """,
    f"""
    insert into mirror.subscriptions (id, customer, status, current_period_start, current_period_end, metadata, {_KEPT})
    select 'sub_e' || n, 'cus_e' || n, 'active', now() - interval '3 days', now() + interval '27 days', '{{}}', {_KEPT_VALUES}
    from numbers, raw
    """,
    f"""
    insert into mirror.subscription_items (id, subscription, price, product, quantity, {_KEPT})
    select 'si_e' || n, 'sub_e' || n, 'price_e' || n % 100, 'prod_e' || n % 50, 1, {_KEPT_VALUES} from numbers, raw
    """,
    f"""
    insert into mirror.invoices (id, customer, subscription, status, billing_reason, amount_paid, total, currency,
        status_transitions_paid_at, {_KEPT})
    select 'in_e' || n, 'cus_e' || n, 'sub_e' || n, 'paid', 'subscription_cycle', 1900, 1900, 'usd',
        now() - interval '3 days', {_KEPT_VALUES}
    from numbers, raw
    """,
    f"""
    insert into mirror.invoice_line_items (id, invoice, amount, currency, price, product, subscription,
        subscription_item, proration, quantity, period_start, period_end, {_KEPT})
    select 'il_e' || n, 'in_e' || n, 1900, 'usd', 'price_e' || n % 100, 'prod_e' || n % 50, 'sub_e' || n, 'si_e' || n,
        false, 1, now() - interval '3 days', now() + interval '27 days', {_KEPT_VALUES}
    from numbers, raw
    """,
    f"""
    insert into mirror.payment_intents (id, customer, status, amount, amount_received, currency, {_KEPT})
    select 'pi_e' || n, 'cus_e' || n, 'succeeded', 1900, 1900, 'usd', {_KEPT_VALUES} from numbers, raw
    """,
    f"""
    insert into mirror.invoice_payments (id, invoice, payment_type, payment_payment_intent, status, amount_paid, {_KEPT})
    select 'inpay_e' || n, 'in_e' || n, 'payment_intent', 'pi_e' || n, 'paid', 1900, {_KEPT_VALUES} from numbers, raw
    """,
)
_TABLES = (
    "users, sync.customer_links, sync.token_grants, sync.overrides, user_subscriptions, payment_history,"
    " stripe.products, stripe.prices, stripe.customers, stripe.subscriptions, stripe.subscription_items, stripe.invoices,"
    " stripe.invoice_line_items, stripe.payment_intents, stripe.invoice_payments"
)


# This many users, and a raw object of half a kilobyte for every row of the mirror.
_WITH = """
    with numbers (n) as (select generate_series(1, {count})), raw (data) as (
        select jsonb_build_object('object', 'benchmark', 'livemode', false, 'note', repeat('abcdefgh ', 50))
    )
"""


def measure(stack: Stack, *, count: int = USERS) -> dict[str, Any]:
    """Compute this many users several times, each time in a separate process, then some of them one by one."""
    with stack.connect() as conn:
        fill(conn, count)
        conn.execute(f"analyze {_TABLES}")  # as autovacuum does within a minute
    result: dict[str, Any] = {"all_new": _measured(stack, _apply, count, changed=count)}
    result["unchanged"] = _measured(stack, _apply, count, changed=0)
    with stack.connect() as conn:
        conn.execute("""update mirror.products set metadata = metadata || '{"role": "USER"}' where id like 'prod_e%'""")
    result["plan"] = _measured(stack, _plan, count, changed=count)
    result["all_changed"] = _measured(stack, _apply, count, changed=count)
    result["one"] = _measured(stack, _ones, ONES, changed=0)
    return result


def fill(conn: psycopg.Connection[Any], count: int) -> None:
    """Insert this many users, each with a customer, a subscription and a payment."""
    with conn.transaction():
        for statement in _ROWS:
            conn.execute(_WITH.format(count=count) + statement)


def _measured(stack: Stack, job: Callable[[str, int], dict[str, Any]], count: int, *, changed: int) -> dict[str, Any]:
    """The job's figures, with the CPU that Postgres spent on it.

    The start of the process is within the measured time, but uses no CPU of Postgres.
    """
    stack.settle()
    cpu = Cpu({"postgres": stack.postgres.pid})
    run = passes.in_a_process(job, stack.database_url, count)
    assert (run["users"], run["changed"]) == (count, changed), f"{run} is not {changed} of {count} users"
    return run | {"postgres_cpu_us_per_user": cpu.spent()["postgres"] * 1e6 / count}


def _apply(database_url: str, count: int) -> dict[str, Any]:
    def work() -> tuple[int, int]:
        *_, last = recompute_all.apply(lambda: _connect(database_url), passes.POLICY)
        return last.users, last.changed

    return _timed(work)


def _plan(database_url: str, count: int) -> dict[str, Any]:
    def work() -> tuple[int, int]:
        users = changed = 0
        with _connect(database_url) as conn:
            for piece in recompute_all.plan(conn, passes.POLICY):
                users, changed = users + piece.users, changed + len(piece.changing)
        return users, changed

    return _timed(work)


def _ones(database_url: str, count: int) -> dict[str, Any]:
    """Compute users one by one, each in a separate transaction, as for an event of one customer."""
    took: list[float] = []

    def work() -> tuple[int, int]:
        changed = 0
        with _connect(database_url) as conn:
            for number in range(1, count + 1):
                began = time.perf_counter()
                with conn.transaction():
                    changed += len(compute.compute(conn, [f"user-e{number}"], passes.POLICY))
                took.append((time.perf_counter() - began) * 1000)
        return count, changed

    run = _timed(work)
    took.sort()
    return run | {"p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100]}


def _timed(work: Callable[[], tuple[int, int]]) -> dict[str, Any]:
    at_start, began, cpu = passes.peak_mib(), time.perf_counter(), time.process_time()
    users, changed = work()
    seconds = time.perf_counter() - began
    return {
        "users": users,
        "changed": changed,
        "seconds": seconds,
        "users_per_second": users / seconds,
        "cpu_us_per_user": (time.process_time() - cpu) * 1e6 / users,
        "peak_mib": passes.peak_mib(),
        "peak_mib_at_start": at_start,
    }


def _connect(database_url: str) -> psycopg.Connection:
    """Connect with the daemon's settings, as far as they affect this measurement."""
    return psycopg.connect(database_url, autocommit=True, options="-c plan_cache_mode=force_custom_plan")
