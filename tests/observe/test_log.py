"""Log lines as records of the standard library, for other libraries' handlers."""

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


@pytest.fixture
def root(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Iterator[logging.Logger]:
    """The root logger, configured to write JSON to the captured stderr."""
    root = logging.getLogger()
    before = root.handlers, root.level
    log.configure(settings.model_copy(update={"log_format": LogFormat.JSON}))
    yield root
    root.handlers, root.level = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_a_foreign_log_handler_gets_message_error_and_fields(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = Seen()
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
    root: logging.Logger, capsys: pytest.CaptureFixture[str], logger: str, message: str, lines: int
) -> None:
    arguments = ("web", "refused") if "%" in message else ()
    for seconds in (0, 1, 59, 61, 120):
        record = logging.LogRecord(logger, logging.WARNING, __file__, 1, message, arguments, None)
        record.created = 1_800_000_000 + seconds
        root.handle(record)

    assert len(capsys.readouterr().err.splitlines()) == lines
