"""`stripe-sync why`, compared with the sandbox and the tables."""

import json
import time
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


def apply_events(conn: psycopg.Connection, *events: factories.Json) -> None:
    """Store the events in the inbox, and apply them."""
    bodies = [factories.encoded(event) for event in events]
    secret = "whsec_test"
    inbox.store(conn, [read(body, sign(body, secret=secret, timestamp=1_000), [secret], now=1_000) for body in bodies])
    observations = [observation for each in events if (observation := observe(read_event(each))) is not None]
    with conn.transaction():
        record(conn, observations, Policy())


def why(run: Run, *words: str, **changes: str) -> dict[str, Any]:
    done = run("why", *words, "--json", **changes)
    assert done.returncode == 0, done.stderr
    explanation: dict[str, Any] = json.loads(done.stdout)
    return explanation


@pytest.fixture(autouse=True)
def _people(conn: psycopg.Connection) -> None:
    """Jenny has two customers, with a small and a large subscription. John has nothing."""
    conn.execute("insert into users (id, email) values ('jenny', 'Jenny@example.com'), ('john', 'john@example.com')")
    apply_events(
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


def test_the_deciding_subscription_of_two_customers_is_named_with_its_event(run: Run) -> None:
    explanation = why(run, "jenny@EXAMPLE.com")

    assert explanation["user"] == "jenny"
    assert (explanation["role"]["stored"], explanation["role"]["rule"], explanation["role"]["subscription"]) == (
        "PREMIUM",
        "entitled",
        "sub_2",
    )
    assert explanation["stripe_product_id"]["stored"] == "prod_max"
    assert [(each["id"], each["place"], each["schedule"]["customer"]) for each in explanation["subscriptions"]] == [
        ("sub_2", 1, "cus_2"),
        ("sub_1", 2, "cus_1"),
    ]
    assert [(each["id"], each["source"]) for each in explanation["customers"]] == [
        ("cus_1", "customer_metadata"),
        ("cus_2", "customer_metadata"),
    ]
    event = explanation["subscriptions"][0]["source"]["event"]
    assert (event["id"], event["type"]) == ("evt_sub_2", "customer.subscription.created")
    assert event["received_at"] is not None
    assert explanation["sources"]["prod_max"]["event"]["id"] == "evt_max"
    assert explanation["differs"] == {}


def test_each_ledger_row_names_its_invoice_and_event(run: Run, conn: psycopg.Connection) -> None:
    explanation, output = why(run, "jenny"), run("why", "jenny").stdout

    (row,) = explanation["tokens"]["ledger"]
    assert row["row"] == "period"
    assert (row["source_key"], row["invoice"]) == ("invoice:in_1:line:il_1", "in_1")
    assert [row["amount"], row["balance_after"]] == list(
        conn.execute("select amount, balance_after from sync.token_grants").fetchone() or ()
    )
    assert explanation["sources"]["in_1"]["event"]["id"] == "evt_paid"
    assert "in_1: from invoice.paid evt_paid of" in output


def test_an_event_removed_from_the_inbox_is_still_named(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("delete from sync.events")

    output = run("why", "jenny").stdout

    assert "from evt_sub_2, which the inbox no longer holds" in output


def test_an_object_read_from_stripe_is_shown_with_the_read_and_the_object_s_newest_event(
    run: Run, conn: psycopg.Connection
) -> None:
    conn.execute("update mirror.subscriptions set observed_in = 'get:1782864100' where id = 'sub_2'")

    assert "read from Stripe at" in run("why", "jenny").stdout
    assert "last event customer.subscription.created evt_sub_2" in run("why", "jenny").stdout


def test_a_row_edited_by_hand_is_reported_with_the_command_that_fixes_it(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("update users set role = 'USER' where id = 'jenny'")

    explanation, output = why(run, "jenny"), run("why", "jenny").stdout
    fixed = run(*explanation["fix"].split()[1:])

    assert explanation["differs"] == {"role": {"old": "USER", "new": "PREMIUM"}}
    assert "The stored row differs from the computed one: role USER -> PREMIUM" in output
    assert fixed.returncode == 0, fixed.stderr
    assert (why(run, "jenny")["differs"], why(run, "jenny")["fix"]) == ({}, None)


def test_a_user_without_a_customer_is_explained(run: Run) -> None:
    explanation, output = why(run, "john"), run("why", "john")

    assert explanation["role"]["rule"] == "no_customer"
    assert (explanation["subscriptions"], explanation["customers"], explanation["tokens"]["ledger"]) == ([], [], [])
    assert "No customer is linked" in output.stdout


def test_a_member_of_an_organization_is_explained_by_its_subscription(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("insert into organizations (id, name) values ('org', 'Org')")
    conn.execute("update users set organization_id = 'org' where id = 'john'")
    team = factories.subscription("sub_team", customer="cus_team", metadata={"organization_id": "org"})
    apply_events(conn, factories.event("customer.subscription.created", team, id="evt_team"))

    waits = why(run, "john")["is_waiting"]
    run("membership", "apply", "john")
    explanation = why(run, "john")

    assert waits
    assert (explanation["organization"], explanation["role"]["stored"], explanation["role"]["rule"]) == (
        "org",
        "PREMIUM",
        "entitled",
    )
    assert "sub_team of organization org is active" in explanation["role"]["because"]
    (subscription,) = explanation["subscriptions"]
    assert (subscription["schedule"]["customer"], subscription["schedule"]["organization"]) == ("cus_team", "org")
    assert subscription["source"]["event"]["id"] == "evt_team"


def test_an_override_is_explained_with_its_note_and_end(run: Run) -> None:
    run("override", "john", "--role", "PREMIUM", "--until", "2099-01-31", "--note", "a friend")

    explanation = why(run, "john")

    assert (explanation["role"]["stored"], explanation["role"]["rule"]) == ("PREMIUM", "override")
    assert "(a friend), until 2099-01-31" in explanation["role"]["because"]
    assert [(each["what"], each["at"][:10], each["changes"]) for each in explanation["next"]] == [
        ("override_ends", "2099-01-31", {"role": {"old": "PREMIUM", "new": "USER"}})
    ]


def test_the_explanation_of_a_banned_user_includes_the_role_that_payments_give(
    run: Run, conn: psycopg.Connection
) -> None:
    conn.execute("update users set role = 'BANNED' where id = 'jenny'")

    explanation = why(run, "jenny")

    assert explanation["role"]["rule"] == "untouched"
    assert "payments alone would give PREMIUM" in explanation["role"]["because"]
    assert explanation["differs"] == {}


def test_a_scheduled_cancellation_is_listed_with_the_changes_it_brings(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("update mirror.subscriptions set cancel_at = '2099-05-01', status = 'active' where id = 'sub_2'")

    ends = next(each for each in why(run, "jenny")["next"] if each["what"] == "ends")

    assert (ends["subscription"], ends["at"][:10]) == ("sub_2", "2099-05-01")
    assert ends["changes"] == {"stripe_product_id": {"old": "prod_max", "new": "prod_pro"}}


def test_a_waiting_recompute_is_reported(run: Run, conn: psycopg.Connection) -> None:
    before = why(run, "jenny")["is_waiting"]

    conn.execute("insert into sync.recompute_queue (stripe_customer_id) values ('cus_1')")

    assert not before
    assert why(run, "jenny")["is_waiting"]
    assert "The user is waiting to be recomputed" in run("why", "jenny").stdout


def test_customers_of_connected_accounts_are_shown_with_their_account(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("insert into sync.accounts (id, status) values ('acct_shop', 'deauthorized')")
    for account, customer in (
        ("acct_shop", factories.customer("cus_1", user_id="john")),
        ("acct_new", factories.customer("cus_9", email="john@example.com")),
    ):
        created = factories.event("customer.created", customer, id=f"evt_{account}")
        apply_events(conn, {**created, "account": account})

    explanation = why(run, "john")

    assert [(each["id"], each["account"], each["status"]) for each in explanation["elsewhere"]] == [
        ("cus_9", "acct_new", None),
        ("cus_1", "acct_shop", "deauthorized"),
    ]
    assert explanation["customers"] == []
    assert "cus_1 of the account acct_shop (deauthorized)" in run("why", "john").stdout
    assert why(run, "jenny")["elsewhere"] == []


def test_an_unknown_user_is_a_clear_error(run: Run) -> None:
    done = run("why", "who@example.com")

    assert done.returncode == 1
    assert done.stderr.strip() == "stripe-sync: there is no user who@example.com"


def test_why_and_plan_take_no_lock_and_write_nothing(run: Run, conn: psycopg.Connection, database: str) -> None:
    """Another session has locked the user's row, and no statement may write."""
    with psycopg.connect(database) as holder:
        holder.execute("select from users for update")
        explanation = why(run, "jenny", PGOPTIONS="-c default_transaction_read_only=on", DATABASE_STATEMENT_TIMEOUT="5")
        planned = run("membership", "plan", "--json", DATABASE_STATEMENT_TIMEOUT="5")

    assert explanation["role"]["stored"] == "PREMIUM"
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["changes"] == []


@pytest.mark.system
def test_the_explanation_of_the_demo_user_agrees_with_the_sandbox(
    backend: Backend, database: str, tmp_path: Path, run: Run
) -> None:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    daemon = Daemon(database, backend.redis_url, tmp_path)
    try:
        with sandboxes.running(webhook=daemon.webhook) as sandbox, psycopg.connect(database, autocommit=True) as conn:
            conn.execute("insert into users (id, email) values ('demo', 'demo@example.com')")
            daemon.start_web()
            daemon.start("worker")
            story = sandbox.tell("stories/sign_up", user_id="demo", email="demo@example.com", name="Demo User")
            ids = [event["id"] for event in story["events"]]
            wanted = "select count(*) from sync.events where status = 'done' and id = any(%s)"
            eventually(lambda: conn.execute(wanted, (ids,)).fetchone() == (len(ids),))
            expected, ids_of_story = story["expected"], story["ids"]

            explanation = why(run, "demo@example.com")
    finally:
        daemon.stop()

    for column in ("role", "membership_status", "stripe_product_id"):
        assert explanation[column]["stored"] == explanation[column]["computed"] == expected[column]
    assert explanation["role"]["subscription"] == ids_of_story["subscription"]
    assert [each["id"] for each in explanation["customers"]] == expected["customers"]
    assert [row["source_key"] for row in explanation["tokens"]["ledger"]] == [
        grant["source_key"] for grant in expected["grants"]
    ]
    assert explanation["tokens"]["spendable"] == expected["tokens_granted"]
    assert explanation["subscriptions"][0]["source"]["event"]["id"] in ids
    assert {each["what"] for each in explanation["next"]} == {"renews", "tokens_expire"}
    assert (explanation["differs"], explanation["fix"]) == ({}, None)


@pytest.mark.parametrize(
    ("verified", "others", "sentence"),
    [
        (
            False,
            0,
            "cus_3 has the same e-mail, and the user has not verified it: `stripe-sync link cus_3 jenny` links it",
        ),
        (True, 1, "cus_3 has the same e-mail, and 2 users have verified it: `stripe-sync link cus_3 jenny` links it"),
    ],
)
def test_a_customer_with_the_same_email_and_no_user_is_named(
    run: Run, conn: psycopg.Connection, verified: bool, others: int, sentence: str
) -> None:
    if verified:
        conn.execute("update users set email_verified = now() where id = 'jenny'")
    for number in range(others):
        conn.execute(
            "insert into users (id, email, email_verified) values (%s, 'JENNY@example.com', now())", (f"twin_{number}",)
        )
    apply_events(conn, factories.event("customer.created", factories.customer("cus_3", email="jenny@example.com")))

    text = run("why", "jenny").stdout
    listed = json.loads(run("link", "--list", "--json").stdout)

    assert sentence in text
    assert [(row["customer"], row["same_email"]) for row in listed] == [
        ("cus_3", ["jenny", *(f"twin_{number}" for number in range(others))])
    ]


def test_unclear_metadata_is_named(run: Run, conn: psycopg.Connection) -> None:
    unclear = factories.product("prod_max", tokens="10k", role="free")
    apply_events(conn, factories.event("product.updated", unclear, created=factories.NOW + 60))

    text = run("why", "jenny").stdout
    planned = run("membership", "plan").stdout
    checked = run("doctor").stdout

    cannot = (
        "metadata `role` cannot be read: write USER or PREMIUM; metadata `tokens` cannot be read: write a whole number"
    )
    assert "prod_max USER, no tokens (its metadata `role` and `tokens` cannot be read" in text
    assert f"Product prod_max: {cannot}." in planned
    assert f"product prod_max       {cannot}" in checked


def test_a_line_without_tokens_names_the_unclear_metadata(run: Run, conn: psycopg.Connection) -> None:
    unclear = factories.product(tokens="unlimited")
    start = int(time.time()) - 3600
    line = factories.line_item("il_9", invoice="in_9", period_start=start, period_end=start + 30 * factories.DAY)
    apply_events(
        conn,
        factories.event("product.updated", unclear, created=factories.NOW + 60),
        factories.event("invoice.paid", factories.invoice("in_9", customer="cus_1", lines=[line]), created=start),
    )

    (passed,) = [
        each for each in why(run, "jenny")["tokens"]["ungranted"] if each["source_key"].startswith("invoice:in_9")
    ]

    assert (passed["why"], passed["row"]) == ("no_allowance", "period")
    assert passed["because"] == (
        "in_9 line il_9 (period) gives none: product prod_pro: metadata `tokens` cannot be read: write a whole number"
    )
