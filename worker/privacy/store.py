"""The list of erased objects, `sync.erased`, and the rows with personal data outside the mirror."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row, scalar_row

from worker.config.errors import Permanent
from worker.membership.store import recompute_queue
from worker.stripe_api.event import ObjectRef

Connection = psycopg.Connection

USER = "user"
# Writers take this lock in shared mode before they read the list, and hold it until their transaction ends; see `barrier`.
_LOCK = 0x65726173


def hold(conn: Connection) -> bool:
    """Lock the list in shared mode, and return whether it has any objects. `barrier` waits until this transaction ends."""
    # These are two statements, so that the second sees rows that were committed while the first waited.
    conn.execute("select pg_advisory_xact_lock_shared(%s)", (_LOCK,))
    return any_listed(conn)


def any_listed(conn: Connection) -> bool:
    return bool((conn.execute("select exists (select from sync.erased)").fetchone() or [False])[0])


def barrier(conn: Connection) -> None:
    """Wait until every writer that has not seen the committed list has ended. Afterwards the writers' rows are visible."""
    with conn.transaction():
        conn.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))


def among(
    conn: Connection, objects: Collection[tuple[str, str]], users: Collection[str]
) -> tuple[set[tuple[str, str]], set[str]]:
    """Filter these objects (id, account) and users; returns the erased ones."""
    ids = sorted({id_ for id_, _ in objects} | set(users))
    rows = conn.execute("select object = 'user', id, account from sync.erased where id = any(%b::text[])", (ids,))
    objects_erased, users_erased = set(), set()
    for is_user, id_, account in rows:
        if is_user:
            users_erased.add(id_)
        else:
            objects_erased.add((id_, account))
    return objects_erased & set(objects), users_erased & set(users)


def linked_otherwise(conn: Connection, customers: Collection[tuple[str, str]]) -> set[str]:
    """The customers that are linked to a different user than they name. `customers` are pairs of customer and named user."""
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


def add(conn: Connection, objects: Iterable[ObjectRef]) -> None:
    """Add these objects, which belong to a listed person, to the list. They are not swept yet."""
    rows = sorted(set(objects))
    if rows:
        conn.execute(
            """
            insert into sync.erased (object, id, account)
            select * from unnest(%b::text[], %b::text[], %b::text[]) as f (object, id, account)
            on conflict do nothing
            """,
            ([ref.object for ref in rows], [ref.id for ref in rows], [ref.account for ref in rows]),
        )


def add_person(conn: Connection, user: str, objects: Collection[ObjectRef]) -> None:
    """Add the user (unless empty) and these objects of our own account to the list, marked as requested by a person.

    All of them will be swept, even if they were swept before.
    """
    rows = sorted({*objects, ObjectRef(USER, user)} - {ObjectRef(USER, "")})
    conn.execute(
        """
        insert into sync.erased (object, id, user_id)
        select object, id, %s from unnest(%b::text[], %b::text[]) as p (object, id)
        on conflict (id, object, account) do update set user_id = excluded.user_id, swept_at = null
        """,
        (user, [ref.object for ref in rows], [ref.id for ref in rows]),
    )


def now(conn: Connection) -> datetime:
    """The time by the database's clock, which also sets the times in the list."""
    row = conn.execute("select clock_timestamp()").fetchone()
    assert row is not None
    return cast(datetime, row[0])


def unswept(conn: Connection, *, limit: int, before: datetime | None = None) -> list[tuple[str, str, str, bool]]:
    """Objects that are not swept yet, the oldest first: type, id, account, and whether a person requested the erasure."""
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


def swept(conn: Connection, objects: Collection[tuple[str, str, str, bool]]) -> None:
    """Mark these objects as swept. For the customers among them, request a recompute of their users."""
    rows = sorted(objects)
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
    """The erasures that people requested, newest first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            select object, id, nullif(user_id, '') as user_id, erased_at, swept_at
            from sync.erased where user_id is not null order by erased_at desc, object desc, id
            """
        ).fetchall()


def customers_of(conn: Connection, user: str, email: str | None) -> tuple[list[str], list[str]]:
    """The user's customers, and the customers without a user that have the user's e-mail."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        own = cursor.execute(
            """
            select stripe_customer_id from sync.customer_links where user_id = %(user)s
            union select stripe_customer_id from stripe_customers where user_id = sync.user_key(%(user)s)
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
    """The status of each subscription of these customers that has not ended, by id."""
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
# By table: the column with the user's id, and each blanked column with two values. If the application's table refuses the
# first value, the column gets the second.
_BLANKED: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "users": (
        "id",
        {
            "email": ("null", "'erased-' || id || '@erased.invalid'"),
            "name": ("null", "''"),
            "image": ("null", "''"),
            "email_verified": ("null", "'epoch'"),
        },
    ),
    "user_subscriptions": ("user_id", {"metadata": ("'{}'", "'{}'")}),
    "payment_history": ("user_id", {"metadata": ("'{}'", "'{}'"), "description": ("null", "''")}),
    "sync.overrides": ("user_id", {"note": ("null", "''")}),
}


class NotBlanked(Permanent):
    """A table of the application refuses to have a person's data blanked."""


def user_rows(conn: Connection, user: str, email: str | None) -> dict[str, int]:
    """The number of rows that `blank_user` would change, by table."""
    counts = {}
    for table, (column, _) in _BLANKED.items():
        counts[table] = conn.execute(f"select from {table} where {column} = %s", (user,)).rowcount
    for table, which in _OF_USER.items():
        counts[table] = conn.execute(
            f"select from {table} where {which}",
            {"user": user, "email": email},
        ).rowcount
    return counts


def blank_user(conn: Connection, user: str, email: str | None) -> dict[str, int]:
    """Blank the user's personal data, but keep role, status, tokens and payments. Returns the changed rows by table.

    Raises NotBlanked if a table refuses null and also the replacement value.
    """
    changed = {}
    for table, (key, columns) in _BLANKED.items():
        for column, values in columns.items():
            changed[table] = _blank(conn, table, key, user, column, values)
    for table, which in _OF_USER.items():
        changed[table] = conn.execute(
            f"delete from {table} where {which}",  # noqa: S608 - names from above
            {"user": user, "email": email},
        ).rowcount
    return changed


def _blank(conn: Connection, table: str, key: str, user: str, column: str, values: tuple[str, str]) -> int:
    """Set the column in the user's rows to the first of the values that the table accepts. Returns the number of rows."""
    refused = ""
    for value in values:
        statement = f"update {table} set {column} = {value} where {key} = %s"  # noqa: S608 - names from above
        try:
            with conn.transaction():
                return conn.execute(statement, (user,)).rowcount
        except (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException) as error:
            refused = error.diag.message_primary or type(error).__name__
    raise NotBlanked(f"nothing was erased, because the table {table} refuses to have {column} blanked: {refused}")
