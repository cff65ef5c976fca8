"""The HTTP server, `python -m worker.web.server`. Its main process imports only the server, and starts the web processes.

The main process runs as long as the server. `stripe-sync web` starts it with `exec`, so it does not keep the 20 MB that the
settings and the command line take.
"""

import resource
import sys
from typing import TYPE_CHECKING

from worker.config import program

if TYPE_CHECKING:
    from worker.config.settings import Settings

# A request is aborted if its headers do not arrive within this time.
HEADER_MILLISECONDS = 10_000
# Concurrent connections of one process. Even thousands of stalled connections must leave room for signed events.
CONNECTIONS = 16_384


def serve(settings: "Settings", application: str = "worker.web.app:application") -> None:
    """Replace this process with a server that runs until a signal stops it; does not return."""
    words = (application, settings.host, str(settings.port), str(settings.web_concurrency))
    program.become("worker.web.server", *words)


def main(application: str, host: str, port: str, processes: str) -> None:
    """Serve until a signal stops the process."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.http import HTTP1Settings

    _allow_open_files()
    Granian(
        application,
        address=host,
        port=int(port),
        interface=Interfaces.ASGI,
        workers=int(processes),
        factory=True,
        log_enabled=False,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        backlog=4096,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS),
    ).serve()


def _allow_open_files() -> None:
    """Raise the soft limit of open files to the hard limit, because each connection is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
