"""`stripe-sync override`, `link` and `setup-admin`, run as an operator runs them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.cli.conftest import Run
from tests.factories import customer, event, product, subscription
from worker.membership.rules.access import Policy
from worker.mirror.fold import observe
from worker.stripe_api.event import read_event
from worker.writers.record import record


@pytest.fixture(autouse=True)
def _people(conn: psycopg.Connection) -> None:
    """Jenny, John, and a customer with a subscription and no user."""
    conn.execute("insert into users (id, email) values ('jenny', 'Jenny@example.com'), ('john', 'john@example.com')")
    made = [
        event("product.created", product()),
        event("customer.created", customer("cus_1")),
        event("customer.subscription.created", subscription(customer="cus_1")),
    ]
    observations = [observation for each in made if (observation := observe(read_event(each))) is not None]
    with conn.transaction():
        record(conn, observations, Policy())


def roles(conn: psycopg.Connection) -> dict[str, Any]:
    return dict(conn.execute("select id, role::text from users").fetchall())


def test_an_override_gives_a_role_until_it_is_lifted(run: Run, conn: psycopg.Connection) -> None:
    day = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()

    given = run("override", "jenny@example.com", "--role", "PREMIUM", "--until", day, "--note", "a friend")
    held = roles(conn)
    stored = conn.execute("select role::text, until::date::text, note from sync.overrides").fetchall()
    alarms = conn.execute("select user_id from sync.next_changes").fetchall()
    lifted = run("override", "jenny", "--lift")

    assert given.returncode == 0, given.stderr
    assert day in given.stdout
    assert held == {"jenny": "PREMIUM", "john": "USER"}
    assert stored == [("PREMIUM", day, "a friend")]
    assert alarms == [("jenny",)]
    assert lifted.returncode == 0, lifted.stderr
    assert roles(conn)["jenny"] == "USER"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["jenny"], "use exactly one of --role"),
        (["jenny", "--role", "ADMIN"], "neither USER nor PREMIUM"),
        (["jenny", "--role", "PREMIUM", "--lift"], "use exactly one of --role"),
        (["jenny", "--role", "PREMIUM", "--until", "soon"], "neither a date"),
        (["jenny", "--role", "PREMIUM", "--until", "2020-01-01"], "is in the past"),
        (["nobody", "--role", "PREMIUM"], "there is no user nobody"),
        (["jenny", "--lift"], "jenny has no override"),
    ],
)
def test_a_contradictory_override_is_refused(
    run: Run, conn: psycopg.Connection, words: list[str], message: str
) -> None:
    done = run("override", *words)

    assert done.returncode == 1
    assert message in done.stderr
    assert roles(conn) == {"jenny": "USER", "john": "USER"}


def test_link_lists_customers_without_a_user_and_moves_a_customer_only_with_force(
    run: Run, conn: psycopg.Connection
) -> None:
    listed = json.loads(run("link", "--list", "--json").stdout)
    linked = run("link", "cus_1", "jenny")
    first = roles(conn)
    refused = run("link", "cus_1", "john")
    moved = run("link", "cus_1", "john", "--force")
    again = run("link", "cus_1", "john")

    assert [(row["customer"], row["subscriptions"]) for row in listed] == [("cus_1", 1)]
    assert linked.returncode == 0, linked.stderr
    assert first == {"jenny": "PREMIUM", "john": "USER"}
    assert refused.returncode == 1
    assert "linked to jenny" in refused.stderr
    assert "--force" in refused.stderr
    assert moved.returncode == 0, moved.stderr
    assert roles(conn) == {"jenny": "USER", "john": "PREMIUM"}
    assert "already" in again.stdout
    assert conn.execute("select user_id, source from sync.customer_links").fetchall() == [("john", "operator")]
    assert conn.execute("select user_id from stripe_customers").fetchall() == [("john",)]
    assert conn.execute("select user_id from user_subscriptions").fetchall() == [("john",)]
    assert json.loads(run("link", "--list", "--json").stdout) == []


def test_linking_an_unknown_customer_or_user_is_refused(run: Run) -> None:
    for words, message in (
        (["cus_9", "jenny"], "no customer cus_9"),
        (["cus_1", "who"], "no user who"),
        ([], "--list"),
    ):
        done = run("link", *words)

        assert done.returncode == 1
        assert message in done.stderr


def test_an_existing_user_becomes_admin(run: Run, conn: psycopg.Connection) -> None:
    named = run("setup-admin", "jenny@EXAMPLE.com")
    by_setting = run("setup-admin", ADMIN_EMAIL="john@example.com")

    assert (named.returncode, by_setting.returncode) == (0, 0), named.stderr
    assert roles(conn) == {"jenny": "ADMIN", "john": "ADMIN"}
    assert "already" in run("setup-admin", "jenny@example.com").stdout


def test_an_unknown_or_banned_user_does_not_become_admin(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("update users set role = 'BANNED' where id = 'john'")

    for words, message in (([], "ADMIN_EMAIL"), (["who@example.com"], "sign up"), (["john@example.com"], "BANNED")):
        done = run("setup-admin", *words)

        assert done.returncode == 1
        assert message in done.stderr
    assert roles(conn) == {"jenny": "USER", "john": "BANNED"}
