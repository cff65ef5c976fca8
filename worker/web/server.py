"""The HTTP server. Its main process starts the others and imports nothing of the application."""

from granian import Granian
from granian.constants import Interfaces

from worker.config.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    Granian(
        "worker.web.app:application",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.web_concurrency,
        factory=True,
        log_enabled=False,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
    ).serve()
