"""Load the paid lines of invoices, and of Checkout sessions that sold something without an invoice."""

from collections import defaultdict
from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.membership.rules.facts import PaidLine, Purchase, number_of
from worker.membership.store.theirs import theirs

Connection = psycopg.Connection
Row = dict[str, Any]
Lines = dict[str, list[PaidLine]]


def of_users(conn: Connection, users: list[str]) -> tuple[Lines, Lines]:
    """For each user the paid lines that are not in the ledger, and the lines for more than a month that have not
    ended."""
    fresh: Lines = defaultdict(list)
    running: Lines = defaultdict(list)
    for row in _rows(conn, _DECIDING, users):
        user, is_fresh, is_long = row.pop("user_id"), row.pop("is_fresh"), row.pop("is_long")
        line = PaidLine(**row)
        if is_fresh:
            fresh[user].append(line)
        if is_long:
            running[user].append(line)
    for row in _rows(conn, _SOLD_BY_METADATA, users):
        fresh[row.pop("user_id")].append(_by_metadata(row))
    for row in _rows(conn, _SOLD, users):
        fresh[row.pop("user_id")].append(
            PaidLine(
                **row,
                is_checkout=True,
                subscription=None,
                proration=False,
                period_start=row["paid_at"],
                period_end=row["paid_at"],
            )
        )
    return fresh, running


def granted(conn: Connection, user: str, invoices: list[str]) -> list[PaidLine]:
    """The paid lines of these invoices of the user that have a row in the ledger."""
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(f"{_INVOICED} and i.id = any(%s) and g.has", ([user], invoices)).fetchall()
    names = ("user_id", "is_fresh", "is_long")
    return [PaidLine(**{name: value for name, value in row.items() if name not in names}) for row in rows]


def purchases(conn: Connection, users: list[str]) -> dict[str, list[Purchase]]:
    """For each user the one-time purchases, on an invoice or by Checkout, of products with `access` in their
    metadata."""
    bought: dict[str, list[Purchase]] = defaultdict(list)
    for row in _rows(conn, _PURCHASES, users):
        bought[row.pop("user_id")].append(Purchase(**row))
    return bought


def _by_metadata(row: Row) -> PaidLine:
    """The sale that the metadata of a session describes by `tokens`, or by `product` and `quantity`."""
    metadata = row.pop("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    quantity = number_of(str(metadata.get("quantity", "1")))
    return PaidLine(
        **row,
        line="",
        is_checkout=True,
        subscription=None,
        quantity=1 if quantity is None or quantity > 99_999 else quantity,
        tokens=number_of(str(metadata.get("tokens", ""))),
        proration=False,
        period_start=row["paid_at"],
        period_end=row["paid_at"],
    )


# The price of a line is the mirrored price, or else the price embedded in the line (old API versions) or in its
# subscription item. A plan is always recurring. API versions before 2019 show a line under another id (`sli_...`, or
# the id of the subscription). A ledger row for one kind of id covers one line with the other kind of id if invoice,
# item, price, time, quantity and sign are equal. Equal lines with the same kind of id are different lines, and each
# grants.
_INVOICED = f"""
    select
        l.user_id, i.id as invoice, n.line, coalesce(n.product, q.product) as product, n.subscription,
        coalesce(n.quantity, 1) as quantity, n.proration, n.period_start, n.period_end, n.subscription_item as item,
        coalesce(i.status_transitions_paid_at, i.created, i.observed_at) as paid_at,
        n.amount, n.is_credit, n.price, q.type as price_type, q.usage_type, n.identity, w.full_period,
        coalesce(n.period_end >= n.period_start + w.every - tolerance.of, true)
            or coalesce(n.period_start <= n.period_end - w.every + tolerance.of, true) as is_whole,
        n.has_changes, n.has_credit, not g.has as is_fresh, r.is_long
    from {theirs("invoices", "i", "id, status_transitions_paid_at, created, observed_at, subscription, status, deleted")}
    join lateral (
        select m.*, row_number() over (partition by m.identity, m.has_new_id, m.is_granted order by m.line) as number
        from (
            select
                x.id, a.line, starts_with(a.line, 'il_') as has_new_id, x.product, x.price, x.quantity, x.amount,
                x.period_start, x.period_end, x.subscription_item, x.data,
                coalesce(x.subscription, case when x.subscription_item is not null then i.subscription end) as subscription,
                coalesce(x.proration, false) as proration,
                bool_or(coalesce(x.proration, false)) over () as has_changes,
                bool_or(a.sign < 0 and coalesce(x.proration, false))
                    over (partition by coalesce(x.subscription_item, x.subscription), x.period_start) as has_credit,
                -- A change has two lines, a charge and a credit. A line that costs nothing is the opposite of the other line.
                -- Without another line it is a charge if it states that it credits nothing.
                case
                    when a.sign < 0 then true
                    when a.sign > 0 then false
                    else case sum(a.sign) filter (where x.proration)
                        over (partition by x.subscription_item, x.period_start)
                        when 1 then true when -1 then false else case when a.credits = 'null' then false end end
                end as is_credit,
                concat_ws('|', coalesce(x.subscription_item, x.subscription), x.price, extract(epoch from x.period_start),
                    extract(epoch from x.period_end), x.quantity, sign(x.amount)) as identity,
                exists (
                    select from sync.token_grants where source_key = 'invoice:' || i.id || ':line:' || a.line
                ) as is_granted
            from mirror.invoice_line_items as x
            cross join lateral (
                select coalesce(x.data->>'unique_id', x.id) as line, jsonb_typeof(c.items) as credits,
                    case jsonb_typeof(c.items) when 'object' then -1 else sign(x.amount) end as sign
                from (
                    select coalesce(
                        x.data->'parent'->'subscription_item_details'->'proration_details'->'credited_items',
                        x.data->'parent'->'invoice_item_details'->'proration_details'->'credited_items',
                        x.data->'proration_details'->'credited_items'
                    ) as items
                ) as c
            ) as a
            where x.invoice = i.id and length(x.account) = 0 and not x.deleted
                and x.period_start is not null and x.period_end is not null
        ) as m
    ) as n on true
    left join mirror.prices as p on p.id = n.price and length(p.account) = 0 and not (p.type is null)
    left join mirror.plans as o on o.id = n.price and length(o.account) = 0
    left join lateral (
        select price, product, data from mirror.subscription_items where id = n.subscription_item and length(account) = 0
        offset 0
    ) as t on t.price = n.price
    cross join lateral (
        select
            case jsonb_typeof(n.data->'price') when 'object' then n.data->'price' end as own_price,
            case jsonb_typeof(n.data->'plan') when 'object' then n.data->'plan' end as own_plan,
            case jsonb_typeof(t.data->'price') when 'object' then t.data->'price' end as item_price,
            case jsonb_typeof(t.data->'plan') when 'object' then t.data->'plan' end as item_plan
    ) as e
    cross join lateral (
        select
            coalesce(
                p.type, e.own_price->>'type', e.item_price->>'type',
                case when o.id is not null or e.own_plan is not null or e.item_plan is not null then 'recurring' end
            ) as type,
            coalesce(
                p.recurring_usage_type, e.own_price->'recurring'->>'usage_type',
                e.item_price->'recurring'->>'usage_type', o.usage_type, e.own_plan->>'usage_type',
                e.item_plan->>'usage_type'
            ) as usage_type,
            coalesce(
                p.recurring_interval, e.own_price->'recurring'->>'interval', e.item_price->'recurring'->>'interval',
                o.interval, e.own_plan->>'interval', e.item_plan->>'interval'
            ) as every,
            coalesce(
                p.recurring_interval_count::text, e.own_price->'recurring'->>'interval_count',
                e.item_price->'recurring'->>'interval_count', o.interval_count::text,
                e.own_plan->>'interval_count', e.item_plan->>'interval_count', '1'
            ) as times,
            coalesce(p.product, o.product, t.product) as product
    ) as q
    cross join lateral (
        select every, n.period_end - (n.period_end - every) as full_period
        from (
            select case when q.every in ('day', 'week', 'month', 'year') and q.times ~ '^[1-9][0-9]{{0,2}}$'
                then (q.times || ' ' || q.every)::interval end as every
        ) as interval_of
    ) as w
    cross join lateral (
        -- A change within the first hour of a period is a change, so a proration must cover the interval to the second.
        select case when n.proration then interval '0' else interval '1 hour' end as of
    ) as tolerance
    cross join lateral (
        select n.is_granted or n.number <= (
            select count(*) from sync.token_grants
            where stripe_invoice_id = i.id and identity = n.identity and left(source_key, 8) = 'invoice:'
                and (position(':line:il_' in source_key) > 0) <> n.has_new_id
        ) as has
    ) as g
    cross join lateral (
        select n.period_end > now()
            and (n.period_end - n.period_start > interval '31 days' or coalesce(w.full_period > interval '31 days', false))
            as is_long
    ) as r
    where l.user_id = any(%s) and i.status = 'paid' and not i.deleted
"""  # noqa: S608 - our own words
_DECIDING = f"{_INVOICED} and (r.is_long or not g.has)"

# The user of a session is the user of its customer. For a guest it is the user that the application named in the
# session. In a payment link the buyer can set that name, so it does not count.
_SESSION = """
    id, mode, status, payment_status, payment_intent, invoice, amount_total, metadata_product, data,
    created, observed_at, deleted
"""
_SESSIONS = f"""
    select l.user_id, s.*
    from {theirs("checkout_sessions", "s", _SESSION)}
    where l.user_id = any(%s)
    union all
    select s.client_reference_id, {_SESSION}
    from mirror.checkout_sessions as s
    where s.client_reference_id = any(%s) and s.customer is null and s.payment_link is null and length(s.account) = 0
"""  # noqa: S608 - our own words
_PAID_SESSIONS = f"""
    select * from ({_SESSIONS}) as s
    where s.mode = 'payment' and s.payment_status in ('paid', 'no_payment_required') and s.status = 'complete'
        and s.invoice is null and not s.deleted
"""  # noqa: S608 - our own words
_HAS_METADATA = """(
    s.metadata_product is not null
    or coalesce(jsonb_typeof(s.data->'metadata') = 'object' and s.data->'metadata' ? 'tokens', false)
)"""

# Sales by Checkout without an invoice, described by their line items. The line items are read from Stripe separately.
_SOLD = f"""
    select
        s.user_id, s.id as invoice, i.id as line, i.product, coalesce(i.quantity, 1) as quantity,
        i.amount_subtotal as amount, coalesce(s.created, s.observed_at) as paid_at
    from ({_PAID_SESSIONS}) as s
    join mirror.checkout_session_line_items as i on i.checkout_session = s.id and length(i.account) = 0 and not i.deleted
    where not {_HAS_METADATA} and not exists (
        select from sync.token_grants as g where g.source_key = 'cs:' || s.id || ':line:' || i.id
    )
"""  # noqa: S608 - our own words

# The same, described by the metadata of the session. If the session is paid late (by bank transfer), neither the
# session nor its payment contains the time of payment. The lifetime of the tokens then counts from the creation of the
# session.
_SOLD_BY_METADATA = f"""
    select s.user_id, s.id as invoice, s.metadata_product as product, s.data->'metadata' as metadata,
        coalesce(s.created, s.observed_at) as paid_at
    from ({_PAID_SESSIONS}) as s
    where {_HAS_METADATA} and not exists (select from sync.token_grants as g where g.source_key = 'cs:' || s.id)
"""  # noqa: S608 - our own words

# All money of a bill was returned if refunds, lost disputes and credit notes add up to its total.
_BILL = "id, total, payment_intent, status_transitions_paid_at, created, observed_at, status, deleted"
_PURCHASES = f"""
    with bought as (
        select l.user_id, i.id as source, coalesce(n.product, p.product) as product, i.total, i.payment_intent,
            coalesce(i.status_transitions_paid_at, i.created, i.observed_at) as paid_at
        from {theirs("invoices", "i", _BILL)}
        join mirror.invoice_line_items as n on n.invoice = i.id and length(n.account) = 0 and not n.deleted
        left join mirror.prices as p on p.id = n.price and length(p.account) = 0
        where l.user_id = any(%s) and i.status = 'paid' and not i.deleted
            and coalesce(p.type, n.data->'price'->>'type') = 'one_time'
        union all
        select s.user_id, s.id, coalesce(i.product, s.metadata_product), s.amount_total, s.payment_intent,
            coalesce(s.created, s.observed_at)
        from ({_PAID_SESSIONS}) as s
        left join lateral (
            select product from mirror.checkout_session_line_items
            where checkout_session = s.id and length(account) = 0 and not deleted
            offset 0
        ) as i on true
    )
    select distinct b.user_id, b.source, b.product, b.paid_at,
        b.total > 0 and b.total <= (
            select coalesce(sum(r.amount), 0) from mirror.refunds as r
            where length(r.account) = 0 and not r.deleted and r.status in ('succeeded', 'pending') and r.payment_intent in (
                select b.payment_intent
                union
                select a.payment_payment_intent from mirror.invoice_payments as a
                where a.invoice = b.source and length(a.account) = 0 and not a.deleted
            )
        ) + (
            select coalesce(sum(d.amount), 0) from mirror.disputes as d
            where length(d.account) = 0 and not d.deleted and d.status = 'lost' and d.payment_intent in (
                select b.payment_intent
                union
                select a.payment_payment_intent from mirror.invoice_payments as a
                where a.invoice = b.source and length(a.account) = 0 and not a.deleted
            )
        ) + (
            select coalesce(sum(c.returned), 0) from mirror.credit_notes as c
            where c.invoice = b.source and length(c.account) = 0 and not c.deleted and c.status = 'issued'
        ) as is_returned
    from bought as b
    join mirror.products as o on o.id = b.product and length(o.account) = 0 and o.metadata ? 'access'
"""  # noqa: S608 - our own words


def _rows(conn: Connection, statement: str, users: list[str]) -> list[Row]:
    if not users:
        return []
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, (users,) * statement.count("%s")).fetchall()
