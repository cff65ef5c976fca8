"""The commands of `stripe-sync sync`, which read from Stripe now."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from worker.cli.options import Json, User

_Since = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
        help="Only objects created at this time (UTC) or later, for lists that Stripe can filter by it.",
    ),
]
_Account = Annotated[str, typer.Option(help="A connected account, acct_..., instead of your own.")]
_Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Show the progress until the job ends.")]


class _Lists(TyperGroup):
    """A command group. If the first word is not a command, all words are names of lists."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # typer does not export the types of its click
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            return "lists", self.commands["lists"], args
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="sync",
    cls=_Lists,
    help="Read from Stripe now, and write what differs.\n\n"
    "stripe-sync sync customers invoices reads the lists with these names, and sync all reads every list that Stripe has. "
    "The workers do the job. Ctrl-C only detaches from it.",
    no_args_is_help=True,
)


@app.command("all")
def all_(since: _Since = None, account: _Account = "", wait: _Wait = True, as_json: Json = False) -> None:
    """Read everything that Stripe lists. If a job is running, this joins it."""
    _backfill(["all"], since=since, account=account, wait=wait, as_json=as_json)


@app.command("lists", hidden=True)
def lists(
    names: Annotated[list[str], typer.Argument(help="Names of lists: customers, checkout_sessions ...")],
    since: _Since = None,
    account: _Account = "",
    wait: _Wait = True,
    as_json: Json = False,
) -> None:
    """Read these lists from Stripe: customers, invoices, checkout_sessions ..."""
    _backfill(names, since=since, account=account, wait=wait, as_json=as_json)


@app.command("object")
def object_(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of Stripe objects of any type.")],
    type_: Annotated[
        str | None,
        typer.Option("--type", help="The type of the objects, such as product, if their ids do not show it."),
    ] = None,
    account: _Account = "",
    as_json: Json = False,
) -> None:
    """Read these objects, write what differs, and show what changed."""
    from worker.cli.sync import object as object_command

    object_command.run(ids, type_=type_, account=account, as_json=as_json)


@app.command()
def stop() -> None:
    """Stop the job that `sync all` or `sync LIST` started. Everything already written stays."""
    from worker.cli.sync import run

    run.stop()


@app.command()
def user(
    user: User,
    checkout_session: Annotated[
        str | None, typer.Option(help="A Checkout session of the user, cs_..., whose customer is linked first.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read all subscriptions of one user, and show the resulting access."""
    from worker.cli.sync import user as user_

    user_.run(user, checkout_session=checkout_session, as_json=as_json)


def _backfill(names: list[str], *, since: datetime | None, **options: Any) -> None:
    from worker.cli.sync import run

    run.backfill(names, since=since.replace(tzinfo=UTC) if since is not None else None, **options)
