set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0013 -> 0014

CREATE TABLE mirror.subscription_history (
    account TEXT NOT NULL,
    subscription TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    source TEXT NOT NULL,
    before BOOLEAN NOT NULL,
    passed BOOLEAN DEFAULT false NOT NULL,
    rank SMALLINT NOT NULL,
    customer TEXT,
    status TEXT NOT NULL,
    paused BOOLEAN NOT NULL,
    currency TEXT,
    created TIMESTAMP WITH TIME ZONE,
    ended TIMESTAMP WITH TIME ZONE,
    trial_end TIMESTAMP WITH TIME ZONE,
    products TEXT[] NOT NULL,
    amounts NUMERIC[] NOT NULL,
    months NUMERIC,
    discounts JSONB,
    CONSTRAINT pk_subscription_history PRIMARY KEY (account, subscription, at, source, before)
);

COMMENT ON TABLE mirror.subscription_history IS 'States of subscriptions by time, for revenue.';

COMMENT ON COLUMN mirror.subscription_history.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.subscription_history.at IS 'Stripe''s clock: the state was this then';

COMMENT ON COLUMN mirror.subscription_history.source IS 'the event, or the read, that showed it';

COMMENT ON COLUMN mirror.subscription_history.before IS 'the state that the event''s previous_attributes give back';

COMMENT ON COLUMN mirror.subscription_history.passed IS 'not the last state of its second';

COMMENT ON COLUMN mirror.subscription_history.rank IS '0 created, 1 updated, 2 deleted';

COMMENT ON COLUMN mirror.subscription_history.status IS 'Stripe''s status; `deleted` where the object is gone';

COMMENT ON COLUMN mirror.subscription_history.paused IS 'the collection of payments is paused';

COMMENT ON COLUMN mirror.subscription_history.amounts IS 'of each product, a month, in minor units before discounts; null where the price does not tell';

COMMENT ON COLUMN mirror.subscription_history.months IS 'the billing period of the first item';

COMMENT ON COLUMN mirror.subscription_history.discounts IS 'null where there are none';

CREATE INDEX ix_subscription_history_discounts ON mirror.subscription_history USING gin (discounts jsonb_path_ops) WHERE discounts is not null;

CREATE TABLE mirror.subscription_mrr (
    subscription TEXT NOT NULL,
    product_id TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    customer TEXT,
    currency TEXT,
    mrr BIGINT NOT NULL,
    estimated BOOLEAN NOT NULL,
    is_partial BOOLEAN NOT NULL,
    waits BOOLEAN NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_subscription_mrr PRIMARY KEY (subscription, product_id, since)
);

COMMENT ON TABLE mirror.subscription_mrr IS 'Monthly amounts of our own subscriptions by product and time, computed from their history when it changes.';

COMMENT ON COLUMN mirror.subscription_mrr.until IS 'null while it goes on';

COMMENT ON COLUMN mirror.subscription_mrr.mrr IS 'minor units a month, after discounts';

COMMENT ON COLUMN mirror.subscription_mrr.estimated IS 'reconstructed: nothing was observed then';

COMMENT ON COLUMN mirror.subscription_mrr.is_partial IS 'a price or discount is not known, and counts as 0';

COMMENT ON COLUMN mirror.subscription_mrr.waits IS 'for a discount or coupon that is not mirrored yet';

CREATE INDEX ix_subscription_mrr_waits ON mirror.subscription_mrr (computed_at) WHERE waits;

create view stripe.subscription_history as select
    account, subscription, at, source, before, passed, rank, customer,
    status, paused, currency, created, ended, trial_end, products, amounts,
    months, discounts
 from mirror.subscription_history;

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
$$;

create schema if not exists analytics;

create view analytics.subscription_periods as select o.subscription, o.customer, p.since, p.until, p.status, o.paused, o.currency, o.products, o.amounts, o.months,
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
) as p;

create view analytics.subscription_mrr as select m.subscription, m.customer, m.currency, m.product_id, m.since, m.until, m.mrr, m.estimated, m.is_partial
from mirror.subscription_mrr as m;

create view analytics.mrr_daily as with by_day as (
    select (c.at at time zone 'UTC')::date as day, m.currency, m.product_id, sum(c.sign * m.mrr) as mrr,
        sum(c.sign) as subscriptions, sum(c.sign * m.mrr) filter (where m.estimated) as estimated
    from analytics.subscription_mrr as m
    cross join lateral (values (m.since, 1), (m.until, -1)) as c (at, sign)
    where c.at is not null
    group by 1, 2, 3
), kinds as (
    select b.currency, b.product_id, min(b.day) as first_day from by_day as b group by b.currency, b.product_id
)
select d.day::date as day, k.currency, k.product_id,
    (sum(coalesce(b.mrr, 0)) over w)::bigint as mrr,
    (sum(coalesce(b.subscriptions, 0)) over w)::bigint as subscriptions,
    (sum(coalesce(b.estimated, 0)) over w)::bigint as estimated
from kinds as k
cross join lateral generate_series(k.first_day::timestamp, (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    )::timestamp, interval '1 day') as d (day)
left join by_day as b on b.day = d.day::date and b.currency = k.currency and b.product_id = k.product_id
window w as (partition by k.currency, k.product_id order by d.day);

create view analytics.customer_movements as with parts as (
    select m.customer, m.currency, m.product_id, (c.at at time zone 'UTC')::date as day,
        sum(c.sign * m.mrr)::bigint as amount
    from analytics.subscription_mrr as m
    cross join lateral (values (m.since, 1), (m.until, -1)) as c (at, sign)
    where c.at is not null
    group by 1, 2, 3, 4
    having sum(c.sign * m.mrr) <> 0
), sums as (
    select p.*,
        sum(p.amount) over (partition by p.customer, p.currency, p.day) as change,
        sum(p.amount) over (partition by p.customer, p.currency order by p.day) as mrr
    from parts as p
), ever as (
    select s.*,
        max(s.mrr) over (
            partition by s.customer, s.currency order by s.day groups between unbounded preceding and 1 preceding
        ) as most
    from sums as s
)
select e.day, e.customer, e.currency, e.product_id,
    case
        when e.mrr = 0 and e.change < 0 then 'churn'
        when e.mrr - e.change = 0 and e.change > 0 and coalesce(e.most, 0) = 0 then 'new'
        when e.mrr - e.change = 0 and e.change > 0 then 'reactivation'
        when e.change < 0 then 'contraction'
        else 'expansion'
    end as kind,
    e.amount
from ever as e
where e.day <= (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    );

create view analytics.mrr_movements as select m.day, m.currency, m.product_id, m.kind, sum(m.amount)::bigint as amount
from analytics.customer_movements as m
group by m.day, m.currency, m.product_id, m.kind
having sum(m.amount) <> 0;

create view analytics.subscriptions_daily as with by_day as (
    select (c.at at time zone 'UTC')::date as day, p.currency, u.product_id,
        case when p.paused and p.status in ('active', 'past_due') then 'paused_collection' else p.status end as status,
        sum(c.sign) as subscriptions
    from analytics.subscription_periods as p
    cross join lateral unnest(p.products) as u (product_id)
    cross join lateral (values (p.since, 1), (p.until, -1)) as c (at, sign)
    where c.at is not null
    group by 1, 2, 3, 4
), kinds as (
    select b.currency, b.product_id, b.status, min(b.day) as first_day
    from by_day as b
    group by b.currency, b.product_id, b.status
)
select d.day::date as day, k.currency, k.product_id, k.status,
    (sum(coalesce(b.subscriptions, 0)) over w)::bigint as subscriptions
from kinds as k
cross join lateral generate_series(k.first_day::timestamp, (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    )::timestamp, interval '1 day') as d (day)
left join by_day as b on b.day = d.day::date and b.currency = k.currency and b.product_id = k.product_id
    and b.status = k.status
window w as (partition by k.currency, k.product_id, k.status order by d.day);

create view analytics.churn_monthly as with days as (
    select m.customer, m.currency, m.day, m.kind, sum(m.amount) as amount
    from analytics.customer_movements as m
    group by m.customer, m.currency, m.day, m.kind
), by_month as (
    select date_trunc('month', d.day)::date as month, d.currency,
        sum(d.amount) as change,
        count(*) filter (where d.kind in ('new', 'reactivation')) - count(*) filter (where d.kind = 'churn') as customers,
        count(distinct d.customer) filter (where d.kind = 'churn') as customers_churned,
        coalesce(-sum(d.amount) filter (where d.kind = 'churn'), 0) as mrr_churned,
        coalesce(-sum(d.amount) filter (where d.kind = 'contraction'), 0) as mrr_contracted
    from days as d
    group by 1, 2
), months as (
    select m.month::date as month, k.currency
    from (select b.currency, min(b.month) as first_month from by_month as b group by b.currency) as k
    cross join lateral generate_series(
        k.first_month::timestamp,
        (select max(b.month) from by_month as b)::timestamp,
        interval '1 month'
    ) as m (month)
), sums as (
    select m.month, m.currency,
        sum(coalesce(b.change, 0)) over w - coalesce(b.change, 0) as mrr_at_start,
        sum(coalesce(b.customers, 0)) over w - coalesce(b.customers, 0) as customers_at_start,
        coalesce(b.customers_churned, 0) as customers_churned,
        coalesce(b.mrr_churned, 0) as mrr_churned,
        coalesce(b.mrr_contracted, 0) as mrr_contracted
    from months as m
    left join by_month as b using (month, currency)
    window w as (partition by m.currency order by m.month)
)
select s.month, s.currency, s.customers_at_start::bigint, s.customers_churned::bigint,
    round(s.customers_churned / nullif(s.customers_at_start, 0)::numeric, 4) as customer_churn,
    s.mrr_at_start::bigint, s.mrr_churned::bigint, s.mrr_contracted::bigint,
    round((s.mrr_churned + s.mrr_contracted) / nullif(s.mrr_at_start, 0)::numeric, 4) as mrr_churn
from sums as s;

UPDATE sync.alembic_version SET version_num='0014' WHERE sync.alembic_version.version_num = '0013';

COMMIT;
