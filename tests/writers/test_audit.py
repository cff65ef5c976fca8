"""The rolling audit: everything that is mirrored and listed is read again, and what differed is repaired and kept."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from tests.factories import event
from tests.sandboxes import Sandbox
from worker.membership.rules.access import Policy
from worker.stripe_api.client import Stripe
from worker.writers import audit
from worker.writers.list_pass import Tally, read_whole

SLOT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def ticks(conn: psycopg.Connection, stripe: Any, number: int) -> list[Tally]:
    made = [
        audit.tick(conn, lambda: stripe, Policy(), SLOT + timedelta(minutes=minute), go_on=lambda: True)
        for minute in range(number)
    ]
    return [tally for tally in made if tally is not None]


def test_a_round_mirrors_everything_that_the_sandbox_holds(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    conn.execute("insert into users (id) values ('u')")
    sandbox.tell("stories/sign_up", user_id="u", email="u@example.com", name="U")

    (tally,) = ticks(conn, stripe, 1)

    assert tally.written == tally.listed
    for type_, table in (
        ("product", "products"),
        ("price", "prices"),
        ("customer", "customers"),
        ("subscription", "subscriptions"),
        ("invoice", "invoices"),
        ("charge", "charges"),
        ("checkout.session", "checkout_sessions"),
    ):
        held = {row[0] for row in conn.execute(f"select id from stripe.{table}")}
        assert held == {obj["id"] for obj in sandbox.ask(f"state?type={type_}")["objects"]}
    assert conn.execute("select role::text, tokens > 0 from users").fetchone() == ("PREMIUM", True)
    assert conn.execute("select count(*) from payment_history").fetchone() == (1,)


def test_an_audit_goes_on_from_where_the_last_tick_ended(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=2500)

    first, second = ticks(conn, stripe, 2)

    assert first.listed < 2500
    assert conn.execute("select count(*) from stripe.customers").fetchone() == (2500,)
    assert first.listed + second.listed >= 2500


def test_a_hurried_round_reads_everything_without_waiting_for_the_clock(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=2500, subscriptions=30, products=3)
    audit.begin_anew(conn)
    hurried = audit.is_hurried(conn)

    (tally,) = ticks(conn, stripe, 1)

    assert hurried
    assert not audit.is_hurried(conn)
    assert tally.listed > 2500
    assert conn.execute("select count(*) from stripe.subscriptions").fetchone() == (30,)


def test_a_hurried_round_that_was_stopped_goes_on_hurried(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=300)
    audit.begin_anew(conn)

    audit.tick(conn, lambda: stripe, Policy(), SLOT, go_on=lambda: False)
    stopped = audit.is_hurried(conn)
    audit.tick(conn, lambda: stripe, Policy(), SLOT + timedelta(minutes=1), go_on=lambda: True)

    assert stopped
    assert not audit.is_hurried(conn)
    assert conn.execute("select count(*) from stripe.customers").fetchone() == (300,)


def test_what_was_repaired_is_kept_with_the_fields_that_differed(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="Old", email="a@example.com")
    ticks(conn, stripe, 1)
    conn.execute("update mirror.customers set observed_at = observed_at - interval '1 hour'")
    sandbox.post(f"/v1/customers/{made['id']}", name="New")

    audit.tick(conn, lambda: stripe, Policy(), SLOT + timedelta(hours=1), go_on=lambda: True)

    rows = conn.execute("select object_id, fields, behind > interval '59 minutes', found_by from sync.drift").fetchall()
    assert rows == [(made["id"], ["name"], True, "list of /v1/customers")]
    assert conn.execute("select name from stripe.customers").fetchall() == [("New",)]


def test_a_customer_that_was_deleted_unseen_is_found_by_its_absence(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, apply: Callable[..., None]
) -> None:
    made = sandbox.post("/v1/customers", name="Gone")
    apply(event("customer.created", made, created=made["created"] - 100))
    sandbox.delete(f"/v1/customers/{made['id']}")

    (tally,) = ticks(conn, stripe, 1)

    assert tally.marked_deleted == 1
    assert conn.execute("select deleted from stripe.customers").fetchall() == [(True,)]


def test_everything_at_once_changes_nothing_the_second_time(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", products=5, customers=20, subscriptions=40, invoices=True)
    once, again = Tally(), Tally()

    read_whole(conn, stripe, audit.LISTS, Policy(), once)
    read_whole(conn, stripe, audit.LISTS, Policy(), again)

    assert once.written == once.listed
    assert (again.unchanged, again.written, again.repaired) == (again.listed, 0, 0)
