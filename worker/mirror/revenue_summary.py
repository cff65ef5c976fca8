"""A summary of revenue for the console, from the views of the schema `analytics`.

The views read all subscriptions, which takes half a minute for a million of them. So a periodic job stores the summary.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from math import inf
from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.postgres import cursors, runs
from worker.postgres.pool import snapshot

Row = dict[str, Any]

JOB = "revenue"
# Making the summary may take at most 1/SHARE of the time.
SHARE = 100
DAYS, MONTHS, PRODUCTS, CURRENCIES = 365, 13, 50, 10
KINDS = ("new", "reactivation", "expansion", "contraction", "churn")


@dataclass(frozen=True, slots=True)
class Summary:
    """A stored summary. `at` is when it was made.

    The currency with the most subscriptions comes first. Each has `days`, `months` and `products`; days are ISO 8601
    text.
    """

    at: datetime
    currencies: Mapping[str, Row]


def refresh(conn: psycopg.Connection, slot: datetime) -> None:
    """Store a new summary, once in each slot of the clock. If the last one took long, wait longer (SHARE)."""
    with runs.slot(conn, JOB, slot) as run:
        before = cursors.read(conn, JOB) or {}
        if run is None or _seconds_since(before.get("tried_at")) < before.get("seconds", 0) * SHARE:
            return
        began, made = time.monotonic(), {}
        try:
            with snapshot(conn):
                made = {"at": _now(), "currencies": [_summed(conn, currency) for currency in _currencies(conn)]}
        finally:
            tried = {"tried_at": _now(), "seconds": time.monotonic() - began}
            cursors.save(conn, JOB, json.loads(json.dumps(before | made | tried, default=_as_json)))


def read(conn: psycopg.Connection) -> Summary | None:
    """The newest summary, or None if there is none yet."""
    kept = cursors.read(conn, JOB)
    if kept is None or "at" not in kept:
        return None
    return Summary(datetime.fromisoformat(kept["at"]), {each["currency"]: each for each in kept["currencies"]})


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _seconds_since(moment: str | None) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds() if moment else inf


def _currencies(conn: psycopg.Connection) -> list[str]:
    """The currencies that have or had MRR, the currency with the most subscriptions first."""
    rows = conn.execute(
        """
        select currency from analytics.subscription_mrr where currency is not null
        group by currency order by count(*) desc, currency limit %s
        """,
        (CURRENCIES,),
    )
    return [currency for (currency,) in rows]


def _summed(conn: psycopg.Connection, currency: str) -> Row:
    return {
        "currency": currency,
        "days": _days(conn, currency, number=DAYS),
        "months": _months(conn, currency, number=MONTHS),
        "products": _products(conn, currency, number=PRODUCTS),
    }


def _as_json(value: Any) -> str | float:
    return float(value) if isinstance(value, Decimal) else str(value)


def _days(conn: psycopg.Connection, currency: str, *, number: int) -> list[Row]:
    """MRR and number of subscriptions of the last days, the oldest day first."""
    return _rows(
        conn,
        """
        select day, sum(mrr)::bigint as mrr, sum(subscriptions)::bigint as subscriptions, sum(estimated)::bigint as estimated
        from analytics.mrr_daily
        where currency = %(currency)s
        group by day
        order by day desc
        limit %(number)s
        """,
        currency,
        number,
    )[::-1]


def _products(conn: psycopg.Connection, currency: str, *, number: int) -> list[Row]:
    """The present MRR of each product, the largest first."""
    return _rows(
        conn,
        """
        select m.product_id, max(p.name) as name, sum(m.mrr)::bigint as mrr, count(*) as subscriptions
        from analytics.subscription_mrr as m
        left join mirror.products as p on p.id = m.product_id and p.account = ''
        where m.currency = %(currency)s and m.until is null
        group by m.product_id
        order by mrr desc, m.product_id
        limit %(number)s
        """,
        currency,
        number,
    )


def _months(conn: psycopg.Connection, currency: str, *, number: int) -> list[Row]:
    """Movements and churn of the last months, the oldest month first. Each kind of movement is a column."""
    kinds = ", ".join(
        f"coalesce(sum(amount) filter (where kind = '{kind}'), 0)::bigint as {kind if kind != 'new' else 'fresh'}"
        for kind in KINDS
    )
    return _rows(
        conn,
        f"""
        with moved as materialized (
            select date_trunc('month', day)::date as month, {kinds}, sum(amount)::bigint as net
            from analytics.mrr_movements
            where currency = %(currency)s
            group by 1
        ), churned as materialized (
            select month, customers_at_start, customers_churned, customer_churn, mrr_at_start, mrr_churn
            from analytics.churn_monthly
            where currency = %(currency)s
        )
        select * from churned join moved using (month) order by month desc limit %(number)s
        """,  # noqa: S608 - constants
        currency,
        number,
    )[::-1]


def _rows(conn: psycopg.Connection, query: str, currency: str, number: int) -> list[Row]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, {"currency": currency, "number": number}).fetchall()
