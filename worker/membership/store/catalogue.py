"""The application's copy of the catalogue, with placeholders for products and prices that are not mirrored yet."""

from collections.abc import Collection

import psycopg
from psycopg.rows import scalar_row

from worker.membership.rules.facts import POLICY_KEYS, Product, product_of


def project(conn: psycopg.Connection, *, products: Collection[str], prices: Collection[str]) -> None:
    """Copy products and prices from the mirror to `stripe_products` and `stripe_prices`, without writing equal rows.

    The row of an object deleted at Stripe stays and becomes inactive, because subscriptions and payments refer to it.
    """
    if products:
        conn.execute(
            """
            insert into stripe_products as p (id, name, description, active, metadata, created_at, updated_at)
            select id, coalesce(name, id), description, coalesce(active, false) and not deleted,
                coalesce(metadata, '{}'), coalesce(created, observed_at), now()
            from mirror.products
            where id = any(%(ids)s) and account = '' and shape <> ''
            order by id
            on conflict (id) do update
            set name = excluded.name, description = excluded.description, active = excluded.active,
                metadata = excluded.metadata, created_at = excluded.created_at
            where (p.name, p.description, p.active, p.metadata::jsonb, p.created_at)
                is distinct from
                (excluded.name, excluded.description, excluded.active, excluded.metadata::jsonb, excluded.created_at)
            """,
            {"ids": sorted(products)},
        )
        conn.execute(
            """
            update stripe_products as p
            set active = false
            from mirror.products as m
            where m.id = p.id and m.account = '' and m.deleted and p.active and p.id = any(%s)
            """,
            (sorted(products),),
        )
    if prices:
        with conn.cursor(row_factory=scalar_row) as cursor:
            needed = cursor.execute(
                "select distinct product from mirror.prices where id = any(%s) and account = '' and product <> ''",
                (sorted(prices),),
            ).fetchall()
        hold_places(conn, products=needed, prices={})
        conn.execute(
            """
            insert into stripe_prices as p (id, product_id, active, currency, type, unit_amount, interval,
                interval_count, trial_period_days, metadata, created_at, updated_at)
            select id, product, coalesce(active, false) and not deleted, currency, sync.price_type(type), unit_amount,
                sync.price_interval(recurring_interval),
                case when recurring_interval_count between 0 and 2147483647 then recurring_interval_count end,
                case when recurring_trial_period_days between 0 and 2147483647 then recurring_trial_period_days end,
                coalesce(metadata, '{}'), coalesce(created, observed_at), now()
            from mirror.prices
            where id = any(%(ids)s) and account = '' and product is not null
            order by id
            on conflict (id) do update
            set product_id = excluded.product_id, active = excluded.active, currency = excluded.currency,
                type = excluded.type, unit_amount = excluded.unit_amount, interval = excluded.interval,
                interval_count = excluded.interval_count, trial_period_days = excluded.trial_period_days,
                metadata = excluded.metadata, created_at = excluded.created_at
            where (p.product_id, p.active, p.currency, p.type, p.unit_amount, p.interval, p.interval_count,
                    p.trial_period_days, p.metadata::jsonb, p.created_at)
                is distinct from
                (excluded.product_id, excluded.active, excluded.currency, excluded.type, excluded.unit_amount,
                    excluded.interval, excluded.interval_count, excluded.trial_period_days, excluded.metadata::jsonb,
                    excluded.created_at)
            """,
            {"ids": sorted(prices)},
        )
        conn.execute(
            """
            update stripe_prices as p
            set active = false
            from mirror.prices as m
            where m.id = p.id and m.account = '' and m.deleted and p.active and p.id = any(%s)
            """,
            (sorted(prices),),
        )


def hold_places(conn: psycopg.Connection, *, products: Collection[str], prices: dict[str, str]) -> None:
    """Insert placeholders for products, and for prices with their products, that are not mirrored yet."""
    wanted = sorted({*products, *prices.values()})
    if wanted:
        conn.execute(
            """
            insert into stripe_products (id, name, active, metadata, created_at, updated_at)
            select id, id, false, '{}', now(), now() from unnest(%b::text[]) as wanted (id)
            where not exists (select from stripe_products as p where p.id = wanted.id)
            on conflict (id) do nothing
            """,
            (wanted,),
        )
    if prices:
        ids = sorted(prices)
        conn.execute(
            """
            insert into stripe_prices (id, product_id, active, metadata, created_at, updated_at)
            select id, product_id, false, '{}', now(), now() from unnest(%b::text[], %b::text[]) as wanted (id, product_id)
            where not exists (select from stripe_prices as p where p.id = wanted.id)
            on conflict (id) do nothing
            """,
            (ids, [prices[id_] for id_ in ids]),
        )


def waiting_customers(conn: psycopg.Connection, *, products: Collection[str], prices: Collection[str]) -> list[str]:
    """The customers whose subscriptions or paid lines name one of these products or prices.

    Prices are found through their product, which has an index.
    """
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select s.customer
            from mirror.subscription_items as i
            join mirror.subscriptions as s on s.id = i.subscription and s.account = i.account
            where i.product = any(%(products)s) and i.account = '' and s.customer is not null
            union
            select v.customer
            from mirror.invoice_line_items as i
            join mirror.invoices as v on v.id = i.invoice and v.account = i.account
            where i.product = any(%(products)s) and i.account = '' and v.customer is not null
            union
            select v.customer
            from mirror.checkout_session_line_items as i
            join mirror.checkout_sessions as v on v.id = i.checkout_session and v.account = i.account
            where i.product = any(%(products)s) and i.account = '' and v.customer is not null
            union
            select customer
            from mirror.checkout_sessions
            where metadata_product = any(%(products)s) and account = '' and customer is not null
            union
            select v.customer
            from mirror.prices as p
            join mirror.invoice_line_items as i on i.product = p.product and i.price = p.id and i.account = p.account
            join mirror.invoices as v on v.id = i.invoice and v.account = i.account
            where p.id = any(%(prices)s) and p.account = '' and v.customer is not null
            """,
            {"products": sorted(products), "prices": sorted(prices)},
        ).fetchall()


def waiting_guests(conn: psycopg.Connection, products: Collection[str]) -> list[str]:
    """The users who bought one of these products as guests: by a Checkout session without a customer."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            with sold as (
                select id from mirror.checkout_sessions where metadata_product = any(%(products)s) and account = ''
                union
                select checkout_session from mirror.checkout_session_line_items
                where product = any(%(products)s) and account = ''
            )
            select u.id::text
            from sold
            join mirror.checkout_sessions as s on s.id = sold.id and s.account = ''
            join users as u on u.id = sync.user_key(s.client_reference_id)
            where s.customer is null and s.payment_link is null
            """,
            {"products": sorted(products)},
        ).fetchall()


def unclear_products(conn: psycopg.Connection) -> list[Product]:
    """The active products whose metadata has an unreadable role, allowance, access or features."""
    rows = conn.execute(
        """
        select id, metadata
        from mirror.products
        where account = '' and active and not deleted and metadata ?| %s
        order by id
        """,
        (list(POLICY_KEYS),),
    )
    return [product for id_, metadata in rows if (product := product_of(id_, metadata)).unclear]
