"""`stripe-sync erase`, as an operator runs it."""

import json

import psycopg

from tests.cli.conftest import Run
from tests.factories import customer, event, invoice, product, subscription
from worker.membership.rules.access import Policy
from worker.mirror.fold import observe
from worker.stripe_api.event import read_event
from worker.writers.record import record


def hold(conn: psycopg.Connection, status: str) -> None:
    """Jenny, who has a subscription in that status, and another customer with her address who is nobody."""
    conn.execute("insert into users (id, email, name) values ('jenny', 'jenny@example.com', 'Jenny Rosen')")
    made = [
        event("product.created", product()),
        event("customer.created", customer(user_id="jenny")),
        event("customer.created", customer("cus_other", email="Jenny@Example.com")),
        event("customer.subscription.updated", subscription(status=status)),
        event("invoice.paid", invoice()),
    ]
    seen = [observation for each in made if (observation := observe(read_event(each))) is not None]
    with conn.transaction():
        record(conn, seen, Policy())


def test_it_is_refused_while_a_subscription_has_not_ended(run: Run, conn: psycopg.Connection) -> None:
    hold(conn, "active")

    refused = run("erase", "jenny", "--yes")

    assert refused.returncode == 1
    assert "sub_1 (active). Cancel it in Stripe first, or use --even-if-subscribed" in refused.stderr
    assert conn.execute("select email from users").fetchone() == ("jenny@example.com",)
    assert run("erase", "jenny", "--yes", "--even-if-subscribed").returncode == 0
    assert conn.execute("select email, name, role::text from users").fetchone() == (None, None, "PREMIUM")


def test_it_says_what_it_will_do_and_does_nothing_where_nobody_can_be_asked(run: Run, conn: psycopg.Connection) -> None:
    hold(conn, "canceled")

    asked, shown = run("erase", "jenny"), run("erase", "Jenny@example.com", "--dry-run", "--json")

    assert asked.returncode == 1
    assert "mirror.invoices" in asked.stdout
    assert "have the same e-mail: cus_other" in asked.stdout
    assert "nothing was changed: use --yes" in asked.stderr
    plan = json.loads(shown.stdout)
    assert plan["rows"]["mirror.customers"] == 2
    assert plan["customers"] == ["cus_jenny"]
    assert "jenny@example.com" not in shown.stdout
    assert conn.execute("select count(*) from sync.erased").fetchone() == (0,)


def test_it_says_what_it_did_and_what_is_left_to_do_in_stripe(run: Run, conn: psycopg.Connection) -> None:
    hold(conn, "canceled")

    done = run("erase", "jenny@example.com", "--yes", "--json")
    listed = run("erase", "--list", "--json")

    said = json.loads(done.stdout)
    assert said["changed"]["mirror.customers"] == 2
    assert said["changed"]["users"] == 1
    assert "Data redaction" in said["remaining"]
    assert [(row["object"], row["id"], row["swept_at"] is None) for row in json.loads(listed.stdout)] == [
        ("user", "jenny", False),
        ("customer", "cus_jenny", False),
        ("customer", "cus_other", False),
    ]
    assert conn.execute("select data->>'email' from stripe.customers").fetchall() == [(None,), (None,)]
    assert conn.execute("select amount_paid from stripe.invoices").fetchone() == (2000,)
    assert run("erase", "jenny", "--yes").returncode == 0


def test_a_customer_who_is_nobody_can_be_erased_and_one_who_is_somebody_is_not_alone(
    run: Run, conn: psycopg.Connection
) -> None:
    hold(conn, "canceled")

    nobody, somebody = run("erase", "cus_other", "--yes"), run("erase", "cus_jenny", "--yes")

    assert nobody.returncode == 0, nobody.stderr
    assert somebody.returncode == 1
    assert "is a customer of the user jenny: erase jenny" in somebody.stderr
    assert conn.execute("select email from stripe.customers order by id").fetchall() == [
        ("jenny@example.com",),
        (None,),
    ]
