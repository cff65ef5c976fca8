"""Logging: one line per finished unit of work. Libraries use the same format: JSON for machines, colours on a terminal."""

import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from worker.observe import trace

# structlog imports rich for tracebacks on a terminal, which costs 5 MB in each process. Python's own tracebacks are enough.
_rich = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]  # makes importing it fail
import structlog  # noqa: E402

del sys.modules["rich"]
if _rich is not None:
    sys.modules["rich"] = _rich

# Add fields to all following lines, or to the lines of a block.
bind, bound = structlog.contextvars.bind_contextvars, structlog.contextvars.bound_contextvars

if TYPE_CHECKING:
    from worker.config.settings import Settings

# All fields are stored in one attribute of the record, because records do not allow extra attributes such as `name`.
_FIELDS = "fields"

# Every attempt to connect logs these during an outage. Psycopg's pool logs its own message for each attempt.
_REPEATED = ("broker.unreachable", "postgres.unreachable")
_REPEAT_SECONDS = 60


def configure(settings: "Settings") -> None:
    """Send every log line, including lines from libraries, to stderr in one format."""
    configure_as(level=settings.log_level, as_json=is_json(settings))


def is_json(settings: "Settings") -> bool:
    """Whether lines are written as JSON, instead of text for a terminal."""
    if settings.log_format is not None:
        return settings.log_format == "json"
    return settings.app_env == "production" or not sys.stderr.isatty()


def configure_as(*, level: str, as_json: bool) -> None:
    """Configure logging without the settings, whose modules would take most of a small process's memory."""
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _lift_fields,
        trace.add_ids,
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[_to_record],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    handler.addFilter(_Outages())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    # Celery logs each task when it is received and when it is done, and most tasks are only wake-ups.
    for chatty in ("celery", "kombu", "_granian"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def get(name: str) -> Any:
    """A logger whose events are static names (`noun.past_verb`), with the details as fields."""
    return structlog.get_logger(name)


class _Outages(logging.Filter):
    """Let a repeated message of an outage through once a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "psycopg.pool" and record.msg not in _REPEATED:
            return True
        key = record.name, str(record.msg)
        if record.created < self._next.get(key, 0.0):
            return False
        self._next[key] = record.created + _REPEAT_SECONDS
        return True


def _to_record(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """A plain record of the standard library, so that other handlers (such as Sentry's) see message, error and fields."""
    exc_info = event.pop("exc_info", None)
    return (event.pop("event"),), {"exc_info": exc_info, "extra": {_FIELDS: event}}


def _lift_fields(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    event |= event.pop(_FIELDS, {})
    return event
