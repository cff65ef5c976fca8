"""Settle objects that a batch leaves uncertain: other events of the object in the inbox may prove its final state."""

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
    """Replace unsettled outcomes by settled ones, if the events of the object decide; returns all outcomes.

    The rows are locked but not written yet. So each row is written once, objects that the inbox can settle are not read
    from Stripe, and users are computed once.
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
    """The observations of the events; None if an event can't be read, or if neither the event nor its snapshot event
    contains the object."""
    try:
        events = [read_event(msgspec.json.decode(body)) for body in bodies]
    except (NotAnEvent, msgspec.DecodeError, AttributeError, RecursionError):
        return None
    came = {event.id for event in events}
    seen = [observe(event) for event in events if not (event.thin and event.snapshot_event in came)]
    known = [observation for observation in seen if observation is not None]
    return known if len(known) == len(seen) else None


def _withdraw(conn: psycopg.Connection, outcome: Outcome) -> None:
    """Remove the read that an earlier batch has queued. A read queued by a later thin event is still needed, and
    stays."""
    if outcome.before is not None and outcome.before.unsettled:
        key, event_at = outcome.key, datetime.fromtimestamp(outcome.before.observed_at, UTC)
        refetch_queue.done(
            conn, Ask(key.object, key.id, key.account, path="", event_at=event_at, attempts=0, missing_at=None)
        )
