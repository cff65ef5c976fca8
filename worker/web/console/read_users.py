"""Queries of the user pages, except for `why`: the search, and one user's history."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
PAGE = 50


def search(conn: psycopg.Connection, text: str, *, after: str = "") -> list[Row]:
    """The users with this id, e-mail or Stripe customer, in the order of ids.

    If the text is empty: all users after the user `after`. At most PAGE + 1 users are returned, so that the caller sees
    whether there is a next page.
    """
    behind = "where id > sync.user_key(%(after)s)" if after else ""
    which = _MATCHING if text else f"select id from users {behind} order by id limit %(limit)s"  # noqa: S608
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            select u.id::text, u.email, u.name, u.role::text, u.membership_status::text, u.stripe_product_id, p.name as product,
                u.tokens, u.tokens_expires_at
            from ({which}) as m
            join users as u on u.id = m.id
            left join stripe_products as p on p.id = u.stripe_product_id
            order by u.id
            limit %(limit)s
            """,  # noqa: S608 - one of two literals
            {"text": text, "after": after, "limit": PAGE + 1},
        ).fetchall()


_MATCHING = """
    select id from users where id = sync.user_key(%(text)s)
    union
    select id from users where email in (%(text)s, lower(%(text)s))
    union
    select sync.user_key(user_id) from sync.customer_links where stripe_customer_id = %(text)s and user_id is not null
    union
    select sync.user_key(l.user_id)
    from mirror.customers as c
    join sync.customer_links as l on l.stripe_customer_id = c.id
    where c.email in (%(text)s, lower(%(text)s)) and l.user_id is not null
"""


def timeline(conn: psycopg.Connection, user: str, *, limit: int = 100) -> list[Row]:
    """The history of the user, newest first: subscriptions, payments, ledger rows and changes."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            (
                select coalesce(s.canceled_at, s.created_at) as at, 'subscription' as kind, s.stripe_subscription_id as id,
                    'subscription ' || lower(s.status::text)
                        || case when s.cancel_at_period_end then ', ends with its period' else '' end
                        as text,
                    null::bigint as amount, null as currency
                from user_subscriptions as s
                where s.user_id = sync.user_key(%(user)s)
                order by 1 desc limit %(limit)s
            )
            union all
            (
                select p.created_at, 'payment', p.stripe_payment_intent_id, 'payment ' || lower(p.status::text),
                    p.amount, p.currency
                from payment_history as p
                where p.user_id = sync.user_key(%(user)s)
                order by 1 desc limit %(limit)s
            )
            union all
            (
                select g.created_at, 'ledger', coalesce(g.stripe_invoice_id, g.stripe_subscription_id),
                    g.kind || ', balance ' || g.balance_before || ' to ' || g.balance_after, g.amount, 'tokens'
                from sync.token_grants as g
                where g.user_id = %(user)s
                order by g.id desc limit %(limit)s
            )
            union all
            (
                select c.created_at, 'change', null, c.type || ' (' || c.reason || ')', null, null
                from sync.changes as c
                where c.user_id = %(user)s
                order by c.id desc limit %(limit)s
            )
            order by at desc nulls last
            limit %(limit)s
            """,
            {"user": user, "limit": limit},
        ).fetchall()


def balance(conn: psycopg.Connection, user: str, *, limit: int = 60) -> list[Row]:
    """The balances after the newest ledger rows, oldest first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select created_at, balance_after
            from (
                select id, created_at, balance_after from sync.token_grants where user_id = %s order by id desc limit %s
            ) as newest
            order by id
            """,
            (user, limit),
        ).fetchall()
