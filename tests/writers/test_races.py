"""Two workers write concurrently, and neither sees the other's uncommitted rows. Still no change is missed.

The first worker records its events but does not commit. The second worker then drains its own events. The first worker
commits as soon as the second waits for a lock of the first, or is done.
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
    dispute,
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
from worker.membership.rules.access import Policy

Apply = Callable[..., None]
SideBySide = Callable[..., None]

State = dict[str, list[tuple[Any, ...]]]

START = int(time.time()) - 3600
POLICY = Policy(tokens_reset=False, trial_tokens=50)
PAID = {"finalized_at": START, "paid_at": START, "voided_at": None, "marked_uncollectible_at": None}


def bought() -> list[Json]:
    """Jenny subscribes, upgrades for ten days, buys a pack, and gets half of her first payment back."""
    month = line_item("il_1", period_start=START, period_end=START + 30 * DAY)
    upgrade = line_item(
        "il_2",
        invoice="in_2",
        price="price_more",
        proration=True,
        amount=900,
        period_start=START,
        period_end=START + 10 * DAY,
    )
    pack: Json = {
        "mode": "payment",
        "subscription": None,
        "invoice": None,
        "metadata": {"tokens": "70"},
        "created": START,
    }
    return [
        event("product.created", product()),
        event("price.created", price("price_more", recurring={"interval": "day", "interval_count": 20})),
        event("customer.created", customer("cus_jenny", user_id="jenny")),
        event("customer.subscription.created", subscription(period_start=START, period_end=START + 30 * DAY)),
        event("invoice.paid", invoice(lines=[month], status_transitions=PAID)),
        event(
            "invoice.paid",
            invoice("in_2", lines=[upgrade], billing_reason="subscription_update", status_transitions=PAID),
        ),
        event("invoice_payment.paid", invoice_payment()),
        event("payment_intent.succeeded", payment_intent()),
        event("charge.succeeded", charge()),
        event("refund.created", refund(amount=500)),
        event("checkout.session.completed", checkout_session("cs_1", **pack)),
    ]


def shared() -> list[Json]:
    """Jenny starts a trial for her organization, pays, and disputes the charge. Only the Checkout session names her."""
    ends: Json = {"period_start": START, "period_end": START + 14 * DAY}
    trial = line_item("il_1", amount=0, **ends)
    month = line_item("il_2", invoice="in_2", period_start=START + 14 * DAY, period_end=START + 44 * DAY)
    made = subscription(status="trialing", trial_end=START + 14 * DAY, metadata={"organization_id": "org"}, **ends)
    return [
        event("product.created", product(metadata={"tokens": "1000", "role": "USER"})),
        event("checkout.session.completed", checkout_session("cs_1", client_reference_id="jenny", invoice="in_1")),
        event("customer.subscription.created", made),
        event("invoice.paid", invoice(lines=[trial], total=0, status_transitions=PAID)),
        event(
            "invoice.paid",
            invoice("in_2", lines=[month], billing_reason="subscription_cycle", status_transitions=PAID),
        ),
        event("invoice_payment.paid", invoice_payment(invoice="in_2")),
        event("payment_intent.succeeded", payment_intent()),
        event("charge.succeeded", charge()),
        event("charge.dispute.closed", dispute(status="lost")),
    ]


Story = Callable[[], list[Json]]
STORIES: dict[Story, list[tuple[Any, ...]]] = {
    bought: [("bob", "USER", "ACTIVE", None, 0), ("jenny", "PREMIUM", "ACTIVE", "prod_pro", 1000 + 500 - 250 + 70)],
    shared: [("bob", "USER", "ACTIVE", "prod_pro", 0), ("jenny", "USER", "ACTIVE", "prod_pro", 50)],
}
EACH = [pytest.param(story, number) for story in STORIES for number in range(len(story()))]
HALVES = [pytest.param(story, seed) for story in STORIES for seed in range(10)]


@pytest.fixture(autouse=True)
def _people(conn: psycopg.Connection) -> None:
    conn.execute("insert into organizations (id, name) values ('org', 'Org')")
    forget(conn)


def forget(conn: psycopg.Connection) -> None:
    tables = conn.execute(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('mirror', 'sync') or tablename"
        " in ('stripe_products', 'stripe_prices', 'stripe_customers', 'user_subscriptions', 'payment_history', 'users')"
    ).fetchall()
    conn.execute(f"truncate {', '.join(name for (name,) in tables)} cascade")
    conn.execute("insert into users (id, organization_id) values ('bob', 'org'), ('jenny', null)")
    conn.execute("delete from sync.next_changes")


def state(conn: psycopg.Connection) -> State:
    """Return all rows that a story writes, with the ledger's rows sorted by key."""
    queries = {
        "users": "select id, role::text, membership_status::text, stripe_product_id, tokens from users order by id",
        "grants": "select source_key, amount from sync.token_grants where kind <> 'extension' order by 1",
        "subscriptions": "select id, stripe_product_id, status::text from user_subscriptions",
        "payments": "select id, user_id, amount, stripe_product_id from payment_history",
        "products": "select id, name, active, metadata from stripe_products",
        "prices": "select id, product_id, active, interval_count from stripe_prices order by id",
        "left": "select 'event', id from sync.events where status <> 'done' union select object, id from sync.rechecks",
    }
    return {name: conn.execute(query).fetchall() for name, query in queries.items()}


@pytest.fixture
def correct_end(conn: psycopg.Connection, apply: Apply, side_by_side: SideBySide) -> Callable[[Story], State]:
    """A function that returns the end state of a story applied by a single worker."""

    def find(story: Story) -> State:
        side_by_side([], story(), policy=POLICY)
        end = state(conn)
        assert end["users"] == STORIES[story]
        assert [row[3] for row in end["payments"]] == ["prod_pro"]
        return end

    return find


@pytest.mark.parametrize(("story", "number"), EACH)
def test_no_two_concurrent_events_miss_each_other(
    conn: psycopg.Connection,
    apply: Apply,
    side_by_side: SideBySide,
    correct_end: Callable[[Story], State],
    story: Story,
    number: int,
) -> None:
    """Apply the rest of the story first. Then one event is uncommitted while another arrives."""
    expected = correct_end(story)
    for other in range(len(story())):
        if other != number:
            forget(conn)
            events = story()
            first, second = events[number], events[other]
            apply(*(one for one in events if one not in (first, second)), policy=POLICY)

            side_by_side([first], [second], policy=POLICY)

            assert state(conn) == expected, f"{second['type']} arrived while {first['type']} was not committed"


@pytest.mark.parametrize(("story", "number"), EACH)
def test_one_event_and_the_concurrent_rest_do_not_miss_each_other(
    conn: psycopg.Connection, side_by_side: SideBySide, correct_end: Callable[[Story], State], story: Story, number: int
) -> None:
    expected = correct_end(story)
    for is_first in (True, False):
        forget(conn)
        rest = story()
        alone = [rest.pop(number)]

        side_by_side(*((alone, rest) if is_first else (rest, alone)), policy=POLICY)

        assert state(conn) == expected, f"{alone[0]['type']} alone in the {'first' if is_first else 'second'} batch"


def test_a_payment_counts_while_its_product_is_being_written(
    conn: psycopg.Connection, side_by_side: SideBySide
) -> None:
    """One batch has the catalogue, and the other all events of a customer, as can happen after the daemon's first start."""
    sold, _, buyer, subscribed, paid, *_ = bought()

    side_by_side([sold], [buyer, subscribed, paid], policy=POLICY)

    assert state(conn)["users"][1] == ("jenny", "PREMIUM", "ACTIVE", "prod_pro", 1000)


@pytest.mark.parametrize(("story", "seed"), HALVES)
def test_no_two_concurrent_batches_miss_each_other(
    conn: psycopg.Connection, side_by_side: SideBySide, correct_end: Callable[[Story], State], story: Story, seed: int
) -> None:
    expected = correct_end(story)
    forget(conn)
    events = story()
    random.Random(seed).shuffle(events)

    side_by_side(events[: len(events) // 2], events[len(events) // 2 :], policy=POLICY)

    assert state(conn) == expected
