"""Changes by time alone: tokens are renewed or expire, and overrides end."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.factories import DAY, customer, event, invoice, line_item, product, subscription
from tests.processes import eventually
from worker.membership import organizations
from worker.membership.compute import compute, compute_due, sweep_expired
from worker.membership.rules.access import Policy
from worker.membership.store import rechecks, recompute_queue
from worker.stripe_api.event import ObjectRef
from worker.writers.apply import compute_waiting

Apply = Callable[..., None]


def rows(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()


@pytest.fixture
def many(conn: psycopg.Connection) -> int:
    """Create 1,200 users whose balance has expired, and one whose balance has not."""
    conn.execute(
        """
        insert into users (id, tokens, tokens_expires_at)
        select 'u' || n, n, now() - n * interval '1 minute' from generate_series(1, 1200) as n
        """
    )
    conn.execute("insert into users (id, tokens, tokens_expires_at) values ('fresh', 5, now() + interval '1 hour')")
    return 1200


def test_expired_balances_are_swept_with_a_ledger_row_each(conn: psycopg.Connection, many: int) -> None:
    swept = sweep_expired(conn, should_continue=lambda: True)
    again = sweep_expired(conn, should_continue=lambda: True)

    assert (swept, again) == (many, 0)
    assert rows(conn, "select id, tokens from users where tokens <> 0") == [("fresh", 5)]
    assert rows(conn, "select count(*), sum(balance_before - balance_after), sum(amount) from sync.token_grants") == [
        (many, many * (many + 1) // 2, -many * (many + 1) // 2)
    ]
    assert rows(
        conn,
        """
        select count(*) from sync.token_grants as g join users as u on u.id = g.user_id
        where g.source_key = 'expiry:' || u.id || ':' || floor(extract(epoch from u.tokens_expires_at))::bigint
        """,
    ) == [(many,)]


def test_a_sweep_stops_when_should_continue_is_false(conn: psycopg.Connection, many: int) -> None:
    answers = iter([True, False])

    swept = sweep_expired(conn, should_continue=lambda: next(answers), batch=100)

    assert swept == 100


def test_two_concurrent_sweeps_do_not_wait_and_sweep_each_balance_once(
    conn: psycopg.Connection, database: str, many: int
) -> None:
    swept: list[int] = []

    def sweep() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            swept.append(sweep_expired(own, should_continue=lambda: True, batch=50))

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    swept.append(sweep_expired(conn, should_continue=lambda: True))

    assert sum(swept) == many
    assert rows(conn, "select count(*) from sync.token_grants") == [(many,)]


def test_tokens_added_to_an_expired_balance_are_swept_too(
    conn: psycopg.Connection,
) -> None:
    conn.execute("insert into users (id, tokens, tokens_expires_at) values ('u', 7, now() - interval '1 day')")
    sweep_expired(conn, should_continue=lambda: True)
    conn.execute("update users set tokens = tokens + 3")

    sweep_expired(conn, should_continue=lambda: True)

    assert rows(conn, "select tokens from users") == [(0,)]
    assert rows(conn, "select balance_before from sync.token_grants order by id") == [(7,), (3,)]


def test_a_year_is_renewed_once_by_the_scheduler(conn: psycopg.Connection, apply: Apply) -> None:
    conn.execute("insert into users (id) values ('u')")
    start = int(time.time()) - 29 * DAY
    line = line_item("il_1", period_start=start, period_end=start + 365 * DAY)
    paid = {"finalized_at": start, "paid_at": start, "voided_at": None, "marked_uncollectible_at": None}
    apply(
        event("product.created", product()),
        event("customer.created", customer("cus_jenny", user_id="u")),
        event("customer.subscription.created", subscription(period_start=start, period_end=start + 365 * DAY)),
        event("invoice.paid", invoice(lines=[line], status_transitions=paid)),
    )
    first = rows(conn, "select source_key, amount from sync.token_grants")
    ahead = rows(conn, f"select due_at = to_timestamp({start + 30 * DAY}) from sync.next_changes")
    idle = compute_due(conn, Policy(), should_continue=lambda: True)

    # Simulate that two days pass: make everything that Stripe reported two days older.
    conn.execute("update users set tokens = 1")
    for table, column in (
        ("stripe.invoice_line_items", "period_start"),
        ("stripe.invoice_line_items", "period_end"),
        ("sync.next_changes", "due_at"),
    ):
        conn.execute(f"update {table} set {column} = {column} - interval '2 days'")
    computed = compute_due(conn, Policy(), should_continue=lambda: True)
    again = compute_due(conn, Policy(), should_continue=lambda: True)

    assert first == [("invoice:in_1:line:il_1", 1000)]
    assert ahead == [(True,)]
    assert (idle, computed, again) == (0, 1, 0)
    assert rows(conn, "select tokens from users") == [(1000,)]
    assert rows(conn, "select source_key, balance_before, stripe_invoice_id from sync.token_grants where id > 1") == [
        (f"part:si_1:{start - 2 * DAY}:1", 1, "in_1")
    ]


def test_an_override_ends_at_its_time(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id) values ('u')")
    conn.execute("insert into sync.overrides (user_id, role, until) values ('u', 'PREMIUM', now() + interval '1 hour')")
    with conn.transaction():
        compute(conn, ["u"], Policy())
    before = rows(conn, "select role::text from users")

    conn.execute("update sync.overrides set until = now() - interval '1 second'")
    conn.execute("update sync.next_changes set due_at = now() - interval '1 second'")
    computed = compute_due(conn, Policy(), should_continue=lambda: True)

    assert (before, computed) == ([("PREMIUM",)], 1)
    assert rows(conn, "select role::text from users") == [("USER",)]
    assert rows(conn, "select * from sync.next_changes") == []


@pytest.mark.parametrize("asked_by", ["an alarm", "a request", "a recheck"])
def test_a_user_that_fails_to_compute_blocks_no_other_and_is_retried_in_an_hour(
    conn: psycopg.Connection, asked_by: str
) -> None:
    conn.execute("insert into users (id) values ('ann'), ('bad'), ('cid')")
    conn.execute(
        "insert into sync.customer_links (stripe_customer_id, user_id, linked_at) select 'cus_' || id, id, now() from users"
    )
    conn.execute("insert into sync.overrides (user_id, role) select id, 'PREMIUM' from users")
    conn.execute(
        """
        create function refuse() returns trigger language plpgsql as $$
        begin raise exception 'not this one'; end $$
        """
    )
    conn.execute(
        "create trigger refuse before update on users for each row when (old.id = 'bad') execute function refuse()"
    )

    def go() -> list[tuple[Any, ...]]:
        compute_due(conn, Policy(), should_continue=lambda: True)
        eventually(lambda: compute_waiting(conn, Policy()))
        return rows(conn, "select id from users where role = 'PREMIUM' order by id")

    if asked_by == "an alarm":
        conn.execute("insert into sync.next_changes (user_id, due_at) select id, now() from users")
    elif asked_by == "a request":
        recompute_queue.request(conn, ["cus_ann", "cus_bad", "cus_cid"])
    else:
        rechecks.note(conn, [ObjectRef("user", "ann"), ObjectRef("user", "bad"), ObjectRef("user", "cid")])
    first = go()
    again = rows(
        conn, "select user_id, due_at between now() + '59 minutes' and now() + '1 hour' from sync.next_changes"
    )
    conn.execute("drop trigger refuse on users")
    conn.execute("update sync.next_changes set due_at = now()")

    assert first == [("ann",), ("cid",)]
    assert again == [("bad", True)]
    assert go() == [("ann",), ("bad",), ("cid",)]
    assert rows(conn, "select user_id from sync.next_changes") == []


def test_no_user_is_given_up_while_the_schema_is_from_another_release(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id, organization_id) values ('ann', null), ('bob', null)")
    conn.execute(
        "insert into sync.customer_links (stripe_customer_id, user_id, linked_at) values ('cus_1', 'ann', now())"
    )
    conn.execute("insert into organizations (id, name) values ('org', 'Org')")
    conn.execute("update users set organization_id = 'org' where id = 'bob'")
    conn.execute("delete from sync.next_changes")
    conn.execute("insert into sync.next_changes (user_id, due_at) values ('ann', now())")
    conn.execute("insert into sync.organization_queue (organization_id) values ('org')")
    recompute_queue.request(conn, ["cus_1"])
    conn.execute("alter table sync.overrides rename to overrides_of_tomorrow")
    jobs: list[Callable[[], object]] = [
        lambda: compute_waiting(conn, Policy()),
        lambda: compute_due(conn, Policy(), should_continue=lambda: True),
        lambda: organizations.compute_waiting(conn, Policy(), should_continue=lambda: True),
    ]

    for job in jobs:
        with pytest.raises(psycopg.errors.UndefinedTable):
            job()

    assert rows(conn, "select count(*) from sync.recompute_queue") == [(1,)]
    assert rows(conn, "select user_id, due_at <= now() from sync.next_changes") == [("ann", True)]
    assert rows(conn, "select organization_id, place from sync.organization_queue") == [("org", "")]
