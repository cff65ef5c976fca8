"""The stored access of users, read in one statement, and the leases for reading users from Stripe
(`sync.user_syncs`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row, scalar_row

from schema.states import MembershipStatus
from worker.on_access.freshness import Stored

Connection = psycopg.Connection

# A user's customers: the linked customers, customers that the application has linked but the daemon has not seen yet,
# and customers who pay for the user's organization.
_CUSTOMERS = """
    select stripe_customer_id as id, linked_at from sync.customer_links where user_id = {user}::text
    union all
    select stripe_customer_id, created_at
    from stripe_customers as a
    where user_id = {key}
        and not exists (
            select from sync.customer_links as l
            where l.stripe_customer_id = a.stripe_customer_id and l.user_id is not null
        )
    union all
    select s.customer, coalesce(s.created, s.observed_at)
    from users as m
    join mirror.subscriptions as s on s.metadata_organization_id = m.organization_id::text
    where m.id = {key} and s.account = '' and not s.deleted and s.customer is not null
"""
_CUSTOMERS_OF_ID = _CUSTOMERS.format(user="%(user)s", key="sync.user_key(%(user)s)")


@dataclass(frozen=True, slots=True)
class Session:
    """A mirrored Checkout session, and the user to whom its customer is linked."""

    customer: str | None
    invoice: str | None
    status: str | None
    user: str | None


def stored(conn: Connection, user: str) -> Stored | None:
    """A user's stored access, or None if there is no such user.

    The subscription is one that has not ended. A subscription to the user's product is preferred, then the best status,
    then the newest.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_STORED, {"user": user}, prepare=True).fetchone()
    if row is None:
        return None
    product = _gathered(row, "product_")
    subscription = _gathered(row, "subscription_")
    return Stored(
        **row
        | {"role": row["role"], "membership_status": MembershipStatus(row["membership_status"])}
        | {"product": product, "subscription": subscription}
    )


def _gathered(row: dict[str, Any], prefix: str) -> dict[str, Any] | None:
    fields = {name.removeprefix(prefix): row.pop(name) for name in list(row) if name.startswith(prefix)}
    return fields if fields["id"] is not None else None


# Each part is found by a key of the user. The user's row already contains the result of membership.
_STORED = f"""
    select
        u.id::text, clock_timestamp() as now, u.role::text, u.membership_status::text,
        u.stripe_product_id as product_id, p.name as product_name,
        s.stripe_subscription_id as subscription_id, s.stripe_status as subscription_status,
        s.stripe_price_id as subscription_price, s.stripe_product_id as subscription_product,
        s.current_period_end as subscription_current_period_end, s.trial_end as subscription_trial_end,
        s.cancel_at_period_end as subscription_cancel_at_period_end,
        array(
            select distinct f.feature from user_features as f
            where f.user_id = u.id and (f.until is null or f.until > clock_timestamp()) and u.role::text <> 'BANNED'
            order by f.feature
        ) as features,
        token_balance(u.id) as tokens, u.tokens_expires_at,
        y.synced_at, c.linked_at, coalesce(a.due_at <= now(), false) as is_due
    from users as u
    left join stripe_products as p on p.id = u.stripe_product_id
    left join sync.user_syncs as y on y.user_id = u.id::text
    left join sync.next_changes as a on a.user_id = u.id::text
    left join lateral (
        select max(linked_at) as linked_at from ({_CUSTOMERS.format(user="u.id", key="u.id")}) as of_user
    ) as c on true
    left join lateral (
        select *
        from user_subscriptions
        cross join lateral (select lower(status::text) as stripe_status) as word
        where user_id = u.id and stripe_status not in ('canceled', 'incomplete_expired')
        order by stripe_product_id is not distinct from u.stripe_product_id desc,
            array_position(array['active', 'trialing', 'past_due'], stripe_status), created_at desc
        limit 1
    ) as s on true
    where u.id = sync.user_key(%(user)s)
"""  # noqa: S608 - our own words


def claim(conn: Connection, user: str, *, since: datetime | None, seconds: float) -> datetime | None:
    """Lease the right to read a user from Stripe; returns the end of the lease, which `release` needs.

    None if another worker has the lease, if the user was read at `since` or later, or if there is no such user.
    """
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            insert into sync.user_syncs as y (user_id, leased_until)
            select id::text, clock_timestamp() + make_interval(secs => %(seconds)s) from users
            where id = sync.user_key(%(user)s)
            on conflict (user_id) do update
            set leased_until = excluded.leased_until
            where (y.leased_until is null or y.leased_until <= clock_timestamp())
                and (%(since)s::timestamptz is null or y.synced_at is null or y.synced_at < %(since)s)
            returning leased_until
            """,
            {"user": user, "since": since, "seconds": seconds},
        ).fetchone()


def release(conn: Connection, user: str, lease: datetime) -> None:
    """End our lease. Does nothing if the lease has run out and belongs to another worker now."""
    conn.execute(
        "update sync.user_syncs set leased_until = null where user_id = %s and leased_until = %s", (user, lease)
    )


def customers(conn: Connection, user: str) -> tuple[datetime, dict[str, bool]]:
    """The present time, and the user's customers; the value is True if the customer is deleted at Stripe."""
    row = conn.execute("select clock_timestamp()").fetchone()
    assert row is not None
    fields = conn.execute(
        f"""
        select k.id, coalesce(m.deleted, false)
        from ({_CUSTOMERS_OF_ID}) as k
        left join mirror.customers as m on m.id = k.id and m.account = ''
        order by k.id
        """,  # noqa: S608 - our own words
        {"user": user},
    )
    return row[0], dict(fields.fetchall())


def unlinked(conn: Connection, user: str) -> list[str]:
    """The customers that the application has linked to the user and the daemon has not linked yet."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select stripe_customer_id
            from stripe_customers as a
            where user_id = sync.user_key(%s)
                and not exists (
                    select from sync.customer_links as l
                    where l.stripe_customer_id = a.stripe_customer_id and l.user_id is not null
                )
            """,
            (user,),
        ).fetchall()


def verified_email(conn: Connection, user: str) -> str | None:
    """The user's e-mail, if the application has verified it."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            "select email from users where id = sync.user_key(%s) and email_verified is not null", (user,)
        ).fetchone()


def absent(conn: Connection, customer: str, *, listed: Sequence[str], before: int) -> list[str]:
    """The customer's mirrored subscriptions that are absent from the complete list and were not observed since
    `before`."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select id
            from mirror.subscriptions
            where customer = %s and account = '' and not deleted and observed_at < to_timestamp(%s)
                and id <> all(%b::text[])
            """,
            (customer, before, list(listed)),
        ).fetchall()


def unknown_products(conn: Connection, customers: Sequence[str], *, limit: int) -> list[str]:
    """The products of these customers' subscriptions that are not mirrored, so that their policy is unknown."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select distinct i.product
            from mirror.subscriptions as s
            join mirror.subscription_items as i on i.subscription = s.id and i.account = '' and not i.deleted
            where s.customer = any(%b::text[]) and s.account = '' and not s.deleted
                and s.status not in ('canceled', 'incomplete_expired') and i.product is not null
                and not exists (select from mirror.products as p where p.id = i.product and p.account = '')
            limit %s
            """,
            (list(customers), limit),
        ).fetchall()


def unpaid_invoices(conn: Connection, customers: Sequence[str], *, limit: int) -> list[str]:
    """The latest invoices of active subscriptions, without invoices that the mirror has as paid."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select s.latest_invoice
            from mirror.subscriptions as s
            left join mirror.invoices as i on i.id = s.latest_invoice and i.account = ''
            where s.customer = any(%b::text[]) and s.account = '' and not s.deleted
                and s.status in ('active', 'trialing') and s.latest_invoice is not null
                and i.status is distinct from 'paid'
            order by s.created desc
            limit %s
            """,
            (list(customers), limit),
        ).fetchall()


def session(conn: Connection, id_: str) -> Session | None:
    """A Checkout session; None if it is not mirrored."""
    with conn.cursor(row_factory=class_row(Session)) as cursor:
        return cursor.execute(
            """
            select s.customer, s.invoice, s.status, l.user_id as user
            from mirror.checkout_sessions as s
            left join sync.customer_links as l on l.stripe_customer_id = s.customer
            where s.id = %s and s.account = '' and not s.deleted
            """,
            (id_,),
        ).fetchone()


def finish(conn: Connection, user: str, *, asked_at: datetime, asked: Sequence[str]) -> bool:
    """Record that the mirrored subscriptions of the user were equal to Stripe's at `asked_at`.

    Returns False, and records nothing, if another customer was linked in the meantime.
    """
    return (
        conn.execute(
            f"""
            update sync.user_syncs
            set synced_at = greatest(synced_at, %(asked_at)s)
            where user_id = %(user)s
                and not exists (
                    select from ({_CUSTOMERS_OF_ID}) as k where k.id <> all(%(asked)b::text[])
                )
            """,  # noqa: S608 - our own words
            {"user": user, "asked_at": asked_at, "asked": list(asked)},
        ).rowcount
        == 1
    )
