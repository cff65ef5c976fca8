"""The users that membership computes, and a digest of the catalogue that they depend on.

These are the users with a linked customer, the users with a role or feature from an operator, the users of
organizations that subscriptions name, and the present and former members of such organizations.
"""

import psycopg
from psycopg.rows import scalar_row

Connection = psycopg.Connection

# Each query reads an index in order, so that a batch costs the same wherever it begins.
_ARMS = (
    "select user_id as id from sync.customer_links where user_id",
    "select user_id from sync.overrides where user_id",
    "select user_id from sync.feature_overrides where user_id",
    "select user_id from sync.organization_members where user_id",
    """
    select id::text
    from users
    where organization_id in (
        select sync.organization_key(metadata_organization_id)
        from mirror.subscriptions
        where metadata_organization_id is not null and account = '' and not deleted
    ) and id::text
    """,
)


def after(conn: Connection, place: str, *, limit: int) -> list[str]:
    """The next users after the id `place`, in the order of their ids; fewer than `limit` at the end."""
    pieces = " union ".join(
        f"(select distinct id from ({arm} > %(place)s) as a (id) order by id limit %(limit)s)"  # noqa: S608
        for arm in _ARMS
    )
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            f"select id from ({pieces}) as everyone order by id limit %(limit)s",  # noqa: S608 - our own words
            {"place": place, "limit": limit},
        ).fetchall()


def count(conn: Connection, *, behind: str = "") -> int:
    """The number of computed users after the id `behind`."""
    pieces = " union ".join(f"{arm} > %(place)s" for arm in _ARMS)
    row = conn.execute(f"select count(*) from ({pieces}) as everyone", {"place": behind}).fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def catalogue_stamp(conn: Connection) -> str:
    """A value that changes when a product is added, or its policy changes. Prices don't affect what a user may do."""
    row = conn.execute(
        """
        select md5(coalesce(string_agg(concat_ws(' ', id, metadata, f.attached), E'\\n' order by id), ''))
        from mirror.products as p
        left join (
            select product, string_agg(entitlement_feature_lookup_key, ' ' order by entitlement_feature_lookup_key) as attached
            from mirror.product_features where account = '' and not deleted group by product
        ) as f on f.product = p.id
        where account = '' and shape <> ''
        """
    ).fetchone()
    return str(row[0]) if row else ""
