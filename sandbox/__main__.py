"""`python -m sandbox`: start the stand-in, and stop it on SIGTERM or SIGINT."""

import argparse
import asyncio
import ipaddress
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from sandbox.app import Sandbox
from sandbox.delivery import Endpoint
from sandbox.journal import Journal
from sandbox.shapes import CURRENT
from sandbox.stories import playing

_STOP_SECONDS = 0.5
_OWN_ENDPOINT = "we_1CommandLine"


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop. The arguments default to the command line's."""
    options = _options(arguments)
    if not _is_loopback(options.host):
        print(f"sandbox: {options.host} is not a loopback address", file=sys.stderr)  # noqa: T201
        return 2
    try:
        port = _free_port(options.host, options.port)
    except OSError as error:
        print(f"sandbox: port {options.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    asyncio.run(_serve(options, port))
    # A request that hangs on purpose would keep the interpreter alive. Everything is already written, so nothing is lost.
    sys.stdout.flush()
    os._exit(0)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sandbox",
        description="A stand-in for Stripe.",
        epilog=_stories(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=12111, help="the port; 0 means a free port (default 12111)")
    parser.add_argument("--webhook-url", help="the URL of an endpoint that receives every event")
    parser.add_argument(
        "--webhook-secret", default="whsec_sandbox", help="the endpoint's secret, or several separated by commas"
    )
    parser.add_argument("--webhook-version", default=CURRENT, help=f"the endpoint's API version (default {CURRENT})")
    parser.add_argument("--state", type=Path, help="a file that keeps the state when the sandbox restarts")
    parser.add_argument("--seed", type=int, default=0, help="the seed of ids and random choices (default 0)")
    return parser.parse_args(arguments)


def _stories() -> str:
    """The stories, each with the first sentence of its description."""
    lines = ["stories (POST /_sandbox/stories/NAME plays one, GET /_sandbox describes their parameters):"]
    for name in playing.STORIES:
        about, _, _ = str(playing.describe(name)["about"]).partition("\n\n")
        lines.append(f"  {name:<22} {' '.join(about.split()).partition('. ')[0].rstrip('.')}.")
    return "\n".join(lines)


async def _serve(options: argparse.Namespace, port: int) -> None:
    journal = Journal(options.state) if options.state is not None else None
    sandbox = Sandbox(seed=options.seed, journal=journal)
    if journal is not None:
        journal.load(sandbox.account, sandbox.delivery)
    sandbox.delivery.endpoints.pop(_OWN_ENDPOINT, None)
    if options.webhook_url is not None:
        endpoint = Endpoint(
            id=_OWN_ENDPOINT,
            url=options.webhook_url,
            secrets=options.webhook_secret.split(","),
            created=sandbox.account.now,
            api_version=options.webhook_version,
        )
        sandbox.delivery.endpoints[endpoint.id] = endpoint
    server = Server(
        sandbox, address=options.host, port=port, interface=Interfaces.ASGINL, websockets=False, log_enabled=False
    )
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    serving = asyncio.create_task(server.serve())
    delivering = asyncio.create_task(sandbox.delivery.run())
    announcing = asyncio.create_task(_announce(options.host, port))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, delivering, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (delivering, announcing):
        task.cancel()
    server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(serving), _STOP_SECONDS)
    sandbox.delivery.close()
    if journal is not None:
        journal.commit(sandbox.account)
        journal.close()


async def _announce(host: str, port: int) -> None:
    """Print that the sandbox is ready, once it accepts connections."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        shown = f"[{host}]" if ":" in host else host
        print(f"sandbox ready on http://{shown}:{port}", flush=True)  # noqa: T201
        return


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _free_port(host: str, port: int) -> int:
    """The port, if no other process uses it. Without this check the server would silently share the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        chosen: int = probe.getsockname()[1]
        return chosen


if __name__ == "__main__":
    sys.exit(main())
