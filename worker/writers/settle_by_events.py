"""Settle what a batch leaves uncertain: the object's other events in the inbox may tell its final state."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import psycopg

from worker.inbox import store as inbox
from worker.mirror import event_chain, refetch_queue
from worker.mirror.fold import Key, Observation, Outcome, observe
from worker.mirror.refetch_queue import Ask
from worker.privacy.blanking import blanked
from worker.stripe_api.event import NotAnEvent, read_event


def settle(conn: psycopg.Connection, outcomes: Sequence[Outcome], *, livemode: bool) -> list[Outcome]:
    """The outcomes, with unsettled ones settled if their events decide. Their rows are locked, and not written yet.

    That way each row is written once, no known object is read, and users are computed once.
    """
    uncertain = [outcome for outcome in outcomes if outcome.version is not None and outcome.version.unsettled]
    if not uncertain:
        return list(outcomes)
    bursts = inbox.newest_bursts(
        conn,
        [outcome.key.ref for outcome in uncertain],
        livemode=livemode,
        pause_seconds=event_chain.PAUSE_SECONDS,
        most=event_chain.MOST_EVENTS,
    )
    settled: dict[Key, Outcome] = {}
    for outcome, bodies in zip(uncertain, bursts, strict=True):
        events = _observations(bodies)
        if events and outcome.erased:
            events = [blanked(seen) for seen in events]
        if events and (end := event_chain.settle(outcome, events)) is not None:
            _withdraw(conn, outcome)
            settled[outcome.key] = end
    return [settled.get(outcome.key, outcome) for outcome in outcomes]


def _observations(bodies: Sequence[str]) -> list[Observation] | None:
    """The observations of the events; None if one of them shows nothing, and no other shows it instead."""
    try:
        events = [read_event(msgspec.json.decode(body)) for body in bodies]
    except (NotAnEvent, msgspec.DecodeError, AttributeError, RecursionError):
        return None
    came = {event.id for event in events}
    seen = [observe(event) for event in events if not (event.thin and event.snapshot_event in came)]
    known = [observation for observation in seen if observation is not None]
    return known if len(known) == len(seen) else None


def _withdraw(conn: psycopg.Connection, outcome: Outcome) -> None:
    """The read that an earlier batch queued. One queued by a later thin event needs more, and stays."""
    if outcome.before is not None and outcome.before.unsettled:
        key, event_at = outcome.key, datetime.fromtimestamp(outcome.before.observed_at, UTC)
        refetch_queue.done(
            conn, Ask(key.object, key.id, key.account, path="", event_at=event_at, attempts=0, missing_at=None)
        )
