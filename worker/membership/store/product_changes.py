"""Products whose policy has changed (`sync.product_changes`), and their users, who must be computed again.

The users of a product are looked up after all transactions that were open when the change became visible have ended.
Until then, such a transaction may still commit another user of the product who was computed with its old policy.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row, scalar_row

from worker.membership.rules.facts import product_of
from worker.membership.store.load_facts import ATTACHED

Connection = psycopg.Connection

# The users of products: by subscription, by organization, by one-time purchase, and as guests.
_USERS = """
    with by_customer as (
        select s.customer
        from mirror.subscription_items as i
        join mirror.subscriptions as s on s.id = i.subscription and s.account = i.account
        where i.product = any(%(products)s) and i.account = ''
        union
        select v.customer
        from mirror.invoice_line_items as i
        join mirror.invoices as v on v.id = i.invoice and v.account = i.account
        where i.product = any(%(products)s) and i.account = ''
    ), sold as (
        select id from mirror.checkout_sessions where metadata_product = any(%(products)s) and account = ''
        union
        select checkout_session from mirror.checkout_session_line_items
        where product = any(%(products)s) and account = ''
    ), sessions as (
        select s.customer, s.client_reference_id, s.payment_link
        from sold join mirror.checkout_sessions as s on s.id = sold.id and s.account = ''
    )
    select l.user_id
    from (select customer from by_customer union select customer from sessions) as c
    join sync.customer_links as l on l.stripe_customer_id = c.customer
    where l.user_id is not null
    union
    select u.id::text
    from sessions as s
    join users as u on u.id = sync.user_key(s.client_reference_id)
    where s.customer is null and s.payment_link is null
    union
    select u.id::text
    from mirror.subscription_items as i
    join mirror.subscriptions as s on s.id = i.subscription and s.account = i.account
    join users as u on u.organization_id = sync.organization_key(s.metadata_organization_id)
    where i.product = any(%(products)s) and i.account = '' and s.metadata_organization_id is not null
"""

# A condition on `id` of mirror.products: the product's features were never read, or last before %(due_before)s.
DUE = """not exists (
    select from sync.product_changes as c where c.product_id = id and c.features_read_at > %(due_before)s
)"""


def differing(conn: Connection, products: Collection[str]) -> set[str]:
    """The products among these whose policy in the mirror differs from the policy in the application's catalogue.

    The catalogue is updated after the mirror.
    """
    if not products:
        return set()
    rows = conn.execute(
        f"""
        select p.id, o.metadata, p.metadata, {ATTACHED}
        from mirror.products as p
        join stripe_products as o on o.id = p.id
        where p.id = any(%s) and p.account = '' and not p.deleted
        """,  # noqa: S608 - our own words
        (sorted(products),),
    ).fetchall()
    return {id_ for id_, old, new, attached in rows if product_of(id_, old, attached) != product_of(id_, new, attached)}


def note(conn: Connection, products: Collection[str]) -> None:
    """Record that these products have changed. Their users are computed later, when PRODUCT_CHANGES or an operator
    allows it."""
    if products:
        conn.execute(
            """
            insert into sync.product_changes (product_id, noted_at)
            select id, now() from unnest(%b::text[]) as p (id) order by id
            on conflict (product_id) do update set noted_at = now(), horizon = null
            """,
            (sorted(products),),
        )


def unread(conn: Connection, products: Collection[str]) -> set[str]:
    """The products among these whose features no pass has read completely yet."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return set(
            cursor.execute(
                """
                select id from unnest(%b::text[]) as p (id)
                where not exists (
                    select from sync.product_changes as c where c.product_id = p.id and c.features_read_at is not null
                )
                """,
                (sorted(products),),
            )
        )


def mark_read(conn: Connection, product: str) -> None:
    """Record that the product's features were read completely. From now on, a difference in its features counts as a
    change."""
    conn.execute(
        """
        insert into sync.product_changes as c (product_id, features_read_at) values (%s, now())
        on conflict (product_id) do update set features_read_at = excluded.features_read_at
        """,
        (product,),
    )


def features_due(conn: Connection, *, least: int, share: int) -> datetime:
    """The value of `due_before` in DUE: products whose features were last read before this time are read again now.

    The products that were read longest ago become due: one in `share` of all products, but at least `least`.
    """
    row = conn.execute(
        """
        with by_age as (
            select c.features_read_at, row_number() over (order by c.features_read_at) as place, count(*) over () as number
            from mirror.products as p join sync.product_changes as c on c.product_id = p.id
            where p.account = '' and not p.deleted and c.features_read_at is not null
        )
        select coalesce(
            (select features_read_at from by_age where place = greatest(%s, ceil(number / %s::numeric))), clock_timestamp()
        )
        """,
        (least, share),
    ).fetchone()
    assert row is not None
    due: datetime = row[0]
    return due


def look_up(conn: Connection) -> int:
    """Add the users of changed products to the queue; returns how many were added. Runs in the caller's transaction."""
    conn.execute("select from sync.product_changes where noted_at is not null order by product_id for update")
    conn.execute(
        """
        update sync.product_changes set horizon = pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        where noted_at is not null and horizon is null
        """
    )
    with conn.cursor(row_factory=scalar_row) as cursor:
        # A horizon in the future comes from another cluster, from which this database was restored.
        products = cursor.execute(
            """
            update sync.product_changes as c set noted_at = null, horizon = null
            from pg_current_snapshot() as now
            where c.noted_at is not null
                and (c.horizon <= pg_snapshot_xmin(now)::text::bigint or c.horizon > pg_snapshot_xmax(now)::text::bigint)
            returning c.product_id
            """
        ).fetchall()
    if not products:
        return 0
    return conn.execute(
        f"insert into sync.product_change_users (user_id) select user_id from ({_USERS}) as u on conflict do nothing",  # noqa: S608
        {"products": sorted(products)},
    ).rowcount


def take(conn: Connection, *, limit: int) -> list[str]:
    """The next users to compute; they leave the queue when the transaction commits."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            delete from sync.product_change_users where user_id in (
                select user_id from sync.product_change_users order by user_id limit %s for update skip locked
            )
            returning user_id
            """,
            (limit,),
        ).fetchall()


def forget(conn: Connection) -> None:
    """Forget all changes, because every user was computed with the present catalogue."""
    conn.execute("update sync.product_changes set noted_at = null, horizon = null where noted_at is not null")


def waiting(conn: Connection) -> list[dict[str, Any]]:
    """The products whose users wait to be computed, the oldest change first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select product_id, noted_at from sync.product_changes where noted_at is not null order by noted_at, product_id"
        ).fetchall()


def users_left(conn: Connection) -> int:
    """The number of users in the queue."""
    row = conn.execute("select count(*) from sync.product_change_users").fetchone()
    return int(row[0]) if row else 0
