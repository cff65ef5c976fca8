"""Revenue: the history of subscriptions, and the views over it that show MRR by day.

The guarded write adds rows to `mirror.subscription_history`. Each row is the state of a subscription at one second of
Stripe's clock. Rows are only added, so any order of delivery gives the same rows. The same transaction computes
`mirror.subscription_mrr` from these rows and from the mirror's discounts and coupons. The views of the schema `analytics`
sum up `mirror.subscription_mrr`. docs/revenue.md has the rules.
"""

from collections.abc import Mapping, Sequence

from schema import movements
from schema.movements import HORIZON

SCHEMA = "analytics"

# The products' amounts after discounts, which are applied one after the other, as Stripe does. A discount has percent_off, or
# amount_off per billing period. If it has `products`, it applies only to them.
DISCOUNTED = """
create or replace function sync.discounted_mrr(products text[], amounts numeric[], months numeric, discounts jsonb)
returns numeric[]
language plpgsql immutable as $$
declare
    discount jsonb;
    off numeric;
    total numeric;
begin
    for discount in select value from jsonb_array_elements(discounts) loop
        if discount->>'percent_off' is not null then
            off := greatest(1 - (discount->>'percent_off')::numeric / 100, 0);
        else
            select sum(u.amount) into total
            from unnest(products, amounts) as u (product, amount)
            where coalesce(discount->'products' ? u.product, true);
            off := case when total > 0
                then greatest(1 - (discount->>'amount_off')::numeric / months / total, 0)
                else 1 end;
        end if;
        select array_agg(
            case when coalesce(discount->'products' ? u.product, true) then u.amount * off else u.amount end
            order by u.number
        )
        into amounts
        from unnest(products, amounts) with ordinality as u (product, amount, number);
    end loop;
    return amounts;
end
$$
"""

# The periods between the stored states of a subscription. The subscription ends at `ended`, even if the event came later.
# The state before the first stored state is estimated: a trial until the end of the trial, then the same as the first state.
_PERIODS = """
select o.subscription, o.customer, p.since, p.until, p.status, o.paused, o.currency, o.products, o.amounts, o.months,
    o.discounts, p.estimated
from (
    select h.*, f.since, lead(f.since) over w as until, row_number() over w = 1 as is_first
    from mirror.subscription_history as h
    cross join lateral (
        select case when h.before then h.at else coalesce(least(h.ended, h.at), h.at) end as since
    ) as f
    where h.account = '' and not h.passed
    window w as (partition by h.subscription order by f.since, h.before desc, h.at, h.source)
) as o
cross join lateral (
    select o.since, o.until, o.status, o.before as estimated
    where o.until is null or o.since < o.until
    union all
    select e.since, e.until, e.status, true
    from (
        values
            (o.created, least(coalesce(o.trial_end, o.created), o.since), 'trialing'),
            (
                greatest(o.created, least(coalesce(o.trial_end, o.created), o.since)), o.since,
                case o.status when 'canceled' then 'active' when 'incomplete_expired' then 'incomplete' else o.status end
            )
    ) as e (since, until, status)
    where o.is_first and o.created < o.since and e.since < e.until
) as p
"""

# The discounts of a period's customer. A subscription inherits them while it has no discount itself, even if its items have
# discounts. A discount that the customer no longer shows has ended without an event, and counts until it was last seen.
_INHERITED = """
    select jsonb_agg(
        jsonb_strip_nulls(
            case jsonb_typeof(c.coupon) when 'object' then c.coupon else '{}' end || jsonb_build_object(
                'id', c.id, 'start', c.data->'start', 'end', least((c.data->>'end')::numeric, c.gone),
                'coupon', coalesce(c.coupon->>'id', c.coupon #>> '{}')
            )
        )
        order by c.data->'start', c.id
    )
    from (
        select q.id, q.data, coalesce(q.data->'coupon', q.data->'source'->'coupon') as coupon,
            case
                when q.deleted or u.data ? 'discount' and u.data->'discount'->>'id' is distinct from q.id
                    and u.observed_at > q.observed_at + interval '7 seconds'
                then extract(epoch from q.observed_at)
            end as gone
        from mirror.objects as q
        left join mirror.customers as u on u.account = '' and u.id = q.customer
        where q.object = 'discount' and q.account = '' and q.customer = p.customer
        union all
        select null, u.data->'discount', u.data->'discount'->'coupon', null
        from mirror.customers as u
        where u.account = '' and u.id = p.customer and u.data->'discount'->'coupon' is not null
            and u.data->'discount'->>'id' is null
    ) as c
    where coalesce(
            c.data->>'subscription', c.data->>'subscription_item', c.data->>'invoice', c.data->>'invoice_item',
            c.data->>'checkout_session'
        ) is null
        and not exists (select from jsonb_array_elements(p.discounts) as o where not o ? 'item')
"""

# Compute `mirror.subscription_mrr` for some subscriptions, given as an array. Active and past due subscriptions count while
# their payments are collected. A period with discounts is divided at the times at which a discount begins or ends.
COMPUTE_MRR = f"""
insert into mirror.subscription_mrr (
    subscription, customer, currency, product_id, since, until, status, mrr, estimated, is_partial, waits
)
select p.subscription, coalesce(p.customer, ''), p.currency, m.product_id, m.since, m.until, s.status, m.mrr, p.estimated,
    m.is_partial or m.waits, m.waits
from analytics.subscription_periods as p
cross join lateral (
    select case when p.paused and p.status in ('active', 'past_due') then 'paused_collection' else p.status end as status
) as s
cross join lateral ({_INHERITED.strip()}) as i (discounts)
cross join lateral (
    select case when i.discounts is null then p.discounts else coalesce(p.discounts, '[]') || i.discounts end as discounts
) as d
cross join lateral (
    select u.product as product_id, p.since, p.until, 0 as mrr, false as is_partial, false as waits
    from unnest(p.products) as u (product)
    where s.status not in ('active', 'past_due')
    union all
    select u.product, p.since, p.until, round(coalesce(u.amount, 0))::bigint, u.amount is null, false
    from unnest(p.products, p.amounts) as u (product, amount)
    where s.status in ('active', 'past_due') and d.discounts is null
    union all
    select u.product, c.since, c.until, round(coalesce(u.amount, 0))::bigint, u.amount is null, g.waits
    from (
        select array_agg(to_timestamp(k.ends)) filter (where k.ends is not null)
                || array_agg(to_timestamp(k.starts)) filter (where k.starts is not null) as cuts,
            bool_or(k.coupon is null) as waits,
            coalesce(
                jsonb_agg(
                    jsonb_strip_nulls(jsonb_build_object(
                        'percent_off', k.coupon->'percent_off',
                        'amount_off', k.coupon->'amount_off',
                        'products', coalesce(k.shown->'products', k.coupon->'applies_to'->'products'),
                        'starts', k.starts,
                        'ends', k.ends
                    ))
                    order by k.number
                ) filter (
                    where k.coupon->>'duration' <> 'once' and (
                        k.coupon->>'percent_off' is not null
                        or k.coupon->>'amount_off' is not null and k.coupon->>'currency' = p.currency
                    )
                ),
                '[]'
            ) as terms
        from (
            select e.number, e.value as shown, (e.value->>'start')::numeric as starts,
                coalesce(e.value->>'end', o.data->>'end')::numeric as ends,
                case
                    when e.value ? 'duration' then e.value
                    when jsonb_typeof(o.data->'coupon') = 'object' then o.data->'coupon'
                    else (
                        select q.data from mirror.coupons as q
                        where q.account = '' and q.id = coalesce(e.value->>'coupon', o.data->'source'->>'coupon')
                    )
                end as coupon
            from jsonb_array_elements(d.discounts) with ordinality as e (value, number)
            cross join lateral (
                select (
                    select q.data from mirror.objects as q
                    where q.object = 'discount' and q.id = e.value->>'id' and q.account = ''
                ) as data
            ) as o
        ) as k
    ) as g
    cross join lateral (
        select t.since, lead(t.since, 1, p.until) over (order by t.since) as until
        from (
            select p.since
            union
            select e.at from unnest(g.cuts) as e (at) where e.at > p.since and (p.until is null or e.at < p.until)
        ) as t (since)
    ) as c
    cross join lateral unnest(
        p.products,
        sync.discounted_mrr(
            p.products, p.amounts, coalesce(p.months, 1),
            coalesce(
                (
                    select jsonb_agg(v.value order by v.number)
                    from jsonb_array_elements(g.terms) with ordinality as v (value, number)
                    where (v.value->'starts' is null or to_timestamp((v.value->>'starts')::numeric) <= c.since)
                        and (v.value->'ends' is null or to_timestamp((v.value->>'ends')::numeric) > c.since)
                ),
                '[]'
            )
        )
    ) as u (product, amount)
    where s.status in ('active', 'past_due') and d.discounts is not null
) as m
where p.subscription = any(%s)
"""  # noqa: S608 - a constant

_SUBSCRIPTION_MRR = """
select m.subscription, m.customer, m.currency, m.product_id, m.since, m.until, m.mrr, m.estimated, m.is_partial
from mirror.subscription_mrr as m
where m.status in ('active', 'past_due')
"""

# Each day shows the state at its end: a period counts from the day on which it begins until the day before it ends. A row of
# zeros is added for every day, so that no day is missing.
_DAILY = """
with by_day as (
    select (c.at at time zone 'UTC')::date as day, {keys}, {sums}
    from {source} as m
    cross join lateral (values (m.since, 1), (m.until, -1)) as c (at, sign)
    where c.at is not null
    group by 1, {keys}
), with_zeros as (
    select * from by_day
    union all
    select d.day::date, k.*, {zeros}
    from (select {keys}, min(b.day) as first_day from by_day as b group by {keys}) as f
    cross join lateral (select {keys_of_f}) as k
    cross join lateral generate_series(f.first_day::timestamp, {horizon}::timestamp, interval '1 day') as d (day)
)
select z.day, {keys}, {totals}
from with_zeros as z
where z.day <= {horizon}
group by z.day, {keys}
window w as (partition by {keys} order by z.day)
"""


def _daily(source: str, keys: Sequence[str], sums: Mapping[str, str]) -> str:
    """Return a query for the sums at the end of each day, grouped by these keys."""
    return _DAILY.format(
        source=source,
        keys=", ".join(keys),
        keys_of_f=", ".join(f"f.{key}" for key in keys),
        sums=", ".join(f"{expression} as {name}" for name, expression in sums.items()),
        zeros=", ".join("0" for _ in sums),
        totals=", ".join(f"(sum(coalesce(sum(z.{name}), 0)) over w)::bigint as {name}" for name in sums),
        horizon=HORIZON,
    )


_MRR_DAILY = _daily(
    "analytics.subscription_mrr",
    ("currency", "product_id"),
    {
        "mrr": "sum(c.sign * m.mrr)",
        "subscriptions": "sum(c.sign)",
        "estimated": "sum(c.sign * m.mrr) filter (where m.estimated)",
    },
)
_SUBSCRIPTIONS_DAILY = _daily(
    "mirror.subscription_mrr", ("currency", "product_id", "status"), {"subscriptions": "sum(c.sign)"}
)

# Each view uses only earlier views.
VIEWS: dict[str, str] = {
    "subscription_periods": _PERIODS,
    "subscription_mrr": _SUBSCRIPTION_MRR,
    "mrr_daily": _MRR_DAILY,
    "subscriptions_daily": _SUBSCRIPTIONS_DAILY,
    **movements.VIEWS,
}


def statements() -> list[str]:
    """Return the statements that create the views. Other tools may have tables or views in the same schema."""
    return [
        f"create schema if not exists {SCHEMA}",
        *(f"create view {SCHEMA}.{name} as {query.strip()}" for name, query in VIEWS.items()),
    ]
