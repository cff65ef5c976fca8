"""Re-reads of uncertain objects: when Stripe is read, and what an answer settles."""

import psycopg
import pytest

from tests.factories import event
from tests.sandboxes import Sandbox
from tests.writers.refetching import (
    Canned,
    Meanwhile,
    ask,
    deliver,
    doubtful,
    held,
    later,
    rows,
    waiting,
)
from worker.membership.rules.access import Policy
from worker.stripe_api.client import Answer, Stripe
from worker.writers import refetch


def test_an_ambiguous_pair_is_asked_for_once_and_ends_at_stripes_state(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    doubtful(conn, sandbox, name="Stripe's")
    later(sandbox)

    asked = ask(conn, stripe)

    assert asked == 1
    assert held(conn) == [("Stripe's", False, False)]
    assert waiting(conn) == []


def test_many_events_of_an_object_cost_one_question(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = sandbox.post("/v1/customers", name="Last")
    for number in range(12):
        state = {**made, "name": f"State {number}"}
        deliver(conn, event("customer.updated", state, created=made["created"] + number % 3))
    later(sandbox)

    asked = ask(conn, stripe)

    assert asked == 1
    assert sandbox.ask("stats")["requests"]["GET /v1/customers/{id}"] == 1
    assert held(conn) == [("Last", False, False)]


def test_a_question_waits_until_the_burst_is_over(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = doubtful(conn, sandbox)

    asked = refetch.drain(conn, stripe, Policy(), should_continue=lambda: True)

    assert asked == 0
    assert waiting(conn) == [("customer", made["id"], True)]


@pytest.mark.parametrize("name", ["Newer", "This"])  # a change, and an earlier state
def test_an_answer_that_an_event_overtook_is_thrown_away_and_asked_for_again(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, name: str
) -> None:
    made = doubtful(conn, sandbox, name="Before")

    def overtake() -> None:
        sandbox.post(f"/v1/customers/{made['id']}", name=name)
        deliver(conn, event("customer.updated", {**made, "name": name}, created=made["created"]))

    later(sandbox)
    ask(conn, Meanwhile(stripe, overtake))

    assert ("Before", False, False) not in held(conn)
    assert rows(conn, "select unsettled from stripe.customers") == [(True,)]
    assert waiting(conn) == [("customer", made["id"], True)]

    ask(conn, stripe)

    assert held(conn) == [(name, False, False)]


def test_an_equal_event_in_flight_makes_the_answer_old_too(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox, name="Before")
    shown = held(conn)[0][0]

    def repeat() -> None:
        deliver(conn, event("customer.updated", {**made, "name": shown}, created=made["created"]))

    later(sandbox)
    ask(conn, Meanwhile(stripe, repeat))

    assert held(conn) == [(shown, False, True)]
    assert waiting(conn) == [("customer", made["id"], True)]


def test_an_answer_read_too_soon_is_taken_but_settles_nothing(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    sandbox.tell("clock", now=made["created"] + 2, frozen=True)

    ask(conn, stripe)

    assert held(conn) == [("Second", False, True)]
    assert waiting(conn) == [("customer", made["id"], True)]

    sandbox.tell("clock", now=made["created"] + 8, frozen=True)
    ask(conn, stripe)

    assert held(conn) == [("Second", False, False)]
    assert waiting(conn) == []


def test_a_date_that_is_behind_is_believed_not_our_own_clock(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    doubtful(conn, sandbox)
    later(sandbox, 8)
    sandbox.tell("faults", date_skew_seconds=-6)

    ask(conn, stripe)

    assert held(conn) == [("Second", False, True)]


def test_a_later_event_that_settles_the_row_makes_the_question_needless(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    deliver(conn, event("customer.updated", {**made, "name": "Later"}, created=made["created"] + 60))

    ask(conn, stripe)

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

    ask(conn, stripe)

    assert rows(conn, "select deleted, unsettled from stripe.products") == [(False, True)]
    assert rows(
        conn, "select due_at > now() + interval '9 seconds' from sync.refetch_queue where missing_at is not null"
    ) == [(True,)]

    ask(conn, stripe)

    assert rows(conn, "select deleted, unsettled from stripe.products") == [(True, False)]
    assert waiting(conn) == []


def test_an_object_that_is_missing_once_and_then_found_lives(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    later(sandbox)

    ask(conn, Canned(Answer(None, deleted=True, missing=True, read_at=made["created"] + 20)))
    ask(conn, stripe)

    assert held(conn) == [("Second", False, False)]


def test_a_stub_says_deleted_and_is_believed_at_once(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    sandbox.delete(f"/v1/customers/{made['id']}")
    later(sandbox)

    asked = ask(conn, stripe)

    assert asked == 1
    assert rows(conn, "select deleted, unsettled from stripe.customers") == [(True, False)]
    assert waiting(conn) == []
