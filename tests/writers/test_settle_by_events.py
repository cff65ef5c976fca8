"""If the stored events of an object prove its last state, the drain settles the row without reading Stripe."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from tests.factories import DAY, NOW, OLD, Json, customer, event, product, stub, subscription, thin_event, update
from worker.mirror.fold import fold, observe
from worker.stripe_api.event import read_event
from worker.writers.settle_by_events import settle

Apply = Callable[..., None]


def named(names: str, at: Sequence[int] | None = None, **more: Any) -> list[Json]:
    """Return the events of a customer, created with the first name and then renamed. Later events have smaller ids."""
    states = [customer("cus_1", name=name, **more) for name in names]
    moments = at or [NOW] * len(names)
    events = [event("customer.created", states[0], id="evt_9", created=moments[0])]
    for number, (before, after) in enumerate(pairwise(states), start=1):
        events.append(update("customer.updated", before, after, id=f"evt_{9 - number}", created=moments[number]))
    return events


def held(conn: psycopg.Connection) -> tuple[Any, ...]:
    """The customer's row in the mirror, and the number of queued reads."""
    row = conn.execute(
        "select name, unsettled, (select count(*) from sync.refetch_queue) from stripe.customers"
    ).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize(("order", "batch_size"), [((2, 1, 0), 500), ((2, 0, 1), 1), ((1, 2, 0), 1)])
def test_a_chain_out_of_order_is_settled_without_a_read(
    conn: psycopg.Connection, apply: Apply, order: tuple[int, ...], batch_size: int
) -> None:
    made, *changes = named("abcb")

    apply(made, *(changes[number] for number in order), batch_size=batch_size)

    assert held(conn) == ("b", False, 0)


def test_a_chain_that_arrives_in_parts_stays_unsettled_until_it_is_complete(
    conn: psycopg.Connection, apply: Apply
) -> None:
    made, first, second, third = named("abcb")

    apply(made, third)
    one = held(conn)
    apply(second)
    two = held(conn)
    apply(first)

    assert one[1:] == (False, 0)  # the newest event is certainly newer than the creation
    assert two[1:] == (True, 1)
    assert held(conn) == ("b", False, 0)


def test_ambiguous_events_without_previous_attributes_stay_unsettled_and_queue_a_read(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(
        event("customer.updated", customer("cus_1", name="a"), id="evt_1"),
        event("customer.updated", customer("cus_1", name="b"), id="evt_2"),
    )

    assert held(conn) == ("b", True, 1)


def test_a_later_event_of_the_cluster_unsettles_the_row_until_the_missing_event_arrives(
    conn: psycopg.Connection, apply: Apply
) -> None:
    *first, missing, last = named("abcde", at=[NOW, NOW, NOW + 1, NOW + 2, NOW + 3])

    apply(*first)
    settled = held(conn)
    apply(last)
    opened = held(conn)
    apply(missing)

    assert (settled, opened[1:]) == (("c", False, 0), (True, 1))
    assert held(conn) == ("e", False, 0)


def test_events_before_a_long_pause_are_not_part_of_the_chain(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.updated", customer("cus_1", name="x"), created=NOW - DAY))

    apply(*named("xyz", at=[NOW - 2 * DAY, NOW, NOW])[::-1])

    assert held(conn) == ("z", False, 0)


@pytest.mark.parametrize(
    "extra",
    [
        event("customer.updated", customer("cus_1", name="c"), id="evt_old", api_version=OLD),
        thin_event("v1.customer.updated", id="evt_thin", created="2026-07-01T00:00:56.500Z"),
    ],
    ids=["another shape", "a thin event"],
)
def test_an_event_that_cannot_be_chained_leaves_the_row_unsettled(
    conn: psycopg.Connection, apply: Apply, extra: Json
) -> None:
    if extra["object"] == "v2.core.event":
        extra = extra | {"related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}}
    _, first, last = named("abc")

    apply(extra, last, first)

    assert held(conn)[1:] == (True, 1)


def test_an_object_on_a_test_clock_is_always_read_again(conn: psycopg.Connection, apply: Apply) -> None:
    apply(*named("abc", test_clock="clock_1"))

    assert held(conn)[1:] == (True, 1)


def test_an_object_with_a_truncated_list_is_always_read_again(conn: psycopg.Connection, apply: Apply) -> None:
    states = [subscription("sub_1", quantity=number, has_more=True) for number in (1, 2)]

    apply(
        event("customer.subscription.created", states[0]),
        update("customer.subscription.updated", *states),
    )

    assert conn.execute("select unsettled from stripe.subscriptions").fetchone() == (True,)


def test_no_chain_crosses_a_deletion_if_ids_are_reused(conn: psycopg.Connection, apply: Apply) -> None:
    apply(
        event("product.created", product("prod_1", name="a"), id="evt_1"),
        event("product.deleted", stub(product("prod_1")), id="evt_2"),
        event("product.created", product("prod_1", name="b"), id="evt_3", created=NOW + 1),
    )

    assert conn.execute("select unsettled from stripe.products").fetchone() == (True,)


@pytest.mark.parametrize("other", [{"account": "acct_1"}, {"livemode": True}])
def test_events_of_another_account_or_mode_belong_to_another_object(
    conn: psycopg.Connection, apply: Apply, other: dict[str, Any]
) -> None:
    _, first, last = named("abc")
    stranger = event("customer.updated", customer("cus_1", name="z"), id="evt_z", **other)

    apply(stranger, last, first)

    row = conn.execute("select name, unsettled from stripe.customers where account = ''").fetchone()
    assert row == ("c", False)


def test_a_cluster_of_too_many_events_is_not_chained(conn: psycopg.Connection, apply: Apply) -> None:
    changes = [
        update("customer.updated", customer("cus_1", name=str(n)), customer("cus_1", name=str(n + 1)))
        for n in range(200)
    ]

    apply(*changes)

    assert held(conn)[1:] == (True, 1)


def test_users_follow_the_state_that_the_chain_shows(conn: psycopg.Connection, apply: Apply) -> None:
    """The order of the event ids is wrong. The chain shows that the subscription's pause has ended."""
    conn.execute("insert into users (id, email) values ('jenny', 'jenny@example.com')")
    states = [
        subscription("sub_1", user_id="jenny", status=status, latest_invoice=invoice)
        for status, invoice in [("active", "in_1"), ("paused", "in_1"), ("active", "in_2")]
    ]
    apply(event("product.created", product("prod_pro")), event("customer.created", customer(user_id="jenny")))

    apply(
        update("customer.subscription.updated", states[1], states[2], id="evt_1"),
        update("customer.subscription.updated", states[0], states[1], id="evt_9"),
        batch_size=1,
    )

    assert conn.execute("select status, unsettled from stripe.subscriptions").fetchone() == ("active", False)
    assert conn.execute("select role::text, stripe_product_id from users").fetchone() == ("PREMIUM", "prod_pro")
    assert conn.execute("select status from user_subscriptions").fetchone() == ("active",)


def test_a_thin_event_whose_snapshot_twin_arrived_does_not_break_the_chain(
    conn: psycopg.Connection, apply: Apply
) -> None:
    _, first, last = named("abc")
    related = {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}
    thin = thin_event("v1.customer.updated", created="2026-07-01T00:00:56.500Z", related=related)

    apply(thin | {"snapshot_event": last["id"]}, last, first)

    assert held(conn) == ("c", False, 0)


def test_no_query_is_made_if_no_row_is_unsettled(conn: psycopg.Connection) -> None:
    (seen,) = [observe(read_event(body)) for body in named("a")]
    assert seen is not None
    outcomes = fold([seen], {})
    conn.close()

    settled = settle(conn, outcomes, livemode=False)

    assert [outcome.object for outcome in settled] == [customer("cus_1", name="a")]
