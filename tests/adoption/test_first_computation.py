"""Overrides made by an adoption keep every role until Stripe has been read. Then subscriptions replace some overrides."""

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
    """Record the runs that `sync all` leaves behind."""
    for job in ("customer", "subscription"):
        runs.note(app.daemon(), job, datetime.now(UTC), {})


def settled(app: Application) -> dict[str, bool]:
    return {one.user: one.lifted for one in adopt.settle(app.daemon(), Policy(), batch=2)}


def belongs(user: str, **more: object) -> list[dict[str, object]]:
    """The events of a customer linked to the user, and of their subscription."""
    owner = customer(f"cus_{user}", user_id=user, email=f"{user}@stripe.example")
    return [
        event("customer.created", owner),
        event("customer.subscription.created", subscription(f"sub_{user}", customer=f"cus_{user}", **more)),  # type: ignore[arg-type]
    ]


def test_nothing_is_settled_before_stripe_has_been_read(application: New) -> None:
    app = application(BY_HAND)
    app.adopt()

    with pytest.raises(NotAdoptable, match="sync all"):
        adopt.settle(app.daemon(), Policy())

    assert app.sql("select count(*) from sync.overrides") == [(2,)]


def test_overrides_are_lifted_for_users_whose_subscription_decides_and_kept_for_others(application: New) -> None:
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


def test_an_operator_s_own_override_is_not_lifted(application: New) -> None:
    app = application(BY_HAND)
    app.adopt()
    app.sql("update sync.overrides set note = 'a friend'")
    app.apply(event("product.created", product()), *belongs("jenny", status="active"))
    read_everything(app)

    assert settled(app) == {}
    assert app.sql("select count(*) from sync.overrides") == [(2,)]


def test_a_migrated_database_has_nothing_to_settle(conn: object, database: str, application: New) -> None:
    app = application("")

    with pytest.raises(NotAdoptable, match="was not adopted"):
        adopt.settle(app.daemon(), Policy())
