"""The HTTP server. Its main process starts the others and imports nothing of the application."""

import resource

from granian import Granian
from granian.constants import Interfaces
from granian.http import HTTP1Settings

from worker.config.settings import Settings

# A request whose headers do not arrive in this time is ended.
HEADER_MILLISECONDS = 10_000
# Connections at once in one process. Thousands that stop in their headers must not keep a signed event from being accepted.
CONNECTIONS = 16_384


def serve(settings: Settings, application: str = "worker.web.app:application") -> None:
    """Serve until told to stop."""
    _allow_open_files()
    Granian(
        application,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.web_concurrency,
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
