"""Events that fail or are leased by several workers: they are retried, parked or applied once, and hold up no other event."""

import threading
from collections.abc import Callable

import psycopg

from tests.factories import NOW, customer, event
from tests.processes import eventually
from tests.writers.test_apply import PREMIUM, column, one, sign_up, user
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.mirror.fold import observe
from worker.stripe_api.event import read_event
from worker.writers.apply import Applier
from worker.writers.record import record

Apply = Callable[..., None]


def test_a_failing_event_is_retried_and_parked_while_the_others_are_applied(
    conn: psycopg.Connection, apply: Apply
) -> None:
    conn.execute("alter table mirror.customers add constraint no_evil check (name <> 'Evil')")
    good = [event("customer.created", customer(f"cus_{number}")) for number in range(9)]

    apply(*good[:4], event("customer.created", customer("cus_evil", name="Evil"), id="evt_evil"), *good[4:])
    first = one(
        conn, "select status, attempts, next_attempt_at > now() as later from sync.events where id = 'evt_evil'"
    )
    for _ in range(10):
        conn.execute("update sync.events set next_attempt_at = now() where status = 'pending'")
        apply()

    assert column(conn, "select count(*) from stripe.customers") == [9]
    assert first == {"status": "pending", "attempts": 1, "later": True}
    last = one(conn, "select status, attempts, last_error from sync.events where id = 'evt_evil'")
    assert (last["status"], last["attempts"]) == ("parked", 8)
    assert "no_evil" in last["last_error"]


def test_a_held_lock_parks_no_event(conn: psycopg.Connection, database: str, apply: Apply) -> None:
    conn.execute("insert into users (id) values ('jenny')")
    conn.execute("set lock_timeout = '20ms'")
    with psycopg.connect(database) as holder:
        holder.execute("select from users for update")
        apply(*sign_up())
        for _ in range(9):
            conn.execute("update sync.events set next_attempt_at = now() where status = 'pending'")
            apply()
        waiting = column(conn, "select distinct status from sync.events where last_error is not null")
    conn.execute("update sync.events set next_attempt_at = now() where status = 'pending'")

    apply()

    assert waiting == ["pending"]
    assert user(conn) == PREMIUM


def test_waiting_for_a_migration_does_not_count_as_an_attempt(conn: psycopg.Connection, apply: Apply) -> None:
    conn.execute("alter table mirror.customers rename to customers_away")
    for _ in range(10):
        apply(event("customer.created", customer("cus_1"), id="evt_1"))
        conn.execute("update sync.events set next_attempt_at = now()")
    assert one(conn, "select status, attempts from sync.events") == {"status": "pending", "attempts": 0}

    conn.execute("alter table mirror.customers_away rename to customers")
    apply()

    assert one(conn, "select status from sync.events") == {"status": "done"}


def test_a_replayed_parked_event_is_applied(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.created", customer("cus_1"), id="evt_1"))
    conn.execute("update sync.events set status = 'parked'")
    conn.execute("delete from mirror.customers")

    replayed = inbox.replay(conn, ["evt_1"])
    apply()

    assert replayed == 1
    assert column(conn, "select id from stripe.customers") == ["cus_1"]


def test_an_event_that_kills_its_workers_is_leased_alone_and_then_parked(
    conn: psycopg.Connection,
) -> None:
    conn.execute(
        """
        insert into sync.events (id, type, livemode, created, body, attempts)
        select 'evt_' || n, 'x', false, now(), '{}', case when n = 1 then 3 else 0 end from generate_series(1, 5) as n
        """
    )

    first = inbox.lease(conn, limit=500, seconds=60)
    alone = inbox.lease(conn, limit=500, seconds=60)
    conn.execute("update sync.events set attempts = 8, next_attempt_at = now() where id = 'evt_1'")
    parked = inbox.park_killers(conn, max_attempts=8)

    assert sorted(leased.id for leased in first) == ["evt_2", "evt_3", "evt_4", "evt_5"]
    assert [leased.id for leased in alone] == ["evt_1"]
    assert parked == ["evt_1"]


def test_a_lease_belongs_to_one_worker_until_it_expires(conn: psycopg.Connection) -> None:
    conn.execute(
        "insert into sync.events (id, type, livemode, created, body) values ('evt_1', 'x', false, now(), '{}')"
    )

    mine = inbox.lease(conn, limit=10, seconds=60)
    yours = inbox.lease(conn, limit=10, seconds=60)
    conn.execute("update sync.events set next_attempt_at = now()")
    later = inbox.lease(conn, limit=10, seconds=60)

    assert [leased.attempts for leased in mine] == [1]
    assert yours == []
    assert [leased.attempts for leased in later] == [2]


def test_two_workers_that_insert_the_same_object_end_at_the_newer_version(
    database: str, conn: psycopg.Connection, apply: Apply
) -> None:
    """Our worker looks for the row before the other worker has committed it. Our worker waits, and then decides again."""

    newer = observe(read_event(event("customer.updated", customer(name="Newer"), created=NOW + 60)))
    older = observe(read_event(event("customer.updated", customer(name="Older"), created=NOW)))
    assert newer is not None
    assert older is not None
    with psycopg.connect(database) as other:
        record(other, [newer], Policy())

        def ours() -> None:
            with conn.transaction():
                record(conn, [older], Policy())

        waiting = threading.Thread(target=ours)
        waiting.start()
        with psycopg.connect(database, autocommit=True) as look:
            eventually(lambda: look.execute("select from pg_locks where not granted").fetchone() is not None)
        other.commit()
        waiting.join()

    assert one(conn, "select name, unsettled from stripe.customers") == {"name": "Newer", "unsettled": False}


def test_a_drain_that_runs_out_of_time_requests_another(conn: psycopg.Connection) -> None:
    conn.execute(
        """
        insert into sync.events (id, type, livemode, created, body)
        select 'evt_' || n, 'x', true, now(), '{"id": "evt_' || n || '", "object": "event", "type": "x", "created": 1,
            "livemode": true, "data": {"object": {"object": "x"}}}'
        from generate_series(1, 5) as n
        """
    )
    asked: list[None] = []

    drained = Applier(livemode=False, policy=Policy(), batch_size=2, drain_seconds=0).drain(
        conn, more=lambda: asked.append(None)
    )

    assert (drained.events, drained.batches) == (2, 1)
    assert len(asked) == 2
