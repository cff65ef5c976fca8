"""An organization of thousands of users is computed in batches, by concurrent workers, despite the application's locks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql

from tests.factories import (
    NOW,
    event,
    product,
    subscription,
)
from tests.membership.teams import LATER, LEFT, MEMBER, NOBODY, Apply, access, changed, rows, settle, team
from tests.processes import eventually
from worker.membership import organizations
from worker.membership.compute import compute, compute_due
from worker.membership.rules.access import Policy
from worker.membership.store import organization_queue
from worker.mirror.fold import listed
from worker.writers.record import record


@pytest.fixture
def crowd(conn: psycopg.Connection, apply: Apply, people: None) -> int:
    """Add two thousand users to the organization, without computing its subscription for them."""
    conn.execute("insert into users (id, organization_id) select 'u' || n, 'org' from generate_series(1, 2000) as n")
    conn.execute("delete from sync.next_changes")
    apply(event("product.created", product()), event("customer.subscription.created", team()))
    return 2002


def test_two_thousand_users_are_computed_in_batches_across_calls(conn: psycopg.Connection, crowd: int) -> None:
    answers = iter([True, True, True, False])

    in_time = organizations.compute_waiting(conn, Policy(), should_continue=lambda: next(answers), batch=100)
    so_far = rows(conn, "select count(*) from users where role = 'PREMIUM'")
    place = rows(conn, "select place from sync.organization_queue")
    done = organizations.compute_waiting(conn, Policy(), should_continue=lambda: True, batch=100)

    assert (in_time, so_far, done) == (False, [(300,)], True)
    assert place == rows(conn, "select id from users where organization_id = 'org' order by id offset 299 limit 1")
    assert rows(conn, "select count(*) from users where role = 'PREMIUM'") == [(crowd,)]
    assert rows(conn, "select * from sync.organization_queue") == []


def test_a_change_during_the_computation_starts_it_again(conn: psycopg.Connection, apply: Apply, crowd: int) -> None:
    answers = iter([True, True, False])
    organizations.compute_waiting(conn, Policy(), should_continue=lambda: next(answers), batch=500)

    apply(changed(team("canceled")))
    settle(conn)

    assert set(access(conn).values()) == {LEFT, NOBODY, ("USER", "CANCELED", None)}
    assert rows(conn, "select count(*) from users where role = 'PREMIUM'") == [(0,)]


def test_four_workers_compute_each_user_once_without_waiting(
    conn: psycopg.Connection, database: str, crowd: int
) -> None:
    finished: list[bool] = []

    def work() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            finished.append(organizations.compute_waiting(own, Policy(), should_continue=lambda: True, batch=100))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert finished == [True] * 4
    assert rows(conn, "select count(*) from users where role = 'PREMIUM'") == [(crowd,)]


def test_an_organization_that_another_worker_computes_is_skipped(
    conn: psycopg.Connection, database: str, apply: Apply, crowd: int
) -> None:
    apply(changed(team(id="sub_other", organization="other")))
    conn.execute("set lock_timeout = '10s'")
    with psycopg.connect(database) as busy:
        organization_queue.take(busy, limit=100)

        done = organizations.compute_waiting(conn, Policy(), should_continue=lambda: True)

    assert done
    assert access(conn)["eve"] == MEMBER
    assert rows(conn, "select organization_id from sync.organization_queue") == [("org",)]


@pytest.mark.usefixtures("paying")
def test_a_user_locked_by_the_application_is_skipped(conn: psycopg.Connection, database: str, apply: Apply) -> None:
    other = subscription("sub_other", customer="cus_other", metadata={"organization_id": "other"})
    apply(changed(team("canceled")), event("customer.subscription.created", other))
    conn.execute("insert into sync.next_changes (user_id, due_at) values ('bob', now()), ('sue', now())")
    with psycopg.connect(database) as application:
        application.execute("update users set name = 'Bob' where id = 'bob'")

        in_time = organizations.compute_waiting(conn, Policy(), should_continue=lambda: True)
        computed = compute_due(conn, Policy(), should_continue=lambda: True)
        meanwhile = access(conn)
    settle(conn)

    assert (in_time, computed) == (True, 1)
    assert (meanwhile["ann"], meanwhile["bob"], meanwhile["eve"]) == (MEMBER, MEMBER, MEMBER)
    assert (access(conn)["ann"], access(conn)["bob"]) == (LEFT, LEFT)
    assert rows(conn, "select * from sync.next_changes") == []


@pytest.mark.usefixtures("paying")
def test_in_a_deadlock_with_the_application_the_worker_gives_way(conn: psycopg.Connection, database: str) -> None:
    organization_queue.request(conn, ["org"])
    with closing(psycopg.connect(database, autocommit=True)) as own, psycopg.connect(database) as application:
        application.execute("update users set organization_id = null where id = 'bob'")
        worker = threading.Thread(
            target=organizations.compute_waiting, args=(own, Policy()), kwargs={"should_continue": lambda: True}
        )
        worker.start()
        eventually(lambda: is_waiting(conn, own.info.backend_pid))
        application.execute("update users set organization_id = null where id = 'ann'")
        application.commit()
        worker.join()
    settle(conn)

    assert (access(conn)["ann"], access(conn)["bob"]) == (LEFT, LEFT)


def test_a_user_who_cannot_be_computed_delays_no_other(conn: psycopg.Connection, crowd: int) -> None:
    conn.execute(
        """
        create function refuse() returns trigger language plpgsql as $$
        begin raise exception 'not this one'; end $$
        """
    )
    conn.execute(
        "create trigger refuse before update on users for each row when (old.id = 'u7') execute function refuse()"
    )

    organizations.compute_waiting(conn, Policy(), should_continue=lambda: True)

    assert rows(conn, "select id from users where organization_id = 'org' and role = 'USER'") == [("u7",)]


def is_waiting(conn: psycopg.Connection, pid: int) -> bool:
    return rows(conn, f"select wait_event_type from pg_stat_activity where pid = {pid}") == [("Lock",)]


@pytest.mark.usefixtures("paying")
def test_a_change_waits_for_a_running_computation_and_is_computed_after_it(
    conn: psycopg.Connection, database: str, apply: Apply
) -> None:
    conn.execute("insert into sync.organization_queue (organization_id) values ('org')")
    with (
        closing(psycopg.connect(database, autocommit=True)) as busy,
        closing(psycopg.connect(database, autocommit=True)) as other,
    ):
        seen = listed(team("canceled"), read_at=LATER, shape="endive")
        assert seen is not None

        def end() -> None:
            with other.transaction():
                record(other, [seen], Policy())

        ending = threading.Thread(target=end)
        with busy.transaction():
            step = organization_queue.take(busy, limit=100)
            assert step is not None
            compute(busy, step.users, Policy(), concerned_only=True)
            ending.start()
            eventually(lambda: is_waiting(conn, other.info.backend_pid))
        ending.join()
        settle(conn)

    assert access(conn)["ann"] == access(conn)["bob"] == LEFT


@pytest.fixture
def moving(database: str, paying: None) -> Iterator[psycopg.Connection]:
    """An open transaction of the application: Sue joins the organization, and Ann leaves it."""
    with closing(psycopg.connect(database)) as own:
        own.execute("update users set organization_id = 'org' where id = 'sue'")
        own.execute("update users set organization_id = null where id = 'ann'")
        yield own


@pytest.fixture
def ending(database: str, paying: None) -> Iterator[psycopg.Connection]:
    """An open transaction of a worker: the subscription ends."""
    seen = listed(team("canceled"), read_at=LATER, shape="endive")
    assert seen is not None
    with closing(psycopg.connect(database)) as own:
        record(own, [seen], Policy())
        yield own


GONE = {"ann": LEFT, "bob": LEFT, "boss": LEFT, "eve": NOBODY, "sue": LEFT}


def test_a_subscription_end_committed_after_a_move_ends_the_moved_user_s_access(
    conn: psycopg.Connection, moving: psycopg.Connection, ending: psycopg.Connection
) -> None:
    moving.commit()
    compute_due(conn, Policy(), should_continue=lambda: True)
    between = access(conn)["sue"]
    ending.commit()
    settle(conn)

    assert between == MEMBER
    assert access(conn) == GONE


def test_a_move_that_commits_during_a_computation_is_computed_after_it(
    conn: psycopg.Connection, database: str, moving: psycopg.Connection, ending: psycopg.Connection
) -> None:
    ending.commit()
    with closing(psycopg.connect(database, autocommit=True)) as own:
        worker = threading.Thread(target=settle, args=(own,))
        worker.start()
        eventually(lambda: is_waiting(conn, own.info.backend_pid))
        moving.commit()
        worker.join()
    settle(conn)

    assert access(conn) == GONE


@pytest.mark.usefixtures("paying")
def test_concurrent_moves_and_subscription_changes_end_consistent(conn: psycopg.Connection, database: str) -> None:
    """Four threads move users, two change the subscription, two compute. Then everything is computed once more."""
    conn.execute("insert into users (id) select 'u' || n from generate_series(1, 20) as n")
    stop = threading.Event()
    errors: list[psycopg.Error] = []

    def guarded(work: Callable[[psycopg.Connection], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                with psycopg.connect(database, autocommit=True) as own:
                    work(own)
            except psycopg.Error as error:
                errors.append(error)

        return run

    def move(own: psycopg.Connection) -> None:
        for number in range(60):
            where = "org" if number % 2 else "other"
            own.execute("update users set organization_id = %s where id = %s", (where, f"u{number % 20 + 1}"))

    def change(own: psycopg.Connection) -> None:
        for number in range(30):
            organization = "org" if number % 2 else "other"
            seen = listed(team(organization=organization), read_at=NOW + 20 * (number + 1), shape="endive")
            assert seen is not None
            with own.transaction():
                record(own, [seen], Policy())

    def work(own: psycopg.Connection) -> None:
        while not stop.is_set():
            organizations.compute_waiting(own, Policy(), should_continue=lambda: not stop.is_set(), batch=5)
            compute_due(own, Policy(), should_continue=lambda: not stop.is_set(), batch=5)

    movers = [threading.Thread(target=guarded(each)) for each in (move, move, move, move, change)]
    workers = [threading.Thread(target=guarded(work)) for _ in range(2)]
    for thread in (*movers, *workers):
        thread.start()
    for thread in movers:
        thread.join()
    stop.set()
    for thread in workers:
        thread.join()
    settle(conn)

    assert errors == []
    wrong = sql.SQL(
        """
        select u.id, u.role::text, u.organization_id, s.metadata_organization_id
        from users as u, stripe.subscriptions as s
        where u.id <> 'boss'
            and (u.role = 'PREMIUM') <> (u.organization_id is not distinct from s.metadata_organization_id)
        """
    )
    assert conn.execute(wrong).fetchall() == []
    assert rows(conn, "select user_id from sync.next_changes") == []
