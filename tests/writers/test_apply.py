"""Draining the inbox: stored events become rows and users, in one transaction per batch."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.factories import (
    DAY,
    NOW,
    OLD,
    Json,
    checkout_session,
    customer,
    event,
    invoice,
    invoice_payment,
    line_item,
    payment_intent,
    price,
    product,
    stub,
    subscription,
    thin_event,
)
from worker.membership.rules.access import Policy

Apply = Callable[..., None]


def one(conn: psycopg.Connection, query: str) -> dict[str, Any]:
    with conn.cursor(row_factory=dict_row) as cursor:
        result = cursor.execute(query).fetchone()
    assert result is not None, query
    return result


def column(conn: psycopg.Connection, query: str) -> list[Any]:
    return [row[0] for row in conn.execute(query)]


def lately(seconds: int = 0) -> int:
    """A recent time in seconds, so that periods are current and tokens have not expired."""
    return int(datetime.now(UTC).timestamp()) - 3600 + seconds


@pytest.fixture
def jenny(conn: psycopg.Connection) -> str:
    conn.execute("insert into users (id, email) values ('jenny', 'jenny@example.com')")
    return "jenny"


def bought(id_: str = "in_1", *, at: int | None = None, product_id: str = "prod_pro", **more: Any) -> Json:
    """Jenny's paid invoice for the current month."""
    now = lately() if at is None else at
    line = line_item(f"il_{id_}", invoice=id_, product=product_id, period_start=now, period_end=now + 30 * DAY)
    paid_at = {"finalized_at": now, "paid_at": now, "voided_at": None, "marked_uncollectible_at": None}
    return invoice(id_, lines=[line], status_transitions=paid_at, **more)


def sign_up(user_id: str | None = "jenny") -> list[Json]:
    """The events of Jenny's sign-up, in Stripe's order."""
    now = lately()
    subscribed = subscription("sub_1", period_start=now, period_end=now + 30 * DAY)
    return [
        event("product.created", product("prod_pro", metadata={"tokens": "1000"}), created=now),
        event("price.created", price("price_pro_monthly", product="prod_pro"), created=now),
        event("customer.created", customer("cus_jenny", user_id=user_id), created=now),
        event("customer.subscription.created", subscribed, created=now),
        event("payment_intent.succeeded", payment_intent("pi_1"), created=now),
        event("invoice.paid", bought(), created=now),
        event("invoice_payment.paid", invoice_payment(), created=now),
    ]


def user(conn: psycopg.Connection) -> tuple[Any, ...]:
    row = one(conn, "select role::text, membership_status::text, stripe_product_id, tokens from users")
    return tuple(row.values())


PREMIUM = ("PREMIUM", "ACTIVE", "prod_pro", 1000)


def test_a_sign_up_gives_role_status_product_tokens_and_rows(
    conn: psycopg.Connection, apply: Apply, jenny: str
) -> None:
    apply(*sign_up())

    assert user(conn) == PREMIUM
    assert column(conn, "select stripe_customer_id from stripe_customers where user_id = 'jenny'") == ["cus_jenny"]
    assert column(conn, "select stripe_price_id from user_subscriptions") == ["price_pro_monthly"]
    assert column(conn, "select stripe_product_id from payment_history") == ["prod_pro"]
    assert column(conn, "select balance_after - balance_before from sync.token_grants") == [1000]
    assert column(conn, "select count(*) from sync.events where status = 'done'") == [7]


@pytest.mark.parametrize("seed", range(12))
def test_order_duplicates_and_batch_size_do_not_change_the_result(
    conn: psycopg.Connection, apply: Apply, jenny: str, seed: int
) -> None:
    chance = random.Random(seed)
    events = sign_up() * 2
    chance.shuffle(events)
    cuts = sorted(chance.sample(range(1, len(events)), 3))

    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        apply(*events[start:end], batch_size=chance.choice([1, 2, 500]))

    assert user(conn) == PREMIUM
    assert column(conn, "select count(*) from sync.token_grants where kind <> 'extension'") == [1]
    ends = datetime.fromtimestamp(lately() + 31 * DAY, UTC)
    assert abs(column(conn, "select tokens_expires_at from users")[0] - ends) < timedelta(minutes=5)
    assert column(conn, "select stripe_product_id from payment_history") == ["prod_pro"]


def test_a_payment_reported_by_many_events_grants_once(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    apply(*sign_up())

    for number, type_ in enumerate(("invoice.payment_succeeded", "invoice.updated", "invoice.paid")):
        apply(event(type_, bought(metadata={"seen": str(number)}), created=lately(60 * number + 60)))

    assert user(conn) == PREMIUM
    assert column(conn, "select count(*) from sync.token_grants") == [1]


def test_tokens_that_the_application_spent_stay_spent(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    apply(*sign_up())
    conn.execute("update users set tokens = tokens - 300")

    apply(event("customer.updated", customer("cus_jenny", user_id="jenny", name="New"), created=lately(60)))

    assert user(conn) == ("PREMIUM", "ACTIVE", "prod_pro", 700)


def test_a_renewal_resets_the_balance(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    apply(*sign_up())
    conn.execute("update users set tokens = tokens - 300")

    apply(event("invoice.paid", bought("in_2", at=lately(60), billing_reason="subscription_cycle"), created=lately(60)))

    assert user(conn) == PREMIUM
    assert column(conn, "select balance_before from sync.token_grants order by id") == [0, 700]


def test_tokens_add_up_if_the_policy_says_so(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    renewal = bought("in_2", at=lately(60), billing_reason="subscription_cycle")

    apply(*sign_up(), event("invoice.paid", renewal, created=lately(60)), policy=Policy(tokens_reset=False))

    assert user(conn) == ("PREMIUM", "ACTIVE", "prod_pro", 2000)


def test_a_product_that_arrives_late_still_grants_tokens(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    made, *rest = sign_up()
    apply(*rest)
    held = one(conn, "select name, active from stripe_products where id = 'prod_pro'")
    before = user(conn)

    apply(made)

    assert held == {"name": "prod_pro", "active": False}
    assert before == ("PREMIUM", "ACTIVE", "prod_pro", 0)
    assert user(conn) == PREMIUM
    assert one(conn, "select name, active from stripe_products where id = 'prod_pro'")["active"] is True


def test_an_old_invoice_in_a_first_backfill_grants_nothing_and_is_recorded(
    conn: psycopg.Connection, apply: Apply, jenny: str
) -> None:
    events = sign_up()
    events[5] = event("invoice.paid", bought(at=lately() - 90 * DAY), created=lately())

    apply(*events)

    assert user(conn) == ("PREMIUM", "ACTIVE", "prod_pro", 0)
    assert column(conn, "select amount from sync.token_grants") == [0]


def test_ending_a_subscription_ends_access_and_keeps_the_tokens(
    conn: psycopg.Connection, apply: Apply, jenny: str
) -> None:
    apply(*sign_up())

    ended = subscription("sub_1", status="canceled")
    apply(event("customer.subscription.deleted", ended, created=lately(60)))

    assert user(conn) == ("USER", "CANCELED", None, 1000)
    assert column(conn, "select deleted from stripe.subscriptions") == [False]


@pytest.mark.parametrize("role", ["ADMIN", "BANNED"])
def test_roles_that_operators_set_are_never_changed(
    conn: psycopg.Connection, apply: Apply, jenny: str, role: str
) -> None:
    conn.execute("update users set role = %s::user_role", (role,))

    apply(*sign_up())
    apply(event("customer.subscription.deleted", subscription("sub_1", status="canceled"), created=lately(60)))

    assert user(conn)[0] == role


def test_a_user_without_a_linked_customer_is_never_written(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    conn.execute("update users set role = 'PREMIUM', tokens = 5")

    apply(*sign_up(user_id=None))

    assert user(conn) == ("PREMIUM", "ACTIVE", None, 5)
    assert column(conn, "select stripe_customer_id from sync.customer_links where user_id is null") == ["cus_jenny"]


def test_links_follow_the_rules_in_order_and_are_kept(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    conn.execute("insert into users (id) values ('other'), ('third')")
    session = checkout_session("cs_1", customer="cus_jenny", client_reference_id="other")

    apply(
        event("checkout.session.completed", session), event("customer.created", customer("cus_jenny", user_id="jenny"))
    )
    apply(event("customer.updated", customer("cus_jenny", user_id="third"), created=NOW + 60))

    assert column(conn, "select user_id || ' ' || source from sync.customer_links") == ["jenny customer_metadata"]


def test_a_row_that_the_application_wrote_is_a_link_and_is_not_changed(
    conn: psycopg.Connection, apply: Apply, jenny: str
) -> None:
    conn.execute("insert into users (id) values ('other')")
    conn.execute("insert into stripe_customers (id, user_id, stripe_customer_id) values ('own', 'jenny', 'cus_jenny')")

    apply(*sign_up(user_id="other"))

    assert column(conn, "select id || ' ' || user_id from stripe_customers") == ["own jenny"]
    assert column(conn, "select role::text from users where id = 'jenny'") == ["PREMIUM"]


def test_a_client_reference_id_from_a_payment_link_is_not_trusted(
    conn: psycopg.Connection, apply: Apply, jenny: str
) -> None:
    session = checkout_session("cs_1", customer="cus_jenny", client_reference_id="jenny", payment_link="plink_1")

    apply(event("checkout.session.completed", session))

    assert column(conn, "select user_id from sync.customer_links") == [None]


def test_an_email_links_every_customer_to_the_one_user_who_verified_it(
    conn: psycopg.Connection, apply: Apply, jenny: str
) -> None:
    apply(event("customer.created", customer("cus_jenny", email="JENNY@example.com")))
    before = column(conn, "select user_id from sync.customer_links")
    conn.execute("update users set email_verified = now()")

    apply(event("customer.updated", customer("cus_jenny", email="JENNY@example.com", name="N"), created=NOW + 60))
    apply(event("customer.created", customer("cus_again", email="jenny@example.com")))

    assert before == [None]
    assert column(conn, "select user_id from sync.customer_links order by stripe_customer_id") == ["jenny", "jenny"]


def test_an_email_verified_by_two_users_links_neither(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    conn.execute("update users set email_verified = now()")
    conn.execute("insert into users (id, email, email_verified) values ('twin', 'JENNY@example.com', now())")

    apply(event("customer.created", customer("cus_jenny")))

    assert column(conn, "select user_id from sync.customer_links") == [None]


def test_all_customers_of_a_user_count(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    apply(*sign_up())

    apply(
        event("customer.created", customer("cus_second", user_id="jenny")),
        event("customer.subscription.created", subscription("sub_2", customer="cus_second", status="canceled")),
    )

    assert user(conn)[:2] == ("PREMIUM", "ACTIVE")
    assert column(conn, "select count(*) from user_subscriptions") == [2]
    assert column(conn, "select stripe_customer_id from stripe_customers") == ["cus_jenny"]


def test_the_old_api_shape_gives_the_same_user(conn: psycopg.Connection, apply: Apply, jenny: str) -> None:
    now = lately()
    old = sign_up()
    old[3] = event(
        "customer.subscription.created",
        subscription("sub_1", shape=OLD, period_start=now, period_end=now + 30 * DAY),
        api_version=OLD,
        created=now,
    )
    line = line_item("il_in_1", shape=OLD, period_start=now, period_end=now + 30 * DAY)
    old[5] = event("invoice.paid", invoice(shape=OLD, lines=[line]), api_version=OLD, created=now)

    apply(*old[:6])

    assert user(conn) == PREMIUM
    assert column(conn, "select current_period_end - current_period_start from user_subscriptions") == [
        timedelta(days=30)
    ]
    assert column(conn, "select stripe_product_id from payment_history") == ["prod_pro"]


def test_objects_of_a_connected_account_are_mirrored_but_change_no_user(
    conn: psycopg.Connection, apply: Apply, jenny: str
) -> None:
    apply(*({**made, "account": "acct_1"} for made in sign_up()))

    assert column(conn, "select account from stripe.subscriptions") == ["acct_1"]
    assert user(conn) == ("USER", "ACTIVE", None, 0)
    assert column(conn, "select count(*) from stripe_products") == [0]


def test_an_event_of_the_other_mode_is_kept_but_not_applied(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.created", customer(), livemode=True))

    assert one(conn, "select status, outcome from sync.events") == {"status": "done", "outcome": "other_mode"}
    assert column(conn, "select count(*) from stripe.customers") == [0]


def test_a_thin_event_waits_for_a_key(conn: psycopg.Connection, apply: Apply) -> None:
    apply(thin_event("v1.customer.created", related={"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}))

    assert one(conn, "select status, outcome from sync.events") == {"status": "parked", "outcome": "needs_key"}


def test_an_object_of_an_unknown_type_is_kept_whole(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("moon.landed", {"id": "moon_1", "object": "moon", "crew": 3}))

    assert one(conn, "select object, id, data from stripe.other_objects") == {
        "object": "moon",
        "id": "moon_1",
        "data": {"id": "moon_1", "object": "moon", "crew": 3},
    }


def test_children_follow_their_parent(conn: psycopg.Connection, apply: Apply) -> None:
    def lines(*ids: str) -> list[Json]:
        return [line_item(id_, invoice="in_1") for id_ in ids]

    apply(event("invoice.created", invoice(status="draft", lines=lines("il_a", "il_b"))))
    apply(event("invoice.updated", invoice(status="draft", lines=lines("il_b", "il_c")), created=NOW + 60))
    apply(event("invoice.updated", invoice(status="draft", lines=lines("il_z"), total=1), created=NOW - 60))

    assert column(conn, "select id from stripe.invoice_line_items where not deleted order by id") == ["il_b", "il_c"]
    assert column(conn, "select id from stripe.invoice_line_items where deleted") == ["il_a"]


def test_a_truncated_list_removes_no_child_and_leaves_the_parent_unsettled(
    conn: psycopg.Connection, apply: Apply
) -> None:
    apply(event("invoice.created", invoice(lines=[line_item("il_a"), line_item("il_b")])))

    apply(event("invoice.updated", invoice(lines=[line_item("il_c")], has_more=True, total=1), created=NOW + 60))

    assert column(conn, "select id from stripe.invoice_line_items where not deleted order by id") == [
        "il_a",
        "il_b",
        "il_c",
    ]
    assert column(conn, "select unsettled from stripe.invoices") == [True]


def test_a_late_update_does_not_restore_a_deleted_object(conn: psycopg.Connection, apply: Apply) -> None:
    apply(event("customer.deleted", stub(customer()), created=NOW))

    apply(event("customer.updated", customer(name="Late"), created=NOW + 60))

    assert one(conn, "select deleted, name, unsettled from stripe.customers") == {
        "deleted": True,
        "name": None,
        "unsettled": False,
    }


def test_a_deleted_product_becomes_inactive_and_keeps_its_row(
    conn: psycopg.Connection, apply: Apply, jenny: str
) -> None:
    apply(*sign_up())

    apply(event("product.deleted", stub(product("prod_pro")), created=lately(60)))

    assert one(conn, "select name, active from stripe_products")["active"] is False
    assert column(conn, "select count(*) from stripe_prices") == [1]
