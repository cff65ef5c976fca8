"""Reading unsettled objects again: when Stripe is read, and which answers settle the row."""

import psycopg
import pytest

from tests.factories import event
from tests.sandboxes import Sandbox
from tests.writers.refetching import (
    Canned,
    Meanwhile,
    deliver,
    held,
    later,
    read_queued,
    rows,
    unsettled_customer,
    waiting,
)
from worker.membership.rules.access import Policy
from worker.stripe_api.answers import Answer
from worker.stripe_api.client import Stripe
from worker.writers import refetch


def test_an_object_with_two_ambiguous_events_is_read_once_and_ends_at_stripes_state(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    unsettled_customer(conn, sandbox, name="Stripe's")
    later(sandbox)

    asked = read_queued(conn, stripe)

    assert asked == 1
    assert held(conn) == [("Stripe's", False, False)]
    assert waiting(conn) == []


def test_many_events_of_an_object_cost_one_read(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = sandbox.post("/v1/customers", name="Last")
    for number in range(12):
        state = {**made, "name": f"State {number}"}
        deliver(conn, event("customer.updated", state, created=made["created"] + number % 3))
    later(sandbox)

    asked = read_queued(conn, stripe)

    assert asked == 1
    assert sandbox.ask("stats")["requests"]["GET /v1/customers/{id}"] == 1
    assert held(conn) == [("Last", False, False)]


def test_a_read_waits_until_the_burst_is_over(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = unsettled_customer(conn, sandbox)

    asked = refetch.drain(conn, stripe, Policy(), should_continue=lambda: True)

    assert asked == 0
    assert waiting(conn) == [("customer", made["id"], True)]


@pytest.mark.parametrize("name", ["Newer", "This"])  # a new state, and one that was delivered before
def test_an_answer_overtaken_by_an_event_is_discarded_and_the_object_is_read_again(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, name: str
) -> None:
    made = unsettled_customer(conn, sandbox, name="Before")

    def overtake() -> None:
        sandbox.post(f"/v1/customers/{made['id']}", name=name)
        deliver(conn, event("customer.updated", {**made, "name": name}, created=made["created"]))

    later(sandbox)
    read_queued(conn, Meanwhile(stripe, overtake))

    assert ("Before", False, False) not in held(conn)
    assert rows(conn, "select unsettled from stripe.customers") == [(True,)]
    assert waiting(conn) == [("customer", made["id"], True)]

    read_queued(conn, stripe)

    assert held(conn) == [(name, False, False)]


def test_an_event_with_the_same_content_discards_an_answer_in_flight_too(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = unsettled_customer(conn, sandbox, name="Before")
    shown = held(conn)[0][0]

    def repeat() -> None:
        deliver(conn, event("customer.updated", {**made, "name": shown}, created=made["created"]))

    later(sandbox)
    read_queued(conn, Meanwhile(stripe, repeat))

    assert held(conn) == [(shown, False, True)]
    assert waiting(conn) == [("customer", made["id"], True)]


def test_an_answer_read_too_soon_is_written_but_settles_nothing(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = unsettled_customer(conn, sandbox)
    sandbox.tell("clock", now=made["created"] + 2, frozen=True)

    read_queued(conn, stripe)

    assert held(conn) == [("Second", False, True)]
    assert waiting(conn) == [("customer", made["id"], True)]

    sandbox.tell("clock", now=made["created"] + 8, frozen=True)
    read_queued(conn, stripe)

    assert held(conn) == [("Second", False, False)]
    assert waiting(conn) == []


def test_the_time_of_an_answer_is_its_date_header_not_our_clock(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    unsettled_customer(conn, sandbox)
    later(sandbox, 8)
    sandbox.tell("faults", date_skew_seconds=-6)

    read_queued(conn, stripe)

    assert held(conn) == [("Second", False, True)]


def test_a_later_event_that_settles_the_row_cancels_the_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = unsettled_customer(conn, sandbox)
    deliver(conn, event("customer.updated", {**made, "name": "Later"}, created=made["created"] + 60))

    read_queued(conn, stripe)

    assert held(conn) == [("Later", False, False)]
    assert waiting(conn) == []
    assert "GET /v1/customers/{id}" not in sandbox.ask("stats")["requests"]


def test_a_missing_object_is_deleted_only_after_a_second_404(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    product = sandbox.post("/v1/products", name="Gone")
    states = [{**product, "name": "This"}, {**product, "name": "That"}]
    deliver(conn, *(event("product.updated", state, created=product["created"]) for state in states))
    sandbox.delete(f"/v1/products/{product['id']}")
    later(sandbox)

    read_queued(conn, stripe)

    assert rows(conn, "select deleted, unsettled from stripe.products") == [(False, True)]
    assert rows(
        conn, "select due_at > now() + interval '9 seconds' from sync.refetch_queue where missing_at is not null"
    ) == [(True,)]

    read_queued(conn, stripe)

    assert rows(conn, "select deleted, unsettled from stripe.products") == [(True, False)]
    assert waiting(conn) == []


def test_an_object_that_is_missing_only_once_is_not_deleted(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = unsettled_customer(conn, sandbox)
    later(sandbox)

    read_queued(conn, Canned(Answer(None, deleted=True, missing=True, read_at=made["created"] + 20)))
    read_queued(conn, stripe)

    assert held(conn) == [("Second", False, False)]


def test_a_deletion_stub_deletes_the_object_at_once(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = unsettled_customer(conn, sandbox)
    sandbox.delete(f"/v1/customers/{made['id']}")
    later(sandbox)

    asked = read_queued(conn, stripe)

    assert asked == 1
    assert rows(conn, "select deleted, unsettled from stripe.customers") == [(True, False)]
    assert waiting(conn) == []
