"""The process that calls CHANGES_URL: it sends each change at least once, a user's changes in order, several users at a
time.

Only a few changes are in memory. During a call it holds no transaction and no lock that a computation waits for. If the
receiver is away, the process tries one change at a time after growing pauses, and the other changes wait in the
database.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from worker.config.backoff import Backoff
from worker.config.errors import Temporary
from worker.config.settings import Settings
from worker.membership.delivery import store
from worker.membership.delivery.call import Caller
from worker.membership.delivery.store import Change
from worker.observe import log
from worker.postgres.pool import UNAVAILABLE, connect

_log = log.get("changes")

THREADS = 16
ATTEMPT_PAUSES, AWAY_PAUSES = Backoff(first=5, longest=86_400), Backoff(first=1, longest=60)
# The timeouts of a call do not limit an answer that arrives very slowly. In that case this process ends and is started
# again.
STUCK_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The pace of sending, in seconds.

    Up to `each` changes of one user are sent in a row, for at most `run`. The `lease` is longer than `run` and one call
    together. `backoff` gives the pauses between the attempts for one change, up to a day. After `attempts` attempts the
    change is parked. After `away_after` failures in a row, of any users, the receiver counts as away. Then one change
    at a time is tried, after the pauses of `away`.
    """

    each: int = 20
    run: float = 10.0
    lease: float = 30.0
    idle: float = 0.2
    backoff: Backoff = ATTEMPT_PAUSES
    attempts: int = 16
    away_after: int = 8
    away: Backoff = AWAY_PAUSES


class Stuck(Exception):
    """A call does not end. The process ends with this error, and its supervisor starts it again."""


@dataclass(slots=True)
class _Run:
    """Some changes of one user that are being sent: the start on the monotonic clock, and the number delivered."""

    changes: Sequence[Change]
    began: float
    delivered: int = 0


class Sender:
    """Delivers changes until it is told to stop."""

    def __init__(self, settings: Settings, caller: Caller, pace: Pace) -> None:
        self._settings, self._caller, self._pace = settings, caller, pace
        self._conn: psycopg.Connection | None = None
        self._ask_at = 0.0
        self._failed = 0

    def run(self, should_continue: Callable[[], bool]) -> None:
        """Deliver due changes while `should_continue` returns true. Waits while Postgres is away. Raises Stuck."""
        running: dict[Future[str | None], _Run] = {}
        pauses = 0
        with ThreadPoolExecutor(THREADS, thread_name_prefix="change") as threads:
            try:
                while should_continue() or running:
                    try:
                        started = should_continue() and self._start(threads, running)
                        self._finish(running, seconds=0 if started else self._pace.idle)
                        pauses = 0
                    except UNAVAILABLE as error:
                        # The changes being sent are leased in the database. They are sent again when the leases end.
                        running.clear()
                        pauses += 1
                        _log.warning("postgres.unreachable", error=type(error).__name__)
                        time.sleep(self._pace.away.pause(pauses))
            finally:
                threads.shutdown(wait=False, cancel_futures=True)
                if self._conn is not None:
                    self._conn.close()

    def _connection(self) -> psycopg.Connection:
        if self._conn is None or self._conn.closed or self._conn.broken:
            self._conn = connect(self._settings, application="changes")
        return self._conn

    def _start(self, threads: ThreadPoolExecutor, running: dict[Future[str | None], _Run]) -> bool:
        """Start to send to users whose next change is due; returns whether there were any."""
        conn, is_away = self._connection(), self._failed >= self._pace.away_after
        room = THREADS - len(running)
        if is_away:
            room = 1 if not running and time.monotonic() >= self._ask_at else 0
        with conn.transaction():
            store.enqueue(conn)
        if room <= 0:
            return False
        leased = store.lease(conn, users=room, each=1 if is_away else self._pace.each, seconds=self._pace.lease)
        for changes in leased.values():
            run = _Run(changes, time.monotonic())
            running[threads.submit(self._deliver, run)] = run
        return bool(leased)

    def _deliver(self, run: _Run) -> str | None:
        """Send the changes one after the other.

        Returns the error if a change was not delivered; None if all were delivered or time ran out.
        """
        for change in run.changes:
            if time.monotonic() - run.began > self._pace.run:
                return None
            try:
                self._caller.send(change)
            except Temporary as error:
                return str(error)
            run.delivered += 1
        return None

    def _finish(self, running: dict[Future[str | None], _Run], *, seconds: float) -> None:
        """Record the results of the runs that have ended."""
        if not running:
            time.sleep(seconds)
            return
        done, _ = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            run = running.pop(future)
            self._write(run, future.result())
        if any(time.monotonic() - run.began > STUCK_SECONDS for run in running.values()):
            raise Stuck

    def _write(self, run: _Run, error: str | None) -> None:
        conn, user = self._connection(), run.changes[0].user_id
        with conn.transaction():
            store.acknowledge(conn, [change.id for change in run.changes[: run.delivered]])
            if error is not None:
                self._write_failure(conn, run.changes[run.delivered], error)
            elif run.delivered < len(run.changes):
                store.release(conn, [user])
            if run.delivered and self._failed >= self._pace.away_after:
                store.receiver_is_back(conn)
                _log.info("receiver.answers")
        self._count(run, error)

    def _write_failure(self, conn: psycopg.Connection, change: Change, error: str) -> None:
        attempt = store.attempts(conn, change.id) + 1
        pause = None if attempt >= self._pace.attempts else timedelta(seconds=self._pace.backoff.pause(attempt))
        store.fail(conn, change, error, pause=pause)
        if pause is None:
            _log.error("change.parked", change=change.id, user_id=change.user_id, attempts=attempt, error=error)

    def _count(self, run: _Run, error: str | None) -> None:
        """Count failures in a row. After `away_after` failures the receiver counts as away, and is tried again after a
        pause."""
        if run.delivered:
            self._failed = 0
        if error is None:
            return
        self._failed += 1
        if self._failed >= self._pace.away_after:
            pause = self._pace.away.pause(self._failed - self._pace.away_after + 1)
            self._ask_at = time.monotonic() + pause
            _log.warning("receiver.away", error=error, retry_in_seconds=pause)


def sender(settings: Settings) -> Sender:
    """A sender configured by the settings. CHANGES_URL must be set."""
    assert settings.changes_url is not None
    caller = Caller(
        settings.changes_url,
        [secret.get_secret_value() for secret in settings.changes_secret],
        allow_private=settings.changes_allow_private,
        connections=THREADS,
    )
    return Sender(settings, caller, Pace())
