"""The links between customers and users in Postgres: the user that each rule finds, and the stored links."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row, scalar_row

from worker.membership.rules.link import Candidates, Link, LinkSource, choose
from worker.stripe_api.event import ObjectRef

Connection = psycopg.Connection
Row = dict[str, Any]


def customers_of(conn: Connection, objects: Collection[ObjectRef]) -> tuple[set[str], set[ObjectRef]]:
    """The customers behind these objects, and the objects that can't be looked up yet, because they or their payment
    are not mirrored.

    Refunds and disputes do not name their customer. It is the customer of the payment that was refunded or disputed.
    """
    customers: set[str] = set()
    missed: set[ObjectRef] = set()
    for type_, query in _CUSTOMERS.items():
        wanted = sorted(ref.id for ref in objects if ref.object == type_)
        if wanted:
            rows = conn.execute(query, (wanted,)).fetchall()
            customers |= {customer for _, customer in rows if customer is not None}
            missed |= {ObjectRef(type_, id_) for id_ in set(wanted) - {id_ for id_, _ in rows}}
    return customers, missed


_PAID_BACK = """
    select r.id, c.customer
    from mirror.{table} as r
    cross join lateral (
        select customer from mirror.charges where id = r.charge and account = ''
        union
        select customer from mirror.payment_intents where id = r.payment_intent and account = ''
        union
        select customer from mirror.invoices where payment_intent = r.payment_intent and account = ''
        union
        select customer from mirror.checkout_sessions where payment_intent = r.payment_intent and account = ''
        union
        select i.customer
        from mirror.invoice_payments as p
        join mirror.invoices as i on i.id = p.invoice and i.account = ''
        where p.payment_payment_intent = r.payment_intent and p.account = ''
    ) as c
    where r.id = any(%s) and r.account = ''
"""
_CUSTOMERS = {
    "invoice": "select id, customer from mirror.invoices where id = any(%s) and account = ''",
    "refund": _PAID_BACK.format(table="refunds"),
    "dispute": _PAID_BACK.format(table="disputes"),
    "charge": "select id, customer from mirror.charges where id = any(%s) and account = ''",
    "credit_note": "select id, customer from mirror.credit_notes where id = any(%s) and account = ''",
}
SHOW_MONEY_BACK = frozenset({"refund", "dispute", "charge", "credit_note"})

# The application names the user in the session of a guest. In a payment link the buyer can set the name, so it does not
# count.
_GUESTS = """
    select u.id::text
    from mirror.checkout_sessions as s
    join users as u on u.id = sync.user_key(s.client_reference_id)
    where s.customer is null and s.payment_link is null and s.account = '' and s.status = 'complete'
        and (s.id = any(%(sessions)s) or s.payment_intent in (
            select payment_intent from mirror.refunds where id = any(%(refund)s) and account = ''
            union
            select payment_intent from mirror.disputes where id = any(%(dispute)s) and account = ''
            union
            select payment_intent from mirror.charges where id = any(%(charge)s) and account = ''
        ))
"""


def guests(conn: Connection, sessions: Collection[str], returns: Collection[ObjectRef]) -> set[str]:
    """The users who bought as guests, without a customer, by these Checkout sessions or by the payments that `returns`
    refund."""
    named = {type_: sorted(ref.id for ref in returns if ref.object == type_) for type_ in _PAYS_BACK}
    if not sessions and not any(named.values()):
        return set()
    rows = conn.execute(_GUESTS, {"sessions": sorted(sessions), **named})
    return {user for (user,) in rows}


_PAYS_BACK = ("refund", "dispute", "charge")


def stored_links(conn: Connection, customers: Collection[str]) -> dict[str, str | None]:
    """The user of each customer that has a row in `sync.customer_links`; None if the customer is not linked yet."""
    rows = conn.execute(
        "select stripe_customer_id, user_id from sync.customer_links where stripe_customer_id = any(%s)",
        (sorted(customers),),
    )
    return dict(rows.fetchall())


def candidates(conn: Connection, customers: Collection[str]) -> list[Candidates]:
    """The users that each rule finds for these customers. All of these users exist."""
    with conn.cursor(row_factory=class_row(Candidates)) as cursor:
        return cursor.execute(
            """
            select
                c.id as customer,
                (select a.user_id::text from stripe_customers as a where a.stripe_customer_id = c.id) as by_application,
                (select u.id::text from users as u where u.id = sync.user_key(m.metadata_user_id)) as by_customer_metadata,
                (
                    select u.id::text
                    from mirror.checkout_sessions as s
                    join users as u on u.id = sync.user_key(s.client_reference_id)
                    where s.customer = c.id and s.account = '' and s.status = 'complete' and s.payment_link is null
                    order by s.created, s.id
                    limit 1
                ) as by_client_reference,
                (
                    select u.id::text
                    from mirror.subscriptions as s
                    join users as u on u.id = sync.user_key(s.metadata_user_id)
                    where s.customer = c.id and s.account = ''
                    order by s.created, s.id
                    limit 1
                ) as by_subscription_metadata,
                array(
                    select u.id::text
                    from users as u
                    where lower(u.email) = lower(m.email) and u.email_verified is not null
                    order by u.id
                    limit 2
                ) as by_email
            from unnest(%b::text[]) as c (id)
            left join mirror.customers as m on m.id = c.id and m.account = ''
            order by c.id
            """,
            (sorted(customers),),
        ).fetchall()


def save_links(conn: Connection, links: Sequence[Link]) -> tuple[dict[str, str], dict[str, str]]:
    """Store the links; returns the user of each linked customer.

    A link that another transaction stored in the meantime stays. The second value holds the new links that the
    application did not write itself: they need a row, see `save_rows`.
    """
    conn.execute(
        """
        insert into sync.customer_links as l (stripe_customer_id, user_id, source, linked_at)
        select customer, user_id, source, now()
        from unnest(%b::text[], %b::text[], %b::text[]) as wanted (customer, user_id, source)
        order by customer
        on conflict (stripe_customer_id) do update
        set user_id = excluded.user_id, source = excluded.source, linked_at = now(), checked_at = now()
        where l.user_id is null
        """,
        ([link.customer for link in links], [link.user for link in links], [link.source.value for link in links]),
    )
    stored = stored_links(conn, [link.customer for link in links])
    linked = {customer: user for customer, user in stored.items() if user is not None}
    ours = {
        link.customer: link.user
        for link in links
        if link.source is not LinkSource.APPLICATION and linked.get(link.customer) == link.user
    }
    return linked, ours


def save_rows(conn: Connection, linked: Mapping[str, str]) -> None:
    """Insert a row in `stripe_customers` for each of these customers with its user; existing rows stay."""
    conn.execute(
        """
        insert into stripe_customers (id, user_id, stripe_customer_id, created_at, updated_at)
        overriding system value
        select sync.customer_row_id(customer), sync.user_key(user_id), customer, now(), now()
        from unnest(%b::text[], %b::text[]) as linked (customer, user_id)
        order by customer
        on conflict do nothing
        """,
        (list(linked), list(linked.values())),
    )


def save_row(conn: Connection, customer: str) -> None:
    """Insert the row of one customer, if the customer is linked."""
    linked = stored_links(conn, [customer])
    save_rows(conn, {id_: user for id_, user in linked.items() if user is not None})


def hold_links(conn: Connection, customers: Collection[str]) -> dict[str, str]:
    """Lock the links of these customers until the transaction ends; returns the users of customers that are linked by
    now.

    A new customer gets a row without a user, so that it is checked again later and can be listed. Another transaction
    may link one of these customers at the same time. Either it waits for us and then sees our rows, or we wait for it
    here and then compute its user. Links are locked before users.
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


def unlinked_to_check(conn: Connection, *, limit: int) -> list[str]:
    """Some customers without a user, the longest unchecked first. Marks each as checked now."""
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


def linkable(conn: Connection, customers: Collection[str]) -> list[str]:
    """The customers among these that a rule can link now."""
    return [each.customer for each in candidates(conn, customers) if choose(each) is not None] if customers else []


def is_mirrored(conn: Connection, customer: str) -> bool:
    """Whether Stripe has reported the customer, by a customer object or an object that names it."""
    return (
        conn.execute(
            """
            select from mirror.customers where id = %(id)s and account = ''
            union all
            select from sync.customer_links where stripe_customer_id = %(id)s
            """,
            {"id": customer},
        ).fetchone()
        is not None
    )


def application_link(conn: Connection, customer: str) -> str | None:
    """The user of the customer's row in `stripe_customers`, or None."""
    row = conn.execute(
        "select user_id::text from stripe_customers where stripe_customer_id = %s", (customer,)
    ).fetchone()
    return str(row[0]) if row else None


def link_by_hand(conn: Connection, customer: str, user: str) -> None:
    """Link the customer to this user, even if the customer was linked to another one. Its payments move with it."""
    conn.execute(
        """
        insert into sync.customer_links (stripe_customer_id, user_id, source, linked_at)
        values (%s, %s, 'operator', now())
        on conflict (stripe_customer_id) do update
        set user_id = excluded.user_id, source = excluded.source, linked_at = now(), checked_at = now()
        """,
        (customer, user),
    )
    conn.execute("delete from stripe_customers where stripe_customer_id = %s and user_id::text <> %s", (customer, user))


def unlinked(conn: Connection, *, limit: int) -> list[Row]:
    """Customers without a user, the one with the most live subscriptions first. `same_email` are the users with the
    same e-mail."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select
                l.stripe_customer_id as customer, c.email, c.created, s.live as subscriptions,
                l.checked_at as seen_at, coalesce(c.deleted, false) as deleted,
                array(select id::text from users where lower(users.email) = lower(c.email) order by id) as same_email
            from sync.customer_links as l
            left join mirror.customers as c on c.id = l.stripe_customer_id and c.account = ''
            cross join lateral (
                select count(*) as live
                from mirror.subscriptions
                where customer = l.stripe_customer_id and account = '' and not deleted
                    and status not in ('canceled', 'incomplete_expired')
            ) as s
            where l.user_id is null
            order by s.live desc, l.stripe_customer_id
            limit %s
            """,
            (limit,),
        ).fetchall()
