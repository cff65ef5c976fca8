"""Reading objects again that have truncated lists, are on a test clock, or are unsettled without a queued read."""

from typing import Any

import psycopg
import pytest

from tests.factories import NOW, customer, event
from tests.sandboxes import Sandbox
from tests.writers.refetching import (
    YEAR,
    Canned,
    answered,
    deliver,
    held,
    later,
    read_queued,
    rows,
    unsettled_customer,
    waiting,
)
from worker.mirror import refetch_queue
from worker.stripe_api.client import Stripe


@pytest.mark.parametrize(
    ("story", "type_", "table", "children", "parent", "number"),
    [
        ("many_items", "subscription", "subscriptions", "subscription_items", "subscription", 12),
        ("many_lines", "invoice", "invoices", "invoice_line_items", "invoice", 14),
    ],
)
def test_a_truncated_list_is_read_to_its_end(
    conn: psycopg.Connection,
    sandbox: Sandbox,
    stripe: Stripe,
    story: str,
    type_: str,
    table: str,
    children: str,
    parent: str,
    number: int,
) -> None:
    id_ = sandbox.tell(f"stories/{story}", user_id="u")["ids"][type_]
    listed = stripe.page("/v1/events").data
    last = next(event for event in listed if event["data"]["object"]["id"] == id_)

    def family() -> list[tuple[Any, ...]]:
        return rows(
            conn,
            f"""
            select p.unsettled, count(c.id), jsonb_array_length(coalesce(p.data -> 'items', p.data -> 'lines') -> 'data')
            from stripe.{table} as p
            left join stripe.{children} as c on c.{parent} = p.id and not c.deleted
            where p.id = '{id_}' group by 1, 3
            """,
        )

    deliver(conn, *listed)
    (cut,) = family()
    later(sandbox)
    read_queued(conn, stripe)

    assert cut == (True, 10, 10)
    assert family() == [(False, number, number)]

    # The truncated list of a later event omits items that may have changed, so the object is read again.
    deliver(conn, {**last, "id": "evt_equal", "created": last["created"] + 10})

    assert family() == [(True, number, number)]

    later(sandbox)
    read_queued(conn, stripe)

    assert family() == [(False, number, number)]


def test_an_object_on_a_test_clock_is_read_and_settled_however_far_ahead_the_clock_is(
    conn: psycopg.Connection,
) -> None:
    ahead = NOW + 5 * YEAR
    obj = customer(test_clock="clock_1", name="Stripe's")
    answer = Canned(answered(obj, read_at=ahead - 4 * YEAR))

    deliver(conn, event("customer.created", obj, created=ahead))
    marked = held(conn)
    first = read_queued(conn, answer)

    assert marked == [("Stripe's", False, True)]
    assert first == 1
    assert held(conn) == [("Stripe's", False, False)]

    # An event with the same content still unsettles the row.
    deliver(conn, event("customer.updated", obj, created=ahead + 3))
    again = read_queued(conn, answer)

    assert again == 1
    assert held(conn) == [("Stripe's", False, False)]
    assert waiting(conn) == []


def test_a_forgotten_unsettled_object_on_a_test_clock_is_settled_too(conn: psycopg.Connection) -> None:
    ahead = NOW + 5 * YEAR
    obj = customer(test_clock="clock_1", name="Stripe's")
    deliver(conn, event("customer.created", obj, created=ahead))
    conn.execute("delete from sync.refetch_queue")

    refetch_queue.want_forgotten(conn, limit=10)
    read_queued(conn, Canned(answered(obj, read_at=ahead - 4 * YEAR)))

    assert held(conn) == [("Stripe's", False, False)]


def test_an_unsettled_object_without_a_queued_read_is_found(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    unsettled_customer(conn, sandbox)
    conn.execute("delete from sync.refetch_queue")
    later(sandbox)

    forgotten = refetch_queue.want_forgotten(conn, limit=10)
    read_queued(conn, stripe)
    left = refetch_queue.want_forgotten(conn, limit=10)

    assert (forgotten, left) == (1, 0)
    assert held(conn) == [("Second", False, False)]
