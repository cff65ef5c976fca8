"""Fixtures for tests of organizations."""

import psycopg
import pytest

from tests.factories import (
    customer,
    event,
    product,
)
from tests.membership.teams import BOSS, Apply, settle, team


@pytest.fixture
def people(conn: psycopg.Connection) -> None:
    """Create two users of the organization, a user of another one, and two without: `sue`, and the boss, who pays."""
    conn.execute("insert into organizations (id, name) values ('org', 'Org'), ('other', 'Other')")
    conn.execute(
        """
        insert into users (id, organization_id)
        values ('ann', 'org'), ('bob', 'org'), ('eve', 'other'), ('sue', null), ('boss', null)
        """
    )
    conn.execute("delete from sync.next_changes")


@pytest.fixture
def paying(conn: psycopg.Connection, apply: Apply, people: None) -> None:
    """Let the boss subscribe for the organization, and compute its users."""
    apply(
        event("product.created", product()),
        event("customer.created", customer(BOSS, user_id="boss")),
        event("customer.subscription.created", team()),
    )
    settle(conn)
