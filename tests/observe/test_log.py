"""Log lines as records of the standard library, for other libraries' handlers."""

import json
import logging

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


def test_a_foreign_log_handler_gets_message_error_and_fields(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    root, seen = logging.getLogger(), Seen()
    before = root.handlers, root.level
    log.configure(settings.model_copy(update={"log_format": LogFormat.JSON}))
    root.addHandler(seen)

    try:
        raise ValueError("wrong")
    except ValueError:
        log.get("test").error("thing.failed", name="a name", module="a module", exc_info=True)
    finally:
        root.handlers, root.level = before
        logging.captureWarnings(False)
        structlog.reset_defaults()

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
