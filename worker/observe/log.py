"""One line for each finished piece of work, also from libraries: JSON for machines, colours on a terminal."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from worker.config.settings import AppEnv, LogFormat, Settings
from worker.observe import trace

# Fields are one attribute of a record: as separate attributes, names such as `name` or `module` would be refused.
_FIELDS = "fields"


def configure(settings: Settings) -> None:
    """Send every log line, also those of libraries, to stderr in one format."""
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _lift_fields,
        trace.add_ids,
    ]
    renderer = _renderer(settings)
    last: list[Any] = (
        [structlog.processors.format_exc_info] if isinstance(renderer, structlog.processors.JSONRenderer) else []
    )
    structlog.configure(
        processors=[_to_record],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    # Celery logs each task twice, when it is received and when it is done; a wake-up is no finished work.
    for chatty in ("celery", "kombu", "_granian"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def get(name: str) -> Any:
    """A logger whose events are static names (`noun.past_verb`), with the details as fields."""
    return structlog.get_logger(name)


def _to_record(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """A plain record of the standard library, so that other handlers (Sentry's) see message, error and fields."""
    exc_info = event.pop("exc_info", None)
    return (event.pop("event"),), {"exc_info": exc_info, "extra": {_FIELDS: event}}


def _lift_fields(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    event |= event.pop(_FIELDS, {})
    return event


def _renderer(settings: Settings) -> Any:
    chosen = settings.log_format
    if chosen is None:
        terminal = sys.stderr.isatty() and settings.app_env is not AppEnv.PRODUCTION
        chosen = LogFormat.CONSOLE if terminal else LogFormat.JSON
    if chosen is LogFormat.CONSOLE:
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer()
