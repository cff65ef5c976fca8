"""The commands about one user: override, link, setup-admin, why and erase."""

from typing import Annotated

import typer

from worker.cli.options import Json, User, Yes

app = typer.Typer()


@app.command()
def override(
    user: User,
    role: Annotated[str | None, typer.Option(help="USER or PREMIUM.")] = None,
    feature: Annotated[str | None, typer.Option(help="A feature, instead of a role.")] = None,
    until: Annotated[
        str | None, typer.Option(help="When it ends: a date such as 2027-01-31, or a time in ISO 8601.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="The reason, for later readers.")] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Remove the override.")] = False,
) -> None:
    """Give a user a role or a feature regardless of Stripe, or remove the override. ADMIN and BANNED users keep their role."""
    from worker.cli.users import override

    override.run(user, role=role, feature=feature, until=until, note=note, lift=lift)


@app.command()
def link(
    customer: Annotated[str | None, typer.Argument(help="The id of a customer, cus_...")] = None,
    user: Annotated[str | None, typer.Argument(help="The id or e-mail of a user.")] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Move the customer even if it is linked to another user; both users are recomputed."
        ),
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List customers without a user.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 100,
    as_json: Json = False,
) -> None:
    """Link a Stripe customer to a user, or list customers without one."""
    from worker.cli.users import link

    link.run(customer, user, force=force, list_=list_, limit=limit, as_json=as_json)


@app.command()
def setup_admin(
    email: Annotated[str | None, typer.Argument(help="The e-mail of the user; ADMIN_EMAIL by default.")] = None,
) -> None:
    """Make an existing user ADMIN. No user is created: sign up first."""
    from worker.cli.users import setup_admin

    setup_admin.run(email)


@app.command()
def why(
    user: User,
    entries: Annotated[int, typer.Option("--ledger", min=1, help="How many ledger rows to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Explain a user's role, status and tokens, the events behind them, and what changes next. Nothing is written."""
    from worker.cli.users import why

    why.run(user, entries=entries, as_json=as_json)


@app.command()
def erase(
    user: Annotated[
        str | None, typer.Argument(help="The id or e-mail of a user, or the id of a customer without a user.")
    ] = None,
    even_if_subscribed: Annotated[
        bool, typer.Option("--even-if-subscribed", help="Erase even if a subscription has not ended.")
    ] = False,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be erased, and change nothing.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List what has been erased.")] = False,
    as_json: Json = False,
) -> None:
    """Blank a person's data in users, mirror and inbox permanently. Role, tokens, payments and the ledger stay."""
    from worker.cli.users import erase

    erase.run(user, even_if_subscribed=even_if_subscribed, yes=yes, dry_run=dry_run, list_=list_, as_json=as_json)
