"""Two workers write at the same time, and neither sees what the other has not committed: nothing gets lost between them.

One records its events and does not commit; the other drains his. Where he has to wait for the first one, that commits
then, else it commits once he is done.
"""

import random
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.factories import (
    DAY,
    Json,
    charge,
    checkout_session,
    customer,
    event,
    invoice,
    invoice_payment,
    line_item,
    payment_intent,
    price,
    product,
    refund,
    subscription,
)
from worker.core.membership.access import Policy

Apply = Callable[..., None]
SideBySide = Callable[..., None]

START = int(time.time()) - 3600
POLICY = Policy(tokens_reset=False)


def story() -> dict[str, Json]:
    """Jenny subscribes, upgrades for ten days more, buys a pack, and gets back half of her first money."""
    paid = {"finalized_at": START, "paid_at": START, "voided_at": None, "marked_uncollectible_at": None}
    line = line_item("il_1", period_start=START, period_end=START + 30 * DAY)
    more = line_item(
        "il_2",
        invoice="in_2",
        price="price_more",
        proration=True,
        amount=900,
        period_start=START,
        period_end=START + 10 * DAY,
    )
    shown = [
        event("product.created", product()),
        event("price.created", price("price_more", recurring={"interval": "day", "interval_count": 20})),
        event("customer.created", customer("cus_jenny", user_id="jenny")),
        event("customer.subscription.created", subscription(period_start=START, period_end=START + 30 * DAY)),
        event("invoice.paid", invoice(lines=[line], status_transitions=paid)),
        event(
            "invoice.paid",
            invoice("in_2", lines=[more], billing_reason="subscription_update", status_transitions=paid),
        ),
        event("invoice_payment.paid", invoice_payment()),
        event("payment_intent.succeeded", payment_intent()),
        event("charge.succeeded", charge()),
        event("refund.created", refund(amount=500)),
        event(
            "checkout.session.completed",
            checkout_session(
                "cs_1", mode="payment", subscription=None, invoice=None, metadata={"tokens": "70"}, created=START
            ),
        ),
    ]
    return {made["data"]["object"]["id"]: made for made in shown}


NAMES = list(story())


@pytest.fixture(autouse=True)
def _jenny(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id) values ('jenny')")


def state(conn: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All that was made of the story, but for the order of the ledger's rows."""
    queries = {
        "user": "select role::text, membership_status::text, stripe_product_id, tokens from users",
        "grants": "select source_key, amount from sync.token_grants where kind <> 'extension' order by 1",
        "subscriptions": "select id, stripe_product_id, status::text from user_subscriptions",
        "payments": "select id, user_id, amount, stripe_product_id from payment_history",
        "products": "select id, name, active, metadata from stripe_products",
        "prices": "select id, product_id, active, interval_count from stripe_prices order by id",
        "left": "select 'event', id from sync.events where status <> 'done' union select object, id from sync.second_looks",
    }
    return {name: conn.execute(query).fetchall() for name, query in queries.items()}


@pytest.fixture
def right(conn: psycopg.Connection, apply: Apply) -> dict[str, list[tuple[Any, ...]]]:
    """What the story ends with where one worker is alone."""
    apply(*story().values(), policy=POLICY)
    found = state(conn)
    assert found["user"] == [("PREMIUM", "ACTIVE", "prod_pro", 1000 + 500 - 250 + 70)]
    assert found["payments"] == [("pi_1", "jenny", found["payments"][0][2], "prod_pro")]
    return found


def forget(conn: psycopg.Connection) -> None:
    tables = conn.execute(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('stripe', 'sync') or tablename"
        " in ('stripe_products', 'stripe_prices', 'stripe_customers', 'user_subscriptions', 'payment_history')"
    ).fetchall()
    conn.execute(f"truncate {', '.join(name for (name,) in tables)} cascade")
    conn.execute("delete from users")
    conn.execute("insert into users (id) values ('jenny')")


@pytest.mark.parametrize("name", NAMES)
def test_no_two_transactions_miss_each_other(
    conn: psycopg.Connection,
    apply: Apply,
    side_by_side: SideBySide,
    right: dict[str, list[tuple[Any, ...]]],
    name: str,
) -> None:
    """One event is recorded and not committed while each of the others comes, the rest of the story being known."""
    for other in NAMES:
        if other != name:
            forget(conn)
            events = story()
            first, second = [events.pop(name)], [events.pop(other)]
            apply(*events.values(), policy=POLICY)

            side_by_side(first, second, policy=POLICY)

            assert state(conn) == right, f"{other} came while {name} was not committed"


@pytest.mark.parametrize("name", NAMES)
def test_one_event_and_the_whole_story_do_not_miss_each_other(
    conn: psycopg.Connection,
    apply: Apply,
    side_by_side: SideBySide,
    right: dict[str, list[tuple[Any, ...]]],
    name: str,
) -> None:
    for is_first in (True, False):
        forget(conn)
        events = story()
        alone, rest = [events.pop(name)], list(events.values())

        side_by_side(*((alone, rest) if is_first else (rest, alone)), policy=POLICY)

        assert state(conn) == right, f"{name} alone, and first: {is_first}"


def test_what_is_paid_for_a_product_that_is_just_being_written_counts(
    conn: psycopg.Connection, side_by_side: SideBySide
) -> None:
    """As after the first start: a batch has the catalogue, and another one everything of a customer."""
    events = story()

    side_by_side([events["prod_pro"]], [events["cus_jenny"], events["sub_1"], events["in_1"]], policy=POLICY)

    assert state(conn)["user"] == [("PREMIUM", "ACTIVE", "prod_pro", 1000)]


@pytest.mark.parametrize("seed", range(20))
def test_no_two_batches_miss_each_other(
    conn: psycopg.Connection, side_by_side: SideBySide, right: dict[str, list[tuple[Any, ...]]], seed: int
) -> None:
    forget(conn)
    events = list(story().values())
    random.Random(seed).shuffle(events)

    side_by_side(events[: len(events) // 2], events[len(events) // 2 :], policy=POLICY)

    assert state(conn) == right
