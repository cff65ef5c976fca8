"""Thin events name an object without its state, so the object is read from Stripe."""

from datetime import UTC, datetime
from typing import Any

import psycopg

from tests.factories import NOW, Json, event, thin_event
from tests.sandboxes import Sandbox
from tests.writers.refetching import (
    Canned,
    answered,
    deliver,
    held,
    later,
    outcomes,
    read_queued,
    rows,
    waiting,
)
from worker.inbox import store as inbox
from worker.stripe_api.answers import Answer
from worker.stripe_api.client import Stripe


def thin(type_: str, obj: Json, **more: Any) -> Json:
    related = {"id": obj["id"], "type": obj["object"], "url": f"/v1/{obj['object']}s/{obj['id']}"}
    return thin_event(type_, related=related, **more)


def test_the_object_of_a_thin_event_is_read_and_written(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="In no event")

    deliver(conn, thin("v1.customer.created", made))
    before = held(conn)
    read_queued(conn, stripe)

    assert before == []
    assert outcomes(conn) == ["asked"]
    assert held(conn) == [("In no event", False, False)]
    assert waiting(conn) == []


def test_a_thin_event_unsettles_an_existing_row(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = sandbox.post("/v1/customers", name="New")
    deliver(conn, event("customer.created", {**made, "name": "Old"}, created=made["created"]))

    deliver(conn, thin("v1.customer.updated", made))
    between = held(conn)
    later(sandbox)
    read_queued(conn, stripe)

    assert between == [("Old", False, True)]
    assert held(conn) == [("New", False, False)]


def test_a_thin_event_and_its_snapshot_twin_count_once(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="Twin")
    deliver(conn, event("customer.created", made, id="evt_snapshot", created=made["created"]))

    deliver(conn, {**thin("v1.customer.created", made), "snapshot_event": "evt_snapshot"})

    assert outcomes(conn) == ["written", "twin"]
    assert held(conn) == [("Twin", False, False)]
    assert waiting(conn) == []


def test_a_singleton_is_kept_under_its_name(conn: psycopg.Connection) -> None:
    related = {"type": "balance", "url": "/v1/balance"}
    balance = {"object": "balance", "available": [{"amount": 7, "currency": "usd"}], "livemode": False}
    stripe = Canned(answered(balance, read_at=NOW + 3600))

    deliver(conn, thin_event("v1.balance.available", related=related))
    read_queued(conn, stripe)

    assert stripe.asked == ["/v1/balance"]
    assert rows(conn, "select object, id, data -> 'available' -> 0 ->> 'amount' from stripe.other_objects") == [
        ("balance", "balance", "7")
    ]


def test_an_object_of_an_unknown_type_is_read_from_the_url_in_the_event(conn: psycopg.Connection) -> None:
    related = {"id": "nt_1", "type": "new.thing", "url": "/v1/new/things/nt_1"}
    stripe = Canned(answered({"id": "nt_1", "object": "new.thing", "colour": "red"}, read_at=NOW + 3600))

    deliver(conn, thin_event("v1.new.thing.created", related=related))
    read_queued(conn, stripe)

    assert stripe.asked == ["/v1/new/things/nt_1"]
    assert rows(conn, "select id, data ->> 'colour', unsettled from stripe.other_objects") == [("nt_1", "red", False)]


def test_events_about_objects_that_are_not_mirrored_are_done_at_once(conn: psycopg.Connection) -> None:
    elsewhere = {"id": "acct_1", "type": "v2.core.account", "url": "/v2/core/accounts/acct_1"}

    deliver(conn, thin_event("v2.core.event_destination.ping", id="evt_1"))
    deliver(conn, thin_event("v2.core.account.updated", id="evt_2", related=elsewhere))

    assert outcomes(conn) == ["ping", "not_kept"]
    assert waiting(conn) == []


def test_the_snapshot_event_of_a_thin_event_without_an_object_is_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.post("/v1/customers", name="Read from the twin")
    (listed,) = stripe.page("/v1/events").data

    deliver(conn, {**thin_event("v1.customer.created"), "snapshot_event": listed["id"]})
    read_queued(conn, stripe)
    deliver(conn)

    assert sorted(outcomes(conn)) == ["asked", "written"]
    assert held(conn) == [("Read from the twin", False, False)]
    assert waiting(conn) == []


def test_a_thin_event_is_parked_until_an_api_key_is_set(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="Waited for")

    deliver(conn, thin("v1.customer.created", made, id="evt_thin"), has_key=False)
    parked = rows(conn, "select status, outcome from sync.events")
    inbox.replay(conn, ["evt_thin"])
    deliver(conn)
    read_queued(conn, stripe)

    assert parked == [("parked", "needs_key")]
    assert rows(conn, "select status, outcome from sync.events") == [("done", "asked")]
    assert held(conn) == [("Waited for", False, False)]


def test_a_snapshot_event_missing_from_a_replica_is_read_again(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.post("/v1/customers", name="Read from the twin")
    (listed,) = stripe.page("/v1/events").data
    deliver(conn, {**thin_event("v1.customer.created"), "snapshot_event": listed["id"]})

    read_queued(conn, Canned(Answer(None, deleted=True, missing=True, read_at=listed["created"])))
    still = waiting(conn)
    read_queued(conn, stripe)
    deliver(conn)

    assert still == [("event", listed["id"], True)]
    assert held(conn) == [("Read from the twin", False, False)]


def test_an_older_snapshot_event_does_not_cancel_the_read_for_a_thin_event(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="Newest")
    moment = datetime.fromtimestamp(made["created"], UTC).isoformat()
    deliver(conn, thin("v1.customer.updated", made, created=moment))
    deliver(conn, event("customer.created", {**made, "name": "Old"}, created=made["created"] - 60))

    read_queued(conn, stripe)

    assert rows(conn, "select name from stripe.customers") == [("Newest",)]
