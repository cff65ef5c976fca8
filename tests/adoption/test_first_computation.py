"""Overrides of an adoption: nobody loses a role before Stripe was read, and none stays only because of a subscription."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.adoption.applications import BY_HAND
from tests.adoption.conftest import Application
from tests.factories import DAY, customer, event, product, subscription
from worker.adoption import adopt
from worker.adoption.adopt import NotAdoptable
from worker.membership.rules.access import Policy
from worker.postgres import runs

New = Callable[[str], Application]

PEOPLE = (
    BY_HAND
    + """
    insert into users (id, email, role, password_hash) values
        ('ended', 'ended@example.com', 'PREMIUM', 'x'), ('ends', 'ends@example.com', 'PREMIUM', 'x'),
        ('small', 'small@example.com', 'PREMIUM', 'x'), ('late', 'late@example.com', 'PREMIUM', 'x');
    """
)


def read_everything(app: Application) -> None:
    """The runs that `sync all` leaves behind."""
    for job in ("customer", "subscription"):
        runs.note(app.daemon(), job, datetime.now(UTC), {})


def settled(app: Application) -> dict[str, bool]:
    return {one.user: one.lifted for one in adopt.settle(app.daemon(), Policy(), batch=2)}


def belongs(user: str, **more: object) -> list[dict[str, object]]:
    """A customer who is that user, and their subscription."""
    owner = customer(f"cus_{user}", user_id=user, email=f"{user}@stripe.example")
    return [
        event("customer.created", owner),
        event("customer.subscription.created", subscription(f"sub_{user}", customer=f"cus_{user}", **more)),  # type: ignore[arg-type]
    ]


def test_before_stripe_was_read_nothing_is_settled(application: New) -> None:
    app = application(BY_HAND)
    app.adopt()

    with pytest.raises(NotAdoptable, match="sync all"):
        adopt.settle(app.daemon(), Policy())

    assert app.sql("select count(*) from sync.overrides") == [(2,)]


def test_a_role_that_a_subscription_gives_needs_no_override_and_the_rest_stays(application: New) -> None:
    app, now = application(PEOPLE), int(time.time())
    app.adopt()
    app.apply(
        event("product.created", product()),
        event("product.created", product("prod_small", role="USER")),
        *belongs("jenny", status="active"),
        *belongs("ended", status="canceled", ended_at=now - 9 * DAY, canceled_at=now - 9 * DAY),
        *belongs("ends", status="canceled", ended_at=now + 60, canceled_at=now - DAY),
        *belongs("small", status="active", product="prod_small"),
        *belongs("late", status="unpaid"),
    )
    held = app.sql("select id from users where role = 'PREMIUM' order by id")
    read_everything(app)

    first, again = settled(app), settled(app)

    assert held == [("comped",), ("ended",), ("ends",), ("jenny",), ("late",), ("small",)]
    assert first == {"comped": False, "ended": False, "ends": True, "jenny": True, "late": True, "small": False}
    assert again == {"comped": False, "ended": False, "small": False}
    assert app.sql("select id from users where role = 'PREMIUM' order by id") == [
        ("comped",),
        ("ended",),
        ("jenny",),
        ("small",),
    ]


def test_an_operators_override_is_not_lifted(application: New) -> None:
    app = application(BY_HAND)
    app.adopt()
    app.sql("update sync.overrides set note = 'a friend'")
    app.apply(event("product.created", product()), *belongs("jenny", status="active"))
    read_everything(app)

    assert settled(app) == {}
    assert app.sql("select count(*) from sync.overrides") == [(2,)]


def test_a_database_that_was_migrated_has_nothing_to_settle(conn: object, database: str, application: New) -> None:
    app = application("")

    with pytest.raises(NotAdoptable, match="was not adopted"):
        adopt.settle(app.daemon(), Policy())
