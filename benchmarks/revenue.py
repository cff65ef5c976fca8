"""The revenue views for 100,000 subscriptions over three years, with a change every few months. A tenth have a discount."""

import time
from typing import Any

from benchmarks.stack import Stack
from worker.mirror import movements, subscription_history

SUBSCRIPTIONS = 100_000
CHANGES = 3

_ROWS = (
    """
    insert into mirror.coupons (id, percent_off, duration, observed_at, observed_rank, observed_in, content_hash, shape, data)
    select 'co_r' || n, 10 + n, 'forever', now(), 1, 'evt_bench', '', 'endive',
        jsonb_build_object('id', 'co_r' || n, 'percent_off', 10 + n, 'duration', 'forever')
    from generate_series(0, 9) as n
    """,
    """
    insert into mirror.subscription_history (
        account, subscription, at, source, before, rank, customer, status, paused, currency, created, ended, products,
        amounts, months, discounts
    )
    select '', 'sub_r' || n, began.at + change.number * interval '97 days', 'evt_r' || n || '_' || change.number, false,
        least(change.number, 1), 'cus_r' || n,
        case when is_last.ended then 'canceled' else 'active' end, false, 'usd', began.at,
        case when is_last.ended then began.at + change.number * interval '97 days' end,
        array['prod_r' || n %% 20], array[1000 + 500 * change.number], 1,
        case when n %% 10 = 0 then jsonb_build_array(jsonb_build_object('id', 'di_r' || n, 'coupon', 'co_r' || n / 10 %% 10)) end
    from generate_series(1, %(subscriptions)s) as n
    cross join lateral (select now() - interval '3 years' + n %% 800 * interval '1 day' as at) as began
    cross join lateral generate_series(0, %(changes)s) as change (number)
    cross join lateral (select n %% 3 = 0 and change.number = %(changes)s as ended) as is_last
    """,
)
_QUERIES = {
    "mrr_daily": "select day, currency, sum(mrr) from analytics.mrr_daily where day > now() - interval '1 year' group by 1, 2",
    "mrr_movements": "select * from analytics.mrr_movements where day > now() - interval '1 year'",
    "subscriptions_daily": "select * from analytics.subscriptions_daily where day > now() - interval '1 year'",
    "churn_monthly": "select * from analytics.churn_monthly where month > now() - interval '1 year'",
}


def measure(running: Stack) -> dict[str, Any]:
    """Return the seconds that each view takes for the last twelve months."""
    with running.connect() as conn:
        for statement in _ROWS:
            conn.execute(statement, {"subscriptions": SUBSCRIPTIONS, "changes": CHANGES})
        conn.execute("vacuum analyze mirror.subscription_history")
        began = time.monotonic()
        subscription_history.compute_mrr(conn, [f"sub_r{n}" for n in range(1, SUBSCRIPTIONS + 1)])
        computed = time.monotonic() - began
        conn.execute("vacuum analyze mirror.subscription_mrr")
        began = time.monotonic()
        movements.compute_due(conn)
        moved = time.monotonic() - began
        conn.execute("vacuum analyze mirror.customer_movements")
        conn.execute("vacuum analyze mirror.movements_due")
        seconds: dict[str, float] = {}
        for name, query in _QUERIES.items():
            began = time.monotonic()
            conn.execute(query).fetchall()
            seconds[name] = time.monotonic() - began
        rows = conn.execute(
            "select count(*), pg_total_relation_size('mirror.subscription_history') from mirror.subscription_history"
        )
        count, size = rows.fetchone() or (0, 0)
    return {
        "subscriptions": SUBSCRIPTIONS,
        "facts": count,
        "bytes": size,
        "computed": computed,
        "moved": moved,
        "seconds": seconds,
    }
