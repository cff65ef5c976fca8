"""Load everything that membership is computed from: facts in the mirror and the ledger, with the users' rows locked."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from schema.states import MembershipStatus
from worker.membership.rules.facts import MOST_TOKENS, Feature, Override, Periods, Product, User, product_of
from worker.membership.rules.history import History
from worker.membership.rules.lots import Lot
from worker.membership.store import histories, load_lines, load_money_back, load_subscriptions, organization_queue

Connection = psycopg.Connection
Row = dict[str, Any]


# The features attached to the product `p` at Stripe.
ATTACHED = """array(
    select f.entitlement_feature_lookup_key from mirror.product_features as f
    where f.product = p.id and length(f.account) = 0 and not f.deleted and f.entitlement_feature_lookup_key is not null
)"""
# The largest values of integer types that are smaller than bigint, which an adopted application may use.
_MOST_TOKENS = {"smallint": 2**15 - 1, "integer": 2**31 - 1}
_USER = """
    id::text, role::text, membership_status::text, stripe_product_id, organization_id::text, tokens, tokens_expires_at
"""


def lock_users(conn: Connection, users: Collection[str]) -> dict[str, User]:
    """The rows of these users, locked in the order of their ids. A concurrent spend waits for our commit."""
    return _users(
        conn,
        f"select {_USER} from users where id = any(sync.user_keys(%s)) order by users.id for no key update",  # noqa: S608 - our own words
        (sorted(users),),
    )


def read_users(conn: Connection, users: Collection[str]) -> dict[str, User]:
    """The rows of these users without locks, for callers that write nothing."""
    return _users(
        conn,
        f"select {_USER} from users where id = any(sync.user_keys(%s)) order by users.id",  # noqa: S608 - our own words
        (sorted(users),),
    )


def lock_expired(conn: Connection, now: datetime, *, limit: int) -> dict[str, User]:
    """Lock some users with expired tokens, the first expired first. Users locked by another transaction are skipped."""
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
    return {id_: replace(user, last_key=last[id_].key) for id_, user in users.items()}


def _users(conn: Connection, statement: str, arguments: tuple[object, ...]) -> dict[str, User]:
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, arguments).fetchall()
    return {
        row["id"]: User(
            **{
                **row,
                "role": row["role"],
                "membership_status": MembershipStatus(row["membership_status"]),
            }
        )
        for row in rows
    }


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest row of a user's ledger."""

    key: str | None = None
    lots: tuple[Lot, ...] = ()
    history: History | None = None

    @property
    def every_lot(self) -> tuple[Lot, ...]:
        """The lots of the balance and the lots of the history."""
        entries = self.history.entries if self.history is not None else ()
        return (*self.lots, *(entry.lot for entry in entries if entry.lot is not None))


def _newest(conn: Connection, users: list[str]) -> dict[str, _Newest]:
    """The newest row of each user's ledger."""
    rows = _rows(
        conn,
        """
        select u.id, g.source_key, g.lots, g.history
        from unnest(%b::text[]) as u (id)
        join lateral (
            select source_key, lots, history from sync.token_grants where user_id = u.id order by id desc limit 1
        ) as g on true
        """,
        users,
    )
    loaded = dict.fromkeys(users, _Newest())
    return loaded | {
        row["id"]: _Newest(row["source_key"], histories.read_lots(row["lots"]), histories.read(row["history"]))
        for row in rows
    }


def load(conn: Connection, users: Mapping[str, User]) -> tuple[dict[str, User], dict[str, Product]]:
    """The users with all their facts, and the products that these facts name.

    Lock the users first if they will be written.
    """
    ids = sorted(users)
    own = load_subscriptions.of_users(conn, ids)
    organizations = {user.organization_id for user in users.values() if user.organization_id}
    shared = load_subscriptions.of_organizations(conn, organizations)
    bonds, (tokens_since, most_tokens) = organization_queue.bonds(conn, ids), _application(conn)
    lines, running = load_lines.of_users(conn, ids)
    purchases = load_lines.purchases(conn, ids)
    overrides, periods, newest = _overrides(conn, ids), _periods(conn, ids), _newest(conn, ids)
    features = _features(conn, ids)
    renewed = _renewed(conn, [id_ for id_ in ids if running[id_]])
    bills = {
        id_: {lot.bill for lot in newest[id_].every_lot} | {line.invoice for line in (*lines[id_], *running[id_])}
        for id_ in ids
    }
    money = load_money_back.bills(conn, sorted(set().union(*bills.values())))
    restored = load_money_back.restored(conn, ids)
    full = {
        id_: replace(
            user,
            subscriptions=tuple(own[id_]),
            organization_subscriptions=tuple(shared[user.organization_id or ""]),
            member_of=bonds[id_].member_of,
            is_linked=bonds[id_].is_linked,
            tokens_since=tokens_since,
            most_tokens=most_tokens,
            paid_lines=tuple(lines[id_]),
            override=overrides.get(id_),
            features=tuple(sorted(features[id_, False])),
            given_features=tuple(sorted(features[id_, True])),
            periods=periods[id_],
            last_key=newest[id_].key,
            lots=newest[id_].lots,
            history=newest[id_].history,
            running=tuple(running[id_]),
            renewed=frozenset(renewed[id_]),
            bills=tuple(money[bill] for bill in sorted(bills[id_]) if bill in money),
            restored=tuple(restored[id_]),
            purchases=tuple(purchases[id_]),
        )
        for id_, user in users.items()
    }
    return full, _products(conn, set().union(*(user.named_products for user in full.values())))


def _application(conn: Connection) -> tuple[datetime | None, int]:
    """The time of adoption if the application had counted tokens itself (else None), and the largest value of its token
    column.

    See `worker.adoption.adopt`.
    """
    row = conn.execute(
        """
        select (select tokens_since from sync.adoption), atttypid::regtype::text
        from pg_attribute
        where attrelid = 'users'::regclass and attname = 'tokens'
        """
    ).fetchone()
    assert row is not None
    return row[0], _MOST_TOKENS.get(row[1], MOST_TOKENS)


def capped(conn: Connection) -> tuple[int, int] | None:
    """The largest value of the application's token column and the number of users who have it; None if the column is
    bigint."""
    _, most = _application(conn)
    if most == MOST_TOKENS:
        return None
    row = conn.execute("select count(*) from users where tokens = %s", (most,)).fetchone()
    return most, int(row[0]) if row else 0


def _renewed(conn: Connection, users: list[str]) -> dict[str, list[str]]:
    loaded: dict[str, list[str]] = defaultdict(list)
    for row in _rows(
        conn,
        "select user_id, source_key from sync.token_grants where user_id = any(%s) and kind in ('token_period', 'undone')",
        users,
    ):
        loaded[row["user_id"]].append(row["source_key"])
    return loaded


def _overrides(conn: Connection, users: list[str]) -> dict[str, Override]:
    rows = _rows(conn, "select user_id, role::text, until from sync.overrides where user_id = any(%s)", users)
    return {row["user_id"]: Override(role=row["role"], until=row["until"]) for row in rows}


def _features(conn: Connection, users: list[str]) -> dict[tuple[str, bool], list[Feature]]:
    """The features of each user: stored features have the key (user, False), features from an operator (user, True)."""
    features: dict[tuple[str, bool], list[Feature]] = defaultdict(list)
    rows = _rows(
        conn,
        """
        select user_id::text, feature, source, until, false as given from user_features
        where user_id = any(sync.user_keys(%(users)s))
        union all
        select user_id, feature, 'override', until, true from sync.feature_overrides where user_id = any(%(users)s)
        """,
        users,
        name="users",
    )
    for row in rows:
        features[row["user_id"], row["given"]].append(Feature(row["feature"], row["source"], row["until"]))
    return features


def _periods(conn: Connection, users: list[str]) -> dict[str, dict[str, Periods]]:
    """The periods in the ledger, by user and allowance."""
    periods: dict[str, dict[str, Periods]] = defaultdict(dict)
    for row in _rows(
        conn,
        """
        select user_id, owner, min(period_start) as first, max(period_start) as newest,
            (array_agg(stripe_invoice_id order by period_start desc, id desc))[1] as bill, array_agg(period_start) as starts
        from sync.token_grants as g
        where user_id = any(%s) and kind in ('start', 'renewal', 'stub', 'trial', 'token_period', 'ended')
            and owner is not null and period_start is not null
            and (kind <> 'token_period' or not exists (
                select from sync.token_grants where source_key = 'undone:' || g.source_key
            ))
        group by user_id, owner
        """,
        users,
    ):
        periods[row["user_id"]][row["owner"]] = Periods(
            row["first"], row["newest"], row["bill"], frozenset(row["starts"])
        )
    return periods


def _products(conn: Connection, ids: Collection[str]) -> dict[str, Product]:
    rows = _rows(
        conn,
        f"select id, metadata, {ATTACHED} as attached from mirror.products as p "  # noqa: S608 - our own words
        "where id = any(%s) and length(account) = 0 and shape <> ''",
        sorted(ids),
    )
    return {row["id"]: product_of(row["id"], row["metadata"], row["attached"]) for row in rows}


def _rows(conn: Connection, statement: str, ids: list[str], *, name: str | None = None) -> list[Row]:
    if not ids:
        return []
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, {name: ids} if name else (ids,)).fetchall()
