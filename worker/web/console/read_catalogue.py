"""Queries of the catalogue pages."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]


def products(conn: psycopg.Connection, *, limit: int = 500) -> list[Row]:
    """Products with their policy and prices, and how many users have each as their product."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select p.id, p.name, p.active, p.metadata ->> 'role' as role, p.metadata ->> 'tokens' as tokens,
                coalesce((
                    select string_agg(f.entitlement_feature_lookup_key, ', ' order by f.entitlement_feature_lookup_key)
                    from mirror.product_features as f
                    where f.product = p.id and f.account = '' and not f.deleted
                ), p.metadata ->> 'features') as features, p.metadata ->> 'access' as access, prices.list as prices,
                (select count(*) from users as u where u.stripe_product_id = p.id) as users
            from (select * from stripe_products order by active desc, name, id limit %s) as p
            cross join lateral (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'id', r.id, 'active', r.active, 'unit_amount', r.unit_amount, 'currency', r.currency,
                    'interval', r.interval, 'interval_count', r.interval_count) order by r.active desc, r.unit_amount), '[]')
                    as list
                from stripe_prices as r
                where r.product_id = p.id
            ) as prices
            order by p.active desc, p.name, p.id
            """,
            (limit,),
        ).fetchall()


def progress(conn: psycopg.Connection) -> Row | None:
    """The progress of the last `membership apply`; None if there was none."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select started_at, finished_at, outcome, result, error
            from sync.runs where job = 'membership_apply' order by slot desc limit 1
            """
        ).fetchone()
