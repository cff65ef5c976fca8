"""Asking Stripe for what events left uncertain: one read an object, applied only if no event was taken meanwhile."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import psycopg

from worker.config.backoff import Backoff
from worker.config.errors import Permanent, Temporary
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.mirror import refetch_queue
from worker.mirror import store as mirror
from worker.mirror.fold import Key, Observation, retrieved
from worker.mirror.refetch_queue import Ask
from worker.mirror.registry import object_type
from worker.observe import log, metrics
from worker.postgres import counters
from worker.stripe_api.client import Answer, BadKey, MissingPermission, Page
from worker.stripe_api.envelope import read_envelope
from worker.stripe_api.json_paths import Json, embedded
from worker.writers.record import record_answer

_log = log.get("fetch")

BATCH = 20
# A read that may not settle yet is repeated after the time that Stripe's replicas may lag.
AGAIN_SECONDS, MOVED_SECONDS, SECOND_MISS_SECONDS = 5, 1, 10
REFUSED_SECONDS = 300
BACKOFF = Backoff(first=2, longest=300)

_said: set[str] = set()


class Source(Protocol):
    """What a fetch wants of `stripe_api.Stripe`."""

    def retrieve(self, path: str, *, account: str = "") -> Answer: ...

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page: ...


def drain(conn: psycopg.Connection, stripe: Source, policy: Policy, *, go_on: Callable[[], bool]) -> int:
    """Ask for what is due until nothing is, or time is up; returns how many objects were asked for.

    No failure loses the mark: an object stays unsettled, and asked for, until an answer settles it.
    """
    asked = 0
    while go_on() and (batch := refetch_queue.lease(conn, limit=BATCH)):
        for ask in batch:
            asked += 1
            try:
                _settle(conn, stripe, policy, ask)
            except BadKey as error:
                refetch_queue.put_off(conn, ask, seconds=60, error=str(error))
                raise
            except MissingPermission as error:
                refetch_queue.put_off(conn, ask, seconds=REFUSED_SECONDS, error=str(error))
                _say_once(str(error), object_type=ask.object, **error.ids)
            except Permanent as error:
                refetch_queue.put_off(conn, ask, seconds=REFUSED_SECONDS, error=str(error))
                _log.error("object.not_fetched", object_id=ask.id, object_type=ask.object, error=str(error))
            except Temporary as error:
                refetch_queue.put_off(conn, ask, seconds=BACKOFF.pause(ask.attempts), error=str(error))
                metrics.FETCHES.labels("failed").inc()
            except Exception as error:  # whatever an answer can cause must not stop the others
                if conn.closed:
                    raise
                said = f"{type(error).__name__}: {error}".strip()
                refetch_queue.put_off(conn, ask, seconds=BACKOFF.pause(ask.attempts), error=said)
                metrics.FETCHES.labels("failed").inc()
                _log.error("object.not_fetched", object_id=ask.id, object_type=ask.object, error=type(error).__name__)
    counters.add(conn, counters.FETCHED, asked)
    return asked


def _settle(conn: psycopg.Connection, stripe: Source, policy: Policy, ask: Ask) -> None:
    """Ask for one object, and write what Stripe answers. No transaction is open while Stripe is asked."""
    if refetch_queue.is_answered(conn, ask):
        refetch_queue.done(conn, ask)
        return
    rev, deleted = mirror.standing(conn, ask.key)
    answer = stripe.retrieve(ask.path, account=ask.account)
    if answer.missing and not deleted and ask.missing_at is None:
        # A replica may not have it yet; what a second look does not find either is gone.
        refetch_queue.remember(conn, ask, missing_again_after=SECOND_MISS_SECONDS)
        return
    if ask.object == "event":
        _receive(conn, ask, answer)
        return
    seen = observation(stripe, ask.key, answer)
    with conn.transaction():
        outcome = record_answer(conn, seen, policy, rev=rev, event_at=int(ask.event_at.timestamp()))
        if outcome is None:
            refetch_queue.put_off(conn, ask, seconds=MOVED_SECONDS)
            result = "moved"
        elif outcome.version is not None and outcome.version.unsettled:
            refetch_queue.put_off(conn, ask, seconds=AGAIN_SECONDS)
            result = "too_early"
        else:
            refetch_queue.done(conn, ask)
            result = "corrected" if outcome.object is not None else "confirmed"
    metrics.FETCHES.labels(result).inc()
    _log.info("object.fetched", object_id=ask.id, object_type=ask.object, outcome=result)


def observation(stripe: Source, key: Key, answer: Answer) -> Observation:
    """The answer as an observation; lists that Stripe cut short are read to their end, for the answer to be whole."""
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
    """The list from its known members to its end."""
    path, _, query = url.partition("?")
    params: dict[str, Any] = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
    more = True
    while more:
        if members:
            params["starting_after"] = members[-1]["id"]
        page = stripe.page(path, params, account=key.account)
        members, more = members + page.data, page.has_more
    return {"data": members, "has_more": False}


def _receive(conn: psycopg.Connection, ask: Ask, answer: Answer) -> None:
    """The snapshot twin of a thin event: it goes into the inbox as if it had been delivered."""
    if answer.object is not None:
        inbox.store(conn, [read_envelope(msgspec.json.encode(answer.object).decode())])
    refetch_queue.done(conn, ask)


def _say_once(sentence: str, **facts: object) -> None:
    if sentence not in _said:
        _said.add(sentence)
        _log.error("permission.missing", error=sentence, **facts)
