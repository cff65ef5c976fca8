"""A thread of a worker's child process that reports: the process is alive, its present task, and its counts."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from worker.config.settings import Settings
from worker.jobs import status
from worker.observe import log, metrics
from worker.postgres import counters
from worker.postgres.pool import UNAVAILABLE, connect

_log = log.get("worker")

# News is written at once, then at most once in this time, so that a busy process writes seldom.
GAP_SECONDS = 5
BEAT_SECONDS = 30


class Reporter:
    """Reports on its own connection, because the process may be in a transaction. It waits while Postgres is away.

    If a process is killed, the counts that it has not written yet are lost.
    """

    def __init__(self, settings: Settings, *, name: str, lane: str) -> None:
        self._settings, self._name, self._lane = settings, name, lane
        self._task: tuple[str, datetime] | None = None
        self._unsaved = metrics.Unsaved()
        self._news, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._failing = False

    def start(self) -> None:
        """Start to report. A second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Write the remaining counts, then remove this process from the list."""
        self._stopped.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=self._settings.database_connect_timeout)

    @contextlib.contextmanager
    def doing(self, task: str) -> Iterator[None]:
        """Report this as the process's present task until the block ends."""
        self._task = (task, datetime.now(UTC))
        self._news.set()
        try:
            yield
        finally:
            self._task = None
            self._news.set()

    def report(self) -> None:
        """Write everything now. Raises an error of UNAVAILABLE while Postgres is away; the counts are then kept."""
        counts = self._unsaved.take()
        try:
            with connect(self._settings, application="worker report") as conn:
                status.beat(conn, self._name, lane=self._lane, task=self._task)
                counters.add_all(conn, counts)
        except BaseException:
            self._unsaved.put_back(counts)
            raise

    def _run(self) -> None:
        # The first report shows that the process lives, before it has a task.
        while not self._stopped.is_set():
            self._try_to_report()
            self._stopped.wait(GAP_SECONDS)
            self._news.wait(BEAT_SECONDS - GAP_SECONDS)
            self._news.clear()
        self._try_to_report()
        with contextlib.suppress(*UNAVAILABLE), connect(self._settings, application="worker report") as conn:
            status.leave(conn, self._name)

    def _try_to_report(self) -> None:
        try:
            self.report()
            self._failing = False
        except Exception as error:  # noqa: BLE001 - a thread that ended would report nothing ever again
            if not self._failing:
                _log.warning("report.not_written", error=type(error).__name__)
            self._failing = True
