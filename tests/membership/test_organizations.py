"""Users of an organization follow the subscription that names it: as it changes, and as they come and go."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.factories import (
    NOW,
    Json,
    customer,
    event,
    invoice,
    line_item,
    price,
    product,
    stub,
    subscription,
    subscription_item,
)
from tests.processes import eventually
from worker.membership import organizations, recompute_all
from worker.membership.compute import compute, compute_due
from worker.membership.rules.access import Policy
from worker.membership.store import organization_queue
from worker.mirror.fold import Key, listed, retrieved
from worker.writers.record import Answered, record, record_answers

Apply = Callable[..., None]
Rows = list[tuple[Any, ...]]

BOSS = "cus_boss"
LATER = NOW + 100


def rows(conn: psycopg.Connection, query: str) -> Rows:
    return conn.execute(query).fetchall()


def team(
    status: str = "active", *, organization: str | None = "org", key: str = "organization_id", **more: Any
) -> Json:
    """A subscription of the boss's that names the organization."""
    metadata = {key: organization} if organization else {}
    return subscription(**({"id": "sub_team", "customer": BOSS, "status": status, "metadata": metadata} | more))


def changed(after: Json, *, seconds: int = 100) -> Json:
    return event("customer.subscription.updated", after, created=NOW + seconds)


def settle(conn: psycopg.Connection, policy: Policy | None = None) -> None:
    """All that a worker does about users once events were applied, and a wake-up came."""
    assert organizations.compute_waiting(conn, policy or Policy(), should_continue=lambda: True)
    compute_due(conn, policy or Policy(), should_continue=lambda: True)


def access(conn: psycopg.Connection) -> dict[str, tuple[str, str, str | None]]:
    actual = rows(conn, "select id, role::text, membership_status::text, stripe_product_id from users")
    return {id_: (role, status, product_id) for id_, role, status, product_id in actual}


MEMBER = ("PREMIUM", "ACTIVE", "prod_pro")
LEFT = ("USER", "CANCELED", None)
NOBODY = ("USER", "ACTIVE", None)


@pytest.fixture
def people(conn: psycopg.Connection) -> None:
    """Two users of the organization, one of another, one of none; the boss, who pays, is in none."""
    conn.execute("insert into organizations (id, name) values ('org', 'Org'), ('other', 'Other')")
    conn.execute(
        """
        insert into users (id, organization_id)
        values ('ann', 'org'), ('bob', 'org'), ('eve', 'other'), ('sue', null), ('boss', null)
        """
    )
    conn.execute("delete from sync.next_changes")


@pytest.fixture
def paying(conn: psycopg.Connection, apply: Apply, people: None) -> None:
    """The boss subscribed for the organization, and its users are computed."""
    apply(
        event("product.created", product()),
        event("customer.created", customer(BOSS, user_id="boss")),
        event("customer.subscription.created", team()),
    )
    settle(conn)


@pytest.mark.usefixtures("paying")
def test_a_subscription_entitles_the_users_of_the_organization_it_names(conn: psycopg.Connection) -> None:
    assert access(conn) == {"ann": MEMBER, "bob": MEMBER, "boss": MEMBER, "eve": NOBODY, "sue": NOBODY}
    assert rows(conn, "select user_id, stripe_subscription_id from user_subscriptions") == [("boss", "sub_team")]
    assert rows(conn, "select user_id, organization_id from sync.organization_members order by 1") == [
        ("ann", "org"),
        ("bob", "org"),
    ]


@pytest.mark.usefixtures("people")
def test_the_other_spelling_of_the_key_names_it_too(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.subscription.created", team(key="organizationId")))
    settle(conn)

    assert access(conn)["ann"] == MEMBER


@pytest.mark.usefixtures("people")
def test_a_customer_who_is_nobody_entitles_the_organization_and_gets_no_tokens(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(
        event("product.created", product()),
        event("customer.subscription.created", team()),
        event("invoice.paid", invoice(customer=BOSS, lines=[line_item("il_1", subscription="sub_team")])),
    )
    settle(conn)

    assert access(conn) == {"ann": MEMBER, "bob": MEMBER, "boss": NOBODY, "eve": NOBODY, "sue": NOBODY}
    assert rows(conn, "select * from sync.token_grants") == []


@pytest.mark.usefixtures("paying")
def test_tokens_are_the_buyers_alone(conn: psycopg.Connection, apply: Apply) -> None:
    paid = invoice(customer=BOSS, lines=[line_item("il_1", subscription="sub_team")])
    apply(event("price.created", price()), event("invoice.paid", paid))
    settle(conn)

    assert rows(conn, "select distinct user_id from sync.token_grants") == [("boss",)]


@pytest.mark.usefixtures("paying")
@pytest.mark.parametrize(
    ("move", "then"),
    [
        ("update users set organization_id = 'org' where id = 'sue'", {"sue": MEMBER}),
        ("update users set organization_id = 'org' where id = 'eve'", {"eve": MEMBER}),
        ("insert into users (id, organization_id) values ('new', 'org')", {"new": MEMBER}),
        ("update users set organization_id = null where id = 'ann'", {"ann": LEFT, "bob": MEMBER}),
        ("update users set organization_id = 'other' where id = 'ann'", {"ann": LEFT}),
        ("delete from organizations where id = 'org'", {"ann": LEFT, "bob": LEFT, "boss": MEMBER}),
        ("update users set organization_id = 'other' where id = 'sue'", {"sue": NOBODY}),
        ("update users set organization_id = 'org' where id = 'boss'", {"boss": MEMBER}),
    ],
)
def test_a_user_who_changes_organization_is_computed_again(
    conn: psycopg.Connection, move: str, then: dict[str, tuple[str, ...]]
) -> None:
    conn.execute(move)
    compute_due(conn, Policy(), should_continue=lambda: True)

    now = access(conn)

    assert {id_: now[id_] for id_ in then} == then
    assert rows(conn, "select * from sync.next_changes") == []


@pytest.mark.usefixtures("people")
def test_an_organization_that_appears_after_its_subscription_counts_then(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(event("customer.subscription.created", team(organization="late")))
    settle(conn)

    conn.execute("insert into organizations (id, name) values ('late', 'Late')")
    conn.execute("update users set organization_id = 'late' where id = 'sue'")
    compute_due(conn, Policy(), should_continue=lambda: True)

    assert access(conn)["sue"] == MEMBER


@pytest.mark.usefixtures("paying")
def test_a_user_whom_the_application_made_premium_is_left_alone_where_nothing_is_paid_for_their_organization(
    conn: psycopg.Connection,
) -> None:
    conn.execute("insert into users (id, organization_id, role) values ('vip', 'other', 'PREMIUM')")
    conn.execute("update users set organization_id = null where id = 'vip'")
    compute_due(conn, Policy(), should_continue=lambda: True)

    assert access(conn)["vip"] == ("PREMIUM", "ACTIVE", None)


@pytest.mark.usefixtures("paying")
@pytest.mark.parametrize(
    ("after", "members"),
    [
        (team("past_due"), ("PREMIUM", "PAST_DUE", "prod_pro")),
        (team("unpaid"), ("USER", "PAST_DUE", None)),
        (team("paused"), ("USER", "INACTIVE", None)),
        (team("canceled"), LEFT),
        (team(organization=None), LEFT),
        (
            team(items=[subscription_item("si_2", subscription="sub_team", product="prod_max")]),
            ("PREMIUM", "ACTIVE", "prod_max"),
        ),
    ],
)
def test_members_follow_the_organizations_subscription(
    conn: psycopg.Connection, apply: Apply, after: Json, members: tuple[str, ...]
) -> None:
    apply(changed(after))
    settle(conn)

    now = access(conn)

    assert (now["ann"], now["bob"], now["eve"]) == (members, members, NOBODY)


@pytest.mark.usefixtures("paying")
def test_a_subscription_that_names_another_organization_entitles_its_users_and_no_longer_the_first_ones(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(changed(team(organization="other")))
    settle(conn)

    now = access(conn)

    assert (now["ann"], now["eve"], now["boss"]) == (LEFT, MEMBER, MEMBER)


@pytest.mark.usefixtures("paying")
def test_two_changes_in_one_batch_are_both_followed(conn: psycopg.Connection, apply: Apply) -> None:
    apply(changed(team(organization="third")), changed(team(organization="other"), seconds=200))
    settle(conn)

    now = access(conn)

    assert (now["ann"], now["eve"]) == (LEFT, MEMBER)


@pytest.mark.usefixtures("paying")
def test_a_subscription_that_stripe_has_no_more_entitles_nobody(conn: psycopg.Connection) -> None:
    key = Key("subscriptions", "subscription", "sub_team", "")
    gone = retrieved(key, None, read_at=LATER, shape="endive")
    with conn.transaction():
        record_answers(conn, [Answered(gone, rows(conn, "select rev from stripe.subscriptions")[0][0])], Policy())
    settle(conn)

    assert access(conn)["ann"] == LEFT


@pytest.mark.usefixtures("paying")
def test_a_list_that_shows_another_organization_is_followed_as_an_event_is(conn: psycopg.Connection) -> None:
    seen = listed(team(organization="other"), read_at=LATER, shape="endive")
    assert seen is not None
    with conn.transaction():
        record(conn, [seen], Policy())
    settle(conn)

    now = access(conn)

    assert (now["ann"], now["eve"]) == (LEFT, MEMBER)


@pytest.mark.usefixtures("paying")
def test_a_customer_that_is_deleted_entitles_nobody(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.deleted", stub(customer(BOSS)), created=LATER))
    settle(conn)

    assert access(conn)["ann"] == LEFT


@pytest.mark.usefixtures("people")
def test_a_product_that_comes_late_tells_the_role_of_the_organizations_users(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(event("customer.subscription.created", team()))
    settle(conn)
    before = access(conn)["ann"]

    apply(event("product.created", product(role="USER")))
    settle(conn)

    assert (before, access(conn)["ann"]) == (MEMBER, ("USER", "ACTIVE", "prod_pro"))


@pytest.mark.usefixtures("people")
def test_a_connected_accounts_subscription_entitles_nobody(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.subscription.created", team(), account="acct_1"))
    asked = rows(conn, "select * from sync.organization_queue")
    organization_queue.request(conn, ["org"])
    settle(conn)

    assert (asked, access(conn)["ann"]) == ([], NOBODY)


@pytest.mark.usefixtures("paying")
@pytest.mark.parametrize(
    "after",
    [team(quantity=7), team(latest_invoice="in_9"), team(cancel_at_period_end=True), team(period_start=NOW + 99)],
)
def test_a_change_that_is_none_for_its_users_computes_none_of_them(
    conn: psycopg.Connection, apply: Apply, after: Json
) -> None:
    apply(changed(after))

    assert rows(conn, "select * from sync.organization_queue") == []


@pytest.mark.usefixtures("paying")
def test_a_grace_that_ends_changes_all_members(conn: psycopg.Connection, apply: Apply) -> None:
    policy = Policy(past_due_grace=timedelta(days=3))
    apply(changed(team("past_due", period_start=int(datetime.now(UTC).timestamp()))), policy=policy)
    settle(conn, policy)
    within = access(conn)["ann"]

    # Four days go by: all that Stripe said is so much older.
    conn.execute("update mirror.subscriptions set current_period_start = current_period_start - interval '4 days'")
    conn.execute("update sync.next_changes set due_at = due_at - interval '4 days'")
    compute_due(conn, policy, should_continue=lambda: True)

    now = access(conn)
    assert within == ("PREMIUM", "PAST_DUE", "prod_pro")
    assert now["ann"] == now["bob"] == ("USER", "PAST_DUE", None)


@pytest.mark.usefixtures("paying")
def test_an_unknown_status_is_said_once_for_all_users(
    conn: psycopg.Connection, apply: Apply, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(changed(team("hibernating")))
    capsys.readouterr()
    settle(conn)

    assert capsys.readouterr().out.count("subscription.unknown_status") == 1
    assert access(conn)["ann"] == MEMBER


@pytest.mark.usefixtures("paying")
def test_a_change_of_policy_is_planned_and_applied_for_members_too(conn: psycopg.Connection, database: str) -> None:
    conn.execute("""update mirror.products set metadata = '{"role": "USER"}'""")

    planned = {id_ for piece in recompute_all.plan(conn, Policy()) for id_ in piece.changing}
    for _ in recompute_all.apply(lambda: psycopg.connect(database, autocommit=True), Policy()):
        pass

    assert planned == {"ann", "bob", "boss"}
    assert {access(conn)[id_] for id_ in planned} == {("USER", "ACTIVE", "prod_pro")}


@pytest.mark.usefixtures("people")
def test_recomputing_all_users_finds_changes_that_no_request_named(
    conn: psycopg.Connection, database: str, apply: Apply
) -> None:
    """A worker of the release before applied it, which asks for no organization."""
    apply(event("product.created", product()), event("customer.subscription.created", team()))
    conn.execute("delete from sync.organization_queue")

    for _ in recompute_all.apply(lambda: psycopg.connect(database, autocommit=True), Policy()):
        pass

    assert access(conn) == {"ann": MEMBER, "bob": MEMBER, "boss": NOBODY, "eve": NOBODY, "sue": NOBODY}


@pytest.fixture
def crowd(conn: psycopg.Connection, apply: Apply, people: None) -> int:
    """Two thousand users more in the organization, which has a subscription that they were not computed for."""
    conn.execute("insert into users (id, organization_id) select 'u' || n, 'org' from generate_series(1, 2000) as n")
    conn.execute("delete from sync.next_changes")
    apply(event("product.created", product()), event("customer.subscription.created", team()))
    return 2002


def test_two_thousand_users_are_computed_in_batches_and_by_whoever_has_time(
    conn: psycopg.Connection, crowd: int
) -> None:
    answers = iter([True, True, True, False])

    in_time = organizations.compute_waiting(conn, Policy(), should_continue=lambda: next(answers), batch=100)
    so_far = rows(conn, "select count(*) from users where role = 'PREMIUM'")
    place = rows(conn, "select place from sync.organization_queue")
    done = organizations.compute_waiting(conn, Policy(), should_continue=lambda: True, batch=100)

    assert (in_time, so_far, done) == (False, [(300,)], True)
    assert place == rows(conn, "select id from users where organization_id = 'org' order by id offset 299 limit 1")
    assert rows(conn, "select count(*) from users where role = 'PREMIUM'") == [(crowd,)]
    assert rows(conn, "select * from sync.organization_queue") == []


def test_a_change_while_they_are_computed_begins_anew(conn: psycopg.Connection, apply: Apply, crowd: int) -> None:
    answers = iter([True, True, False])
    organizations.compute_waiting(conn, Policy(), should_continue=lambda: next(answers), batch=500)

    apply(changed(team("canceled")))
    settle(conn)

    assert set(access(conn).values()) == {LEFT, NOBODY, ("USER", "CANCELED", None)}
    assert rows(conn, "select count(*) from users where role = 'PREMIUM'") == [(0,)]


def test_four_workers_compute_them_once_and_wait_for_nobody(
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
def test_an_application_that_keeps_a_user_locked_is_not_waited_for(
    conn: psycopg.Connection, database: str, apply: Apply
) -> None:
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
def test_where_an_application_locks_users_the_other_way_round_it_is_we_who_give_way(
    conn: psycopg.Connection, database: str
) -> None:
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


def test_a_user_who_cannot_be_computed_holds_nobody_up(conn: psycopg.Connection, crowd: int) -> None:
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
def test_a_change_waits_for_who_computes_its_users_and_is_computed_after_them(
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
    """A transaction of the application's, still open: Sue joins the organization, Ann leaves it."""
    with closing(psycopg.connect(database)) as own:
        own.execute("update users set organization_id = 'org' where id = 'sue'")
        own.execute("update users set organization_id = null where id = 'ann'")
        yield own


@pytest.fixture
def ending(database: str, paying: None) -> Iterator[psycopg.Connection]:
    """A worker's transaction, still open: the subscription ended."""
    seen = listed(team("canceled"), read_at=LATER, shape="endive")
    assert seen is not None
    with closing(psycopg.connect(database)) as own:
        record(own, [seen], Policy())
        yield own


GONE = {"ann": LEFT, "bob": LEFT, "boss": LEFT, "eve": NOBODY, "sue": LEFT}


def test_an_end_that_commits_after_a_move_ends_the_access_of_who_moved(
    conn: psycopg.Connection, moving: psycopg.Connection, ending: psycopg.Connection
) -> None:
    moving.commit()
    compute_due(conn, Policy(), should_continue=lambda: True)
    between = access(conn)["sue"]
    ending.commit()
    settle(conn)

    assert between == MEMBER
    assert access(conn) == GONE


def test_a_move_that_commits_while_an_end_is_computed_is_computed_after_it(
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
def test_members_who_come_and_go_while_the_subscription_comes_and_goes_end_as_the_rows_say(
    conn: psycopg.Connection, database: str
) -> None:
    """Four move users about, two change the subscription, two compute; then everything is computed once more."""
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
