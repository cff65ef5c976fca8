-- Revenue.

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
