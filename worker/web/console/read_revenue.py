"""Queries of the revenue page: MRR, its movements and churn, from the views of the schema `analytics`."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]

KINDS = ("new", "reactivation", "expansion", "contraction", "churn")


def currencies(conn: psycopg.Connection) -> list[str]:
    """Currencies that have MRR now or had it, the largest number of subscriptions first."""
    rows = conn.execute(
        """
        select currency from analytics.subscription_mrr where currency is not null
        group by currency order by count(*) desc, currency
        """
    )
    return [currency for (currency,) in rows]


def days(conn: psycopg.Connection, currency: str, *, number: int) -> list[Row]:
    """MRR and subscriptions of the last days, the oldest first."""
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


def products(conn: psycopg.Connection, currency: str, *, number: int = 50) -> list[Row]:
    """MRR by product today, the largest first."""
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


def months(conn: psycopg.Connection, currency: str, *, number: int) -> list[Row]:
    """Movements and churn of the last months, the oldest first; each movement's kind is a column."""
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
