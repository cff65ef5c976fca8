"""The commands of `stripe-sync endpoint`: our webhook endpoint at Stripe."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.options import Json

if TYPE_CHECKING:
    from worker.config.settings import Settings

app = typer.Typer(
    name="endpoint", help="Make, check, change and roll the webhook endpoint at Stripe.", no_args_is_help=True
)
_Url = Annotated[str | None, typer.Argument(help="Its public address; WEBHOOK_URL by default.")]
_Connect = Annotated[bool, typer.Option("--connect", help="The endpoint for events of connected accounts.")]


@app.command()
def create(url: _Url = None, connect: _Connect = False) -> None:
    """Create the endpoint with all event types, in the API version that the daemon reads. Prints its secret."""
    from worker.cli.output import fail, say
    from worker.inbox.endpoint import manage
    from worker.stripe_api.client import Stripe

    with _settings() as settings:
        address = url or settings.webhook_url
        if address is None:
            fail("name the public address: stripe-sync endpoint create https://YOUR-HOST/webhooks/stripe")
        id_, secret = manage.create(Stripe.from_settings(settings), address, connect=connect)
    say(f"{id_} delivers to {address}. Set this secret, which Stripe shows only once, and start `web`:")
    say(f"STRIPE_WEBHOOK_SECRET={secret}")


@app.command()
def check(as_json: Json = False) -> None:
    """Check the endpoint at Stripe and its deliveries. Each problem comes with its fix; the exit code is 1 if there is one."""
    from worker.cli import database
    from worker.cli.output import say, say_json
    from worker.inbox.endpoint import sentinel
    from worker.stripe_api.client import Stripe

    settings = database.load()
    with database.connect(settings, application="endpoint") as conn:
        problems = sentinel.look(conn, Stripe.from_settings(settings), settings)
    if as_json:
        say_json([asdict(problem) for problem in problems])
    elif not problems:
        say("The endpoint is in order.")
    else:
        for problem in problems:
            say(f"{problem.kind:<9} {problem.endpoint} {problem.detail}.\n          Fix: {problem.fix}.")
    if problems:
        raise typer.Exit(1)


@app.command()
def update() -> None:
    """Enable the endpoint, and select all events."""
    from worker.cli.output import say
    from worker.inbox.endpoint import manage, sentinel
    from worker.stripe_api.client import Stripe

    with _settings() as settings:
        changes = manage.update(
            Stripe.from_settings(settings), settings.webhook_url, required=sentinel.required_types()
        )
    say("\n".join(changes) or "Nothing had to be changed.")


@app.command()
def roll(
    endpoint: Annotated[
        str | None, typer.Argument(help="Which endpoint, we_... or ed_..., if there are several.")
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the first event of the new endpoint.")] = 60,
    connect: _Connect = False,
) -> None:
    """Roll the secret (and the API version) without losing an event. Do the steps it prints, then run it again."""
    from worker.cli import database
    from worker.cli.output import say
    from worker.inbox.endpoint import manage, sentinel
    from worker.stripe_api.client import Stripe

    with _settings() as settings, database.connect(settings, application="endpoint") as conn:
        stripe, ends = Stripe.from_settings(settings), time.monotonic() + wait

        def step() -> manage.Step:
            return manage.roll(
                stripe,
                settings.webhook_url,
                secrets=list(settings.webhook_secrets),
                id_=endpoint,
                signed=lambda mark: sentinel.has_signed(conn, mark),
                accepts=manage.accepts,
                connect=connect or None,
            )

        taken = step()
        say("\n".join(taken.lines))
        if taken.name == "turned on":
            while time.monotonic() < ends and not sentinel.has_signed(conn, taken.mark):
                time.sleep(1)
            say("\n".join(step().lines))


@contextmanager
def _settings() -> "Iterator[Settings]":
    """Load the settings. If the key lacks a permission, the command ends, and prints the steps to do by hand."""
    from worker.cli import database
    from worker.cli.output import fail
    from worker.inbox.endpoint import manage
    from worker.stripe_api.errors import MissingPermission

    settings = database.load()
    try:
        yield settings
    except MissingPermission as error:
        fail(f"{error}.\n{manage.by_hand(settings.webhook_url)}")
