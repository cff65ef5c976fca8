"""The commands of `stripe-sync membership`: recompute users after products or settings have changed."""

from typing import Annotated

import typer

from worker.cli.options import Json

app = typer.Typer(
    name="membership", help="Recompute users after product metadata or settings have changed.", no_args_is_help=True
)

Users = Annotated[list[str] | None, typer.Argument(help="Ids or e-mails of users; all users by default.")]


@app.command()
def plan(
    users: Users = None,
    limit: Annotated[
        int, typer.Option(min=0, help="How many changed users to print. The totals count all users.")
    ] = 100,
    as_json: Json = False,
) -> None:
    """Show which users `apply` would change, and how, with the settings of this environment. Nothing is written."""
    from worker.cli.membership import recompute

    recompute.plan(users, limit=limit, as_json=as_json)


@app.command()
def apply(
    users: Users = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start from the first user again.")] = False,
    batch: Annotated[int | None, typer.Option(min=1, max=5000, help="Users per transaction.")] = None,
    as_json: Json = False,
) -> None:
    """Recompute users with the settings of this environment. Give the workers the same settings first.

    An interrupted run resumes, unless products or settings have changed since. A second run changes nothing.
    """
    from worker.cli.membership import recompute

    recompute.apply(users, restart=restart, batch=batch, as_json=as_json)
