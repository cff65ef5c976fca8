"""Load subscriptions and their items from the mirror: the subscriptions of users' customers, and subscriptions that
name organizations."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.membership.rules.facts import Item, Subscription
from worker.membership.store.theirs import theirs

Connection = psycopg.Connection

_COLUMNS = """
    id, status, created, observed_at, current_period_start, current_period_end, status_details_paused_subscription_type,
    trial_start, trial_end, ended_at, customer, deleted
"""
_FACTS = """
    s.id, coalesce(s.status, 'incomplete') as status,
    coalesce(s.created, s.observed_at) as created, s.observed_at, s.current_period_start as period_start,
    s.current_period_end as period_end, s.status_details_paused_subscription_type as paused_for, s.trial_start,
    s.trial_end, s.ended_at,
    case when s.status in ('past_due', 'unpaid') then (
        select min(i.created)
        from mirror.invoices as i
        where i.subscription = s.id and length(i.account) = 0 and not i.deleted and i.status in ('open', 'uncollectible')
            and i.created > coalesce((
                select max(p.created)
                from mirror.invoices as p
                where p.subscription = s.id and length(p.account) = 0 and not p.deleted and p.status = 'paid'
            ), '-infinity')
    ) end as unpaid_since,
    coalesce(c.deleted, false) as customer_deleted
"""


def of_users(conn: Connection, users: Collection[str]) -> dict[str, list[Subscription]]:
    """The subscriptions of each user's customers. A user without subscriptions gets an empty list."""
    return _read(
        conn,
        f"""
        select l.user_id as whose, {_FACTS}
        from {theirs("subscriptions", "s", _COLUMNS)}
        left join mirror.customers as c on c.id = s.customer and length(c.account) = 0
        where l.user_id = any(%s) and not s.deleted
        """,  # noqa: S608 - our own words
        users,
    )


def of_organizations(conn: Connection, organizations: Collection[str]) -> dict[str, list[Subscription]]:
    """The subscriptions whose metadata names each organization, of any customer."""
    return _read(
        conn,
        f"""
        select s.metadata_organization_id as whose, {_FACTS}
        from mirror.subscriptions as s
        left join mirror.customers as c on c.id = s.customer and length(c.account) = 0
        where s.metadata_organization_id = any(%s) and length(s.account) = 0 and not s.deleted
        """,  # noqa: S608 - our own words
        organizations,
    )


def _read(conn: Connection, statement: str, whose: Collection[str]) -> dict[str, list[Subscription]]:
    loaded: dict[str, list[Subscription]] = defaultdict(list)
    if not whose:
        return loaded
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, (sorted(whose),)).fetchall()
    items = _items(conn, sorted(row["id"] for row in rows))
    for row in rows:
        # Stripe cancels the subscriptions of a deleted customer, but their events may arrive later.
        if row.pop("customer_deleted") and row["status"] != "incomplete_expired":
            row["status"] = "canceled"
        kept, removed = items[row["id"]]
        loaded[row.pop("whose")].append(Subscription(**row, items=tuple(kept), removed=tuple(removed)))
    return loaded


def _items(conn: Connection, subscriptions: Sequence[str]) -> dict[str, tuple[list[Item], list[Item]]]:
    """The present and the removed items of each subscription.

    If the event did not name the product of an item (plans of 2017 do not), the item has the product of its price.
    """
    items: dict[str, tuple[list[Item], list[Item]]] = defaultdict(lambda: ([], []))
    if subscriptions:
        with conn.cursor(row_factory=dict_row) as cursor:
            rows: list[dict[str, Any]] = cursor.execute(
                """
                select t.subscription, t.id, t.price, coalesce(t.product, p.product, o.product) as product,
                    coalesce(t.quantity, 1) as quantity, t.created, t.deleted
                from mirror.subscription_items as t
                left join mirror.prices as p on p.id = t.price and length(p.account) = 0 and t.product is null
                left join mirror.plans as o on o.id = t.price and length(o.account) = 0 and t.product is null
                where t.subscription = any(%s) and length(t.account) = 0
                order by t.created, t.id
                """,
                (subscriptions,),
            ).fetchall()
        for row in rows:
            items[row.pop("subscription")][row.pop("deleted")].append(Item(**row))
    return items
