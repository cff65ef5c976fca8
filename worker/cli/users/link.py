"""The work of `stripe-sync link`."""

import psycopg

from worker.cli import database
from worker.cli.output import fail, say, say_json, say_table
from worker.cli.users.find import find
from worker.config.settings import Settings
from worker.membership import compute
from worker.membership.compute import policy_of
from worker.membership.store import links, load_facts


def run(customer: str | None, user: str | None, *, force: bool, list_: bool, limit: int, as_json: bool) -> None:
    """Link the customer to the user and recompute; or list customers without a user."""
    settings = database.load_with_membership()
    if list_:
        if customer is not None:
            fail("--list takes no customer")
        with database.connect(settings, application="link") as conn:
            rows = links.unlinked(conn, limit=limit)
        if as_json:
            say_json(rows)
        else:
            say_table(("customer", "email", "created", "subscriptions", "seen_at"), rows)
        return
    if customer is None or user is None:
        fail("name a customer and a user, or use --list")
    with database.connect(settings, application="link") as conn, conn.transaction():
        _link(conn, settings, customer, find(conn, user)["id"], force=force)


def _link(conn: psycopg.Connection, settings: Settings, customer: str, user: str, *, force: bool) -> None:
    if not links.is_mirrored(conn, customer):
        fail(f"there is no customer {customer} in the mirror: `stripe-sync sync all` reads it from Stripe")
    before = links.stored_links(conn, [customer]).get(customer) or links.application_link(conn, customer)
    if before == user:
        say(f"{customer} is already linked to {user}.")
        return
    if before is not None and not force:
        fail(
            f"{customer} is linked to {before}; --force moves it. Its subscriptions then count for {user} and no longer "
            f"for {before}. Tokens already granted stay with {before}"
        )
    # Both users are locked, in the order of their ids, before either is written.
    load_facts.lock_users(conn, [user, *([before] if before else [])])
    links.link_by_hand(conn, customer, user)
    policy = policy_of(settings)
    compute.recompute(conn, [customer], policy)
    if before is not None:
        compute.compute(conn, [before], policy)
    moved = f", and no longer to {before}" if before else ""
    say(f"{customer} is now linked to {user}{moved}; the role of {user} is {find(conn, user)['role']}.")
