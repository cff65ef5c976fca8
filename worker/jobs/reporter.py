"""A thread in each child process of a worker. It reports that the process is alive, its current task, and its counts."""

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

# A new task is reported at once, unless the last report is younger than this, so that a busy process reports seldom.
GAP_SECONDS = 5
BEAT_SECONDS = 30


class Reporter:
    """Reports on its own connection, because the process may be in a transaction. While Postgres is away, it waits.

    If a process is killed, its unwritten counts are lost.
    """

    def __init__(self, settings: Settings, *, name: str, lane: str) -> None:
        self._settings, self._name, self._lane = settings, name, lane
        self._task: tuple[str, datetime] | None = None
        self._unsaved = metrics.Unsaved()
        self._news, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._failing = False

    def start(self) -> None:
        """Start reporting. A second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Write the remaining counts, then remove this process from `sync.heartbeats`."""
        self._stopped.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=self._settings.database_connect_timeout)

    @contextlib.contextmanager
    def doing(self, task: str) -> Iterator[None]:
        """Report this as the process's current task until the block ends."""
        self._task = (task, datetime.now(UTC))
        self._news.set()
        try:
            yield
        finally:
            self._task = None
            self._news.set()

    def report(self) -> None:
        """Write everything now. If an error is raised, such as one of UNAVAILABLE, the counts are kept."""
        counts = self._unsaved.take()
        try:
            with connect(self._settings, application="worker report") as conn:
                status.beat(conn, self._name, lane=self._lane, task=self._task)
                counters.add_all(conn, counts)
        except BaseException:
            self._unsaved.put_back(counts)
            raise

    def _run(self) -> None:
        # The first report shows that the process is alive before it has a task.
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
        except Exception as error:  # noqa: BLE001 - an error must not end the thread, which is never restarted
            if not self._failing:
                _log.warning("report.not_written", error=type(error).__name__)
            self._failing = True
