"""The list of what was erased, `sync.erased`, and the rows that hold personal data outside of the mirror."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row, scalar_row

from worker.membership.store import recompute_queue

Connection = psycopg.Connection

USER = "user"
# Writers share it, from before they look at the list until they end; see `barrier`.
_LOCK = 0x65726173


def hold(conn: Connection) -> bool:
    """Whether anybody was ever erased; what is added to the list later waits, in `barrier`, for our transaction's end."""
    # Two statements: the second sees what was committed while the first one waited.
    conn.execute("select pg_advisory_xact_lock_shared(%s)", (_LOCK,))
    return any_listed(conn)


def any_listed(conn: Connection) -> bool:
    return bool((conn.execute("select exists (select from sync.erased)").fetchone() or [False])[0])


def barrier(conn: Connection) -> None:
    """Every writer that had not seen the list as it is committed now has ended, and what it wrote is visible."""
    with conn.transaction():
        conn.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))


def among(
    conn: Connection, objects: Collection[tuple[str, str]], users: Collection[str]
) -> tuple[set[tuple[str, str]], set[str]]:
    """Those of the objects (id, account) and of the users that were erased."""
    ids = sorted({id_ for id_, _ in objects} | set(users))
    rows = conn.execute("select object = 'user', id, account from sync.erased where id = any(%b::text[])", (ids,))
    found, gone = set(), set()
    for is_user, id_, account in rows:
        if is_user:
            gone.add(id_)
        else:
            found.add((id_, account))
    return found & set(objects), gone & set(users)


def linked_otherwise(conn: Connection, customers: Collection[tuple[str, str]]) -> set[str]:
    """Those of the customers (customer, the user they name) that are linked to another user than they name."""
    if not customers:
        return set()
    rows = sorted(customers)
    with conn.cursor(row_factory=scalar_row) as cursor:
        return set(
            cursor.execute(
                """
                select c.id
                from unnest(%b::text[], %b::text[]) as c (id, user_id)
                join sync.customer_links as l on l.stripe_customer_id = c.id and l.user_id <> c.user_id
                """,
                ([id_ for id_, _ in rows], [user for _, user in rows]),
            )
        )


def add(conn: Connection, found: Iterable[tuple[str, str, str]]) -> None:
    """List these objects (type, id, account), that belong to somebody who is; to be swept."""
    rows = sorted(set(found))
    if rows:
        conn.execute(
            """
            insert into sync.erased (object, id, account)
            select * from unnest(%b::text[], %b::text[], %b::text[]) as f (object, id, account)
            on conflict do nothing
            """,
            ([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]),
        )


def add_person(conn: Connection, user: str, objects: Collection[tuple[str, str]]) -> None:
    """List the user (empty: nobody's) and these objects (type, id) for what a person asked; to be swept, again if need be."""
    rows = sorted({*objects, (USER, user)} - {(USER, "")})
    conn.execute(
        """
        insert into sync.erased (object, id, user_id)
        select object, id, %s from unnest(%b::text[], %b::text[]) as p (object, id)
        on conflict (id, object, account) do update set user_id = excluded.user_id, swept_at = null
        """,
        (user, [object_ for object_, _ in rows], [id_ for _, id_ in rows]),
    )


def now(conn: Connection) -> datetime:
    """The database's clock, which the list is dated by."""
    row = conn.execute("select clock_timestamp()").fetchone()
    assert row is not None
    return cast(datetime, row[0])


def unswept(conn: Connection, *, limit: int, before: datetime | None = None) -> list[tuple[str, str, str, bool]]:
    """Some of what is still to be swept, the longest listed first: type, id, account, whether a person asked for it."""
    return conn.execute(
        """
        select object, id, account, user_id is not null
        from sync.erased
        where swept_at is null and (%(before)s::timestamptz is null or erased_at <= %(before)s)
        order by erased_at, id
        limit %(limit)s
        """,
        {"limit": limit, "before": before},
    ).fetchall()


def swept(conn: Connection, found: Collection[tuple[str, str, str, bool]]) -> None:
    """Nothing personal is left of these; whose customers they are is computed once more."""
    rows = sorted(found)
    conn.execute(
        """
        update sync.erased as e set swept_at = now()
        from unnest(%b::text[], %b::text[], %b::text[]) as f (object, id, account)
        where e.object = f.object and e.id = f.id and e.account = f.account
        """,
        ([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]),
    )
    recompute_queue.request(conn, [id_ for object_, id_, account, _ in rows if object_ == "customer" and account == ""])


def listed(conn: Connection) -> list[dict[str, Any]]:
    """What people asked to have erased, the newest first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select object, id, nullif(user_id, '') as user_id, erased_at, swept_at
            from sync.erased where user_id is not null order by erased_at desc, object desc, id
            """
        ).fetchall()


def customers_of(conn: Connection, user: str, email: str | None) -> tuple[list[str], list[str]]:
    """The customers that are the user's, and those that are nobody's and have the user's e-mail."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        own = cursor.execute(
            """
            select stripe_customer_id from sync.customer_links where user_id = %(user)s
            union select stripe_customer_id from stripe_customers where user_id = %(user)s
            union
            select c.id
            from mirror.customers as c
            where c.metadata_user_id = %(user)s and c.account = '' and not exists (
                select from sync.customer_links as l where l.stripe_customer_id = c.id and l.user_id <> %(user)s
            )
            order by 1
            """,
            {"user": user},
        ).fetchall()
        same = cursor.execute(
            """
            select c.id
            from mirror.customers as c
            left join sync.customer_links as l on l.stripe_customer_id = c.id
            left join stripe_customers as a on a.stripe_customer_id = c.id
            where c.account = '' and lower(c.email) = lower(%s) and c.metadata_user_id is null
                and l.user_id is null and a.user_id is null
            order by c.id
            """,
            (email,),
        ).fetchall()
    return own, same


def guest_sessions(conn: Connection, user: str, email: str | None) -> list[str]:
    """Checkout sessions without a customer that name the user, or have the user's e-mail."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select id
            from mirror.checkout_sessions
            where customer is null and account = '' and (
                (payment_link is null and %(user)s in (client_reference_id, metadata_user_id))
                or lower(customer_details_email) = lower(%(email)s)
            )
            order by id
            """,
            {"user": user, "email": email},
        ).fetchall()


def live_subscriptions(conn: Connection, customers: Collection[str], *, final: Collection[str]) -> dict[str, str]:
    """The subscriptions of these customers that have not ended, and their status."""
    rows = conn.execute(
        """
        select id, coalesce(status, 'unknown') from mirror.subscriptions
        where customer = any(%b::text[]) and account = '' and not deleted
            and coalesce(status, 'unknown') <> all (%b::text[])
        order by id
        """,
        (sorted(customers), sorted(final)),
    )
    return dict(rows.fetchall())


_OF_USER = {
    "accounts": "user_id = %(user)s",
    "sessions": "user_id = %(user)s",
    "verification_tokens": "lower(identifier) = lower(%(email)s)",
}
_BLANKED = {
    "users": ("id", "email = null, name = null, image = null, email_verified = null"),
    "user_subscriptions": ("user_id", "metadata = '{}'"),
    "payment_history": ("user_id", "metadata = '{}', description = null"),
    "sync.overrides": ("user_id", "note = null"),
}


def user_rows(conn: Connection, user: str, email: str | None) -> dict[str, int]:
    """How many rows of each of the application's tables `blank_user` concerns."""
    found = {}
    for table, (column, _) in _BLANKED.items():
        found[table] = conn.execute(f"select from {table} where {column} = %s", (user,)).rowcount
    for table, which in _OF_USER.items():
        found[table] = conn.execute(
            f"select from {table} where {which}",
            {"user": user, "email": email},
        ).rowcount
    return found


def blank_user(conn: Connection, user: str, email: str | None) -> dict[str, int]:
    """The user's row stays, with role, status and tokens, and so do payments; who it is is gone. Rows by table."""
    changed = {}
    for table, (column, changes) in _BLANKED.items():
        changed[table] = conn.execute(f"update {table} set {changes} where {column} = %s", (user,)).rowcount  # noqa: S608
    for table, which in _OF_USER.items():
        changed[table] = conn.execute(
            f"delete from {table} where {which}",  # noqa: S608 - our own words
            {"user": user, "email": email},
        ).rowcount
    return changed
