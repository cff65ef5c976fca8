"""What a person decides about users: roles that override Stripe, links of customers, administrators."""

from datetime import UTC, datetime
from typing import Annotated

import psycopg
import typer

from schema.membership import UserRole
from worker.cli.output import fail, say, say_json, say_table
from worker.cli.people import find, quiet_settings
from worker.config.settings import Settings
from worker.jobs.tasks import policy_of
from worker.membership import compute
from worker.membership.store import links, load_facts, save
from worker.postgres.pool import connect

__all__ = ["register"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Give the root its commands: override, link, setup-admin."""
    app.command()(override)
    app.command()(link)
    app.command("setup-admin")(setup_admin)


def override(
    user: Annotated[str, typer.Argument(help="A user's id or e-mail.")],
    role: Annotated[str | None, typer.Option(help="USER or PREMIUM.")] = None,
    until: Annotated[str | None, typer.Option(help="When it ends: 2027-01-31, or a time in ISO 8601.")] = None,
    note: Annotated[str | None, typer.Option(help="Why, for whoever looks later.")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Take the override away.")] = False,
) -> None:
    """Give a user a role whatever Stripe says, or lift that; the user is computed at once. ADMIN and BANNED stay."""
    if lift == (role is not None):
        fail("say either --role USER, --role PREMIUM or --lift")
    if lift and (until is not None or note is not None):
        fail("--until and --note go with --role")
    if role is not None and role not in (UserRole.USER, UserRole.PREMIUM):
        fail(f"--role {role}: is neither USER nor PREMIUM (for an administrator: stripe-sync setup-admin)")
    ends = _time(until)
    settings = quiet_settings()
    with connect(settings, application="override") as conn, conn.transaction():
        found = find(conn, user)
        held = save.lift_override(conn, found["id"]) if role is None else True
        if not held:
            fail(f"{found['id']} has no override")
        if role is not None:
            save.save_override(conn, found["id"], UserRole(role), until=ends, note=note)
        compute.compute(conn, [found["id"]], policy_of(settings))
        now = find(conn, found["id"])
    said = (
        "is lifted" if role is None else f"is {role} " + (f"until {ends:%Y-%m-%d %H:%M %Z}" if ends else "until lifted")
    )
    say(f"The override of {now['id']} {said}; their role is {now['role']}.")


def link(
    customer: Annotated[str | None, typer.Argument(help="A customer's id, cus_...")] = None,
    user: Annotated[str | None, typer.Argument(help="A user's id or e-mail.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take the customer from the user it is linked to, who is computed anew.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List customers that are linked to nobody.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 100,
    as_json: Json = False,
) -> None:
    """Say which user a customer is, or list the customers that nobody is."""
    settings = quiet_settings()
    if list_:
        if customer is not None:
            fail("--list takes no customer")
        with connect(settings, application="link") as conn:
            rows = links.unlinked(conn, limit=limit)
        if as_json:
            say_json(rows)
        else:
            say_table(("customer", "email", "created", "subscriptions", "seen_at"), rows)
        return
    if customer is None or user is None:
        fail("name a customer and a user, or say --list")
    with connect(settings, application="link") as conn, conn.transaction():
        _link(conn, settings, customer, find(conn, user)["id"], force=force)


def _link(conn: psycopg.Connection, settings: Settings, customer: str, user: str, *, force: bool) -> None:
    if not links.is_mirrored(conn, customer):
        fail(f"there is no customer {customer} in the mirror: `stripe-sync sync all` reads it from Stripe")
    before = links.stored_links(conn, [customer]).get(customer) or links.application_link(conn, customer)
    if before == user:
        say(f"{customer} is {user} already.")
        return
    if before is not None and not force:
        fail(
            f"{customer} is linked to {before}, and is not moved silently; --force moves it: its subscriptions then "
            f"count for {user}, {before} is computed without them, tokens that were granted stay where they are"
        )
    # Both are locked, in the order of their ids, before anything of them is written.
    load_facts.lock_users(conn, [user, *([before] if before else [])])
    links.link_by_hand(conn, customer, user)
    policy = policy_of(settings)
    compute.recompute(conn, [customer], policy)
    if before is not None:
        compute.compute(conn, [before], policy)
    said = f", and no longer {before}" if before else ""
    say(f"{customer} is {user}{said}; their role is {find(conn, user)['role']}.")


def setup_admin(
    email: Annotated[str | None, typer.Argument(help="The user's e-mail; ADMIN_EMAIL otherwise.")] = None,
) -> None:
    """Make an existing user ADMIN. Nobody is created: sign up first."""
    settings = quiet_settings()
    wanted = email or settings.admin_email
    if not wanted:
        fail("name the user's e-mail, or set ADMIN_EMAIL")
    with connect(settings, application="setup-admin") as conn, conn.transaction():
        found = find(conn, wanted, by_email=True)
        if found["role"] == UserRole.BANNED:
            fail(f"{wanted} is BANNED: lift that first, by hand")
        if found["role"] == UserRole.ADMIN:
            say(f"{wanted} is ADMIN already.")
            return
        save.make_admin(conn, found["id"])
    say(f"{wanted} is ADMIN now, and was {found['role']}.")


def _time(said: str | None) -> datetime | None:
    if said is None:
        return None
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        fail(f"--until {said}: is neither a date such as 2027-01-31 nor a time in ISO 8601")
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        fail(f"--until {said}: is over already")
    return moment
