"""Helpers for organizations: a boss pays a subscription, and the users get access."""

from collections.abc import Callable
from typing import Any

import psycopg

from tests.factories import (
    NOW,
    Json,
    event,
    subscription,
)
from worker.membership import organizations
from worker.membership.compute import compute_due
from worker.membership.rules.access import Policy

Apply = Callable[..., None]
Rows = list[tuple[Any, ...]]

BOSS = "cus_boss"
LATER = NOW + 100


def rows(conn: psycopg.Connection, query: str) -> Rows:
    return conn.execute(query).fetchall()


def team(
    status: str = "active", *, organization: str | None = "org", key: str = "organization_id", **more: Any
) -> Json:
    """A subscription of the boss that names the organization."""
    metadata = {key: organization} if organization else {}
    return subscription(**({"id": "sub_team", "customer": BOSS, "status": status, "metadata": metadata} | more))


def changed(after: Json, *, seconds: int = 100) -> Json:
    return event("customer.subscription.updated", after, created=NOW + seconds)


def settle(conn: psycopg.Connection, policy: Policy | None = None) -> None:
    """Do everything that a worker does for users after events were applied, and after a wake-up."""
    assert organizations.compute_waiting(conn, policy or Policy(), should_continue=lambda: True)
    compute_due(conn, policy or Policy(), should_continue=lambda: True)


def access(conn: psycopg.Connection) -> dict[str, tuple[str, str, str | None]]:
    actual = rows(conn, "select id, role::text, membership_status::text, stripe_product_id from users")
    return {id_: (role, status, product_id) for id_, role, status, product_id in actual}


MEMBER = ("PREMIUM", "ACTIVE", "prod_pro")
LEFT = ("USER", "CANCELED", None)
NOBODY = ("USER", "ACTIVE", None)
