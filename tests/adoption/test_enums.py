"""Stripe's values in enum columns of the application. The enum's labels are written, and missing ones are added."""

from collections.abc import Callable

import pytest

from tests.adoption.applications import PRISMA_ENUMS, PRISMA_ENUMS_NAMES
from tests.adoption.conftest import Application
from tests.adoption.test_adopt import sign_up
from tests.adoption.test_ids import ask
from tests.factories import NOW, event, subscription
from worker.adoption.rules.findings import Verdict
from worker.web.console import read_catalogue, read_users

New = Callable[[str], Application]


def labels(app: Application, name: str) -> list[object]:
    return [label for (label,) in app.sql(f"select unnest(enum_range(null::{name}))::text")]


def test_missing_labels_are_added_to_an_enum_in_its_own_letter_case(application: New) -> None:
    app = application(PRISMA_ENUMS)

    app.adopt(PRISMA_ENUMS_NAMES)

    assert labels(app, '"SubscriptionStatus"') == [
        "ACTIVE", "CANCELED", "PAST_DUE", "INCOMPLETE", "INCOMPLETE_EXPIRED", "TRIALING", "UNPAID", "PAUSED",
    ]  # fmt: skip
    assert labels(app, '"Interval"') == ["month", "year", "day", "week"]
    assert labels(app, '"PaymentStatus"') == ["PENDING", "PAID", "SUCCEEDED"]
    assert app.look(PRISMA_ENUMS_NAMES).of(Verdict.MISSING, Verdict.CONFLICT) == []


def test_stripes_values_are_written_as_the_applications_labels_and_read_back(application: New) -> None:
    app = application(PRISMA_ENUMS)
    app.adopt(PRISMA_ENUMS_NAMES)
    rows = 'select status::text from "Subscription"'

    app.apply(*sign_up(user_id="clx1jenny0000"))
    active, ((_, answer),) = app.sql(rows), ask(app, "clx1jenny0000")
    app.apply(event("customer.subscription.updated", subscription(status="past_due"), created=NOW + 60))
    conn = app.daemon()

    assert active == [("ACTIVE",)]
    assert answer["subscription"]["status"] == "active"
    assert app.sql(rows) == [("PAST_DUE",)]
    assert app.sql("select interval::text, type from stripe_prices") == [("month", "recurring")]
    assert app.sql("select status::text from payment_history") == [("SUCCEEDED",)]
    assert app.sql("select type from sync.changes where type = 'payment.failed'") == [("payment.failed",)]
    assert {row["text"] for row in read_users.timeline(conn, "clx1jenny0000")} >= {
        "subscription past_due",
        "payment succeeded",
    }
    assert [price["interval"] for row in read_catalogue.products(conn) for price in row["prices"]] == ["month"]


def test_a_row_with_a_value_without_a_label_is_held_back(application: New) -> None:
    app = application(PRISMA_ENUMS)
    app.adopt(PRISMA_ENUMS_NAMES)

    app.apply(*sign_up(user_id="clx1jenny0000")[:3], event("customer.subscription.created", subscription(status="new")))

    assert app.sql("select relation, id, reason from sync.held_rows") == [
        ("user_subscriptions", "sub_1", 'invalid input value for enum "SubscriptionStatus": "new"')
    ]


@pytest.mark.parametrize("back", [False, True])
def test_a_column_that_changes_between_text_and_an_enum_is_adopted_again(application: New, back: bool) -> None:
    app = application(PRISMA_ENUMS)
    app.adopt(PRISMA_ENUMS_NAMES)
    to_text = (
        "drop schema sync_names cascade; "
        'alter table "Subscription" alter status drop default, alter status type text using lower(status::text)'
    )
    to_enum = (
        "drop schema sync_names cascade; "
        'alter table "Subscription" alter status type "SubscriptionStatus" using upper(status)::"SubscriptionStatus"'
    )

    app.sql(to_text)
    app.adopt(PRISMA_ENUMS_NAMES)
    if back:
        app.sql(to_enum)
        app.adopt(PRISMA_ENUMS_NAMES)
    app.apply(*sign_up(user_id="clx1jenny0000"))

    assert app.sql('select status::text from "Subscription"') == [("ACTIVE" if back else "active",)]
