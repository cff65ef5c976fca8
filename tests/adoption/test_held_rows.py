"""Tables stricter than ours are adopted. A row that such a table refuses waits until it can be written."""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from tests.adoption.conftest import Application
from tests.adoption.test_adopt import sign_up
from tests.factories import customer, event, payment_intent, product, subscription
from worker.adoption.rules.findings import Verdict
from worker.jobs import status
from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.membership.why import why

New = Callable[[str], Application]

# The tables of this contract, with NOT NULL on columns for which Stripe practically always has a value.
STRICT = """
    create table users (id text primary key, email text not null unique, email_verified timestamptz default now());
    create table stripe_products (
        id text primary key, name text not null, description text not null, active boolean not null default true,
        metadata jsonb not null default '{}', created_at timestamptz not null default now()
    );
    create table stripe_prices (
        id text primary key, product_id text not null references stripe_products (id), active boolean not null,
        currency text not null check (length(currency) = 3), type text not null, unit_amount integer not null
    );
    create table user_subscriptions (
        id text primary key, user_id text not null references users (id), stripe_customer_id text not null,
        stripe_subscription_id text not null unique, stripe_price_id text not null references stripe_prices (id),
        stripe_product_id text not null, status text not null, current_period_start timestamptz not null,
        current_period_end timestamptz not null
    );
    create table payment_history (
        id text primary key, user_id text not null, stripe_payment_intent_id text not null unique,
        amount integer not null, currency text not null, status text not null, receipt text not null
    );
    insert into users (id, email) values ('jenny', 'jenny@example.com'), ('john', 'john@example.com');
"""
BARE = event("product.created", product(description=None))


def held(app: Application) -> list[tuple[object, ...]]:
    return app.sql("select relation, id, user_id, reason from sync.held_rows order by 1, 2")


def column(name: str, table: str) -> str:
    return f'null value in column "{name}" of relation "{table}" violates not-null constraint'


def test_a_strict_application_is_adopted_and_gets_every_complete_row(application: New) -> None:
    app = application(STRICT.replace(", receipt text not null", ""))

    app.adopt()
    app.apply(*sign_up())

    assert app.look().of(Verdict.CONFLICT) == []
    assert app.sql("select role::text, tokens, stripe_product_id from users where id = 'jenny'") == [
        ("PREMIUM", 1000, "prod_pro")
    ]
    assert (
        app.sql("select count(*) from user_subscriptions") == app.sql("select count(*) from payment_history") == [(1,)]
    )
    assert held(app) == []


def test_incomplete_rows_wait_while_the_user_already_has_access(application: New) -> None:
    app = application(STRICT)
    app.adopt()
    conn = app.daemon()

    with structlog.testing.capture_logs() as logs:
        app.apply(BARE, *sign_up()[1:])
    without = app.sql("select role::text, tokens, stripe_product_id from users where id = 'jenny'")
    explained, numbers = why(conn, "jenny", Policy()), status.status(conn)
    first = held(app)
    app.apply(event("product.updated", product(), created=int(datetime.now(UTC).timestamp())))
    compute.compute_due(conn, Policy(), should_continue=lambda: True)

    assert without == [("PREMIUM", 1000, None)]
    assert [(table, id_) for table, id_, _, _ in first] == [
        ("payment_history", "pi_1"),
        ("stripe_prices", "price_pro_monthly"),
        ("stripe_products", "prod_pro"),
        ("user_subscriptions", "sub_1"),
    ]
    assert column("description", "stripe_products") in [reason for *_, reason in first]
    assert explained is not None
    assert {row.id for row in explained.held} == {"pi_1", "price_pro_monthly", "prod_pro", "sub_1"}
    assert (numbers["held_rows"], numbers["held_stripe_products"]) == (4, 1)
    assert {log["object_id"] for log in logs if log["event"] == "row.held_back"} == {row.id for row in explained.held}
    assert held(app) == [("payment_history", "pi_1", "jenny", column("receipt", "payment_history"))]
    assert app.sql("select stripe_price_id, stripe_product_id from user_subscriptions") == [
        ("price_pro_monthly", "prod_pro")
    ]
    assert app.sql("select stripe_product_id, tokens from users where id = 'jenny'") == [("prod_pro", 1000)]


def test_a_refused_row_holds_back_no_other(application: New) -> None:
    app = application(STRICT.replace(", receipt text not null", ""))
    app.adopt()

    app.apply(
        *sign_up(),
        event(
            "payment_intent.succeeded", payment_intent("pi_large", amount=3_000_000_000, amount_received=3_000_000_000)
        ),
        event("customer.created", customer("cus_john", user_id="john", email=None)),
        event("customer.subscription.created", subscription("sub_john", customer="cus_john")),
    )

    assert [row[:3] for row in held(app)] == [("payment_history", "pi_large", "jenny")]
    assert app.sql("select id from user_subscriptions order by id") == [("sub_1",), ("sub_john",)]
    assert app.sql("select id from payment_history") == [("pi_1",)]


def test_relax_drops_the_constraints_and_the_held_rows_are_written(application: New) -> None:
    app = application(STRICT)
    app.adopt()
    app.apply(BARE, *sign_up()[1:])
    conn = app.daemon()

    done = app.adopt(relax=True)
    app.apply()
    compute.compute_due(conn, Policy(), should_continue=lambda: True)
    again = app.adopt(relax=True)

    assert (done.relaxed, again.relaxed) == (9, 0)
    assert held(app) == []
    assert (
        app.sql("select count(*) from user_subscriptions") == app.sql("select count(*) from payment_history") == [(1,)]
    )
    assert app.sql("select stripe_product_id from users where id = 'jenny'") == [("prod_pro",)]
    assert app.sql("select name, description from stripe_products") == [("Pro", None)]
