"""Queries of the catalogue pages."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
# Up to this many users are counted. If there are more, the users of common products are estimated from the planner's
# statistics. Products that the statistics do not have are rare, so their users are counted.
COUNTED = 100_000


def products(conn: psycopg.Connection, *, limit: int = 500, counted: int = COUNTED) -> list[Row]:
    """Products with their policy, their prices, and the number of users who have them.

    If `is_estimate`, the number of users is the planner's estimate, as of the last ANALYZE.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            with frequent as (
                select common.product, round(c.reltuples * common.share)::bigint as users
                from pg_class as c
                join pg_stats as s on s.schemaname = c.relnamespace::regnamespace::text and s.tablename = c.relname
                cross join lateral unnest(s.most_common_vals::text::text[], s.most_common_freqs) as common (product, share)
                where c.oid = 'users'::regclass and s.attname = 'stripe_product_id' and c.reltuples > %(counted)s
            )
            select p.id, p.name, p.active, p.metadata ->> 'role' as role, p.metadata ->> 'tokens' as tokens,
                coalesce((
                    select string_agg(f.entitlement_feature_lookup_key, ', ' order by f.entitlement_feature_lookup_key)
                    from mirror.product_features as f
                    where f.product = p.id and f.account = '' and not f.deleted
                ), p.metadata ->> 'features') as features, p.metadata ->> 'access' as access, prices.list as prices,
                f.users is not null as is_estimate,
                coalesce(f.users, (select count(*) from users as u where u.stripe_product_id = p.id)) as users
            from (select * from stripe_products order by active desc, name, id limit %(limit)s) as p
            left join frequent as f on f.product = p.id
            cross join lateral (
                select coalesce(jsonb_agg(jsonb_build_object(
                    'id', r.id, 'active', r.active, 'unit_amount', r.unit_amount, 'currency', r.currency,
                    'interval', lower(r.interval::text), 'interval_count', r.interval_count)
                    order by r.active desc, r.unit_amount), '[]') as list
                from stripe_prices as r
                where r.product_id = p.id
            ) as prices
            order by p.active desc, p.name, p.id
            """,
            {"limit": limit, "counted": counted},
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
