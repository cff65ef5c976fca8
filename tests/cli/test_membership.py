"""`stripe-sync membership plan` and `apply`, as an operator runs them after the policy has changed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests import factories
from tests.backends import Backend
from tests.processes import eventually
from worker.membership import organizations, recompute_all
from worker.membership.rules.access import Policy
from worker.mirror.fold import observe
from worker.postgres import cursors
from worker.stripe_api.event import read_event
from worker.writers.record import record

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Row = tuple[Any, ...]

USERS = tuple(f"user_{number}" for number in range(6))


@pytest.fixture
def env(backend: Backend, database: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": backend.redis_url, "APP_ENV": "test"}


@pytest.fixture
def run(env: dict[str, str]) -> Command:
    def command(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "worker", "membership", *words],
            env=env | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


def apply_events(conn: psycopg.Connection, *events: factories.Json, policy: Policy | None = None) -> None:
    """Apply the events to the mirror and to the affected users."""
    observations = [observation for each in events if (observation := observe(read_event(each))) is not None]
    with conn.transaction():
        record(conn, observations, policy or Policy())


def rows(conn: psycopg.Connection) -> dict[str, Row]:
    """The columns of each user that the daemon writes."""
    users = conn.execute(
        "select id, role::text, membership_status::text, stripe_product_id, tokens, tokens_expires_at from users"
    )
    return {row[0]: row[1:] for row in users}


def ledger(conn: psycopg.Connection) -> list[Row]:
    return conn.execute("select user_id, source_key, kind, amount from sync.token_grants order by id").fetchall()


@pytest.fixture(autouse=True)
def _people(conn: psycopg.Connection) -> None:
    """Six users, each with a subscription, a paid invoice and a late payment, and one user without a customer."""
    conn.execute("insert into users (id) select unnest(%s::text[])", ([*USERS, "stranger"],))
    apply_events(conn, factories.event("product.created", factories.product(metadata={"tokens": "1000"})))
    for number, user in enumerate(USERS):
        customer, sub = f"cus_{number}", f"sub_{number}"
        late = factories.subscription(sub, customer=customer, status="past_due")
        apply_events(
            conn,
            factories.event("customer.created", factories.customer(customer, user_id=user)),
            factories.event("customer.subscription.created", late),
        )


def change_the_product(conn: psycopg.Connection, **metadata: str) -> None:
    """Change the product's metadata. This event alone recomputes no user."""
    created = factories.NOW + 3600
    apply_events(conn, factories.event("product.updated", factories.product(metadata=metadata), created=created))


def test_a_plan_lists_exactly_the_changes_that_apply_makes(run: Command, conn: psycopg.Connection) -> None:
    change_the_product(conn, role="USER", tokens="1000")
    conn.execute("update users set membership_status = 'CANCELED' where id = 'user_3'")
    before, written = rows(conn), ledger(conn)

    planned = json.loads(run("plan", "--json").stdout)
    untouched = rows(conn) == before
    done = json.loads(run("apply", "--json").stdout)
    after = rows(conn)

    assert untouched
    names = ("role", "membership_status", "stripe_product_id", "tokens", "tokens_expires_at")
    differ = {
        user: {
            name: {"old": old, "new": new}
            for name, old, new in zip(names, before[user], after[user], strict=True)
            if old != new
        }
        for user in before
        if before[user] != after[user]
    }
    assert {change["user"]: change["columns"] for change in planned["changes"]} == differ
    assert differ.keys() == set(USERS)
    assert differ["user_3"].keys() == {"role", "membership_status"}
    assert [change["grants"] for change in planned["changes"]] == [[]] * 6
    assert ledger(conn) == written
    assert planned["summary"]["columns"]["role"] == 6
    assert done == {"users": 6, "changed": 6, "resumed": 0, "outdated": False}
    assert after["stranger"] == before["stranger"]
    assert json.loads(run("plan", "--json").stdout)["changes"] == []


def test_new_grants_are_planned_and_then_made(run: Command, conn: psycopg.Connection) -> None:
    today = int(time.time())
    start, end = today - factories.DAY, today + 9 * factories.DAY
    line = factories.line_item("il_0", invoice="in_0", subscription="sub_0", period_start=start, period_end=end)
    invoice = factories.invoice("in_0", customer="cus_0", subscription="sub_0", lines=[line])
    conn.execute("update mirror.products set metadata = '{}'")
    apply_events(conn, factories.event("invoice.paid", invoice))
    none_yet = ledger(conn)
    conn.execute("""update mirror.products set metadata = '{"tokens": "700"}'""")

    planned = json.loads(run("plan", "--json").stdout)
    applied = run("apply")

    assert none_yet == []
    (change,) = planned["changes"]
    assert planned["summary"] | {"columns": None} == {
        "users": 6, "changing": 1, "columns": None, "grants": 1, "tokens": change["columns"]["tokens"]["new"],
    }  # fmt: skip
    assert [("user_0", *grant.values()) for grant in change["grants"]] == ledger(conn)
    assert rows(conn)["user_0"][3] == change["columns"]["tokens"]["new"]
    assert "Users computed: 6, changed: 1." in applied.stdout


def test_a_changed_setting_changes_access(run: Command, conn: psycopg.Connection) -> None:
    output = run("plan", PAST_DUE_GRACE_DAYS="0").stdout
    same = run("plan").stdout
    run("apply", PAST_DUE_GRACE_DAYS="0")

    assert "PAST_DUE_GRACE_DAYS=0" in output
    assert "user_0: role PREMIUM -> USER" in output
    assert "6 of 6 users would change: role of 6" in output
    assert "0 of 6 users would change." in same
    assert {rows(conn)[user][0] for user in USERS} == {"USER"}


def test_a_limit_shortens_the_list_and_not_the_totals(run: Command) -> None:
    output = run("plan", "--limit", "2", PAST_DUE_GRACE_DAYS="0").stdout
    data = json.loads(run("plan", "--limit", "2", "--json", PAST_DUE_GRACE_DAYS="0").stdout)

    assert output.count("PREMIUM -> USER") == 2
    assert "and 4 more" in output
    assert len(data["changes"]) == 2
    assert data["summary"]["changing"] == 6


def test_named_users_are_computed_and_one_without_a_customer_is_refused(run: Command, conn: psycopg.Connection) -> None:
    conn.execute("update users set role = 'USER', email = 'One@example.com' where id = 'user_1'")
    conn.execute("update users set role = 'USER' where id = 'user_2'")

    planned = run("plan", "one@example.com")
    done = run("apply", "one@example.com")
    refused = run("apply", "stranger")
    unknown = run("plan", "who")

    assert "user_1: role USER -> PREMIUM" in planned.stdout
    assert "Users computed: 1, changed: 1 (user_1)." in done.stdout
    assert (rows(conn)["user_1"][0], rows(conn)["user_2"][0]) == ("PREMIUM", "USER")
    assert (refused.returncode, unknown.returncode) == (1, 1)
    assert "stranger: no linked customer" in refused.stderr
    assert "no user who" in unknown.stderr


def test_members_of_an_organization_are_planned_and_computed(run: Command, conn: psycopg.Connection) -> None:
    conn.execute("insert into organizations (id, name) values ('org', 'Org')")
    conn.execute("insert into users (id, organization_id) values ('member', 'org')")
    team = factories.subscription("sub_team", customer="cus_team", metadata={"organization_id": "org"})
    apply_events(conn, factories.event("customer.subscription.created", team))
    organizations.compute_waiting(conn, Policy(), should_continue=lambda: True)
    before = rows(conn)["member"][0]
    change_the_product(conn, role="USER", tokens="1000")

    planned = json.loads(run("plan", "--json").stdout)
    alone = run("plan", "member").stdout
    run("apply")

    assert before == "PREMIUM"
    assert "member" in [change["user"] for change in planned["changes"]]
    assert "member: role PREMIUM -> USER" in alone
    assert rows(conn)["member"][0] == "USER"


@pytest.fixture
def killed(conn: psycopg.Connection, database: str, env: dict[str, str]) -> None:
    """An `apply` killed in its second batch: users 0 and 1 are done, and user 2 is locked."""
    words = [sys.executable, "-m", "worker", "membership", "apply", "--batch", "2"]
    with psycopg.connect(database) as blocker:
        blocker.execute("select from users where id = 'user_2' for update")
        process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
        eventually(lambda: waits(conn))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        blocker.rollback()


def waits(conn: psycopg.Connection) -> bool:
    """Whether an `apply` waits for a lock."""
    waiting = conn.execute(
        """
        select from pg_stat_activity
        where application_name = 'stripe-sync apply' and wait_event_type = 'Lock' and datname = current_database()
        """
    )
    return waiting.fetchone() is not None


def test_a_killed_apply_resumes_where_it_stopped(run: Command, conn: psycopg.Connection, killed: None) -> None:
    conn.execute("update users set role = 'USER'")

    resumed = json.loads(run("apply", "--json").stdout)
    after = rows(conn)
    again = json.loads(run("apply", "--json").stdout)

    assert resumed == {"users": 6, "changed": 4, "resumed": 2, "outdated": False}
    assert [after[user][0] for user in USERS] == ["USER"] * 2 + ["PREMIUM"] * 4
    assert again == {"users": 6, "changed": 2, "resumed": 0, "outdated": False}


@pytest.mark.parametrize("because", ["--restart is given", "a setting changed", "a product changed"])
def test_an_apply_starts_over_if_its_cursor_is_obsolete(
    run: Command, conn: psycopg.Connection, killed: None, because: str
) -> None:
    conn.execute("update users set role = 'USER'")
    if because == "a product changed":
        change_the_product(conn, tokens="1001")

    words = ["--restart"] if because == "--restart is given" else []
    settings = {"TOKEN_TTL_DAYS": "31"} if because == "a setting changed" else {}
    done = json.loads(run("apply", "--json", *words, **settings).stdout)

    assert done == {"users": 6, "changed": 6, "resumed": 0, "outdated": False}


def test_a_second_apply_takes_over_from_the_first(database: str, conn: psycopg.Connection) -> None:
    def connect() -> psycopg.Connection:
        return psycopg.connect(database, autocommit=True)

    earlier = recompute_all.apply(connect, Policy(), batch=2)
    first = [next(earlier).users, next(earlier).users]
    later = recompute_all.apply(connect, Policy(), batch=2)
    begun = next(later)

    with pytest.raises(recompute_all.StartedElsewhere):
        next(earlier)
    rest = [each.users for each in later]

    assert first == [0, 2]
    assert (begun.users, begun.resumed, begun.of) == (2, 2, 6)
    assert rest == [4, 6, 6]
    assert cursors.read(conn, recompute_all.CURSOR) is None


def test_an_apply_reports_a_catalogue_change_during_its_run(database: str, conn: psycopg.Connection) -> None:
    steps = recompute_all.apply(lambda: psycopg.connect(database, autocommit=True), Policy(), batch=3)
    next(steps)
    next(steps)
    change_the_product(conn, tokens="5")

    *_, last = steps

    assert last.outdated


def test_an_apply_sees_the_rows_of_the_worker_it_waited_for(database: str, conn: psycopg.Connection) -> None:
    def connect() -> psycopg.Connection:
        return psycopg.connect(database, autocommit=True, application_name="stripe-sync apply")

    applying = threading.Thread(target=lambda: list(recompute_all.apply(connect, Policy())))
    with psycopg.connect(database, autocommit=True) as worker, worker.transaction():
        apply_events(worker, canceled_event(0, version=1))
        applying.start()
        eventually(lambda: waits(conn))
    applying.join()

    assert rows(conn)["user_0"][:2] == ("USER", "CANCELED")
    assert rows(conn)["user_1"][:2] == ("PREMIUM", "PAST_DUE")


def test_users_end_in_the_state_of_the_events_if_apply_runs_beside_workers(
    database: str, conn: psycopg.Connection
) -> None:
    """Two workers apply events of all users repeatedly, while `apply` runs without a pause."""
    failed: list[BaseException] = []
    over = threading.Event()

    def guarded(work: Callable[[psycopg.Connection], None]) -> threading.Thread:
        def body() -> None:
            try:
                with psycopg.connect(database, autocommit=True) as mine:
                    work(mine)
            except BaseException as error:  # noqa: BLE001 - the test asserts on it
                failed.append(error)

        return threading.Thread(target=body)

    def tell(worker: psycopg.Connection) -> None:
        for version in range(1, 13):
            apply_events(worker, *(changed_event(number, version=version) for number in range(len(USERS))))

    def compute(_: psycopg.Connection) -> None:
        while not over.is_set():
            list(recompute_all.apply(lambda: psycopg.connect(database, autocommit=True), Policy(), batch=4))

    workers = [guarded(tell), guarded(tell)]
    applying = guarded(compute)
    for thread in (*workers, applying):
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    applying.join()

    assert failed == []
    assert {rows(conn)[user][1] for user in USERS} == {"ACTIVE"}
    assert [dict(piece.changing) for piece in recompute_all.plan(conn, Policy())] == [{}]


def changed_event(number: int, *, version: int) -> factories.Json:
    """An update of the status: to active in even versions, to past_due in odd ones."""
    return _updated(number, "active" if version % 2 == 0 else "past_due", version)


def canceled_event(number: int, *, version: int) -> factories.Json:
    return _updated(number, "canceled", version)


def _updated(number: int, status: str, version: int) -> factories.Json:
    changed = factories.subscription(f"sub_{number}", customer=f"cus_{number}", status=status)
    return factories.event("customer.subscription.updated", changed, created=factories.NOW + 60 * version)
