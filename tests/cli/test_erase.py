"""`stripe-sync erase`, as an operator runs it."""

import json

import psycopg

from tests.cli.conftest import Run
from tests.factories import customer, event, invoice, product, subscription
from worker.membership.rules.access import Policy
from worker.mirror.fold import observe
from worker.stripe_api.event import read_event
from worker.writers.record import record


def store_jenny(conn: psycopg.Connection, status: str) -> None:
    """Jenny with a subscription in this status, and another customer with her e-mail and no user."""
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


def test_erasing_is_refused_while_a_subscription_has_not_ended(run: Run, conn: psycopg.Connection) -> None:
    store_jenny(conn, "active")

    refused = run("erase", "jenny", "--yes")

    assert refused.returncode == 1
    assert "sub_1 (active). Cancel it in Stripe first, or use --even-if-subscribed" in refused.stderr
    assert conn.execute("select email from users").fetchone() == ("jenny@example.com",)
    assert run("erase", "jenny", "--yes", "--even-if-subscribed").returncode == 0
    assert conn.execute("select email, name, role::text from users").fetchone() == (None, None, "PREMIUM")


def test_without_a_terminal_it_shows_the_plan_and_changes_nothing(run: Run, conn: psycopg.Connection) -> None:
    store_jenny(conn, "canceled")

    asked, shown = run("erase", "jenny"), run("erase", "Jenny@example.com", "--dry-run", "--json")

    assert asked.returncode == 1
    assert "mirror.invoices" in asked.stdout
    assert "have the same e-mail: cus_other" in asked.stdout
    assert "nothing was changed: there is no terminal" in asked.stderr
    plan = json.loads(shown.stdout)
    assert plan["rows"]["mirror.customers"] == 2
    assert plan["customers"] == ["cus_jenny"]
    assert "jenny@example.com" not in shown.stdout
    assert conn.execute("select count(*) from sync.erased").fetchone() == (0,)


def test_it_reports_the_rows_it_changed_and_the_work_left_in_stripe(run: Run, conn: psycopg.Connection) -> None:
    store_jenny(conn, "canceled")

    done = run("erase", "jenny@example.com", "--yes", "--json")
    listed = run("erase", "--list", "--json")

    report = json.loads(done.stdout)
    assert report["changed"]["mirror.customers"] == 2
    assert report["changed"]["users"] == 1
    assert "Data redaction" in report["remaining"]
    assert [(row["object"], row["id"], row["swept_at"] is None) for row in json.loads(listed.stdout)] == [
        ("user", "jenny", False),
        ("customer", "cus_jenny", False),
        ("customer", "cus_other", False),
    ]
    assert conn.execute("select data->>'email' from stripe.customers").fetchall() == [(None,), (None,)]
    assert conn.execute("select amount_paid from stripe.invoices").fetchone() == (2000,)
    assert run("erase", "jenny", "--yes").returncode == 0


def test_a_customer_can_be_erased_only_without_a_user(run: Run, conn: psycopg.Connection) -> None:
    store_jenny(conn, "canceled")

    without_user, with_user = run("erase", "cus_other", "--yes"), run("erase", "cus_jenny", "--yes")

    assert without_user.returncode == 0, without_user.stderr
    assert with_user.returncode == 1
    assert "is a customer of the user jenny: erase jenny" in with_user.stderr
    assert conn.execute("select email from stripe.customers order by id").fetchall() == [
        ("jenny@example.com",),
        (None,),
    ]
