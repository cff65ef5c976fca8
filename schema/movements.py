"""Revenue: the movements of customers' MRR, stored by customer and day.

A customer's movements depend on all subscriptions of the customer. The transaction that writes `mirror.subscription_mrr`
also adds the customers to `mirror.movements_due`. A periodic job then recomputes their rows in `mirror.customer_movements`.
Until then, the views compute the movements of these customers when they are read, so the views are always current.
"""

# The last day of the views: today, or a later day if a test clock is ahead.
HORIZON = """(
        select greatest((now() at time zone 'UTC')::date, (max(h.at) at time zone 'UTC')::date)
        from mirror.subscription_history as h where h.account = ''
    )"""

# A customer's change on one day has one kind. Its amount is the sum of the changes by product.
_COMPUTED = """
with parts as (
    select m.customer, m.currency, m.product_id, (c.at at time zone 'UTC')::date as day,
        sum(c.sign * m.mrr)::bigint as amount
    from mirror.subscription_mrr as m
    cross join lateral (values (m.since, 1), (m.until, -1)) as c (at, sign)
    where c.at is not null and {condition}
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
"""
# Compute the movements of some customers, given as an array.
COMPUTE = (
    "insert into mirror.customer_movements (customer, currency, day, kind, amount, products, amounts)"
    + _COMPUTED.format(condition="m.customer = any(%s)")
)

_CHANGES = f"""
select m.customer, m.currency, m.day, m.kind, m.amount, m.products, m.amounts
from mirror.customer_movements as m
where m.day <= {HORIZON} and not exists (select from mirror.movements_due as d where d.customer = m.customer)
union all
select l.customer, l.currency, l.day, l.kind, l.amount, l.products, l.amounts
from ({_COMPUTED.format(condition="m.customer in (select d.customer from mirror.movements_due as d)")}) as l
where l.day <= {HORIZON}
"""  # noqa: S608 - constants

_CUSTOMER_MOVEMENTS = """
select c.day, c.customer, c.currency, u.product_id, c.kind, u.amount
from analytics.customer_changes as c
cross join lateral unnest(c.products, c.amounts) as u (product_id, amount)
"""

_MRR_MOVEMENTS = """
select m.day, m.currency, m.product_id, m.kind, sum(m.amount)::bigint as amount
from analytics.customer_movements as m
group by m.day, m.currency, m.product_id, m.kind
having sum(m.amount) <> 0
"""

_CHURN_MONTHLY = """
with by_kind as (
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
from sums as s
"""

# Each view uses only earlier views.
VIEWS: dict[str, str] = {
    "customer_changes": _CHANGES,
    "customer_movements": _CUSTOMER_MOVEMENTS,
    "mrr_movements": _MRR_MOVEMENTS,
    "churn_monthly": _CHURN_MONTHLY,
}
