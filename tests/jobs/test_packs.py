"""Tokens that are bought once: on an invoice, or in a Checkout session that says what it sold."""

import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.factories import (
    DAY,
    Json,
    checkout_session,
    customer,
    event,
    invoice,
    line_item,
    price,
    product,
    refund,
    subscription,
)
from worker.core.membership.access import Policy

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


@pytest.mark.parametrize(
    ("metadata", "granted"),
    [({"tokens": "300"}, 300), ({"product": "prod_pack", "quantity": "3"}, 1500), ({"product": "prod_pack"}, 500)],
)
def test_a_session_without_an_invoice_grants_what_its_metadata_says(
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
def test_a_session_that_says_nothing_or_is_not_paid_or_has_an_invoice_grants_nothing(
    conn: psycopg.Connection, apply: Apply, more: Json
) -> None:
    told: Json = {"mode": "payment", "subscription": None, "invoice": None, "metadata": {"tokens": "9"}}

    apply(event("checkout.session.completed", checkout_session("cs_1", **(told | more))))

    assert ledger(conn) == []


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


def test_an_upgrade_is_pro_rata_of_the_prices_own_interval_under_add(conn: psycopg.Connection, apply: Apply) -> None:
    now = int(time.time()) - 60
    line = line_item("il_1", proration=True, amount=900, period_start=now, period_end=now + 10 * DAY)
    paid = {"finalized_at": now, "paid_at": now, "voided_at": None, "marked_uncollectible_at": None}
    changed = invoice(lines=[line], billing_reason="subscription_update", status_transitions=paid)
    policy = Policy(tokens_reset=False)

    apply(event("invoice.paid", changed), policy=policy)
    before = ledger(conn)
    apply(event("price.created", price()), policy=policy)

    assert before == []
    ((key, kind, amount, _),) = ledger(conn)
    assert (key, kind) == ("invoice:in_1:line:il_1", "update")
    assert amount in range(322, 358)  # 10 days of a month of 28 to 31
