"""An operator's decisions about a user: overrides of role and features, and links to customers.

The CLI and the console call these functions. Each runs in the caller's transaction and computes the affected users at
once.
"""

from datetime import UTC, datetime

import psycopg

from schema.states import UserRole
from worker.config.errors import Permanent
from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.membership.store import links, load_facts, save, save_rows

# Stripe's limit for a feature's lookup key.
MOST_OF_A_NAME = 80


class Refused(Permanent):
    """The request cannot be carried out; the message says what to do instead."""


def override(
    conn: psycopg.Connection, user: str, role: str, policy: Policy, *, until: datetime | None, note: str | None
) -> None:
    """Give the user this role regardless of Stripe. Raises Refused unless the role is USER or PREMIUM."""
    if role not in (UserRole.USER, UserRole.PREMIUM):
        raise Refused(
            f"the role {role} is neither USER nor PREMIUM (to make an administrator: stripe-sync setup-admin)"
        )
    user = _existing(conn, user)
    save.save_override(conn, user, role, until=until, note=note)
    compute.compute(conn, [user], policy)


def override_feature(
    conn: psycopg.Connection, user: str, feature: str, policy: Policy, *, until: datetime | None, note: str | None
) -> None:
    """Give the user this feature regardless of Stripe. Raises Refused if this is not a valid name of a feature."""
    if not feature or feature != feature.strip() or len(feature) > MOST_OF_A_NAME:
        raise Refused(
            f"{feature!r} is not a name of a feature: write its lookup key, at most {MOST_OF_A_NAME} characters"
        )
    user = _existing(conn, user)
    save.save_feature_override(conn, user, feature, until=until, note=note)
    compute.compute(conn, [user], policy)


def lift_feature(conn: psycopg.Connection, user: str, feature: str, policy: Policy) -> None:
    """Remove a feature that an operator gave. Raises Refused if there is no such override."""
    user = _existing(conn, user)
    if not save.lift_feature_override(conn, user, feature):
        raise Refused(f"{user} has no override of the feature {feature}")
    compute.compute(conn, [user], policy)


def lift_override(conn: psycopg.Connection, user: str, policy: Policy) -> None:
    """Remove the user's override. Raises Refused if there is none."""
    user = _existing(conn, user)
    if not save.lift_override(conn, user):
        raise Refused(f"{user} has no override")
    compute.compute(conn, [user], policy)


def link(conn: psycopg.Connection, customer: str, user: str, policy: Policy, *, force: bool = False) -> bool:
    """Link the customer to the user; returns False if they are linked already.

    Raises Refused if the customer is not mirrored, or if it is linked to another user and `force` is false.
    """
    if not links.is_mirrored(conn, customer):
        raise Refused(f"there is no customer {customer} in the mirror: `stripe-sync sync all` reads it from Stripe")
    user = _existing(conn, user)
    before = links.stored_links(conn, [customer]).get(customer) or links.application_link(conn, customer)
    if before == user:
        return False
    if before is not None and not force:
        raise Refused(
            f"{customer} is linked to {before}; --force moves it. Its subscriptions then count for {user} and no longer "
            f"for {before}. Tokens already granted stay with {before}"
        )
    # Lock both users, in the order of their ids, before one of them is written.
    load_facts.lock_users(conn, [user, *([before] if before else [])])
    links.link_by_hand(conn, customer, user)
    save_rows.of_links(conn, {customer: user})
    compute.recompute(conn, [customer], policy)
    if before is not None:
        compute.compute(conn, [before], policy)
    return True


def _existing(conn: psycopg.Connection, user: str) -> str:
    """The user's id in the form that the application's table stores. Raises Refused if there is no such user."""
    users = load_facts.read_users(conn, [user])
    if not users:
        raise Refused(f"there is no user {user}")
    return next(iter(users))


def until_when(text: str | None) -> datetime | None:
    """Parse the end of an override: a future date or time in ISO 8601. Raises Refused for any other text."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(f"{text} is neither a date such as 2027-01-31 nor a time in ISO 8601") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise Refused(f"{text} is in the past")
    return moment
