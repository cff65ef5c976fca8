"""The commands of `stripe-sync sync`: read from Stripe now, by hand."""

from typing import Annotated

import typer

from worker.cli.options import Json, User

app = typer.Typer(name="sync", help="Read from Stripe now, and write what differs.", no_args_is_help=True)


@app.command()
def products(as_json: Json = False) -> None:
    """Read the catalogue: all products and prices, inactive ones too."""
    from worker.cli.sync import run

    run.products(as_json=as_json)


@app.command()
def subscriptions(as_json: Json = False) -> None:
    """Read all subscriptions, ended ones too."""
    from worker.cli.sync import run

    run.subscriptions(as_json=as_json)


@app.command()
def user(
    user: User,
    checkout_session: Annotated[
        str | None, typer.Option(help="A Checkout session of the user, cs_...; its customer is linked first.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read all subscriptions of one user, and show the access that follows."""
    from worker.cli.sync import run

    run.user(user, checkout_session=checkout_session, as_json=as_json)


@app.command("all")
def all_(as_json: Json = False) -> None:
    """Read every type that is mirrored and that Stripe can list."""
    from worker.cli.sync import run

    run.everything(as_json=as_json)
