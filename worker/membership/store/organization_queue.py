"""Organizations with a subscription: the offers to their users, their members, and the queue of users to compute."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row, scalar_row

Connection = psycopg.Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The values of a subscription that decide the access of an organization's users. Equal offers give equal
    access."""

    id: str
    organization: str
    status: str | None
    paused_for: str | None
    unpaid_since: datetime | None
    products: list[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next users of an organization to compute, in the order of their ids."""

    organization: str
    users: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond:
    """Whether the user has a customer, and the organization whose subscription made the user a member."""

    user: str
    is_linked: bool
    member_of: str | None


def offers(conn: Connection, subscriptions: Collection[str]) -> dict[str, Offer]:
    """The offers of these subscriptions, without subscriptions that name no organization or belong to another
    account."""
    if not subscriptions:
        return {}
    with conn.cursor(row_factory=class_row(Offer)) as cursor:
        rows = cursor.execute(
            """
            select
                s.id, s.metadata_organization_id as organization, s.status,
                s.status_details_paused_subscription_type as paused_for,
                case when s.status = 'past_due' then s.current_period_start end as unpaid_since,
                array(
                    select i.product
                    from mirror.subscription_items as i
                    where i.subscription = s.id and i.account = '' and not i.deleted
                    order by i.created, i.id
                ) as products
            from mirror.subscriptions as s
            where s.id = any(%s) and s.account = '' and not s.deleted and s.metadata_organization_id is not null
            """,
            (sorted(subscriptions),),
        ).fetchall()
    return {offer.id: offer for offer in rows}


def offered_to(conn: Connection, customers: Collection[str]) -> set[str]:
    """The organizations named by subscriptions of these customers."""
    if not customers:
        return set()
    with conn.cursor(row_factory=scalar_row) as cursor:
        return set(
            cursor.execute(
                """
                select metadata_organization_id
                from mirror.subscriptions
                where customer = any(%s) and account = '' and metadata_organization_id is not null
                """,
                (sorted(customers),),
            )
        )


def offered_for_products(conn: Connection, products: Collection[str]) -> set[str]:
    """The organizations named by subscriptions to these products."""
    if not products:
        return set()
    with conn.cursor(row_factory=scalar_row) as cursor:
        return set(
            cursor.execute(
                """
                select s.metadata_organization_id
                from mirror.subscription_items as i
                join mirror.subscriptions as s on s.id = i.subscription and s.account = i.account
                where i.product = any(%s) and i.account = '' and s.metadata_organization_id is not null
                """,
                (sorted(products),),
            )
        )


def request(conn: Connection, organizations: Collection[str]) -> None:
    """Request that all users of these organizations be computed, beginning with the first.

    Waits for a worker that computes some of them now, because it may not have seen our writes. No worker begins before
    our commit.
    """
    if organizations:
        conn.execute(
            """
            insert into sync.organization_queue as r (organization_id)
            select id from unnest(%b::text[]) as wanted (id) order by id
            on conflict (organization_id) do update set place = '' where r.place <> ''
            """,
            (sorted(organizations),),
        )


def take(conn: Connection, *, limit: int, but: Collection[str] = ()) -> Step | None:
    """The next users of the organization that has waited longest; None if no unlocked organization waits.

    `but` are organizations to skip. The organization stays locked until the transaction ends. After the commit these
    users count as computed.
    """
    row = conn.execute(
        """
        select organization_id, place
        from sync.organization_queue
        where organization_id <> all (%s)
        order by requested_at, organization_id
        limit 1
        for update skip locked
        """,
        (list(but),),
    ).fetchone()
    if row is None:
        return None
    organization, place = row
    with conn.cursor(row_factory=scalar_row) as cursor:
        users: list[str] = cursor.execute(
            """
            select id::text from users
            where organization_id = sync.organization_key(%s) and id::text > %s order by id::text limit %s
            """,
            (organization, place, limit),
        ).fetchall()
    if len(users) < limit:
        conn.execute("delete from sync.organization_queue where organization_id = %s", (organization,))
    else:
        conn.execute(
            "update sync.organization_queue set place = %s where organization_id = %s", (users[-1], organization)
        )
    return Step(organization=organization, users=users)


def put_back(conn: Connection, organization: str) -> None:
    """Move the organization to the end of the queue; its progress stays."""
    conn.execute("update sync.organization_queue set requested_at = now() where organization_id = %s", (organization,))


def keep_lock_waits_short(conn: Connection, *, milliseconds: int) -> None:
    """Until the transaction ends, let each wait for a lock fail after this time."""
    conn.execute("select set_config('lock_timeout', %s, true)", (str(milliseconds),))


def any_waiting(conn: Connection) -> bool:
    """Whether an organization has users to compute."""
    return conn.execute("select from sync.organization_queue limit 1").fetchone() is not None


def bonds(conn: Connection, users: Collection[str]) -> dict[str, Bond]:
    """The bond of each of these users. Read the bonds after the users are locked, because they change only under that
    lock."""
    with conn.cursor(row_factory=class_row(Bond)) as cursor:
        rows = cursor.execute(
            """
            select
                u.id as user, m.organization_id as member_of,
                exists (select from sync.customer_links as l where l.user_id = u.id) as is_linked
            from unnest(%b::text[]) as u (id)
            left join sync.organization_members as m on m.user_id = u.id
            """,
            (sorted(users),),
        ).fetchall()
    return {bond.user: bond for bond in rows}


def remember_members(conn: Connection, members: Mapping[str, str]) -> None:
    """Record that a subscription of the organization made these users members."""
    if members:
        conn.execute(
            """
            insert into sync.organization_members (user_id, organization_id)
            select user_id, organization_id from unnest(%b::text[], %b::text[]) as n (user_id, organization_id)
            order by user_id
            on conflict (user_id) do update set organization_id = excluded.organization_id, since = now()
            """,
            (list(members), list(members.values())),
        )
