"""Options that several commands share."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")]
User = Annotated[str, typer.Argument(help="The id or e-mail of a user.")]
