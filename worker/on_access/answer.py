"""A user's present access: from the tables if they are fresh, else after reading Stripe, within a short deadline.

    from worker.on_access.answer import access, sync

    answer = access("user_1", max_age=60)   # Stripe was read within the last minute, or answer.stale is true
    answer = sync("user_1")                 # reads Stripe now, for example after Checkout's redirect
    if answer.has_access: ...

Both read their settings from the environment (DATABASE_URL, REDIS_URL, STRIPE_SECRET_KEY) and keep a few connections
open. The web process returns the same answers over HTTP, with a Desk of its own.
"""

import itertools
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from functools import cache

from worker.config import settings as config
from worker.config.errors import Permanent, SyncError, Temporary
from worker.config.settings import Settings
from worker.membership import compute
from worker.observe import log, metrics
from worker.on_access import sync_user
from worker.on_access.freshness import Answer, Stored
from worker.on_access.sync_user import NoSuchUser as NoSuchUser  # imported for callers of `access` and `sync`
from worker.on_access.sync_user import NotTheirs as NotTheirs
from worker.postgres.pool import pool
from worker.stripe_api.client import Stripe

_log = log.get("access")

MAX_AGE_SECONDS = 60.0
# How long an answer waits for Stripe. After that it comes from the tables and is marked as stale.
DEADLINE_SECONDS = 2.0
# How long the read may continue in the background, so that the next request may find fresh tables.
ASK_SECONDS = 8.0
# The most reads at once. If Stripe hangs, further requests are answered at once from the tables.
MOST_QUESTIONS = 16
# If this many reads have taken longer than DEADLINE_SECONDS, Stripe counts as hanging. No other read starts until one
# of them ends.
MOST_SLOW_READS = 3

Question = Future[SyncError | None]
"""A running read of a user from Stripe. Its result is an error, or None."""


def access(user: str, *, max_age: float = MAX_AGE_SECONDS) -> Answer:
    """The user's access, at most `max_age` seconds behind Stripe. It is `stale` if Stripe did not answer in time.

    Raises NoSuchUser, and psycopg.OperationalError if Postgres is away. If Stripe fails, nothing is raised.
    """
    return _desk(os.getpid()).access(user, max_age=max_age)


def sync(user: str, *, checkout_session: str | None = None) -> Answer:
    """The user's access after reading Stripe in any case. If a Checkout session is given, its customer is linked first.

    Raises NoSuchUser, and NotTheirs if the session names another user or none. Raises other subclasses of
    worker.config.errors.Permanent if Stripe can't be read at all, because STRIPE_SECRET_KEY is not set or lacks a
    permission.
    """
    return _desk(os.getpid()).sync(user, checkout_session=checkout_session)


class Desk:
    """Returns the access of users, in one process. Several threads may call it at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._policy = settings, compute.policy_of(settings)
        # Two pools with half of the connections each, so that lookups do not wait for reads of Stripe, which write.
        size = max(settings.database_pool_size // 2, 1)
        self._pool = pool(settings, application="access", size=size)
        self._lookups = pool(settings, application="access", size=size, lookups=True)
        self._stripe: Stripe | None = None
        self._lock = threading.Lock()
        self._numbers, self._open = itertools.count(), dict[int, float]()  # the running reads, and the start of each
        self._shared: dict[str, tuple[datetime, Question]] = {}
        self._threads = ThreadPoolExecutor(MOST_QUESTIONS, thread_name_prefix="access")

    def open(self) -> None:
        self._pool.open()
        self._lookups.open()

    def close(self) -> None:
        """Close the pools without waiting for running reads, which end by themselves within ASK_SECONDS."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._lookups.close()
        self._pool.close()

    def access(self, user: str, *, max_age: float = MAX_AGE_SECONDS) -> Answer:
        """See the function of that name."""
        stored = self.stored(user)
        since = stored.since(max_age)
        if not stored.is_fresh(since) and (question := self.ask(stored, since)) is not None:
            wait([question], timeout=DEADLINE_SECONDS)
            stored = self.stored(user)
        return self.answer(stored, since)

    def sync(self, user: str, *, checkout_session: str | None = None) -> Answer:
        """See the function of that name."""
        stored = self.stored(user)
        question = self.force(stored, checkout_session)
        if question is not None:
            wait([question], timeout=DEADLINE_SECONDS)
        return self.forced(self.stored(user), stored.now, question)

    def stored(self, user: str) -> Stored:
        """The user's stored access. Raises NoSuchUser."""
        return sync_user.stored(self._pool.connection, user, self._policy, lookups=self._lookups.connection)

    def ask(self, stored: Stored, since: datetime) -> Question | None:
        """A running read of the user that began at `since` or later, shared by all requests that need it, or else a new
        read.

        None if too many reads are running or if no key is set.
        """
        if self._settings.stripe_secret_key is None:
            return None
        with self._lock:
            asked_at, question = self._shared.get(stored.id, (None, None))
            if question is not None and asked_at is not None and asked_at >= since and not question.done():
                return question
            question = self._begin(stored.id, since)
            if question is not None:
                self._shared[stored.id] = stored.now, question
            return question

    def force(self, stored: Stored, checkout_session: str | None = None) -> Question | None:
        """Start a read whose result will be newer than `stored`; returns None if too many reads are running."""
        with self._lock:
            return self._begin(stored.id, stored.now, checkout_session, search=True)

    def answer(self, stored: Stored, since: datetime, *, unasked: bool = False) -> Answer:
        """The answer. It is stale if Stripe was not read after `since`, or if `unasked` is true."""
        answer = Answer(stored, stale=unasked or not stored.is_fresh(since))
        metrics.ACCESS_ANSWERS.labels("stale" if answer.stale else "fresh").inc()
        return answer

    def forced(self, stored: Stored, since: datetime, question: Question | None) -> Answer:
        """The answer to a forced sync. Raises the error if the read has failed with a Permanent error."""
        error = question.result() if question is not None and question.done() else Temporary()
        if isinstance(error, Permanent):
            raise error
        return self.answer(stored, since, unasked=error is not None)

    def _begin(
        self, user: str, since: datetime, checkout_session: str | None = None, *, search: bool = False
    ) -> Question | None:
        now, number = time.monotonic(), next(self._numbers)
        slow_reads = sum(now - began > DEADLINE_SECONDS for began in self._open.values())
        if len(self._open) >= MOST_QUESTIONS or slow_reads >= MOST_SLOW_READS:
            return None
        self._open[number] = now
        metrics.ACCESS_QUESTIONS.inc()
        return self._threads.submit(self._ask, number, user, since, checkout_session, search)

    def _ask(
        self, number: int, user: str, since: datetime, checkout_session: str | None, search: bool
    ) -> SyncError | None:
        try:
            sync_user.bring_up(
                self._pool.connection,
                self._stripe_of_ours,
                self._policy,
                user,
                since=since,
                seconds=ASK_SECONDS,
                checkout_session=checkout_session,
                search=search,
            )
        except SyncError as error:
            _log.warning("user.not_synced", error=str(error), **{"user_id": user, **error.ids})
            return error
        except Exception as error:  # noqa: BLE001 - the request is answered from the tables, whatever happened
            _log.error("user.not_synced", user_id=user, error=type(error).__name__, exc_info=error)
            return Temporary(type(error).__name__)
        finally:
            with self._lock:
                del self._open[number]
                metrics.ACCESS_QUESTIONS.dec()
                self._shared.pop(user, None)
        return None

    def _stripe_of_ours(self) -> Stripe:
        with self._lock:
            if self._stripe is None:
                self._stripe = Stripe.from_settings(self._settings)
            return self._stripe


@cache
def _desk(_pid: int) -> Desk:
    """The Desk of this process. Connections of a parent process can't be used after a fork."""
    desk = Desk(config.load())
    desk.open()
    return desk
