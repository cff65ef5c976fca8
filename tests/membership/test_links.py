"""Links of customers to users over time: late information counts, and later changes move no link."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
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
    product,
    stub,
    subscription,
)

Apply = Callable[..., None]

NOW = int(datetime.now(UTC).timestamp()) - 3600
PREMIUM = ("PREMIUM", "ACTIVE", "prod_pro", 1000)
STRANGER = ("USER", "ACTIVE", None, 0)


@pytest.fixture(autouse=True)
def _users(conn: psycopg.Connection, apply: Apply) -> None:
    conn.execute(
        """
        insert into users (id, email, email_verified)
        values ('jenny', 'jenny@example.com', now()), ('other', 'other@example.com', now())
        """
    )
    apply(event("product.created", product("prod_pro", tokens=1000), created=NOW))


def bought(customer_id: str = "cus_1", *, metadata: Json | None = None) -> list[Json]:
    """A current subscription and its invoice, of a customer without an event of their own."""
    line = line_item("il_1", product="prod_pro", period_start=NOW, period_end=NOW + 30 * DAY)
    paid = {"finalized_at": NOW, "paid_at": NOW, "voided_at": None, "marked_uncollectible_at": None}
    made = subscription(
        "sub_1", customer=customer_id, period_start=NOW, period_end=NOW + 30 * DAY, metadata=metadata or {}
    )
    return [
        event("customer.subscription.created", made, created=NOW),
        event("invoice.paid", invoice(customer=customer_id, lines=[line], status_transitions=paid), created=NOW),
    ]


def user(conn: psycopg.Connection, id_: str = "jenny") -> tuple[Any, ...]:
    row = conn.execute(
        "select role::text, membership_status::text, stripe_product_id, tokens from users where id = %s", (id_,)
    ).fetchone()
    assert row is not None
    return row


def links(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return conn.execute(
        "select stripe_customer_id, user_id, source from sync.customer_links order by stripe_customer_id"
    ).fetchall()


LATE_LINKS: dict[str, tuple[Callable[[], Json], str]] = {
    "the customer's metadata": (
        lambda: event("customer.created", customer("cus_1", user_id="jenny"), created=NOW),
        "customer_metadata",
    ),
    "the customer's metadata, spelt otherwise": (
        lambda: event("customer.updated", customer("cus_1", metadata={"userId": "jenny"}), created=NOW),
        "customer_metadata",
    ),
    "a completed Checkout session": (
        lambda: event(
            "checkout.session.completed",
            checkout_session("cs_1", customer="cus_1", client_reference_id="jenny"),
            created=NOW,
        ),
        "client_reference_id",
    ),
    "a verified e-mail": (
        lambda: event("customer.created", customer("cus_1", email="Jenny@Example.com"), created=NOW),
        "email",
    ),
}


@pytest.mark.parametrize("told_by", LATE_LINKS)
def test_a_link_made_after_the_payment_gives_what_was_paid_for(
    conn: psycopg.Connection, apply: Apply, told_by: str
) -> None:
    late, source = LATE_LINKS[told_by]
    apply(*bought())
    before = user(conn)

    apply(late())

    assert before == STRANGER
    assert user(conn) == PREMIUM
    assert links(conn) == [("cus_1", "jenny", source)]


def test_subscription_metadata_may_name_the_user(conn: psycopg.Connection, apply: Apply) -> None:
    apply(*bought(metadata={"user_id": "jenny"}))

    assert user(conn) == PREMIUM
    assert links(conn) == [("cus_1", "jenny", "subscription_metadata")]


@pytest.mark.parametrize("whose", ["the customer's", "the user's"])
def test_changing_an_email_keeps_the_link(conn: psycopg.Connection, apply: Apply, whose: str) -> None:
    apply(event("customer.created", customer("cus_1", email="jenny@example.com"), created=NOW), *bought())

    if whose == "the user's":
        conn.execute("update users set email = 'gone@example.com' where id = 'jenny'")
        conn.execute("update users set email = 'jenny@example.com' where id = 'other'")
    address = "other@example.com" if whose == "the customer's" else "jenny@example.com"
    apply(event("customer.updated", customer("cus_1", email=address, name="Again"), created=NOW + 60))

    assert links(conn) == [("cus_1", "jenny", "email")]
    assert (user(conn), user(conn, "other")) == (PREMIUM, STRANGER)


def test_deleting_a_customer_ends_access_and_keeps_the_link_tokens_and_ledger(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(event("customer.created", customer("cus_1", user_id="jenny"), created=NOW), *bought())

    apply(event("customer.deleted", stub(customer("cus_1")), created=NOW + 60))

    assert user(conn) == ("USER", "CANCELED", None, 1000)
    assert links(conn) == [("cus_1", "jenny", "customer_metadata")]
    assert conn.execute("select source_key, balance_after from sync.token_grants").fetchall() == [
        ("invoice:in_1:line:il_1", 1000)
    ]


def test_a_guest_s_checkout_is_kept_and_belongs_to_no_user(conn: psycopg.Connection, apply: Apply) -> None:
    guest = checkout_session(
        "cs_1", customer=None, subscription=None, invoice=None, mode="payment", client_reference_id="jenny"
    )

    apply(event("checkout.session.completed", guest, created=NOW))

    assert conn.execute("select status, outcome from sync.events where type like 'checkout%'").fetchall() == [
        ("done", "written")
    ]
    assert links(conn) == []
    assert user(conn) == STRANGER


def test_an_unfinished_checkout_links_no_user(conn: psycopg.Connection, apply: Apply) -> None:
    opened = checkout_session("cs_1", customer="cus_1", client_reference_id="jenny", status="open")

    apply(*bought(), event("checkout.session.expired", opened, created=NOW))

    assert links(conn) == [("cus_1", None, None)]
    assert user(conn) == STRANGER


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_payment_counts_while_another_transaction_links_the_customer(
    conn: psycopg.Connection, side_by_side: Callable[..., None], seen_before: bool
) -> None:
    """Neither transaction sees the other's writes. The second one must wait, and then compute."""
    if seen_before:
        conn.execute("insert into sync.customer_links (stripe_customer_id) values ('cus_1')")
    subscribed, paid = bought()

    side_by_side([event("customer.created", customer("cus_1", user_id="jenny"), created=NOW), subscribed], [paid])

    assert user(conn) == PREMIUM
    assert links(conn) == [("cus_1", "jenny", "customer_metadata")]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("is_verified", "ends"), [(True, ("PREMIUM", "ACTIVE", "prod_pro", 1000)), (False, STRANGER)])
def test_another_customer_with_the_same_email_counts_in_any_order(
    conn: psycopg.Connection, apply: Apply, seed: int, is_verified: bool, ends: tuple[Any, ...]
) -> None:
    conn.execute("update users set email_verified = null where not %s", (is_verified,))
    events = [
        event("customer.created", customer("cus_0", user_id="jenny", email="jenny@example.com"), created=NOW),
        event("customer.created", customer("cus_1", email="JENNY@example.com"), created=NOW),
        *bought("cus_1"),
    ] * 2
    random.Random(seed).shuffle(events)

    for each in events:
        apply(each)

    linked = conn.execute("select user_id from sync.customer_links order by stripe_customer_id").fetchall()
    assert user(conn) == ends
    assert linked == [("jenny",), ("jenny" if is_verified else None,)]
