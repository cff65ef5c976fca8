"""Membership in Postgres: users' facts are read under a lock on them, and what the core makes of them is written."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row, scalar_row

from schema.membership import MembershipStatus, UserRole
from worker.core.membership.access import Access
from worker.core.membership.facts import (
    Clawback,
    Override,
    PaidLine,
    Product,
    Restored,
    User,
    product_of,
)
from worker.core.membership.link import Candidates, Link, LinkSource, choose
from worker.core.membership.lots import Lot
from worker.core.membership.tokens import CHECKOUT, Grant
from worker.store import catalogue, organizations, subscriptions

__all__ = [
    "application_link",
    "ask_where_linkable",
    "candidates",
    "count_recompute",
    "customers_behind",
    "due_alarms",
    "hold_links",
    "is_mirrored",
    "lift_override",
    "link_by_hand",
    "load",
    "lock_expired",
    "lock_users",
    "make_admin",
    "read_users",
    "save_access",
    "save_alarms",
    "save_grants",
    "save_links",
    "save_override",
    "save_payments",
    "save_subscriptions",
    "stored_links",
    "take_recompute",
    "unlinked",
    "unlinked_worth_a_look",
]

Connection = psycopg.Connection
Row = dict[str, Any]


def customers_behind(
    conn: Connection, *, invoices: Collection[str], refunds: Collection[str], disputes: Collection[str]
) -> set[str]:
    """The customers of objects that name none themselves: invoice payments by their invoice, refunds and disputes by the
    payment that they take back."""
    found: set[str] = set()
    if invoices:
        with conn.cursor(row_factory=scalar_row) as cursor:
            found |= set(
                cursor.execute(
                    "select customer from stripe.invoices where id = any(%s) and account = '' and customer is not null",
                    (sorted(invoices),),
                )
            )
    for table, ids in (("refunds", refunds), ("disputes", disputes)):
        if ids:
            with conn.cursor(row_factory=scalar_row) as cursor:
                found |= set(
                    cursor.execute(
                        f"""
                        select c.customer
                        from stripe.{table} as r
                        cross join lateral (
                            select customer from stripe.charges where id = r.charge and account = ''
                            union
                            select customer from stripe.payment_intents where id = r.payment_intent and account = ''
                            union
                            select customer from stripe.invoices where payment_intent = r.payment_intent and account = ''
                            union
                            select customer
                            from stripe.checkout_sessions
                            where payment_intent = r.payment_intent and account = ''
                            union
                            select i.customer
                            from stripe.invoice_payments as p
                            join stripe.invoices as i on i.id = p.invoice and i.account = ''
                            where p.payment_payment_intent = r.payment_intent and p.account = ''
                        ) as c
                        where r.id = any(%s) and r.account = '' and c.customer is not null
                        """,  # noqa: S608 - one of the two literals above
                        (sorted(ids),),
                    )
                )
    return found


def stored_links(conn: Connection, customers: Collection[str]) -> dict[str, str | None]:
    """The user of each customer that was seen before: None where it is not linked yet."""
    rows = conn.execute(
        "select stripe_customer_id, user_id from sync.customer_links where stripe_customer_id = any(%s)",
        (sorted(customers),),
    )
    return dict(rows.fetchall())


def candidates(conn: Connection, customers: Collection[str]) -> list[Candidates]:
    """Which users each rule names for these customers. Every user named exists."""
    with conn.cursor(row_factory=class_row(Candidates)) as cursor:
        return cursor.execute(
            """
            select
                c.id as customer,
                (select a.user_id from stripe_customers as a where a.stripe_customer_id = c.id) as by_application,
                (select u.id from users as u where u.id = m.metadata_user_id) as by_customer_metadata,
                (
                    select u.id
                    from stripe.checkout_sessions as s
                    join users as u on u.id = s.client_reference_id
                    where s.customer = c.id and s.account = '' and s.status = 'complete' and s.payment_link is null
                    order by s.created, s.id
                    limit 1
                ) as by_client_reference,
                (
                    select u.id
                    from stripe.subscriptions as s
                    join users as u on u.id = s.metadata_user_id
                    where s.customer = c.id and s.account = ''
                    order by s.created, s.id
                    limit 1
                ) as by_subscription_metadata,
                array(
                    select u.id
                    from users as u
                    where lower(u.email) = lower(m.email) and u.email_verified is not null
                        and not exists (select from sync.customer_links as l where l.user_id = u.id)
                        and not exists (select from stripe_customers as a where a.user_id = u.id)
                    order by u.id
                    limit 2
                ) as by_email
            from unnest(%b::text[]) as c (id)
            left join stripe.customers as m on m.id = c.id and m.account = ''
            order by c.id
            """,
            (sorted(customers),),
        ).fetchall()


def save_links(conn: Connection, links: Sequence[Link]) -> dict[str, str]:
    """Store the links, and return whose customers are whose: a link that somebody else stored meanwhile stands."""
    conn.execute(
        """
        insert into sync.customer_links as l (stripe_customer_id, user_id, source, linked_at)
        select customer, user_id, source, now()
        from unnest(%b::text[], %b::text[], %b::text[]) as wanted (customer, user_id, source)
        where source <> 'email' or not exists (select from sync.customer_links as o where o.user_id = wanted.user_id)
        order by customer
        on conflict (stripe_customer_id) do update
        set user_id = excluded.user_id, source = excluded.source, linked_at = now(), checked_at = now()
        where l.user_id is null
        """,
        ([link.customer for link in links], [link.user for link in links], [link.source.value for link in links]),
    )
    stored = stored_links(conn, [link.customer for link in links])
    linked = {customer: user for customer, user in stored.items() if user is not None}
    ours = [
        link for link in links if link.source is not LinkSource.APPLICATION and linked.get(link.customer) == link.user
    ]
    conn.execute(
        """
        insert into stripe_customers (id, user_id, stripe_customer_id)
        select customer, user_id, customer from unnest(%b::text[], %b::text[]) as linked (customer, user_id)
        order by customer
        on conflict do nothing
        """,
        ([link.customer for link in ours], [link.user for link in ours]),
    )
    return linked


def hold_links(conn: Connection, customers: Collection[str]) -> dict[str, str]:
    """Hold the links of these customers until the transaction ends; returns whose those are that somebody linked just now.

    One that nobody has seen gets its row, so that it is looked at again and can be listed. Whoever links one of these at the
    same time waits for us, and then sees what we wrote; or we have waited for him here, and compute his user. Links are
    held before users are locked.
    """
    wanted = (sorted(customers),)
    conn.execute(
        """
        insert into sync.customer_links (stripe_customer_id)
        select id from unnest(%b::text[]) as seen (id) order by id
        on conflict (stripe_customer_id) do nothing
        """,
        wanted,
    )
    held = conn.execute(
        """
        select stripe_customer_id, user_id from sync.customer_links
        where stripe_customer_id = any(%b::text[]) order by stripe_customer_id for update
        """,
        wanted,
    )
    return {customer: user for customer, user in held if user is not None}


def unlinked_worth_a_look(conn: Connection, *, limit: int) -> list[str]:
    """Some customers without a user, those longest not looked at; each has now been looked at."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            update sync.customer_links
            set checked_at = now()
            where stripe_customer_id in (
                select stripe_customer_id
                from sync.customer_links
                where user_id is null
                order by checked_at
                limit %s
                for update skip locked
            )
            returning stripe_customer_id
            """,
            (limit,),
        ).fetchall()


def take_recompute(conn: Connection, *, limit: int) -> list[str]:
    """Customers whose users were asked to be computed again; the requests are gone once the transaction commits."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            delete from sync.recompute
            where stripe_customer_id in (
                select stripe_customer_id from sync.recompute order by requested_at limit %s for update skip locked
            )
            returning stripe_customer_id
            """,
            (limit,),
        ).fetchall()


def ask_where_linkable(conn: Connection, customers: Collection[str]) -> None:
    """Ask for the users of those of these customers to be computed that some rule can link by now."""
    linkable = (
        [found.customer for found in candidates(conn, customers) if choose(found) is not None] if customers else []
    )
    conn.execute(
        """
        insert into sync.recompute (stripe_customer_id)
        select id from unnest(%b::text[]) as wanted (id) order by id
        on conflict (stripe_customer_id) do nothing
        """,
        (linkable,),
    )


def count_recompute(conn: Connection) -> int:
    """How many customers wait for their users to be computed again."""
    row = conn.execute("select count(*) from sync.recompute").fetchone()
    return int(row[0]) if row else 0


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


def _said_of(lots: Sequence[Lot]) -> str:
    return json.dumps([asdict(lot) for lot in lots], default=datetime.isoformat)


def load(conn: Connection, users: Mapping[str, User]) -> tuple[dict[str, User], dict[str, Product]]:
    """The users with all their facts, and the policies of the products that these name. Who is to be written is locked."""
    ids = sorted(users)
    own = subscriptions.of_users(conn, ids)
    shared = subscriptions.of_organizations(
        conn, {user.organization_id for user in users.values() if user.organization_id}
    )
    bonds, tokens_since = organizations.bonds(conn, ids), _tokens_since(conn)
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
    named = {item.product for of in (own, shared) for found in of.values() for s in found for item in s.items}
    named |= {line.product for of in (lines, running) for found in of.values() for line in found}
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
    return full, _products(conn, {id_ for id_ in named if id_})


def _tokens_since(conn: Connection) -> datetime | None:
    """Since when we count the tokens of an application that counted them itself; see `worker.adopt`."""
    query = "select (value->>'tokens_since')::timestamptz from sync.cursors where name = 'adopted'"
    row = conn.execute(query).fetchone()
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
            n.amount, i.total, q.type as price_type, q.usage_type,
            case when q.every in ('day', 'week', 'month', 'year') then n.period_end - (n.period_end
                - (coalesce(q.times, 1)::text || ' ' || q.every)::interval)
            end as full_period,
            not g.has as is_fresh, n.is_long
        from sync.customer_links as l
        join stripe.invoices as i on i.customer = l.stripe_customer_id and i.account = ''
        join lateral (
            select *, period_end > now() and period_end - period_start > interval '31 days' as is_long
            from stripe.invoice_line_items
            where invoice = i.id and account = '' and not deleted
                and period_start is not null and period_end is not null
        ) as n on true
        left join stripe.prices as p on p.id = n.price and p.account = ''
        left join stripe.subscription_items as t on t.id = n.subscription_item and t.account = '' and t.price = n.price
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
    join stripe.checkout_sessions as s on s.customer = l.stripe_customer_id and s.account = ''
    join stripe.checkout_session_line_items as i on i.checkout_session = s.id and i.account = '' and not i.deleted
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
    join stripe.checkout_sessions as s on s.customer = l.stripe_customer_id and s.account = ''
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
            join stripe.invoices as i on i.id = b.id and i.account = ''
                and not (i.unsettled and coalesce((i.data->'lines'->>'has_more')::boolean, false))
            cross join lateral (
                select payment_payment_intent, payment_charge
                from stripe.invoice_payments
                where invoice = i.id and account = '' and not deleted
                union
                select i.payment_intent, null where i.payment_intent is not null
            ) as p
            union all
            select b.id, s.amount_total, s.payment_intent, null
            from unnest(%(bills)s::text[]) as b (id)
            join stripe.checkout_sessions as s on s.id = b.id and s.account = ''
        )
        select 'refund:' || r.id as source_key, 'refund' as kind, p.bill, r.amount, p.paid
        from payments as p
        join stripe.refunds as r on r.payment_intent = p.intent or r.charge = p.charge
        where r.account = '' and not r.deleted and not r.unsettled and r.status in ('succeeded', 'pending')
            and not exists (select from sync.token_grants where source_key = 'refund:' || r.id)
        union
        select 'dispute:' || d.id, 'dispute', p.bill, d.amount, p.paid
        from payments as p
        join stripe.disputes as d on d.payment_intent = p.intent or d.charge = p.charge
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
            from stripe.refunds
            where g.kind = 'refund' and id = substr(g.source_key, 8)
                and account = '' and not unsettled and status in ('failed', 'canceled')
            union all
            select 'dispute_won:' || id, 'dispute_won'
            from stripe.disputes
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
        "select id, metadata from stripe.products where id = any(%s) and account = '' and shape <> ''",
        sorted(ids),
    )
    return {row["id"]: product_of(row["id"], row["metadata"]) for row in rows}


def save_access(conn: Connection, access: Mapping[str, Access]) -> None:
    """Write what differs."""
    ids = sorted(access)
    if not ids:
        return
    catalogue.hold_places(
        conn, products={a.stripe_product_id for a in access.values() if a.stripe_product_id}, prices={}
    )
    conn.execute(
        """
        update users as u
        set role = n.role::user_role, membership_status = n.status::membership_status,
            stripe_product_id = n.product
        from unnest(%b::text[], %b::text[], %b::text[], %b::text[]) as n (id, role, status, product)
        where u.id = n.id
            and (u.role::text, u.membership_status::text, u.stripe_product_id)
                is distinct from (n.role, n.status, n.product)
        """,
        (
            ids,
            [access[id_].role.value for id_ in ids],
            [access[id_].membership_status.value for id_ in ids],
            [access[id_].stripe_product_id for id_ in ids],
        ),
    )


def save_grants(conn: Connection, grants: Mapping[str, Sequence[Grant]]) -> None:
    """The ledger's rows, and the balances they end in. The users' rows are locked, so nothing was spent in between."""
    rows = [(user, grant) for user in sorted(grants) for grant in grants[user]]
    if not rows:
        return
    conn.execute(
        """
        insert into sync.token_grants (source_key, user_id, kind, amount, balance_before, balance_after, expires_at,
            stripe_product_id, stripe_subscription_id, stripe_invoice_id, period_start, lots)
        select source_key, user_id, kind, amount, balance_before, balance_after, expires_at, product, subscription,
            invoice, period_start, lots::jsonb
        from unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[],
            %b::timestamptz[], %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::text[]
        ) as n (source_key, user_id, kind, amount, balance_before, balance_after, expires_at, product, subscription,
            invoice, period_start, lots)
        """,
        [
            [grant.source_key for _, grant in rows],
            [user for user, _ in rows],
            [grant.kind for _, grant in rows],
            [grant.amount for _, grant in rows],
            [grant.balance_before for _, grant in rows],
            [grant.balance_after for _, grant in rows],
            [grant.expires_at for _, grant in rows],
            [grant.product for _, grant in rows],
            [grant.subscription for _, grant in rows],
            [grant.invoice for _, grant in rows],
            [grant.period_start for _, grant in rows],
            [_said_of(grant.lots) for _, grant in rows],
        ],
    )
    last = dict(rows)
    conn.execute(
        """
        update users as u
        set tokens = least(n.tokens, 2147483647), tokens_expires_at = n.expires_at
        from unnest(%b::text[], %b::bigint[], %b::timestamptz[]) as n (id, tokens, expires_at)
        where u.id = n.id and (u.tokens, u.tokens_expires_at) is distinct from (n.tokens, n.expires_at)
        """,
        (list(last), [grant.balance_after for grant in last.values()], [grant.expires_at for grant in last.values()]),
    )


def save_override(conn: Connection, user: str, role: UserRole, *, until: datetime | None, note: str | None) -> None:
    """The user has this role from now on, whatever Stripe says, until then."""
    conn.execute(
        """
        insert into sync.overrides (user_id, role, until, note) values (%s, %s::user_role, %s, %s)
        on conflict (user_id) do update
        set role = excluded.role, until = excluded.until, note = excluded.note, created_at = now()
        """,
        (user, role.value, until, note),
    )


def lift_override(conn: Connection, user: str) -> bool:
    """Whether there was one."""
    return conn.execute("delete from sync.overrides where user_id = %s", (user,)).rowcount == 1


def make_admin(conn: Connection, user: str) -> None:
    conn.execute("update users set role = 'ADMIN' where id = %s", (user,))


def is_mirrored(conn: Connection, customer: str) -> bool:
    """Whether we heard of the customer, by an object of its own or by another's."""
    return (
        conn.execute(
            """
            select from stripe.customers where id = %(id)s and account = ''
            union all
            select from sync.customer_links where stripe_customer_id = %(id)s
            """,
            {"id": customer},
        ).fetchone()
        is not None
    )


def application_link(conn: Connection, customer: str) -> str | None:
    """The user of a row in stripe_customers, where there is one."""
    row = conn.execute("select user_id from stripe_customers where stripe_customer_id = %s", (customer,)).fetchone()
    return str(row[0]) if row else None


def link_by_hand(conn: Connection, customer: str, user: str) -> None:
    """The customer is this user, whoever it was; what Stripe sold to it moves along."""
    conn.execute(
        """
        insert into sync.customer_links (stripe_customer_id, user_id, source, linked_at)
        values (%s, %s, 'operator', now())
        on conflict (stripe_customer_id) do update
        set user_id = excluded.user_id, source = excluded.source, linked_at = now(), checked_at = now()
        """,
        (customer, user),
    )
    conn.execute("delete from stripe_customers where stripe_customer_id = %s and user_id <> %s", (customer, user))
    conn.execute(
        """
        insert into stripe_customers (id, user_id, stripe_customer_id) values (%(customer)s, %(user)s, %(customer)s)
        on conflict do nothing
        """,
        {"customer": customer, "user": user},
    )


def unlinked(conn: Connection, *, limit: int) -> list[Row]:
    """Customers that are linked to nobody, those with the most live subscriptions first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select
                l.stripe_customer_id as customer, c.email, c.created, s.live as subscriptions,
                l.checked_at as seen_at, coalesce(c.deleted, false) as deleted
            from sync.customer_links as l
            left join stripe.customers as c on c.id = l.stripe_customer_id and c.account = ''
            cross join lateral (
                select count(*) as live
                from stripe.subscriptions
                where customer = l.stripe_customer_id and account = '' and not deleted
                    and status not in ('canceled', 'incomplete_expired')
            ) as s
            where l.user_id is null
            order by s.live desc, l.stripe_customer_id
            limit %s
            """,
            (limit,),
        ).fetchall()


def save_alarms(conn: Connection, looks: Mapping[str, datetime | None]) -> None:
    """When each of these users is to be computed again; equal rows are not written."""
    ids = sorted(looks)
    conn.execute(
        """
        with wanted as (
            select * from unnest(%b::text[], %b::timestamptz[]) as w (user_id, due_at)
        ), gone as (
            delete from sync.alarms as a using wanted as w where a.user_id = w.user_id and w.due_at is null
        )
        insert into sync.alarms as a (user_id, due_at)
        select user_id, due_at from wanted where due_at is not null order by user_id
        on conflict (user_id) do update set due_at = excluded.due_at where a.due_at <> excluded.due_at
        """,
        (ids, [looks[id_] for id_ in ids]),
    )


def due_alarms(conn: Connection, now: datetime, *, limit: int) -> list[str]:
    """Some users who are to be computed again by now, locked, the longest due first; who is busy elsewhere stays due."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select a.user_id
            from sync.alarms as a
            join users as u on u.id = a.user_id
            where a.due_at <= %s
            order by a.due_at
            limit %s
            for no key update of u skip locked
            """,
            (now, limit),
        ).fetchall()


def save_subscriptions(conn: Connection, users: Mapping[str, User]) -> None:
    """`user_subscriptions` says what the mirror says of these users' subscriptions; equal rows are not written."""
    priced = [item for user in users.values() for s in user.subscriptions for item in s.items]
    catalogue.hold_places(
        conn,
        products={item.product for item in priced if item.product},
        prices={item.price: item.product for item in priced if item.price and item.product},
    )
    conn.execute(
        """
        insert into user_subscriptions as o (id, user_id, stripe_customer_id, stripe_subscription_id, stripe_price_id,
            stripe_product_id, status, current_period_start, current_period_end, cancel_at_period_end, canceled_at,
            trial_start, trial_end, metadata, created_at)
        select s.id, l.user_id, s.customer, s.id, p.id, i.product, coalesce(s.status, 'incomplete'),
            s.current_period_start, s.current_period_end, coalesce(s.cancel_at_period_end, false), s.canceled_at,
            s.trial_start, s.trial_end, coalesce(s.metadata, '{}'), coalesce(s.created, s.observed_at)
        from sync.customer_links as l
        join stripe.subscriptions as s on s.customer = l.stripe_customer_id and s.account = '' and not s.deleted
        left join lateral (
            select price, product
            from stripe.subscription_items
            where subscription = s.id and account = '' and not deleted
            order by created, id
            limit 1
        ) as i on true
        left join stripe_prices as p on p.id = i.price
        where l.user_id = any(%s)
        order by s.id
        on conflict (stripe_subscription_id) do update
        set user_id = excluded.user_id, stripe_customer_id = excluded.stripe_customer_id,
            stripe_price_id = excluded.stripe_price_id, stripe_product_id = excluded.stripe_product_id,
            status = excluded.status, current_period_start = excluded.current_period_start,
            current_period_end = excluded.current_period_end, cancel_at_period_end = excluded.cancel_at_period_end,
            canceled_at = excluded.canceled_at, trial_start = excluded.trial_start, trial_end = excluded.trial_end,
            metadata = excluded.metadata, created_at = excluded.created_at
        where (o.user_id, o.stripe_customer_id, o.stripe_price_id, o.stripe_product_id, o.status,
                o.current_period_start, o.current_period_end, o.cancel_at_period_end, o.canceled_at, o.trial_start,
                o.trial_end, o.metadata, o.created_at)
            is distinct from
            (excluded.user_id, excluded.stripe_customer_id, excluded.stripe_price_id, excluded.stripe_product_id,
                excluded.status, excluded.current_period_start, excluded.current_period_end,
                excluded.cancel_at_period_end, excluded.canceled_at, excluded.trial_start, excluded.trial_end,
                excluded.metadata, excluded.created_at)
        """,
        (sorted(users),),
    )


def save_payments(conn: Connection, users: Collection[str]) -> None:
    """`payment_history` holds the succeeded payments of these users' customers; equal rows are not written.

    A payment's product is that of the largest line of the invoice, or of the Checkout session, that it paid.
    """
    conn.execute(
        """
        insert into payment_history as o (id, user_id, stripe_payment_intent_id, amount, currency, status,
            stripe_product_id, description, metadata, created_at)
        select i.id, l.user_id, i.id, coalesce(nullif(i.amount_received, 0), i.amount, 0), coalesce(i.currency, ''),
            i.status, p.id, i.description, coalesce(i.data->'metadata', '{}'), coalesce(i.created, i.observed_at)
        from sync.customer_links as l
        join stripe.payment_intents as i on i.customer = l.stripe_customer_id and i.account = ''
        left join lateral (
            select b.product
            from (
                select n.product, n.amount, n.id
                from stripe.invoice_line_items as n
                where n.account = '' and not n.deleted and n.invoice in (
                    select i.invoice
                    union all
                    select a.invoice from stripe.invoice_payments as a
                    where a.payment_payment_intent = i.id and a.account = ''
                    union all
                    select v.id from stripe.invoices as v where v.payment_intent = i.id and v.account = ''
                )
                union all
                select t.product, t.amount_total, t.id
                from stripe.checkout_sessions as s
                join stripe.checkout_session_line_items as t on t.checkout_session = s.id and t.account = ''
                where s.payment_intent = i.id and s.account = '' and not t.deleted
            ) as b
            order by b.amount desc, b.id
            limit 1
        ) as n on true
        left join stripe_products as p on p.id = n.product
        where l.user_id = any(%(users)s) and i.status = 'succeeded' and not i.deleted
        order by i.id
        on conflict (stripe_payment_intent_id) do update
        set user_id = excluded.user_id, amount = excluded.amount, currency = excluded.currency,
            status = excluded.status, stripe_product_id = excluded.stripe_product_id,
            description = excluded.description, metadata = excluded.metadata, created_at = excluded.created_at
        where (o.user_id, o.amount, o.currency, o.status, o.stripe_product_id, o.description, o.metadata, o.created_at)
            is distinct from
            (excluded.user_id, excluded.amount, excluded.currency, excluded.status, excluded.stripe_product_id,
                excluded.description, excluded.metadata, excluded.created_at)
        """,
        {"users": sorted(users)},
    )
    # A guess among snapshots of one second may have shown a payment as succeeded that was not.
    conn.execute(
        """
        delete from payment_history as o
        using stripe.payment_intents as i
        where o.user_id = any(%s) and i.id = o.stripe_payment_intent_id and i.account = ''
            and i.status is distinct from 'succeeded'
        """,
        (sorted(users),),
    )


def _rows(conn: Connection, statement: str, ids: list[str], *, name: str | None = None) -> list[Row]:
    if not ids:
        return []
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, {name: ids} if name else (ids,)).fetchall()
