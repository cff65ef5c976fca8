"""Returned money takes tokens back: once, in proportion, only when certain, and in any order of events."""

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
    customer,
    dispute,
    encoded,
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
from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.writers import refetch
from worker.writers.apply import Applier

Apply = Callable[..., None]


def rows(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()


def ledger(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    """The ledger's rows for tokens granted, taken and given back, without extensions."""
    return rows(
        conn,
        """
        select source_key, amount, balance_before, balance_after
        from sync.token_grants
        where kind <> 'extension'
        order by id
        """,
    )


def bought() -> list[Json]:
    """A month that Jenny paid for, with the payment."""
    start = int(time.time()) - 3600
    line = line_item("il_1", period_start=start, period_end=start + 30 * DAY)
    paid = {"finalized_at": start, "paid_at": start, "voided_at": None, "marked_uncollectible_at": None}
    return [
        event("product.created", product()),
        event("customer.created", customer("cus_jenny", user_id="jenny")),
        event("customer.subscription.created", subscription(period_start=start, period_end=start + 30 * DAY)),
        event("invoice.paid", invoice(lines=[line], status_transitions=paid)),
        event("invoice_payment.paid", invoice_payment()),
        event("payment_intent.succeeded", payment_intent()),
        event("charge.succeeded", charge()),
    ]


@pytest.fixture(autouse=True)
def _jenny(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id) values ('jenny')")


GRANT = ("invoice:in_1:line:il_1", 1000, 0, 1000)


@pytest.mark.parametrize("seed", range(8))
def test_a_partial_refund_takes_its_share_once_in_any_order(conn: psycopg.Connection, apply: Apply, seed: int) -> None:
    given = event("refund.created", refund(amount=500))
    events = [*bought(), given, given]
    random.Random(seed).shuffle(events)

    for made in events:
        apply(made)

    assert ledger(conn) == [GRANT, ("refund:re_1", -250, 1000, 750)]
    assert rows(conn, "select tokens from users") == [(750,)]


def test_a_failed_refund_gives_back_what_it_took(conn: psycopg.Connection, apply: Apply) -> None:
    apply(*bought())
    conn.execute("update users set tokens = 300")
    apply(event("refund.created", refund()))

    for _ in range(2):
        apply(event("refund.failed", refund(status="failed"), created=refund()["created"] + 60))

    assert ledger(conn) == [GRANT, ("refund:re_1", -1000, 300, 0), ("refund_failed:re_1", 300, 0, 300)]


def test_a_lost_dispute_takes_tokens_and_a_won_one_gives_them_back(conn: psycopg.Connection, apply: Apply) -> None:
    at = dispute()["created"]
    apply(*bought(), event("charge.dispute.created", dispute(), created=at))
    open_ = ledger(conn)

    apply(event("charge.dispute.closed", dispute(status="lost"), created=at + 60))
    lost = rows(conn, "select tokens from users")
    apply(event("charge.dispute.updated", dispute(status="won"), created=at + 120))

    assert (open_, lost) == ([GRANT], [(0,)])
    assert ledger(conn)[1:] == [("dispute:du_1", -1000, 1000, 0), ("dispute_won:du_1", 1000, 0, 1000)]


def test_an_unsettled_refund_takes_nothing_until_it_is_settled(conn: psycopg.Connection, apply: Apply) -> None:
    at = refund()["created"]
    apply(*bought())
    apply(event("refund.created", refund(status="pending"), created=at))
    conn.execute("delete from sync.token_grants where kind = 'refund'")
    conn.execute("update users set tokens = 1000")
    conn.execute("update mirror.refunds set unsettled = true")

    apply(event("customer.updated", customer("cus_jenny", user_id="jenny", name="New"), created=at))
    doubtful = len(ledger(conn))
    apply(event("refund.updated", refund(status="succeeded"), created=at + 3600))

    assert doubtful == 1
    assert [row[0] for row in ledger(conn)] == ["invoice:in_1:line:il_1", "refund:re_1"]


def test_a_refund_waits_for_the_lines_of_a_truncated_invoice(conn: psycopg.Connection, apply: Apply) -> None:
    start = int(time.time()) - 3600
    lines = [
        line_item(f"il_{n}", subscription_item=f"si_{n}", period_start=start, period_end=start + 30 * DAY)
        for n in range(3)
    ]
    paid = {"finalized_at": start, "paid_at": start, "voided_at": None, "marked_uncollectible_at": None}
    cut = invoice(lines=lines[:2], has_more=True, status_transitions=paid)
    others = [made for made in bought() if made["type"] != "invoice.paid"]
    apply(
        event("price.created", price()),
        *others,
        event("invoice.paid", cut, created=start),
        event("refund.created", refund(), created=start),
    )
    before = [row[:2] for row in ledger(conn)]

    whole = invoice(lines=lines, status_transitions=paid)
    apply(event("invoice.updated", whole, created=start + 60))

    assert before == [("invoice:in_1:line:il_0", 1000), ("invoice:in_1:line:il_1", 1000)]
    assert [row[:2] for row in ledger(conn)[2:]] == [("invoice:in_1:line:il_2", 1000), ("refund:re_1", -3000)]
    assert rows(conn, "select tokens from users") == [(0,)]


def test_refunds_known_only_from_a_charge_s_sum_are_read_from_stripe(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("stories/sign_up", user_id="jenny")
    paid = {made["id"] for made in sandbox.get("/v1/events?limit=100")["data"]}
    sandbox.tell("stories/refund", user_id="jenny", amount=1450)
    sandbox.tell("clock", advance=20)
    events = sandbox.get("/v1/events?limit=100")["data"][::-1]
    delivered = [made for made in events if made["id"] in paid or made["type"] == "charge.refunded"]
    inbox.store(conn, [read_envelope(encoded(made).decode()) for made in delivered])

    Applier(livemode=False, policy=Policy(), has_key=True).drain(conn)
    before = rows(conn, "select tokens from users")
    conn.execute("update sync.refetch_queue set due_at = now()")
    refetch.drain(conn, stripe, Policy(), should_continue=lambda: True)
    after = rows(conn, "select tokens from users")
    late = [made for made in events if made["type"].startswith("refund.")]
    inbox.store(conn, [read_envelope(encoded(made).decode()) for made in late])
    Applier(livemode=False, policy=Policy(), has_key=True).drain(conn)

    # 14.50 of the 29.00 for 5,000 tokens were refunded: half of them are taken, once.
    assert (before, after) == ([(5000,)], [(2500,)])
    assert rows(conn, "select tokens from users") == [(2500,)]
