"""Log lines as records of the standard library, for other libraries' handlers."""

import contextlib
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from worker.config.settings import LogFormat, Settings
from worker.observe import log


class Seen(logging.Handler):
    """A handler that keeps the records, like Sentry's."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextlib.contextmanager
def configured(settings: Settings) -> Iterator[logging.Logger]:
    """Configure logging to write JSON to stderr; yields the root logger."""
    root = logging.getLogger()
    before = root.handlers, root.level
    log.configure(settings.model_copy(update={"log_format": LogFormat.JSON}))
    try:
        yield root
    finally:
        root.handlers, root.level = before
        logging.captureWarnings(False)
        structlog.reset_defaults()


def test_a_foreign_log_handler_gets_message_error_and_fields(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = Seen()
    with configured(settings) as root:
        root.addHandler(seen)
        try:
            raise ValueError("wrong")
        except ValueError:
            log.get("test").error("thing.failed", name="a name", module="a module", exc_info=True)

    (record,) = seen.records
    line = json.loads(capsys.readouterr().err)
    assert record.getMessage() == "thing.failed"
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError
    assert (line["event"], line["name"], line["module"], line["level"]) == (
        "thing.failed",
        "a name",
        "a module",
        "error",
    )
    assert "ValueError: wrong" in line["exception"]


@pytest.mark.parametrize(
    ("logger", "message", "lines"),
    [("worker", "postgres.unreachable", 2), ("psycopg.pool", "error connecting in %r: %s", 2), ("worker", "a.b", 5)],
)
def test_messages_of_an_outage_are_written_once_a_minute(
    settings: Settings, capsys: pytest.CaptureFixture[str], logger: str, message: str, lines: int
) -> None:
    arguments = ("web", "refused") if "%" in message else ()
    with configured(settings) as root:
        for seconds in (0, 1, 59, 61, 120):
            record = logging.LogRecord(logger, logging.WARNING, __file__, 1, message, arguments, None)
            record.created = 1_800_000_000 + seconds
            root.handle(record)

    assert len(capsys.readouterr().err.splitlines()) == lines
