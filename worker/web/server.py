"""The HTTP server. Its main process starts the others, and imports nothing but the server: `python -m worker.web.server`.

It stays for as long as the server, so the settings and the command line, which are 20 MB, are left behind by `exec`.
"""

import resource
import sys
from typing import TYPE_CHECKING

from worker.config import program

if TYPE_CHECKING:
    from worker.config.settings import Settings

# A request whose headers do not arrive in this time is ended.
HEADER_MILLISECONDS = 10_000
# Connections at once in one process. Thousands that stop in their headers must not keep a signed event from being accepted.
CONNECTIONS = 16_384


def serve(settings: "Settings", application: str = "worker.web.app:application") -> None:
    """Replace this process by one that serves until told to stop; does not return."""
    words = (application, settings.host, str(settings.port), str(settings.web_concurrency))
    program.become("worker.web.server", *words)


def main(application: str, host: str, port: str, processes: str) -> None:
    """Serve until told to stop."""
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
    """Raise the soft limit of open files to the hard one: each connection is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])
