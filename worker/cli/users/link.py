"""The work of `stripe-sync link`."""

import psycopg

from worker.cli import database
from worker.cli.output import fail, say, say_json, say_table
from worker.cli.users.find import find
from worker.config.settings import Settings
from worker.membership import by_hand
from worker.membership.compute import policy_of
from worker.membership.store import links


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
            say_table(("customer", "email", "created", "subscriptions", "seen_at", "same_email"), rows)
        return
    if customer is None or user is None:
        fail("name a customer and a user, or use --list")
    with database.connect(settings, application="link") as conn, conn.transaction():
        _link(conn, settings, customer, find(conn, user)["id"], force=force)


def _link(conn: psycopg.Connection, settings: Settings, customer: str, user: str, *, force: bool) -> None:
    if not by_hand.link(conn, customer, user, policy_of(settings), force=force):
        say(f"{customer} is already linked to {user}.")
        return
    say(f"{customer} is now linked to {user}; the role of {user} is {find(conn, user)['role']}.")
