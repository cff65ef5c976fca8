"""Load the evidence for a user's explanation, without locking or writing anything."""

from collections.abc import Collection, Iterable
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row

from worker.membership.rules.evidence import (
    Customer,
    Elsewhere,
    Entry,
    Evidence,
    Heard,
    HeldRow,
    Note,
    Schedule,
    Source,
    Unlinked,
)
from worker.membership.rules.facts import User
from worker.membership.store import held_rows, load_lines

Connection = psycopg.Connection
Row = dict[str, Any]

# The user of a platform may be a customer of very many accounts.
MOST_ELSEWHERE = 20
# The table of an object, by the prefix of its id.
_TABLES = {
    "sub_": "subscriptions",
    "in_": "invoices",
    "cus_": "customers",
    "re_": "refunds",
    "pyr_": "refunds",
    "du_": "disputes",
    "dp_": "disputes",
    "cs_": "checkout_sessions",
}


def read(conn: Connection, user: User, *, entries: int) -> Evidence:
    """The evidence for these facts, with the newest `entries` rows of the ledger."""
    row = _one(conn, _USER, user.id)
    customers, ledger = _customers(conn, user.id), _ledger(conn, user.id, limit=entries)
    schedules = _schedules(conn, [subscription.id for subscription in user.every_subscription])
    named = {id_ for entry in ledger for id_ in (entry.invoice, entry.subscription, *entry.source_key.split(":"))}
    named |= {*schedules, *(customer.id for customer in customers), *(line.invoice for line in user.paid_lines)}
    named |= {schedule.customer for schedule in schedules.values()}
    products = {item.product for subscription in user.every_subscription for item in subscription.items}
    prices = {item.price for subscription in user.every_subscription for item in subscription.items}
    products |= {entry.product for entry in ledger} | {line.product for line in user.paid_lines}
    note = _one(conn, "select note as text, created_at as given_at from sync.overrides where user_id = %s", user.id)
    return Evidence(
        email=row["email"] if row else None,
        is_waiting=bool(row and row["is_waiting"]),
        customers=tuple(customers),
        unlinked=tuple(_unlinked(conn, user.id)),
        elsewhere=tuple(_elsewhere(conn, user.id)),
        held=tuple(_held(conn, user.id, {*products, *prices})),
        schedules=schedules,
        sources=_sources(conn, named, products),
        note=Note(**note) if note else None,
        ledger=tuple(ledger),
        granted=tuple(load_lines.granted(conn, user.id, [entry.invoice for entry in ledger if entry.invoice])),
    )


_USER = """
    select
        u.email,
        exists (select from sync.next_changes where user_id = u.id::text and due_at <= now()) or exists (
            select
            from sync.customer_links as l
            join sync.recompute_queue as r on r.stripe_customer_id = l.stripe_customer_id
            where l.user_id = u.id::text
        ) or exists (
            select from sync.rechecks where object = 'user' and id = u.id::text
        ) or exists (
            select from sync.organization_queue where organization_id = u.organization_id::text and place < u.id::text
        ) as is_waiting
    from users as u
    where u.id = sync.user_key(%s)
"""


def _customers(conn: Connection, user: str) -> list[Customer]:
    """The linked customers, and customers that the application has linked but Stripe has not reported yet."""
    with conn.cursor(row_factory=class_row(Customer)) as cursor:
        return cursor.execute(
            """
            select l.stripe_customer_id as id, l.source, l.linked_at, coalesce(c.deleted, false) as deleted
            from sync.customer_links as l
            left join mirror.customers as c on c.id = l.stripe_customer_id and c.account = ''
            where l.user_id = %(user)s
            union all
            select a.stripe_customer_id, null, null, false
            from stripe_customers as a
            where a.user_id = sync.user_key(%(user)s) and not exists (
                select from sync.customer_links as l where l.stripe_customer_id = a.stripe_customer_id and l.user_id = %(user)s
            )
            order by linked_at, id
            """,
            {"user": user},
        ).fetchall()


def _unlinked(conn: Connection, user: str) -> list[Unlinked]:
    """The unlinked customers with the user's e-mail."""
    with conn.cursor(row_factory=class_row(Unlinked)) as cursor:
        return cursor.execute(
            """
            select c.id, (
                select count(*) from users as o where lower(o.email) = lower(u.email) and o.email_verified is not null
            ) as verified
            from users as u
            join sync.customer_links as l on l.user_id is null
            join mirror.customers as c on c.id = l.stripe_customer_id and c.account = '' and not c.deleted
            where u.id = sync.user_key(%s) and lower(c.email) = lower(u.email)
            order by c.id
            """,
            (user,),
        ).fetchall()


def _elsewhere(conn: Connection, user: str) -> list[Elsewhere]:
    """The customers of connected accounts with exactly the user's e-mail, or with the user's id in their metadata."""
    with conn.cursor(row_factory=class_row(Elsewhere)) as cursor:
        return cursor.execute(
            """
            select c.id, c.account, a.status
            from (
                select c.id, c.account from users as u join mirror.customers as c on c.email = u.email
                where u.id = sync.user_key(%(user)s) and c.account <> '' and not c.deleted
                union
                select id, account from mirror.customers
                where metadata_user_id = %(user)s and account <> '' and not deleted
            ) as c
            left join sync.accounts as a on a.id = c.account
            order by c.account, c.id
            limit %(most)s
            """,
            {"user": user, "most": MOST_ELSEWHERE},
        ).fetchall()


def _held(conn: Connection, user: str, places: Collection[str | None]) -> list[HeldRow]:
    """The refused rows of the user, and of the products and prices that the user's rows refer to."""
    return [
        HeldRow(relation=row.relation, id=row.id, reason=row.reason, since=row.since)
        for row in held_rows.concerning(conn, [user], [id_ for id_ in places if id_])
    ]


def _ledger(conn: Connection, user: str, *, limit: int) -> list[Entry]:
    with conn.cursor(row_factory=class_row(Entry)) as cursor:
        return cursor.execute(
            """
            select source_key, kind, amount, balance_before, balance_after, expires_at, stripe_product_id as product,
                stripe_subscription_id as subscription, stripe_invoice_id as invoice, created_at
            from sync.token_grants
            where user_id = %s
            order by id desc
            limit %s
            """,
            (user, limit),
        ).fetchall()


def _schedules(conn: Connection, subscriptions: list[str]) -> dict[str, Schedule]:
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            select s.id, s.customer, s.metadata_organization_id as organization, s.cancel_at,
                coalesce(s.cancel_at_period_end, false) as cancel_at_period_end,
                s.pause_collection_behavior as collection_paused, (
                    select min(i.next_payment_attempt)
                    from mirror.invoices as i
                    where i.subscription = s.id and i.account = '' and i.status = 'open' and not i.deleted
                ) as next_payment_attempt
            from mirror.subscriptions as s
            where s.id = any(%s) and s.account = ''
            """,
            (subscriptions,),
        ).fetchall()
    return {row.pop("id"): Schedule(**row) for row in rows}


def _sources(conn: Connection, named: Collection[str | None], products: Collection[str | None]) -> dict[str, Source]:
    """The source of each of these objects that is mirrored. The ids of products have no common prefix."""
    by_table: dict[str, set[str]] = {"products": {id_ for id_ in products if id_}}
    for id_ in named:
        if id_ and (table := next((table for start, table in _TABLES.items() if id_.startswith(start)), None)):
            by_table.setdefault(table, set()).add(id_)
    return {row["id"]: _source(row) for table, ids in by_table.items() for row in _seen(conn, table, ids)}


def _seen(conn: Connection, table: str, ids: Iterable[str]) -> list[Row]:
    """Each row with the event that wrote it. If a read wrote the row, with the newest event of the object."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            select m.id, m.observed_in, m.observed_at, m.unsettled, e.id as event, e.type, e.created, e.received_at
            from mirror.{table} as m
            left join lateral (
                select id, type, created, received_at
                from sync.events
                where object_id = m.id and account = '' and (id = m.observed_in or m.observed_in ~ '^(get|list):')
                order by id = m.observed_in desc, created desc, received_at desc, id
                limit 1
            ) as e on true
            where m.id = any(%s) and m.account = ''
            """,  # noqa: S608 - a name from the table above
            (sorted(ids),),
        ).fetchall()


def _source(row: Row) -> Source:
    read, _, _ = row["observed_in"].partition(":")
    is_read = read in ("get", "list")
    event = Heard(id=row["event"], type=row["type"], created=row["created"], received_at=row["received_at"])
    if row["event"] is None:
        event = Heard(id=row["observed_in"])
    return Source(
        read=read if is_read else None,
        observed_at=row["observed_at"],
        event=None if is_read and row["event"] is None else event,
        uncertain=row["unsettled"],
    )


def _one(conn: Connection, statement: str, user: str) -> Row | None:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, (user,)).fetchone()
