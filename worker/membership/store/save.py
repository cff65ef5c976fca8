"""Write computed users: access, features, ledger and balances, subscriptions, payments, and the time of the next
computation."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import psycopg
from psycopg.rows import scalar_row

from worker.membership.rules.access import Access
from worker.membership.rules.balance import Grant
from worker.membership.rules.changes import FAILED, RENEWED, Turn
from worker.membership.rules.facts import Feature, User
from worker.membership.store import histories
from worker.membership.store.theirs import theirs

Connection = psycopg.Connection

# The columns of the mirror that are copied.
_SUBSCRIPTION = """
    id, customer, status, current_period_start, current_period_end, cancel_at_period_end, canceled_at, trial_start,
    trial_end, metadata, created, observed_at, deleted
"""
_PAYMENT = """
    id, amount_received, amount, currency, status, description, data, created, observed_at, deleted, invoice
"""


def named_in_catalogue(users: Collection[User]) -> tuple[set[str], dict[str, str]]:
    """The products, and the prices with their products, that the rows of these users refer to."""
    items = [item for user in users for subscription in user.subscriptions for item in subscription.items]
    prices = {item.price: item.product for item in items if item.price and item.product}
    return set[str]().union(*(user.named_products for user in users)), prices


def rows_of(conn: Connection, users: Collection[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The subscriptions and the payments of these users: pairs of id and user."""
    query = """
        select o.id, l.user_id
        from sync.customer_links as l
        join mirror.{table} as o on o.customer = l.stripe_customer_id and o.account = '' and not o.deleted
        where l.user_id = any(%s) and {which}
        order by o.id
        """
    subscriptions = conn.execute(query.format(table="subscriptions", which="true").encode(), (sorted(users),))
    payments = conn.execute(
        query.format(table="payment_intents", which="o.status = 'succeeded'").encode(), (sorted(users),)
    )
    return subscriptions.fetchall(), payments.fetchall()


def save_access(conn: Connection, access: Mapping[str, Access]) -> None:
    """Write the access of these users, without writing equal rows. The products have their rows already, see
    `save_rows`."""
    ids = sorted(access)
    if not ids:
        return
    conn.execute(
        """
        update users as u
        set role = n.role::user_role, membership_status = n.status::membership_status,
            stripe_product_id = n.product
        from unnest(%b::text[], %b::text[], %b::text[], %b::text[]) as n (id, role, status, product)
        where u.id = sync.user_key(n.id)
            and (u.role::text, u.membership_status::text, u.stripe_product_id)
                is distinct from (n.role, n.status, n.product)
        """,
        (
            ids,
            [str(access[id_].role) for id_ in ids],
            [access[id_].membership_status.value for id_ in ids],
            [access[id_].stripe_product_id for id_ in ids],
        ),
    )


def save_features(conn: Connection, features: Mapping[str, Sequence[Feature]]) -> None:
    """Replace the features of these users, without writing equal rows. The rows of the users are locked."""
    users = sorted(features)
    rows = [(user, each) for user in users for each in features[user]]
    if not users:
        return
    conn.execute(
        """
        with wanted as (
            select * from unnest(%b::text[], %b::text[], %b::text[], %b::timestamptz[]) as w (user_id, feature, source, until)
        ), gone as (
            delete from user_features as f
            where f.user_id = any(sync.user_keys(%b::text[])) and not exists (
                select from wanted as w where w.user_id = f.user_id::text and w.feature = f.feature and w.source = f.source
            )
        )
        insert into user_features as f (user_id, feature, source, until)
        select sync.user_key(user_id), feature, source, until from wanted
        on conflict (user_id, feature, source) do update set until = excluded.until
        where f.until is distinct from excluded.until
        """,
        (
            [user for user, _ in rows],
            [each.feature for _, each in rows],
            [each.source for _, each in rows],
            [each.until for _, each in rows],
            users,
        ),
    )


def save_grants(conn: Connection, grants: Mapping[str, Sequence[Grant]]) -> None:
    """Insert rows into the ledger and update the balances. The rows of the users are locked, so no concurrent spend is
    lost."""
    rows = [(user, grant) for user in sorted(grants) for grant in grants[user]]
    if not rows:
        return
    conn.execute(
        """
        insert into sync.token_grants (source_key, user_id, kind, amount, balance_before, balance_after, expires_at,
            stripe_product_id, stripe_subscription_id, stripe_invoice_id, owner, identity, money, period_start, lots, history)
        select source_key, user_id, kind, amount, balance_before, balance_after, expires_at, product, subscription,
            invoice, owner, identity, money, period_start, lots::jsonb, history::jsonb
        from unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[],
            %b::timestamptz[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[],
            %b::timestamptz[], %b::text[], %b::text[]
        ) as n (source_key, user_id, kind, amount, balance_before, balance_after, expires_at, product, subscription,
            invoice, owner, identity, money, period_start, lots, history)
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
            [grant.owner for _, grant in rows],
            [grant.identity for _, grant in rows],
            [grant.money for _, grant in rows],
            [grant.period_start for _, grant in rows],
            [histories.write_lots(grant.lots) for _, grant in rows],
            [histories.write(grant.history) for _, grant in rows],
        ],
    )
    last = dict(rows)
    conn.execute(
        """
        update users as u
        set tokens = n.tokens, tokens_expires_at = n.expires_at
        from unnest(%b::text[], %b::bigint[], %b::timestamptz[]) as n (id, tokens, expires_at)
        where u.id = sync.user_key(n.id) and (u.tokens, u.tokens_expires_at) is distinct from (n.tokens, n.expires_at)
        """,
        (list(last), [grant.balance_after for grant in last.values()], [grant.expires_at for grant in last.values()]),
    )


def save_override(conn: Connection, user: str, role: str, *, until: datetime | None, note: str | None) -> None:
    """Give the user this role from now until `until`, regardless of Stripe."""
    conn.execute(
        """
        insert into sync.overrides (user_id, role, until, note) values (%s, %s::user_role, %s, %s)
        on conflict (user_id) do update
        set role = excluded.role, until = excluded.until, note = excluded.note, created_at = now()
        """,
        (user, str(role), until, note),
    )


def lift_override(conn: Connection, user: str) -> bool:
    """Remove the override of the role; returns whether there was one."""
    return conn.execute("delete from sync.overrides where user_id = %s", (user,)).rowcount == 1


def save_feature_override(
    conn: Connection, user: str, feature: str, *, until: datetime | None, note: str | None
) -> None:
    """Give the user this feature from now until `until`, regardless of Stripe."""
    conn.execute(
        """
        insert into sync.feature_overrides (user_id, feature, until, note) values (%s, %s, %s, %s)
        on conflict (user_id, feature) do update
        set until = excluded.until, note = excluded.note, created_at = now()
        """,
        (user, feature, until, note),
    )


def lift_feature_override(conn: Connection, user: str, feature: str) -> bool:
    """Remove the override of the feature; returns whether there was one."""
    deleted = conn.execute("delete from sync.feature_overrides where user_id = %s and feature = %s", (user, feature))
    return deleted.rowcount == 1


def make_admin(conn: Connection, user: str) -> None:
    conn.execute("update users set role = 'ADMIN' where id = sync.user_key(%s)", (user,))


def save_alarms(conn: Connection, looks: Mapping[str, datetime | None]) -> None:
    """Store the time at which each of these users must be computed again, without writing equal rows."""
    ids = sorted(looks)
    conn.execute(
        """
        with wanted as (
            select * from unnest(%b::text[], %b::timestamptz[]) as w (user_id, due_at)
        ), gone as (
            delete from sync.next_changes as a using wanted as w where a.user_id = w.user_id and w.due_at is null
        )
        insert into sync.next_changes as a (user_id, due_at)
        select user_id, due_at from wanted where due_at is not null order by user_id
        on conflict (user_id) do update set due_at = excluded.due_at where a.due_at <> excluded.due_at
        """,
        (ids, [looks[id_] for id_ in ids]),
    )


def due_alarms(conn: Connection, now: datetime, *, limit: int) -> list[str]:
    """Lock some users that are due to be computed, the longest due first. Users locked by another transaction stay
    due."""
    with conn.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(
            """
            select a.user_id
            from sync.next_changes as a
            join users as u on u.id = sync.user_key(a.user_id)
            where a.due_at <= %s
            order by a.due_at
            limit %s
            for no key update of u skip locked
            """,
            (now, limit),
        ).fetchall()


def save_subscriptions(conn: Connection, users: Collection[str], *, only: str | None = None) -> dict[str, list[Turn]]:
    """Copy the subscriptions of these users from the mirror to `user_subscriptions`, without writing equal rows.

    `only` limits the copy to one subscription. Returns, by user, the subscriptions that have begun a new period or
    became past due.
    """
    rows = conn.execute(
        f"""
        with before as (
            select stripe_subscription_id, lower(status::text) as status, current_period_start from user_subscriptions
            where user_id = any(sync.user_keys(%(users)s))
        ), written as (
        insert into user_subscriptions as o (id, user_id, stripe_customer_id, stripe_subscription_id, stripe_price_id,
            stripe_product_id, status, current_period_start, current_period_end, cancel_at_period_end, canceled_at,
            trial_start, trial_end, metadata, created_at, updated_at)
        overriding system value
        select sync.subscription_row_id(s.id), sync.user_key(l.user_id), s.customer, s.id, p.id, i.product,
            sync.subscription_status(coalesce(s.status, 'incomplete')),
            s.current_period_start, s.current_period_end, coalesce(s.cancel_at_period_end, false), s.canceled_at,
            s.trial_start, s.trial_end, coalesce(s.metadata, '{{}}'), coalesce(s.created, s.observed_at), now()
        from {theirs("subscriptions", "s", _SUBSCRIPTION)}
        left join lateral (
            select price, product
            from mirror.subscription_items
            where subscription = s.id and length(account) = 0 and not deleted
            order by created, id
            limit 1
        ) as i on true
        left join stripe_prices as p on p.id = i.price
        where l.user_id = any(%(users)s) and not s.deleted and (%(only)s::text is null or s.id = %(only)s)
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
                o.trial_end, o.metadata::jsonb, o.created_at)
            is distinct from
            (excluded.user_id, excluded.stripe_customer_id, excluded.stripe_price_id, excluded.stripe_product_id,
                excluded.status, excluded.current_period_start, excluded.current_period_end,
                excluded.cancel_at_period_end, excluded.canceled_at, excluded.trial_start, excluded.trial_end,
                excluded.metadata::jsonb, excluded.created_at)
        returning user_id::text, stripe_subscription_id, lower(status::text) as status, current_period_start
        )
        select w.user_id, w.stripe_subscription_id,
            w.status in ('active', 'trialing') and b.current_period_start < w.current_period_start,
            w.status in ('past_due', 'unpaid') and coalesce(b.status, '') not in ('past_due', 'unpaid')
        from written as w
        left join before as b using (stripe_subscription_id)
        """,  # noqa: S608 - our own words
        {"users": sorted(users), "only": only},
    ).fetchall()
    turns = defaultdict[str, list[Turn]](list)
    for user, subscription, is_renewed, has_failed in rows:
        if is_renewed:
            turns[user].append(Turn(type=RENEWED, subscription=subscription))
        if has_failed:
            turns[user].append(Turn(type=FAILED, subscription=subscription))
    return turns


def save_payments(conn: Connection, users: Collection[str], *, only: str | None = None) -> None:
    """Copy the succeeded payments of these users to `payment_history`, without writing equal rows.

    `only` limits the copy to one payment. The product of a payment is the product of the largest line of the invoice or
    Checkout session that it paid.
    """
    conn.execute(
        f"""
        insert into payment_history as o (id, user_id, stripe_payment_intent_id, amount, currency, status,
            stripe_product_id, description, metadata, created_at, updated_at)
        overriding system value
        select sync.payment_row_id(i.id), sync.user_key(l.user_id), i.id,
            coalesce(nullif(i.amount_received, 0), i.amount, 0), coalesce(i.currency, ''),
            sync.payment_status(i.status), p.id, i.description,
            case jsonb_typeof(i.data->'metadata') when 'object' then i.data->'metadata' else '{{}}' end,
            coalesce(i.created, i.observed_at), now()
        from {theirs("payment_intents", "i", _PAYMENT)}
        left join lateral (
            select b.product
            from (
                select n.product, n.amount, n.id
                from mirror.invoice_line_items as n
                where length(n.account) = 0 and not n.deleted and n.invoice in (
                    select i.invoice
                    union all
                    select a.invoice from mirror.invoice_payments as a
                    where a.payment_payment_intent = i.id and length(a.account) = 0
                    union all
                    select v.id from mirror.invoices as v where v.payment_intent = i.id and length(v.account) = 0
                )
                union all
                select t.product, t.amount_total, t.id
                from mirror.checkout_sessions as s
                join mirror.checkout_session_line_items as t on t.checkout_session = s.id and length(t.account) = 0
                where s.payment_intent = i.id and length(s.account) = 0 and not t.deleted
            ) as b
            order by b.amount desc, b.id
            limit 1
        ) as n on true
        left join stripe_products as p on p.id = n.product
        where l.user_id = any(%(users)s) and i.status = 'succeeded' and not i.deleted
            and (%(only)s::text is null or i.id = %(only)s)
        order by i.id
        on conflict (stripe_payment_intent_id) do update
        set user_id = excluded.user_id, amount = excluded.amount, currency = excluded.currency,
            status = excluded.status, stripe_product_id = excluded.stripe_product_id,
            description = excluded.description, metadata = excluded.metadata, created_at = excluded.created_at
        where (o.user_id, o.amount, o.currency, o.status, o.stripe_product_id, o.description, o.metadata::jsonb,
                o.created_at)
            is distinct from
            (excluded.user_id, excluded.amount, excluded.currency, excluded.status, excluded.stripe_product_id,
                excluded.description, excluded.metadata::jsonb, excluded.created_at)
        """,  # noqa: S608 - our own words
        {"users": sorted(users), "only": only},
    )
    # A payment may have looked succeeded for a while, if the newest of several snapshots of one second had to be
    # guessed.
    conn.execute(
        """
        delete from payment_history as o
        using mirror.payment_intents as i
        where o.user_id = any(sync.user_keys(%s)) and i.id = o.stripe_payment_intent_id and length(i.account) = 0
            and i.status is distinct from 'succeeded'
        """,
        (sorted(users),),
    )
