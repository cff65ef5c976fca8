"""The entry point of `stripe-sync`, and the list of its command groups."""

import re
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Annotated

import typer

from worker.cli import accounts, changes, console, dev, endpoint, events, history, processes, status
from worker.cli.db import commands as db
from worker.cli.doctor import commands as doctor
from worker.cli.membership import commands as membership
from worker.cli.sync import commands as sync
from worker.cli.users import commands as users

app = typer.Typer(
    name="stripe-sync",
    help="Keep a PostgreSQL database, and the users of an application, in sync with a Stripe account.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
# To add a command, write it in the file of its group. To add a group, name its file here.
# A Typer app with a name becomes a group. An app without a name adds its commands to the root.
groups = (
    processes,
    console,
    dev,
    status,
    doctor,
    users,
    db,
    endpoint,
    accounts,
    events,
    history,
    changes,
    sync,
    membership,
)
for group in groups:
    app.add_typer(group.app)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"stripe-sync {metadata.version('stripe-sync')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line. A known error is printed in one line; other errors keep their traceback."""
    try:
        _refuse_other_packages()
        app()
    except Exception as error:
        from worker.cli.faults import explain

        explanation = explain(error)
        if explanation is None:
            raise
        sys.stderr.write(f"stripe-sync: {explanation}\n")
        sys.exit(1)


def _refuse_other_packages() -> None:
    """Exit if one of our packages is another distribution's, found first or installed over ours: the names are common."""
    home = Path(__file__).parents[2]
    # pip's record is beside the packages, except for an editable install.
    beside = [ours for ours in metadata.distributions(name="stripe-sync") if Path(str(ours.locate_file(""))) == home]
    record = "".join(ours.read_text("RECORD") or "" for ours in beside)
    sizes = dict(re.findall(r"^(\w+)/__init__\.py,.*,(\d+)$", record, re.MULTILINE))
    for name in ("worker", "schema", "migrations"):
        spec = util.find_spec(name)
        origin = Path(spec.origin) if spec is not None and spec.origin else None
        if origin is None or origin.parents[1] != home:
            problem = f"is found in {origin and origin.parents[1]}, not in {home}"
        elif sizes.get(name, size := str(origin.stat().st_size)) != size:
            problem = f"in {home} is no longer the one that was installed with stripe-sync"
        else:
            continue
        sys.stderr.write(
            f"stripe-sync: the package `{name}` {problem}: another distribution, or a folder on the Python path, has the "
            "same name. Install stripe-sync in an environment of its own\n"
        )
        sys.exit(1)
