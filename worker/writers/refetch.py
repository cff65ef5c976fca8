"""Re-read objects whose latest state is uncertain: one GET for each object, applied only if no event arrived in the
meantime."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec
import psycopg

from worker.config.backoff import Backoff
from worker.config.errors import Permanent, Temporary
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.mirror import refetch_queue
from worker.mirror import store as mirror
from worker.mirror.fold import Key, Observation, Outcome, retrieved
from worker.mirror.refetch_queue import Ask
from worker.mirror.registry import object_type
from worker.observe import log, metrics, trace
from worker.postgres import counters
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.envelope import read_envelope
from worker.stripe_api.errors import BadKey, MissingPermission, NotFound
from worker.stripe_api.json_paths import Json, embedded
from worker.writers.record import Answered, record_answers

_log = log.get("fetch")

THREADS = 16
# If a read can't settle the object yet, it is repeated after the longest lag of Stripe's replicas.
AGAIN_SECONDS, MOVED_SECONDS, SECOND_MISS_SECONDS = 5, 1, 10
KEY_SECONDS, REFUSED_SECONDS = 60, 300
BACKOFF = Backoff(first=2, longest=300)

_logged: set[str] = set()


class Source(Protocol):
    """The methods of `stripe_api.client.Stripe` that this module uses."""

    def retrieve(self, path: str, *, account: str = "") -> Answer: ...

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page: ...


@dataclass(frozen=True, slots=True)
class _Read:
    """The result of one queued read: the object to write, or `twin`, the snapshot event of a thin event.

    Both are None if a later event has made the read unnecessary. `is_missing` is true if Stripe did not find the object
    and no earlier read had reported that.
    """

    answered: Answered | None = None
    twin: Json | None = None
    is_missing: bool = False


def drain(
    conn: psycopg.Connection,
    stripe: Source,
    policy: Policy,
    *,
    should_continue: Callable[[], bool],
    threads: int = THREADS,
) -> int:
    """Read due objects until there are none, or time is up; returns how many were read.

    `threads` objects are read at once. The results so far are written in one transaction, so a slow answer does not
    delay the others. An object stays unsettled and queued until an answer settles it, whatever fails. Raises BadKey.
    """
    asked, refusal = 0, None
    running: dict[Future[_Read], Ask] = {}
    using = threading.Lock()  # all threads use the same connection
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        while True:
            if refusal is None and should_continue() and len(running) < threads:
                with using:
                    leased = refetch_queue.lease(conn, limit=threads - len(running))
                for ask in leased:
                    running[pool.submit(trace.carry(_read), conn, using, stripe, ask)] = ask
                asked += len(leased)
            if not running:
                break
            come, _ = wait(running, return_when=FIRST_COMPLETED)
            brought: list[tuple[Ask, Answered]] = []
            with using:
                for future in come:
                    ask = running.pop(future)
                    try:
                        if (answered := _received(conn, ask, future.result())) is not None:
                            brought.append((ask, answered))
                    except Exception as error:  # noqa: BLE001 - an error caused by one answer must not stop the others
                        refusal = error if isinstance(error, BadKey) else refusal
                        _put_off(conn, ask, error)
                _write(conn, brought, policy)
    counters.add(conn, counters.FETCHED, asked)
    if refusal is not None:
        raise refusal
    return asked


def _read(conn: psycopg.Connection, using: threading.Lock, stripe: Source, ask: Ask) -> _Read:
    """Read one object from Stripe, without holding the connection."""
    with using:
        if refetch_queue.is_answered(conn, ask):
            return _Read()
        rev, deleted = mirror.standing(conn, ask.key)
    answer = read(stripe, ask.key, ask.path)
    if answer.missing and not deleted and ask.missing_at is None:
        return _Read(is_missing=True)
    if ask.object == "event":
        return _Read(twin=answer.object)
    return _Read(Answered(observation(stripe, ask.key, answer), rev, int(ask.event_at.timestamp())))


def _received(conn: psycopg.Connection, ask: Ask, read: _Read) -> Answered | None:
    """The observation to write; None if there is nothing to write."""
    if read.is_missing:
        # A replica may not have the object yet. If a second read does not find it either, it is deleted.
        refetch_queue.remember(conn, ask, missing_again_after=SECOND_MISS_SECONDS)
    elif read.answered is None:
        if read.twin is not None:  # store the event in the inbox as if it had been delivered
            twin = {**read.twin, "account": ask.account} if ask.account else read.twin
            inbox.store(conn, [read_envelope(msgspec.json.encode(twin).decode())])
        refetch_queue.done(conn, ask)
    return read.answered


def _write(conn: psycopg.Connection, brought: Sequence[tuple[Ask, Answered]], policy: Policy) -> None:
    """Write the answers in one transaction. If that fails, write each answer in a transaction of its own."""
    if not brought:
        return
    results: list[str] = []
    try:
        with conn.transaction():
            outcomes = record_answers(conn, [answered for _, answered in brought], policy)
            for (ask, _), outcome in zip(brought, outcomes, strict=True):
                results.append(_settled(conn, ask, outcome))
    except Exception as error:
        if conn.closed:
            raise
        if len(brought) == 1:
            _put_off(conn, brought[0][0], error)
        else:
            for each in brought:
                _write(conn, [each], policy)
        return
    for (ask, _), result in zip(brought, results, strict=True):
        metrics.FETCHES.labels(result).inc()
        _log.info("object.fetched", object_id=ask.id, object_type=ask.object, outcome=result)


def _settled(conn: psycopg.Connection, ask: Ask, outcome: Outcome | None) -> str:
    """Finish the request, or schedule it again; returns a word for the result."""
    if outcome is None:
        refetch_queue.put_off(conn, ask, seconds=MOVED_SECONDS)
        return "moved"
    if outcome.version is not None and outcome.version.unsettled:
        refetch_queue.put_off(conn, ask, seconds=AGAIN_SECONDS)
        return "too_early"
    refetch_queue.done(conn, ask)
    return "corrected" if outcome.object is not None else "confirmed"


def _put_off(conn: psycopg.Connection, ask: Ask, error: Exception) -> None:
    """Schedule the read again after a pause that depends on the error."""
    if conn.closed:
        raise error
    reason = str(error)
    match error:
        case BadKey():
            seconds: float = KEY_SECONDS
        case MissingPermission():
            seconds = REFUSED_SECONDS
            _say_once(reason, object_type=ask.object, **error.ids)
        case Permanent():
            seconds = REFUSED_SECONDS
            _log.error("object.not_fetched", object_id=ask.id, object_type=ask.object, error=reason)
        case _:
            seconds = BACKOFF.pause(ask.attempts)
            metrics.FETCHES.labels("failed").inc()
            if not isinstance(error, Temporary):
                reason = f"{type(error).__name__}: {error}".strip()
                _log.error("object.not_fetched", object_id=ask.id, object_type=ask.object, error=type(error).__name__)
    refetch_queue.put_off(conn, ask, seconds=seconds, error=reason)


def read(stripe: Source, key: Key, path: str) -> Answer:
    """Read an object from Stripe. A summary that can only be listed is built from its list."""
    from_list = object_type(key.object).from_list
    if from_list is None:
        return stripe.retrieve(path, account=key.account)
    path, _, query = path.partition("?")
    try:
        page = stripe.page(path, dict(parse_qsl(query)), account=key.account)
    except NotFound as error:
        return Answer(None, deleted=True, missing=True, read_at=error.read_at)
    listed = {"object": "list", "data": page.data, "has_more": page.has_more, "url": path}
    return Answer(from_list(key.id, listed), deleted=False, missing=False, read_at=page.read_at, shape=page.shape)


def observation(stripe: Source, key: Key, answer: Answer) -> Observation:
    """The answer as an observation. Truncated lists in it are read to their end."""
    obj = None if answer.deleted else answer.object
    whole = obj if obj is None else _completed(stripe, key, obj)
    return retrieved(key, obj, whole=whole, read_at=answer.read_at, shape=answer.shape)


def _completed(stripe: Source, key: Key, obj: Json) -> Json:
    whole = obj
    for children in object_type(key.object).children:
        members, _ = embedded(obj, children.field)
        shown = obj.get(children.field) or {}
        url = children.path.format(id=key.id) if children.path else shown.get("url")
        if not children.is_cut(obj) or not isinstance(url, str):
            continue
        whole = {**whole, children.field: {**shown, **_read_on(stripe, key, url, members)}}
    type_ = object_type(key.object)
    for field, path in type_.lists if type_.lacks(obj) else ():
        whole = {**whole, field: {"object": "list", **_read_on(stripe, key, path.format(id=key.id), [])}}
    return whole


def _read_on(stripe: Source, key: Key, url: str, members: list[Json]) -> Json:
    """Read the rest of a list after the known members; returns the whole list."""
    path, _, query = url.partition("?")
    params: dict[str, Any] = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
    more = True
    while more:
        if members:
            params["starting_after"] = members[-1]["id"]
        page = stripe.page(path, params, account=key.account)
        members, more = members + page.data, page.has_more
    return {"data": members, "has_more": False}


def _say_once(sentence: str, **facts: object) -> None:
    if sentence not in _logged:
        _logged.add(sentence)
        _log.error("permission.missing", error=sentence, **facts)
