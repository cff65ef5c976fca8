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
from mirror.subscription_mrr as m
where m.status in ('active', 'past_due');

create view analytics.mrr_daily as with by_day as (
    select (c.at at time zone 'UTC')::date as day, currency, product_id, sum(c.sign * m.mrr) as mrr, sum(c.sign) as subscriptions, sum(c.sign * m.mrr) filter (where m.estimated) as estimated
    from analytics.subscription_mrr as m
    cross join lateral (values (m.since, 1), (m.until, -1)) as c (at, sign)
    where c.at is not null
    group by 1, currency, product_id
), with_zeros as (
    select * from by_day
    union all
    select d.day::date, k.*, 0, 0, 0
    from (select currency, product_id, min(b.day) as first_day from by_day as b group by currency, product_id) as f
    cross join lateral (select f.currency, f.product_id) as k
    cross join lateral generate_series(f.first_day::timestamp, (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    )::timestamp, interval '1 day') as d (day)
)
select z.day, currency, product_id, (sum(coalesce(sum(z.mrr), 0)) over w)::bigint as mrr, (sum(coalesce(sum(z.subscriptions), 0)) over w)::bigint as subscriptions, (sum(coalesce(sum(z.estimated), 0)) over w)::bigint as estimated
from with_zeros as z
where z.day <= (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    )
group by z.day, currency, product_id
window w as (partition by currency, product_id order by z.day);

create view analytics.subscriptions_daily as with by_day as (
    select (c.at at time zone 'UTC')::date as day, currency, product_id, status, sum(c.sign) as subscriptions
    from mirror.subscription_mrr as m
    cross join lateral (values (m.since, 1), (m.until, -1)) as c (at, sign)
    where c.at is not null
    group by 1, currency, product_id, status
), with_zeros as (
    select * from by_day
    union all
    select d.day::date, k.*, 0
    from (select currency, product_id, status, min(b.day) as first_day from by_day as b group by currency, product_id, status) as f
    cross join lateral (select f.currency, f.product_id, f.status) as k
    cross join lateral generate_series(f.first_day::timestamp, (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    )::timestamp, interval '1 day') as d (day)
)
select z.day, currency, product_id, status, (sum(coalesce(sum(z.subscriptions), 0)) over w)::bigint as subscriptions
from with_zeros as z
where z.day <= (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    )
group by z.day, currency, product_id, status
window w as (partition by currency, product_id, status order by z.day);

create view analytics.customer_changes as select m.customer, m.currency, m.day, m.kind, m.amount, m.products, m.amounts
from mirror.customer_movements as m
where m.day <= (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    ) and not exists (select from mirror.movements_due as d where d.customer = m.customer)
union all
select l.customer, l.currency, l.day, l.kind, l.amount, l.products, l.amounts
from (
with parts as (
    select m.customer, m.currency, m.product_id, (c.at at time zone 'UTC')::date as day,
        sum(c.sign * m.mrr)::bigint as amount
    from mirror.subscription_mrr as m
    cross join lateral (values (m.since, 1), (m.until, -1)) as c (at, sign)
    where c.at is not null and m.customer in (select d.customer from mirror.movements_due as d)
    group by 1, 2, 3, 4
    having sum(c.sign * m.mrr) <> 0
), changes as (
    select p.customer, p.currency, p.day, sum(p.amount)::bigint as amount,
        array_agg(p.product_id order by p.product_id) as products, array_agg(p.amount order by p.product_id) as amounts
    from parts as p
    group by p.customer, p.currency, p.day
), sums as (
    select c.*, sum(c.amount) over (partition by c.customer, c.currency order by c.day) as mrr
    from changes as c
), ever as (
    select s.*,
        max(s.mrr) over (
            partition by s.customer, s.currency order by s.day rows between unbounded preceding and 1 preceding
        ) as most
    from sums as s
)
select e.customer, e.currency, e.day,
    case
        when e.mrr = 0 and e.amount < 0 then 'churn'
        when e.mrr - e.amount = 0 and e.amount > 0 and coalesce(e.most, 0) = 0 then 'new'
        when e.mrr - e.amount = 0 and e.amount > 0 then 'reactivation'
        when e.amount < 0 then 'contraction'
        else 'expansion'
    end as kind,
    e.amount, e.products, e.amounts
from ever as e
) as l
where l.day <= (
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    );

create view analytics.customer_movements as select c.day, c.customer, c.currency, u.product_id, c.kind, u.amount
from analytics.customer_changes as c
cross join lateral unnest(c.products, c.amounts) as u (product_id, amount);

create view analytics.mrr_movements as select m.day, m.currency, m.product_id, m.kind, sum(m.amount)::bigint as amount
from analytics.customer_movements as m
group by m.day, m.currency, m.product_id, m.kind
having sum(m.amount) <> 0;

create view analytics.churn_monthly as with by_kind as (
    select date_trunc('month', c.day::timestamp)::date as month, c.currency, c.kind, sum(c.amount) as amount,
        count(*) as customers
    from analytics.customer_changes as c
    group by 1, 2, 3
), churned as (
    select c.month, c.currency, count(*) as customers
    from (
        select distinct date_trunc('month', c.day::timestamp)::date as month, c.currency, c.customer
        from analytics.customer_changes as c
        where c.kind = 'churn'
    ) as c
    group by c.month, c.currency
), by_month as (
    select k.month, k.currency,
        sum(k.amount) as change,
        coalesce(sum(k.customers) filter (where k.kind in ('new', 'reactivation')), 0)
            - coalesce(sum(k.customers) filter (where k.kind = 'churn'), 0) as customers,
        coalesce(max(c.customers), 0) as customers_churned,
        coalesce(-sum(k.amount) filter (where k.kind = 'churn'), 0) as mrr_churned,
        coalesce(-sum(k.amount) filter (where k.kind = 'contraction'), 0) as mrr_contracted
    from by_kind as k
    left join churned as c on c.month = k.month and c.currency is not distinct from k.currency
    group by k.month, k.currency
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
