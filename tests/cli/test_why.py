"""`stripe-sync why`: what an operator is told, held against what the sandbox and the tables say."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests import factories, sandboxes
from tests.backends import Backend
from tests.cli.conftest import Run
from tests.processes import Daemon, eventually, sign
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.mirror.fold import observe
from worker.stripe_api.event import read_event
from worker.web.webhook import read
from worker.writers.apply import compute_waiting
from worker.writers.record import record


def told(conn: psycopg.Connection, *events: factories.Json) -> None:
    """The events lie in the inbox, and were applied."""
    bodies = [factories.encoded(event) for event in events]
    secret = "whsec_test"
    inbox.store(conn, [read(body, sign(body, secret=secret, timestamp=1_000), [secret], now=1_000) for body in bodies])
    seen = [observation for each in events if (observation := observe(read_event(each))) is not None]
    with conn.transaction():
        record(conn, seen, Policy())


def why(run: Run, *words: str, **changes: str) -> dict[str, Any]:
    done = run("why", *words, "--json", **changes)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(autouse=True)
def _people(conn: psycopg.Connection) -> None:
    """Jenny has two customers, with a small subscription and a large one; John has nothing."""
    conn.execute("insert into users (id, email) values ('jenny', 'Jenny@example.com'), ('john', 'john@example.com')")
    told(
        conn,
        factories.event("product.created", factories.product()),
        factories.event("product.created", factories.product("prod_max", tokens=5000), id="evt_max"),
        factories.event("customer.created", factories.customer("cus_1", user_id="jenny")),
        factories.event("customer.created", factories.customer("cus_2", user_id="jenny")),
        factories.event("customer.subscription.created", factories.subscription("sub_1", customer="cus_1")),
        factories.event(
            "customer.subscription.created",
            factories.subscription("sub_2", customer="cus_2", product="prod_max"),
            id="evt_sub_2",
        ),
        factories.event("invoice.paid", factories.invoice(customer="cus_1"), id="evt_paid"),
    )
    compute_waiting(conn, Policy())


def test_a_user_with_two_customers_is_told_which_subscription_counts_and_where_it_came_from(run: Run) -> None:
    found = why(run, "jenny@EXAMPLE.com")

    assert found["user"] == "jenny"
    assert (found["role"]["stored"], found["role"]["rule"], found["role"]["subscription"]) == (
        "PREMIUM",
        "entitled",
        "sub_2",
    )
    assert found["stripe_product_id"]["stored"] == "prod_max"
    assert [(each["id"], each["place"], each["schedule"]["customer"]) for each in found["subscriptions"]] == [
        ("sub_2", 1, "cus_2"),
        ("sub_1", 2, "cus_1"),
    ]
    assert [(each["id"], each["source"]) for each in found["customers"]] == [
        ("cus_1", "customer_metadata"),
        ("cus_2", "customer_metadata"),
    ]
    event = found["subscriptions"][0]["source"]["event"]
    assert (event["id"], event["type"]) == ("evt_sub_2", "customer.subscription.created")
    assert event["received_at"] is not None
    assert found["sources"]["prod_max"]["event"]["id"] == "evt_max"
    assert found["differs"] == {}


def test_every_row_of_the_ledger_is_told_with_the_invoice_and_the_event_behind_it(
    run: Run, conn: psycopg.Connection
) -> None:
    found, spoken = why(run, "jenny"), run("why", "jenny").stdout

    (row,) = found["tokens"]["ledger"]
    assert (row["source_key"], row["invoice"]) == ("invoice:in_1:line:il_1", "in_1")
    assert [row["amount"], row["balance_after"]] == list(
        conn.execute("select amount, balance_after from sync.token_grants").fetchone() or ()
    )
    assert found["sources"]["in_1"]["event"]["id"] == "evt_paid"
    assert "in_1: told by invoice.paid evt_paid of" in spoken


def test_an_event_that_the_inbox_does_not_hold_any_more_is_still_named(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("delete from sync.events")

    spoken = run("why", "jenny").stdout

    assert "told by evt_sub_2, which the inbox does not hold any more" in spoken


def test_a_read_is_told_as_a_read_with_the_newest_event_beside_it(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("update stripe.subscriptions set observed_in = 'get:1782864100' where id = 'sub_2'")

    assert "read from Stripe at" in run("why", "jenny").stdout
    assert "last told of by customer.subscription.created evt_sub_2" in run("why", "jenny").stdout


def test_a_row_edited_by_hand_is_told_and_the_command_that_is_named_mends_it(
    run: Run, conn: psycopg.Connection
) -> None:
    conn.execute("update users set role = 'USER' where id = 'jenny'")

    found, spoken = why(run, "jenny"), run("why", "jenny").stdout
    mended = run(*found["mend"].split()[1:])

    assert found["differs"] == {"role": {"old": "USER", "new": "PREMIUM"}}
    assert "The stored row differs from what the facts give: role USER -> PREMIUM" in spoken
    assert mended.returncode == 0, mended.stderr
    assert (why(run, "jenny")["differs"], why(run, "jenny")["mend"]) == ({}, None)


def test_who_has_nothing_is_told_so(run: Run) -> None:
    found, spoken = why(run, "john"), run("why", "john")

    assert found["role"]["rule"] == "no_customer"
    assert (found["subscriptions"], found["customers"], found["tokens"]["ledger"]) == ([], [], [])
    assert "No customer is linked" in spoken.stdout


def test_a_member_by_an_organization_is_told_whose_subscription_it_is(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("insert into organizations (id, name) values ('org', 'Org')")
    conn.execute("update users set organization_id = 'org' where id = 'john'")
    team = factories.subscription("sub_team", customer="cus_team", metadata={"organization_id": "org"})
    told(conn, factories.event("customer.subscription.created", team, id="evt_team"))

    waits = why(run, "john")["is_waiting"]
    run("membership", "apply", "john")
    found = why(run, "john")

    assert waits
    assert (found["organization"], found["role"]["stored"], found["role"]["rule"]) == ("org", "PREMIUM", "entitled")
    assert "sub_team of organization org is active" in found["role"]["because"]
    (subscription,) = found["subscriptions"]
    assert (subscription["schedule"]["customer"], subscription["schedule"]["organization"]) == ("cus_team", "org")
    assert subscription["source"]["event"]["id"] == "evt_team"


def test_a_comped_user_is_told_who_gave_it_why_and_until_when(run: Run) -> None:
    run("override", "john", "--role", "PREMIUM", "--until", "2099-01-31", "--note", "a friend")

    found = why(run, "john")

    assert (found["role"]["stored"], found["role"]["rule"]) == ("PREMIUM", "override")
    assert "(a friend), until 2099-01-31" in found["role"]["because"]
    assert [(each["what"], each["at"][:10], each["changes"]) for each in found["next"]] == [
        ("override_ends", "2099-01-31", {"role": {"old": "PREMIUM", "new": "USER"}})
    ]


def test_the_banned_are_told_what_is_paid_all_the_same(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("update users set role = 'BANNED' where id = 'jenny'")

    found = why(run, "jenny")

    assert found["role"]["rule"] == "untouched"
    assert "what is paid would give PREMIUM" in found["role"]["because"]
    assert found["differs"] == {}


def test_a_cancellation_that_waits_is_told_with_what_it_will_take(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("update stripe.subscriptions set cancel_at = '2099-05-01', status = 'active' where id = 'sub_2'")

    ends = next(each for each in why(run, "jenny")["next"] if each["what"] == "ends")

    assert (ends["subscription"], ends["at"][:10]) == ("sub_2", "2099-05-01")
    assert ends["changes"] == {"stripe_product_id": {"old": "prod_max", "new": "prod_pro"}}


def test_a_computation_that_waits_is_told(run: Run, conn: psycopg.Connection) -> None:
    before = why(run, "jenny")["is_waiting"]

    conn.execute("insert into sync.recompute_queue (stripe_customer_id) values ('cus_1')")

    assert not before
    assert why(run, "jenny")["is_waiting"]
    assert "The user is waiting to be recomputed" in run("why", "jenny").stdout


def test_nobody_is_a_clear_error(run: Run) -> None:
    done = run("why", "who@example.com")

    assert done.returncode == 1
    assert done.stderr.strip() == "stripe-sync: there is no user who@example.com"


def test_why_and_plan_wait_for_nobody_and_change_nothing(run: Run, conn: psycopg.Connection, database: str) -> None:
    """Somebody holds the user's row, and no statement may write."""
    with psycopg.connect(database) as holder:
        holder.execute("select from users for update")
        found = why(run, "jenny", PGOPTIONS="-c default_transaction_read_only=on", DATABASE_STATEMENT_TIMEOUT="5")
        planned = run("membership", "plan", "--json", DATABASE_STATEMENT_TIMEOUT="5")

    assert found["role"]["stored"] == "PREMIUM"
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["changes"] == []


@pytest.mark.system
def test_why_says_the_truth_of_the_sandbox_s_demo_user(
    backend: Backend, database: str, tmp_path: Path, run: Run
) -> None:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    daemon = Daemon(database, backend.redis_url, tmp_path)
    try:
        with sandboxes.running(door=daemon.door) as sandbox, psycopg.connect(database, autocommit=True) as conn:
            conn.execute("insert into users (id, email) values ('demo', 'demo@example.com')")
            daemon.start_web()
            daemon.start("worker")
            story = sandbox.tell("stories/sign_up", user_id="demo", email="demo@example.com", name="Demo User")
            ids = [event["id"] for event in story["events"]]
            wanted = "select count(*) from sync.events where status = 'done' and id = any(%s)"
            eventually(lambda: conn.execute(wanted, (ids,)).fetchone() == (len(ids),))
            expected, told_ids = story["expected"], story["ids"]

            found = why(run, "demo@example.com")
    finally:
        daemon.stop()

    for column in ("role", "membership_status", "stripe_product_id"):
        assert found[column]["stored"] == found[column]["computed"] == expected[column]
    assert found["role"]["subscription"] == told_ids["subscription"]
    assert [each["id"] for each in found["customers"]] == expected["customers"]
    assert [row["source_key"] for row in found["tokens"]["ledger"]] == [
        grant["source_key"] for grant in expected["grants"]
    ]
    assert found["tokens"]["spendable"] == expected["tokens_granted"]
    assert found["subscriptions"][0]["source"]["event"]["id"] in ids
    assert {each["what"] for each in found["next"]} == {"renews", "tokens_expire"}
    assert (found["differs"], found["mend"]) == ({}, None)
