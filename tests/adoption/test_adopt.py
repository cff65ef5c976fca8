"""During and after adoption nothing existing changes, and Stripe's data arrives in the application's tables."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from schema.names import Names
from tests.adoption.applications import BY_HAND, DRIZZLE, DRIZZLE_NAMES, DRIZZLE_SERIAL, PRISMA, PRISMA_NAMES
from tests.adoption.catalogue import everything
from tests.adoption.conftest import Application
from tests.adoption.names import EVERYTHING_ELSE
from tests.factories import NOW, customer, event, invoice, line_item, payment_intent, price, product, subscription
from worker.adoption.rules.findings import Verdict
from worker.membership import compute

New = Callable[[str], Application]


def sign_up(**more: str) -> list[dict[str, object]]:
    """The events of Jenny's sign-up: product, price, customer, subscription, its paid invoice and the payment."""
    start = int(datetime.now(UTC).timestamp()) - 60
    end = start + 31 * 86_400
    lines = [line_item(period_start=start, period_end=end)]
    return [
        event("product.created", product()),
        event("price.created", price()),
        event("customer.created", customer(**more)),
        event("customer.subscription.created", subscription(period_start=start, period_end=end)),
        event("invoice.paid", invoice(lines=lines)),
        event("payment_intent.succeeded", payment_intent()),
    ]


@pytest.mark.parametrize(
    ("sql", "names"),
    [(DRIZZLE, DRIZZLE_NAMES), (PRISMA, PRISMA_NAMES), (BY_HAND, Names()), ("", Names()), ("", EVERYTHING_ELSE)],
)
def test_adoption_keeps_existing_objects_and_a_second_adoption_changes_nothing(
    application: New, sql: str, names: Names
) -> None:
    app = application(sql)
    before = set(everything(app.database))

    app.adopt(names)
    once, record = everything(app.database), app.sql("select value from sync.cursors where name = 'adopted'")
    again = app.adopt(names)

    # Only the lines of enums with a new label may differ.
    assert {line for line in before - set(once) if not line.startswith("type ")} == set()
    assert (again.added, again.overrides) == (0, 0)
    assert everything(app.database) == once
    assert app.sql("select value from sync.cursors where name = 'adopted'") == record
    assert app.look(names).of(Verdict.MISSING, Verdict.CONFLICT) == []


def test_an_adopted_drizzle_application_gets_stripe_s_data(application: New) -> None:
    app = application(DRIZZLE)
    app.adopt(DRIZZLE_NAMES)

    app.apply(*sign_up())

    assert app.sql('select id, role::text, tokens, stripe_product_id from "user" order by id') == [
        ("comped", "PREMIUM", 0, None),
        ("jenny", "PREMIUM", 1000, "prod_pro"),
        ("mod", "MODERATOR", 0, None),
    ]
    assert app.sql("select user_id, status from user_subscriptions") == [("jenny", "active")]
    assert app.sql("select consume_tokens('jenny', 400)") == [(True,)]
    assert app.sql("select token_balance('jenny')") == [(600,)]
    assert app.sql("select count(*) from session") == [(1,)]


def test_metadata_is_written_to_json_columns_only_when_it_changes(application: New) -> None:
    app = application(DRIZZLE_SERIAL)
    app.adopt()
    tables = ("stripe_products", "stripe_prices", "user_subscriptions", "payment_history")
    app.sql(";".join(f"alter table {table} alter metadata type json" for table in tables))
    rows = " union all ".join(f"select '{table}', metadata->>'is', xmin::text from {table}" for table in tables)

    def tell(is_: str, created: int) -> None:
        metadata = {"is": is_}
        app.apply(
            event("product.updated", product(metadata=metadata, unit_label=str(created)), created=created),
            event("price.updated", price(metadata=metadata, nickname=str(created)), created=created),
            event("customer.subscription.updated", subscription(metadata=metadata), created=created),
            event("payment_intent.succeeded", payment_intent(metadata=metadata), created=created),
            event("customer.updated", customer(email=f"{created}@example.com"), created=created),
        )

    app.adopt()
    app.apply(*sign_up())
    tell("new", NOW + 60)
    first = app.sql(rows)
    tell("new", NOW + 120)
    second = app.sql(rows)
    tell("newer", NOW + 180)

    assert [(table, is_) for table, is_, _ in first] == [(table, "new") for table in tables]
    assert second == first
    assert [is_ for _, is_, _ in app.sql(rows)] == ["newer"] * 4


def test_an_adopted_prisma_application_gets_stripe_s_data(application: New) -> None:
    app = application(PRISMA)
    app.adopt(PRISMA_NAMES)

    app.apply(*sign_up())

    assert app.sql('select id, role::text, tokens, "stripeProductId" from "User" order by id') == [
        ("jenny", "PREMIUM", 1000, "prod_pro"),
        ("john", "USER", 0, None),
    ]
    assert app.sql('select "userId", status, "stripePriceId" from "Subscription"') == [
        ("jenny", "active", "price_pro_monthly")
    ]
    assert app.sql('select "currentPeriodEnd" at time zone \'UTC\' = u.at from "Subscription", '
                   "(select current_period_end as at from stripe.subscriptions) as u") == [(True,)]  # fmt: skip
    assert app.sql("select user_id, amount from payment_history")


def test_the_application_s_own_roles_are_never_changed(application: New) -> None:
    app = application(DRIZZLE)
    app.adopt(DRIZZLE_NAMES)

    app.apply(*sign_up(user_id="mod"))

    assert app.sql("""select role::text, tokens, stripe_product_id from "user" where id = 'mod'""") == [
        ("MODERATOR", 1000, "prod_pro")
    ]


def test_a_premium_user_stays_premium_by_an_override(application: New) -> None:
    app = application(BY_HAND)

    done = app.adopt()
    app.apply(event("customer.created", customer()))

    assert done.overrides == 2
    assert app.sql("select user_id, role::text, note from sync.overrides order by user_id") == [
        ("comped", "PREMIUM", "adopted"),
        ("jenny", "PREMIUM", "adopted"),
    ]
    assert app.sql("select id, role from users order by id") == [
        ("boss", "ADMIN"),
        ("comped", "PREMIUM"),
        ("jenny", "PREMIUM"),
    ]


@pytest.mark.parametrize(("held", "after"), [(0, 1000), (7, 7)])
def test_tokens_that_the_application_granted_are_not_granted_again(application: New, held: int, after: int) -> None:
    app = application(BY_HAND + f"update users set tokens = {held};")
    app.adopt()

    app.apply(*sign_up())

    assert app.sql("select tokens from users where id = 'jenny'") == [(after,)]
    assert len(app.sql("select source_key from sync.token_grants where user_id = 'jenny'")) == 1


def test_a_subscription_s_whole_life_works_on_tables_with_other_names(application: New) -> None:
    app = application("")
    app.adopt(EVERYTHING_ELSE)
    app.sql("""insert into "User" (id, email, "emailVerified") values ('jenny', 'jenny@example.com', now())""")
    row = 'select role::text, "membershipStatus"::text, "stripeProductId", "the credits" from "User"'

    app.apply(*sign_up())
    subscribed = app.sql(row)
    app.sql("select consume_tokens('jenny', 300)")
    app.apply(event("customer.subscription.deleted", subscription(status="canceled"), created=NOW + 60))
    ended = app.sql(row)
    app.sql("""update "User" set "tokensExpiresAt" = now() - interval '1 hour'""")
    swept = compute.sweep_expired(app.daemon(), should_continue=lambda: True)

    assert subscribed == [("PREMIUM", "ACTIVE", "prod_pro", 1000)]
    assert ended == [("USER", "CANCELED", None, 700)]
    assert (swept, app.sql("select token_balance('jenny')")) == (1, [(0,)])
    assert app.sql('select "userId", status from "UserSubscription"') == [("jenny", "canceled")]
    assert app.sql('select "userId", amount > 0 from "PaymentHistory"') == [("jenny", True)]
    app.sql('delete from "User"')
    assert (
        app.sql('select count(*) from "UserSubscription"')
        == app.sql("select count(*) from sync.next_changes")
        == [(0,)]
    )


def test_a_second_adoption_gives_paying_users_no_override(application: New) -> None:
    app = application(DRIZZLE)
    app.adopt(DRIZZLE_NAMES)
    app.apply(*sign_up())

    again = app.adopt(DRIZZLE_NAMES)

    assert again.overrides == 0
    assert app.sql("select user_id from sync.overrides") == [("comped",)]
