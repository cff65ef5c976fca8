"""The command `stripe-sync doctor`."""

from typing import Annotated

import typer

from worker.cli.options import Json

app = typer.Typer()


@app.command()
def doctor(
    as_json: Json = False,
    webs: Annotated[int | None, typer.Option(min=0, help="How many `web` processes you run; 1 by default.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="How many `worker` processes you run; by default, as many as are alive.")
    ] = None,
) -> None:
    """Check everything the daemon depends on. Each problem comes with its fix."""
    from worker.cli.doctor import checks
    from worker.config import settings

    if not checks.run(settings.load(), as_json=as_json, webs=webs, workers=workers):
        raise typer.Exit(1)
