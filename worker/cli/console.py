"""`stripe-sync console`: serve the console by itself, or prepare its password."""

import sys
from typing import Annotated

import typer

app = typer.Typer()
console = typer.Typer(name="console", help="The console, by itself or as part of `web`.", no_args_is_help=True)
app.add_typer(console)


@console.command()
def serve() -> None:
    """Serve the console without the webhook endpoint, so that each can have its own port."""
    from worker.config import settings
    from worker.config.errors import Permanent
    from worker.observe import log
    from worker.web import server

    loaded = settings.load()
    if not loaded.has_console:
        raise Permanent("CONSOLE_PASSWORD or CONSOLE_PASSWORD_HASH must be set: the console is off without a password")
    log.configure(loaded)
    server.serve(loaded, application="worker.web.console.app:application")


@console.command("hash")
def hash_() -> None:
    """Print CONSOLE_PASSWORD_HASH for a password, entered at a prompt or read from standard input."""
    from worker.web.console.session import hash_password

    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if sys.stdin.isatty() else input()
    typer.echo(hash_password(password))


@console.command()
def link(
    address: Annotated[str, typer.Option(help="The address of the console's server.")] = "http://127.0.0.1:8000",
) -> None:
    """Print a link, valid for ten minutes (a day in development), that signs a browser in without the password."""
    from worker.config import settings
    from worker.web.console.session import Sessions

    loaded = settings.load()
    if loaded.console_password is None and loaded.console_password_hash is None:
        raise typer.BadParameter("CONSOLE_PASSWORD or CONSOLE_PASSWORD_HASH must be set")
    typer.echo(f"{address}/console/sign-in?link={Sessions(loaded).link()}")
