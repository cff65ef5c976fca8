"""Rows that fill every page of the console: charts, a backfill with errors, connected accounts, a hostile name."""

from datetime import UTC, datetime

import psycopg

from worker.mirror import revenue_summary
from worker.mirror.subscription_history import compute_mrr

HOSTILE = "<script>alert(1)</script>\u202e\"'><img src=x onerror=alert(1)>" + "long" * 60

_ROWS = (
    """
    insert into sync.minutes (minute, received, applied, requests)
    select date_trunc('minute', now()) - n * interval '1 minute', (1500 - n) * 40 + 400 * sin(n / 90.0),
        (1500 - n) * 40 + 400 * sin(n / 90.0), (1500 - n) * 6
    from generate_series(0, 1500) as n
    """,
    """
    insert into sync.runs (job, slot, started_at, finished_at, outcome, error, result)
    values ('backfill', now(), now() - interval '40 seconds', null, null, null, '{"account": "", "since": null}'),
        ('reconcile', now(), now() - interval '20 minutes', now() - interval '18 minutes', 'done', null, '{}'),
        ('catch_up', now(), now() - interval '1 minute', now(), 'failed',
            'GET /v1/events: the restricted key in STRIPE_SECRET_KEY lacks rak_event_read. Edit the key and set it to read', '{}')
    """,
    """
    insert into sync.shards (run_id, list, done, tally, error, besides, place)
    select r.id, s.list, s.done, jsonb_build_object('listed', s.listed, 'written', s.listed / 3, 'unchanged', s.listed / 2),
        s.error, s.besides::jsonb, s.place::jsonb
    from sync.runs as r, (
        values ('products', true, 61, null, '{}', null),
            ('customers', false, 40200, null, '{}', '{"down_to": 1700000000, "span": 90000}'),
            ('invoices', true, 0, 'the restricted key lacks rak_invoice_read', '{"refused_lists": 1}', null),
            ('charges', true, 900, 'GET /v1/charges: Stripe answered 500 six times', '{}', null),
            ('refunds', false, 0, null, '{}', null)
    ) as s (list, done, listed, error, besides, place)
    where r.job = 'backfill'
    """,
    """
    insert into sync.accounts (id, status, last_event_at, last_pass_at, rounds, error)
    values ('acct_1Connected', 'connected', now() - interval '5 minutes', now() - interval '2 minutes', 12, null),
        ('acct_1Failing', 'connected', null, now() - interval '1 day', 0, 'Stripe refuses the key for this account'),
        ('acct_1Gone', 'deauthorized', now() - interval '40 days', now() - interval '40 days', 300, null)
    """,
    """
    insert into sync.drift (found_by, object, object_id, fields, found_at)
    select 'audit', case when n % 3 = 0 then 'customer' else 'subscription' end, 'sub_ann', array['status', 'items'],
        now() - n * interval '9 hours'
    from generate_series(1, 15) as n
    """,
    """
    insert into sync.token_grants (user_id, kind, amount, balance_before, balance_after, source_key, created_at)
    select 'ann', 'grant', 5000, n % 4 * 900, 5000 + n % 4 * 900, 'world ' || n, now() - (24 - n) * interval '30 days'
    from generate_series(1, 24) as n
    """,
    """
    insert into mirror.subscription_history (account, subscription, at, source, before, rank, customer, status, paused, currency,
        created, ended, products, amounts, months)
    select '', 'sub_w' || n, change.at, 'evt_w' || n || change.number, false, change.number, 'cus_w' || n,
        case when change.number = 1 and n % 4 = 0 then 'canceled' else 'active' end, false,
        case when n % 9 = 0 then 'jpy' else 'usd' end, began.at,
        case when change.number = 1 and n % 4 = 0 then change.at end, array['prod_pro'],
        array[1900 * (1 + change.number)], 1
    from generate_series(1, 90) as n
    cross join lateral (select now() - (400 - 4 * n) * interval '1 day' as at) as began
    cross join lateral (values (0, began.at), (1, least(began.at + n % 7 * interval '40 days', now()))) as change (number, at)
    """,
    "update users set role = 'PREMIUM' where id = 'ben'",
    """
    insert into sync.events (id, account, type, object_type, object_id, livemode, created, body, status, outcome, attempts,
        last_error)
    select 'evt_1Parked' || n, case when n % 4 = 0 then 'acct_1Connected' else '' end,
        case when n % 3 = 0 then 'invoice.paid' else 'customer.subscription.updated' end, 'subscription', 'sub_ann', false,
        now() - n * interval '50 minutes', '{"id": "evt_1Parked", "object": "event", "data": {"object": {"id": "sub_ann"}}}',
        'parked', 'parked', 8, case when n % 3 = 0 then 'CheckViolation: the application''s trigger refused the row: '
            || 'new row for relation "payment_history" violates check constraint "payment_history_amount_check"'
        else 'UniqueViolation: another user has this e-mail' end
    from generate_series(1, 8) as n
    """,
    """
    insert into mirror.customers (id, email, observed_at, observed_rank, observed_in, content_hash, shape, created, data)
    values ('cus_1Unlinked', 'stranger@example.com', now(), 1, 'evt_1', repeat('0', 32), 'endive', now() - interval '3 hours',
        '{"id": "cus_1Unlinked", "object": "customer"}')
    """,
    "insert into sync.customer_links (stripe_customer_id, checked_at) values ('cus_1Unlinked', now())",
)


def fill(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for statement in _ROWS:
            conn.execute(statement)
        compute_mrr(conn, [f"sub_w{n}" for n in range(1, 91)])
        conn.execute(
            "insert into users (id, email, name) values ('hostile', %s || '@example.com', %s)", (HOSTILE, HOSTILE)
        )
        conn.execute("insert into stripe_products (id, name, active) values ('prod_hostile', %s, true)", (HOSTILE,))
        revenue_summary.refresh(conn, datetime.now(UTC))
