"""The facts that users are computed from, read from the mirror and the ledger, under a lock on whom is to be written."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from schema.states import MembershipStatus, UserRole
from worker.membership.rules.facts import Clawback, Override, PaidLine, Product, Restored, User, product_of
from worker.membership.rules.lots import Lot
from worker.membership.rules.tokens import CHECKOUT
from worker.membership.store import load_subscriptions, organization_queue

Connection = psycopg.Connection
Row = dict[str, Any]


_USER = "id, role::text, membership_status::text, stripe_product_id, organization_id, tokens, tokens_expires_at"


def lock_users(conn: Connection, users: Collection[str]) -> dict[str, User]:
    """The rows of these users, locked in the order of their ids; a spend that runs at the same time waits for us."""
    return _users(
        conn,
        f"select {_USER} from users where id = any(%s) order by id for no key update",  # noqa: S608 - our own words
        (sorted(users),),
    )


def read_users(conn: Connection, users: Collection[str]) -> dict[str, User]:
    """The rows of these users, locked by nobody: for a look that writes nothing."""
    return _users(
        conn,
        f"select {_USER} from users where id = any(%s) order by id",  # noqa: S608 - our own words
        (sorted(users),),
    )


def lock_expired(conn: Connection, now: datetime, *, limit: int) -> dict[str, User]:
    """Some users who hold tokens whose time is over, the longest over first; who is busy elsewhere is left for later."""
    users = _users(
        conn,
        f"""
        select {_USER}
        from users
        where tokens > 0 and tokens_expires_at <= %s
        order by tokens_expires_at
        limit %s
        for no key update skip locked
        """,  # noqa: S608 - our own words
        (now, limit),
    )
    last = _newest(conn, sorted(users))
    return {id_: replace(user, last_key=last[id_][0]) for id_, user in users.items()}


def _users(conn: Connection, statement: str, arguments: tuple[object, ...]) -> dict[str, User]:
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, arguments).fetchall()
    return {
        row["id"]: User(
            **{
                **row,
                "role": UserRole(row["role"]),
                "membership_status": MembershipStatus(row["membership_status"]),
            }
        )
        for row in rows
    }


def _newest(conn: Connection, users: list[str]) -> dict[str, tuple[str | None, tuple[Lot, ...]]]:
    """Per user the key of the newest row of their ledger, and what it says that the balance was made of."""
    rows = _rows(
        conn,
        """
        select u.id, g.source_key, g.lots
        from unnest(%b::text[]) as u (id)
        join lateral (
            select source_key, lots from sync.token_grants where user_id = u.id order by id desc limit 1
        ) as g on true
        """,
        users,
    )
    found: dict[str, tuple[str | None, tuple[Lot, ...]]] = dict.fromkeys(users, (None, ()))
    return found | {row["id"]: (row["source_key"], _read_lots(row["lots"])) for row in rows}


def _read_lots(said: list[Row] | None) -> tuple[Lot, ...]:
    times = ("until", "ends")
    return tuple(
        Lot(**{**lot, **{name: datetime.fromisoformat(lot[name]) for name in times if lot.get(name)}})
        for lot in said or ()
    )


def load(conn: Connection, users: Mapping[str, User]) -> tuple[dict[str, User], dict[str, Product]]:
    """The users with all their facts, and the policies of the products that these name. Who is to be written is locked."""
    ids = sorted(users)
    own = load_subscriptions.of_users(conn, ids)
    shared = load_subscriptions.of_organizations(
        conn, {user.organization_id for user in users.values() if user.organization_id}
    )
    bonds, tokens_since = organization_queue.bonds(conn, ids), _tokens_since(conn)
    lines, running = _paid_lines(conn, ids)
    overrides = _overrides(conn, ids)
    granted, last = _granted(conn, ids)
    newest = _newest(conn, ids)
    renewed = _renewed(conn, [id_ for id_ in ids if running[id_]])
    bills = {
        id_: {lot.bill for lot in newest[id_][1]} | {line.invoice for line in (*lines[id_], *running[id_])}
        for id_ in ids
    }
    clawbacks = _clawbacks(conn, sorted(set().union(*bills.values())))
    restored = _restored(conn, ids)
    full = {
        id_: replace(
            user,
            subscriptions=tuple(own[id_]),
            organization_subscriptions=tuple(shared[user.organization_id or ""]),
            member_of=bonds[id_].member_of,
            is_linked=bonds[id_].is_linked,
            tokens_since=tokens_since,
            paid_lines=tuple(lines[id_]),
            override=overrides.get(id_),
            granted_invoices=frozenset(granted[id_]),
            last_granted=last[id_],
            last_key=newest[id_][0],
            lots=newest[id_][1],
            running=tuple(running[id_]),
            renewed=frozenset(renewed[id_]),
            clawbacks=tuple(found for bill in bills[id_] for found in clawbacks[bill]),
            restored=tuple(restored[id_]),
        )
        for id_, user in users.items()
    }
    return full, _products(conn, set().union(*(user.named_products for user in full.values())))


def _tokens_since(conn: Connection) -> datetime | None:
    """Since when we count the tokens of an application that counted them itself; see `worker.adoption.adopt`."""
    row = conn.execute("select tokens_since from sync.adoption").fetchone()
    return row[0] if row else None


def _paid_lines(conn: Connection, users: list[str]) -> tuple[dict[str, list[PaidLine]], dict[str, list[PaidLine]]]:
    """Per user the lines of paid invoices that the ledger does not have, and those that last for more than a month."""
    fresh: dict[str, list[PaidLine]] = defaultdict(list)
    running: dict[str, list[PaidLine]] = defaultdict(list)
    for row in _rows(
        conn,
        """
        select
            l.user_id, i.id as invoice, n.id as line, i.billing_reason, n.product,
            coalesce(n.subscription, i.subscription) as subscription, coalesce(n.quantity, 1) as quantity,
            coalesce(n.proration, false) as proration, n.period_start, n.period_end, n.subscription_item as item,
            coalesce(i.status_transitions_paid_at, i.created, i.observed_at) as paid_at,
            n.amount, i.total, n.price, q.type as price_type, q.usage_type,
            case when q.every in ('day', 'week', 'month', 'year') then n.period_end - (n.period_end
                - (coalesce(q.times, 1)::text || ' ' || q.every)::interval)
            end as full_period,
            not g.has as is_fresh, n.is_long
        from sync.customer_links as l
        join mirror.invoices as i on i.customer = l.stripe_customer_id and i.account = ''
        join lateral (
            select *, period_end > now() and period_end - period_start > interval '31 days' as is_long
            from mirror.invoice_line_items
            where invoice = i.id and account = '' and not deleted
                and period_start is not null and period_end is not null
        ) as n on true
        left join mirror.prices as p on p.id = n.price and p.account = ''
        left join mirror.subscription_items as t on t.id = n.subscription_item and t.account = '' and t.price = n.price
        cross join lateral (
            -- A price that is not mirrored may be told by the line (old shapes), or by the item that it bills.
            select
                coalesce(p.type, x.told->>'type') as type,
                coalesce(p.recurring_usage_type, x.told->'recurring'->>'usage_type') as usage_type,
                coalesce(p.recurring_interval, x.told->'recurring'->>'interval') as every,
                coalesce(p.recurring_interval_count, (x.told->'recurring'->>'interval_count')::bigint) as times
            from (
                select case when p.id is null then coalesce(n.data->'price', t.data->'price') end as told
            ) as x
        ) as q
        cross join lateral (
            select exists (
                select from sync.token_grants where source_key = 'invoice:' || i.id || ':line:' || n.id
            ) as has
        ) as g
        where l.user_id = any(%s) and i.status = 'paid' and not i.deleted and (n.is_long or not g.has)
        """,
        users,
    ):
        user, is_fresh, is_long = row.pop("user_id"), row.pop("is_fresh"), row.pop("is_long")
        line = PaidLine(**row)
        if is_fresh:
            fresh[user].append(line)
        if is_long:
            running[user].append(line)
    for row in _rows(conn, _PACKS, users):
        metadata = row.pop("metadata") or {}
        said = product_of("", metadata).tokens
        quantity = str(metadata.get("quantity", "1"))
        fresh[row.pop("user_id")].append(
            PaidLine(
                **row,
                line="",
                billing_reason=CHECKOUT,
                subscription=None,
                product=metadata.get("product"),
                quantity=int(quantity) if quantity.isdecimal() and len(quantity) <= 5 else 1,
                tokens=said or None,
                proration=False,
                period_start=row["paid_at"],
                period_end=row["paid_at"],
            )
        )
    for row in _rows(conn, _SOLD, users):
        fresh[row.pop("user_id")].append(
            PaidLine(
                **row,
                billing_reason=CHECKOUT,
                subscription=None,
                proration=False,
                period_start=row["paid_at"],
                period_end=row["paid_at"],
            )
        )
    return fresh, running


# What Checkout sold without an invoice, as its line items tell it: they were read apart.
_SOLD = """
    select
        l.user_id, s.id as invoice, i.id as line, i.product, coalesce(i.quantity, 1) as quantity,
        i.amount_subtotal as amount, coalesce(s.created, s.observed_at) as paid_at
    from sync.customer_links as l
    join mirror.checkout_sessions as s on s.customer = l.stripe_customer_id and s.account = ''
    join mirror.checkout_session_line_items as i on i.checkout_session = s.id and i.account = '' and not i.deleted
    where l.user_id = any(%s) and s.mode = 'payment' and s.payment_status = 'paid' and s.invoice is null
        and not s.deleted and not coalesce(s.data->'metadata' ? 'tokens' or s.data->'metadata' ? 'product', false)
        and not exists (
            select from sync.token_grants as g where g.source_key = 'cs:' || s.id || ':line:' || i.id
        )
"""


# The same, where the session's metadata says it. Paid late (a bank transfer), the session itself does not say when: its
# payment does no better, so the time to live counts from when it was opened.
_PACKS = """
    select l.user_id, s.id as invoice, s.data->'metadata' as metadata, coalesce(s.created, s.observed_at) as paid_at
    from sync.customer_links as l
    join mirror.checkout_sessions as s on s.customer = l.stripe_customer_id and s.account = ''
    where l.user_id = any(%s) and s.mode = 'payment' and s.payment_status = 'paid' and s.invoice is null
        and not s.deleted and (s.data->'metadata' ? 'tokens' or s.data->'metadata' ? 'product')
        and not exists (select from sync.token_grants as g where g.source_key = 'cs:' || s.id)
"""


def _renewed(conn: Connection, users: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in _rows(
        conn,
        "select user_id, source_key from sync.token_grants where user_id = any(%s) and kind = 'token_period'",
        users,
    ):
        found[row["user_id"]].append(row["source_key"])
    return found


def _clawbacks(conn: Connection, bills: list[str]) -> dict[str, list[Clawback]]:
    """Per bill the refunds, and the disputes that were lost, that the ledger does not have: settled rows alone.

    A bill's payments are those that say so themselves, else (in old shapes) the one that the invoice names.
    An invoice whose lines are still being read waits: what it granted is not known whole.
    """
    found: dict[str, list[Clawback]] = defaultdict(list)
    seen: set[str] = set()
    for row in _rows(
        conn,
        """
        with payments as (
            select b.id as bill, i.amount_paid as paid, p.payment_payment_intent as intent, p.payment_charge as charge
            from unnest(%(bills)s::text[]) as b (id)
            join mirror.invoices as i on i.id = b.id and i.account = ''
                and not (i.unsettled and coalesce((i.data->'lines'->>'has_more')::boolean, false))
            cross join lateral (
                select payment_payment_intent, payment_charge
                from mirror.invoice_payments
                where invoice = i.id and account = '' and not deleted
                union
                select i.payment_intent, null where i.payment_intent is not null
            ) as p
            union all
            select b.id, s.amount_total, s.payment_intent, null
            from unnest(%(bills)s::text[]) as b (id)
            join mirror.checkout_sessions as s on s.id = b.id and s.account = ''
        )
        select 'refund:' || r.id as source_key, 'refund' as kind, p.bill, r.amount, p.paid
        from payments as p
        join mirror.refunds as r on r.payment_intent = p.intent or r.charge = p.charge
        where r.account = '' and not r.deleted and not r.unsettled and r.status in ('succeeded', 'pending')
            and not exists (select from sync.token_grants where source_key = 'refund:' || r.id)
        union
        select 'dispute:' || d.id, 'dispute', p.bill, d.amount, p.paid
        from payments as p
        join mirror.disputes as d on d.payment_intent = p.intent or d.charge = p.charge
        where d.account = '' and not d.deleted and not d.unsettled and d.status = 'lost'
            and not exists (select from sync.token_grants where source_key = 'dispute:' || d.id)
        order by bill, source_key
        """,
        bills,
        name="bills",
    ):
        if row["source_key"] not in seen and row["amount"] is not None and row["paid"] is not None:
            seen.add(row["source_key"])
            found[row["bill"]].append(Clawback(**row))
    return found


def _restored(conn: Connection, users: list[str]) -> dict[str, list[Restored]]:
    found: dict[str, list[Restored]] = defaultdict(list)
    for row in _rows(
        conn,
        """
        select
            g.user_id, n.source_key, n.kind, g.stripe_invoice_id as bill, -g.amount as worth,
            g.balance_before - g.balance_after as taken
        from sync.token_grants as g
        join lateral (
            select 'refund_failed:' || id as source_key, 'refund_failed' as kind
            from mirror.refunds
            where g.kind = 'refund' and id = substr(g.source_key, 8)
                and account = '' and not unsettled and status in ('failed', 'canceled')
            union all
            select 'dispute_won:' || id, 'dispute_won'
            from mirror.disputes
            where g.kind = 'dispute' and id = substr(g.source_key, 9)
                and account = '' and not unsettled and status = 'won'
        ) as n on true
        where g.user_id = any(%s) and g.kind in ('refund', 'dispute')
            and not exists (select from sync.token_grants where source_key = n.source_key)
        """,
        users,
    ):
        found[row.pop("user_id")].append(Restored(**row))
    return found


def _overrides(conn: Connection, users: list[str]) -> dict[str, Override]:
    rows = _rows(conn, "select user_id, role::text, until from sync.overrides where user_id = any(%s)", users)
    return {row["user_id"]: Override(role=UserRole(row["role"]), until=row["until"]) for row in rows}


def _granted(conn: Connection, users: list[str]) -> tuple[dict[str, list[str]], dict[str, dict[str, datetime]]]:
    """Per user: the invoices that granted something, and the newest period that each subscription was granted for."""
    invoices: dict[str, list[str]] = defaultdict(list)
    last: dict[str, dict[str, datetime]] = defaultdict(dict)
    for row in _rows(
        conn,
        """
        select user_id, coalesce(stripe_subscription_id, '') as subscription,
            array_agg(distinct stripe_invoice_id) as invoices, max(period_start) as period_start
        from sync.token_grants
        where user_id = any(%s) and amount > 0 and kind in ('start', 'renewal', 'trial', 'token_period')
        group by user_id, stripe_subscription_id
        """,
        users,
    ):
        invoices[row["user_id"]] += row["invoices"]
        last[row["user_id"]][row["subscription"]] = row["period_start"]
    return invoices, last


def _products(conn: Connection, ids: Collection[str]) -> dict[str, Product]:
    rows = _rows(
        conn,
        "select id, metadata from mirror.products where id = any(%s) and account = '' and shape <> ''",
        sorted(ids),
    )
    return {row["id"]: product_of(row["id"], row["metadata"]) for row in rows}


def _rows(conn: Connection, statement: str, ids: list[str], *, name: str | None = None) -> list[Row]:
    if not ids:
        return []
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, {name: ids} if name else (ids,)).fetchall()
