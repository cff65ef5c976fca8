"""Subscriptions as facts: read from the mirror with their items, by whom they belong to or by whom they name."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.membership.rules.facts import Item, Subscription

Connection = psycopg.Connection

_FACTS = """
    s.id, coalesce(s.status, 'incomplete') as status,
    coalesce(s.created, s.observed_at) as created, s.current_period_start as period_start,
    s.current_period_end as period_end, s.status_details_paused_subscription_type as paused_for, s.trial_end,
    coalesce(c.deleted, false) as customer_deleted
"""


def of_users(conn: Connection, users: Collection[str]) -> dict[str, list[Subscription]]:
    """The subscriptions of each user's customers; nothing, and not None, of who has none."""
    return _read(
        conn,
        f"""
        select l.user_id as whose, {_FACTS}
        from sync.customer_links as l
        join mirror.subscriptions as s on s.customer = l.stripe_customer_id and s.account = '' and not s.deleted
        left join mirror.customers as c on c.id = s.customer and c.account = ''
        where l.user_id = any(%s)
        """,  # noqa: S608 - our own words
        users,
    )


def of_organizations(conn: Connection, organizations: Collection[str]) -> dict[str, list[Subscription]]:
    """The subscriptions whose metadata names each organization, whoever pays for them."""
    return _read(
        conn,
        f"""
        select s.metadata_organization_id as whose, {_FACTS}
        from mirror.subscriptions as s
        left join mirror.customers as c on c.id = s.customer and c.account = ''
        where s.metadata_organization_id = any(%s) and s.account = '' and not s.deleted
        """,  # noqa: S608 - our own words
        organizations,
    )


def _read(conn: Connection, statement: str, whose: Collection[str]) -> dict[str, list[Subscription]]:
    found: dict[str, list[Subscription]] = defaultdict(list)
    if not whose:
        return found
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, (sorted(whose),)).fetchall()
    items = _items(conn, sorted(row["id"] for row in rows))
    for row in rows:
        # Stripe cancels the subscriptions of a customer that is deleted; their own events may still be under way.
        if row.pop("customer_deleted") and row["status"] != "incomplete_expired":
            row["status"] = "canceled"
        found[row.pop("whose")].append(Subscription(**row, items=tuple(items[row["id"]])))
    return found


def _items(conn: Connection, subscriptions: Sequence[str]) -> dict[str, list[Item]]:
    items: dict[str, list[Item]] = defaultdict(list)
    if subscriptions:
        with conn.cursor(row_factory=dict_row) as cursor:
            rows: list[dict[str, Any]] = cursor.execute(
                """
                select subscription, id, price, product, coalesce(quantity, 1) as quantity
                from mirror.subscription_items
                where subscription = any(%s) and account = '' and not deleted
                order by created, id
                """,
                (subscriptions,),
            ).fetchall()
        for row in rows:
            items[row.pop("subscription")].append(Item(**row))
    return items
