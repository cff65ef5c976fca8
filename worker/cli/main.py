"""The entry point of `stripe-sync`, and the list of its command groups."""

import sys

import typer

from worker.cli import console, dev, events, processes, status
from worker.cli.db import commands as db
from worker.cli.doctor import commands as doctor
from worker.cli.membership import commands as membership
from worker.cli.sync import commands as sync
from worker.cli.users import commands as users

app = typer.Typer(
    name="stripe-sync",
    help="Keep a PostgreSQL database, and the users of an application, equal to a Stripe account.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
# To add a command, write it in the file of its group; to add a group, name its file here.
# A Typer with a name becomes a group, and one without adds its commands to the root.
for group in (processes, console, dev, status, doctor, users, db, events, sync, membership):
    app.add_typer(group.app)


def main() -> None:
    """Run the command line. A known error is printed in one line; any other keeps its traceback."""
    try:
        app()
    except Exception as error:
        from worker.cli.faults import explain

        explanation = explain(error)
        if explanation is None:
            raise
        sys.stderr.write(f"stripe-sync: {explanation}\n")
        sys.exit(1)
