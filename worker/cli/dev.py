"""`stripe-sync dev` and `sandbox`: the whole system, and the stand-in for Stripe, on one machine for development."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import fail

app = typer.Typer()


@app.command()
def dev(
    home: Annotated[Path, typer.Option(help="Where the embedded servers and the sandbox keep their state.")] = Path(
        ".dev"
    ),
    port: Annotated[int, typer.Option(help="Port of the web process.")] = 8000,
) -> None:
    """Start everything for development. A server that the environment does not name is embedded."""
    try:
        from worker.dev import supervisor
        from worker.dev.installs import ServerError
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'stripe-sync[dev]'")
    try:
        raise typer.Exit(supervisor.run(home=home, port=port))
    except ServerError as error:
        fail(str(error))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Start the stand-in for Stripe by itself; `stripe-sync sandbox --help` lists its options."""
    os.execv(sys.executable, [sys.executable, "-m", "sandbox", *context.args])  # noqa: S606
