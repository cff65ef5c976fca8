"""Tokens bought once: on an invoice, or in a Checkout session that names what it sold."""

import re
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.draining import read_lists
from tests.factories import (
    DAY,
    Json,
    checkout_session,
    customer,
    encoded,
    event,
    invoice,
    line_item,
    price,
    product,
    refund,
    subscription,
)
from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.writers import refetch
from worker.writers.apply import Applier, compute_waiting

Apply = Callable[..., None]


def ledger(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return conn.execute("select source_key, kind, amount, balance_after from sync.token_grants order by id").fetchall()


@pytest.fixture(autouse=True)
def _jenny(conn: psycopg.Connection, apply: Apply) -> None:
    conn.execute("insert into users (id) values ('jenny')")
    apply(
        event("product.created", product("prod_pack", tokens=500)),
        event("product.created", product()),
        event("customer.created", customer("cus_jenny", user_id="jenny")),
    )


def deliver(conn: psycopg.Connection, events: list[Json]) -> None:
    """Store the events as the webhook endpoint does, and drain the inbox as a daemon with a Stripe key."""
    inbox.store(conn, [read_envelope(encoded(event).decode()) for event in events])
    Applier(livemode=False, policy=Policy(), has_key=True).drain(conn)


def ask(conn: psycopg.Connection, stripe: Stripe) -> int:
    conn.execute("update sync.refetch_queue set due_at = now()")
    return refetch.drain(conn, stripe, Policy(), should_continue=lambda: True)


def read_again(conn: psycopg.Connection, stripe: Stripe) -> dict[str, int]:
    return read_lists(conn, stripe, ["checkout_sessions"])


ONCE = price("price_pack", product="prod_pack", type="one_time", recurring=None)


def on_an_invoice() -> Json:
    now = int(time.time()) - 60
    line = line_item(
        "il_1", price="price_pack", product="prod_pack", quantity=2, period_start=now, period_end=now, subscription=""
    )
    paid = {"finalized_at": now, "paid_at": now, "voided_at": None, "marked_uncollectible_at": None}
    return invoice(
        lines=[line], status_transitions=paid, billing_reason="manual", subscription=None, payment_intent=None
    )


@pytest.mark.parametrize("price_first", [True, False])
def test_a_pack_on_an_invoice_grants_once_its_price_is_known(
    conn: psycopg.Connection, apply: Apply, price_first: bool
) -> None:
    events = [event("price.created", ONCE), event("invoice.paid", on_an_invoice())]

    for made in events if price_first else events[::-1]:
        apply(made)

    assert ledger(conn) == [("invoice:in_1:line:il_1", "pack", 1000, 1000)]


def an_invoice_of_packs(ids: list[str], *, has_more: bool = False) -> Json:
    """An invoice of equal lines, each for one pack. `has_more` truncates its list."""
    lines = [
        line_item(
            id_, price="price_pack", product="prod_pack", period_start=BEGUN, period_end=BEGUN, subscription="",
            subscription_item="",
        )
        for id_ in ids
    ]  # fmt: skip
    paid = {"finalized_at": BEGUN, "paid_at": BEGUN, "voided_at": None, "marked_uncollectible_at": None}
    return invoice(
        lines=lines, has_more=has_more, status_transitions=paid, billing_reason="manual", subscription=None,
        payment_intent=None,
    )  # fmt: skip


BEGUN = int(time.time()) - 60
EQUAL = [f"il_{number:02}" for number in range(12)]


@pytest.mark.parametrize(
    ("shown", "packs"),
    [
        ([(EQUAL, False)], 12),
        ([(EQUAL[:10], True), (EQUAL, False)], 12),
        ([(["sli_1", "sli_2"], True), (EQUAL[:3], False)], 3),
        ([(EQUAL[:3], False), (["sli_1", "sli_2", "sli_3"], False), (EQUAL[:3], False)], 3),
    ],
    ids=["at once", "the first ten, then all", "two under old ids, then all under new ones", "under old ids again"],
)
def test_equal_lines_of_an_invoice_grant_once_each(
    conn: psycopg.Connection, apply: Apply, shown: list[tuple[list[str], bool]], packs: int
) -> None:
    apply(event("price.created", ONCE))

    for ids, has_more in shown:
        apply(event("invoice.paid", an_invoice_of_packs(ids, has_more=has_more)))
        apply(event("customer.updated", customer("cus_jenny", user_id="jenny", name=str(has_more))))

    assert len(ledger(conn)) == packs
    assert conn.execute("select tokens from users where id = 'jenny'").fetchone() == (500 * packs,)


@pytest.mark.parametrize(
    ("metadata", "granted"),
    [({"tokens": "300"}, 300), ({"product": "prod_pack", "quantity": "3"}, 1500), ({"product": "prod_pack"}, 500)],
)
def test_a_session_without_an_invoice_grants_the_packs_in_its_metadata(
    conn: psycopg.Connection, apply: Apply, metadata: dict[str, str], granted: int
) -> None:
    sold = checkout_session(
        "cs_1", mode="payment", subscription=None, invoice=None, payment_intent="pi_9", metadata=metadata,
        created=int(time.time()) - 60,
    )  # fmt: skip

    apply(event("checkout.session.completed", sold), event("checkout.session.completed", sold))
    apply(event("refund.created", refund(payment_intent="pi_9", charge="ch_9", amount=1000)))

    assert ledger(conn) == [
        ("cs:cs_1", "pack", granted, granted),
        ("refund:re_1", "refund", -(granted // 2), granted // 2),
    ]


@pytest.mark.parametrize("more", [{"metadata": {}}, {"payment_status": "unpaid"}, {"invoice": "in_1"}])
def test_a_session_without_metadata_or_payment_or_with_an_invoice_grants_nothing(
    conn: psycopg.Connection, apply: Apply, more: Json
) -> None:
    delivered: Json = {"mode": "payment", "subscription": None, "invoice": None, "metadata": {"tokens": "9"}}

    apply(event("checkout.session.completed", checkout_session("cs_1", **(delivered | more))))

    assert ledger(conn) == []


def test_the_line_items_of_a_session_without_an_invoice_are_fetched(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    conn.execute("insert into users (id) values ('jack')")
    sandbox.tell("stories/token_pack", user_id="jack", quantity=3)
    delivered = sandbox.get("/v1/events?limit=100")["data"][::-1]
    deliver(conn, delivered)
    before = ledger(conn)
    sandbox.tell("clock", advance=20)

    asked = ask(conn, stripe)
    after = ledger(conn)
    with_a_list = read_again(conn, stripe)
    conn.execute("update sync.events set status = 'pending', next_attempt_at = now()")
    deliver(conn, [])

    assert before == []
    assert asked >= 1
    ((key, kind, amount, balance),) = after
    assert re.fullmatch(r"cs:cs_test_\w+:line:li_\w+", key)
    assert (kind, amount, balance) == ("pack", 1500, 1500)
    assert ledger(conn) == after
    assert with_a_list["repaired"] == 0
    history = conn.execute("select amount, stripe_product_id is not null from payment_history").fetchall()
    assert history == [(1500, True)]


def test_a_sale_waits_for_its_product(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    conn.execute("insert into users (id) values ('jack')")
    sandbox.tell("stories/token_pack", user_id="jack")
    delivered = sandbox.get("/v1/events?limit=100")["data"][::-1]
    products = [one for one in delivered if one["type"].startswith(("product.", "price."))]
    deliver(conn, [one for one in delivered if one not in products])
    sandbox.tell("clock", advance=20)
    ask(conn, stripe)
    before = ledger(conn)

    deliver(conn, products)
    compute_waiting(conn, Policy())

    assert before == []
    assert [(kind, amount) for _, kind, amount, _ in ledger(conn)] == [("pack", 500)]


def test_only_a_paid_session_in_payment_mode_without_an_invoice_is_read(conn: psycopg.Connection) -> None:
    deliver(
        conn,
        [
            event("checkout.session.completed", checkout_session("cs_1", mode="subscription", invoice=None)),
            event("checkout.session.completed", checkout_session("cs_2", mode="payment", invoice="in_1")),
            event("checkout.session.completed", checkout_session("cs_3", mode="payment", invoice=None, payment_status="unpaid")),
            event("checkout.session.completed", checkout_session("cs_4", mode="payment", invoice=None)),
        ],
    )  # fmt: skip

    assert conn.execute("select id from sync.refetch_queue").fetchall() == [("cs_4",)]


def test_a_trial_grants_its_own_allowance(conn: psycopg.Connection, apply: Apply) -> None:
    now = int(time.time()) - 60
    line = line_item("il_1", amount=0, period_start=now, period_end=now + 14 * DAY)
    paid = {"finalized_at": now, "paid_at": now, "voided_at": None, "marked_uncollectible_at": None}
    policy = Policy(trial_tokens=50)

    apply(event("invoice.paid", invoice(lines=[line], total=0, status_transitions=paid)), policy=policy)
    before = ledger(conn)
    trial = subscription(status="trialing", period_start=now, period_end=now + 14 * DAY, trial_end=now + 14 * DAY)
    apply(event("customer.subscription.created", trial), policy=policy)

    assert before == []
    assert ledger(conn) == [("invoice:in_1:line:il_1", "trial", 50, 50)]


def test_an_upgrade_is_prorated_by_the_price_s_own_interval(conn: psycopg.Connection, apply: Apply) -> None:
    now = int(time.time()) - 60
    paid = {"finalized_at": now, "paid_at": now, "voided_at": None, "marked_uncollectible_at": None}
    month = line_item("il_0", period_start=now - 20 * DAY, period_end=now + 10 * DAY)
    first = invoice("in_0", lines=[month], status_transitions={**paid, "paid_at": now - 20 * DAY})
    change = line_item("il_1", invoice="in_1", proration=True, amount=900, period_start=now, period_end=now + 10 * DAY)
    changed = invoice("in_1", lines=[change], billing_reason="subscription_update", status_transitions=paid)

    apply(event("invoice.paid", first), event("invoice.paid", changed))
    before = ledger(conn)
    apply(event("price.created", price()), event("customer.subscription.created", subscription()))

    assert before == []
    (_, _, whole, _), (key, kind, amount, _) = ledger(conn)
    assert whole == 1000
    assert (key, kind) == ("invoice:in_1:line:il_1", "update")
    assert amount in range(322, 358)  # 10 days of a month of 28 to 31
