"""The job that drains the inbox. For each batch: lease, lock, decide, write, compute the users, mark done, commit."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import psycopg

from worker.config.errors import Permanent
from worker.inbox import store as inbox
from worker.inbox.store import Leased
from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.membership.store import links, rechecks, recompute_queue
from worker.mirror import accounts, refetch_queue
from worker.mirror import store as mirror
from worker.mirror.fold import Key, Observation, observe
from worker.mirror.refetch_queue import Wanted
from worker.mirror.registry import object_type
from worker.observe import log, metrics, trace
from worker.postgres.pool import READ_ONLY
from worker.privacy import guard
from worker.privacy.blanking import blank_text
from worker.stripe_api.event import Event, NotAnEvent, ObjectRef, read_event
from worker.stripe_api.json_paths import Json
from worker.writers.failure import Park, Release, Retry, plan_failure
from worker.writers.record import record

_log = log.get("apply")

OTHER_MODE, NOT_KEPT, NEEDS_KEY, TWIN, ASKED, PING = "other_mode", "not_kept", "needs_key", "twin", "asked", "ping"
PING_TYPE = "v2.core.event_destination.ping"
# The outcome in `metrics.EVENTS_PUT_OFF`.
_PUT_OFF = {Release: "released", Retry: "retried", Park: "parked"}
NEVER_MADE_TYPE = "v2.core.health.event_generation_failure.resolved"


@dataclass(slots=True)
class Drained:
    """The result of a drain."""

    events: int = 0
    batches: int = 0


@dataclass(frozen=True, slots=True)
class _Work:
    """An event, and the time at which it was stored, on the monotonic clock of this process."""

    leased: Leased
    event: Event
    stored_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Applier:
    """The configuration of a drain."""

    livemode: bool
    policy: Policy
    has_key: bool = False
    connect: bool = False
    batch_size: int = 500
    lease_seconds: float = 45
    max_attempts: int = 8
    drain_seconds: float = 30

    def drain(self, conn: psycopg.Connection, *, more: Callable[[], None] | None = None) -> Drained:
        """Apply due events until there are none, or `drain_seconds` have passed.

        `more` is called if other workers can help, because a batch was full or time is up. Raises an error of
        UNAVAILABLE if Postgres is away; leased events become due again by themselves.
        """
        total, deadline = Drained(), time.monotonic() + self.drain_seconds
        for event_id in inbox.park_killers(conn, max_attempts=self.max_attempts):
            _log.error("event.parked", event_id=event_id, error="no worker finished it")
        while batch := inbox.lease(conn, limit=self.batch_size, seconds=self.lease_seconds):
            if more is not None and len(batch) == self.batch_size:
                more()
            started = time.monotonic()
            with trace.batch("events.apply", [leased.traceparent for leased in batch]):
                self._apply_or_halve(conn, self._read(conn, batch))
                _log.info("batch.applied", rows=len(batch), duration_ms=round((time.monotonic() - started) * 1000, 1))
            total.events += len(batch)
            total.batches += 1
            if time.monotonic() > deadline:
                if more is not None:
                    more()
                break
        return total

    def apply_one(self, conn: psycopg.Connection, leased: Leased) -> str:
        """Apply one event in the caller's transaction; returns its outcome. Raises NotAnEvent, and any error of
        applying it."""
        (outcome,) = self._apply(conn, [_Work(leased, read_event(msgspec.json.decode(leased.body)), time.monotonic())])
        return outcome

    def _read(self, conn: psycopg.Connection, batch: Sequence[Leased]) -> list[_Work]:
        """The events of the batch. A body that is not an event is parked at once, and the others are applied."""
        work: list[_Work] = []
        now = time.monotonic()
        for leased in batch:
            try:
                work.append(_Work(leased, read_event(msgspec.json.decode(leased.body)), now - leased.age_seconds))
            except (NotAnEvent, msgspec.DecodeError, AttributeError, RecursionError) as error:
                self._put_off(conn, leased, Permanent(f"{type(error).__name__}: {error}"))
        return work

    def _apply_or_halve(self, conn: psycopg.Connection, batch: Sequence[_Work]) -> None:
        """Apply a batch. If it fails, apply each half, down to the event that fails, so that the others need not
        wait."""
        started = time.monotonic()
        try:
            with conn.transaction():
                outcomes = self._apply(conn, batch)
        except Exception as error:  # an error caused by one body must not stop the others
            if conn.broken or isinstance(error, READ_ONLY):
                raise
            if len(batch) <= 1:
                for work in batch:
                    self._put_off(conn, work.leased, error)
                return
            middle = len(batch) // 2
            self._apply_or_halve(conn, batch[:middle])
            self._apply_or_halve(conn, batch[middle:])
        else:
            for outcome, number in outcomes.items():
                metrics.EVENTS_APPLIED.labels(outcome).inc(number)
            if self.connect:
                self._note_accounts(conn, [work.event for work in batch])
            now = time.monotonic()
            metrics.BATCH_SECONDS.observe(now - started)
            for work in batch:
                metrics.EVENT_LATENCY_SECONDS.observe(now - work.stored_at)

    def _note_accounts(self, conn: psycopg.Connection, events: Sequence[Event]) -> None:
        """Record what the events report about connected accounts.

        This runs after the commit, so that batches do not wait for each other's locks on the rows of accounts.
        """
        newest: dict[str, float] = {}
        theirs = [event for event in events if event.account and event.livemode == self.livemode]
        for event in sorted(theirs, key=lambda event: event.created):
            newest[event.account] = event.created
        if newest:
            accounts.note_events(conn, newest)
        for event in theirs:
            if event.type == "account.application.deauthorized":
                accounts.deauthorize(conn, event.account)
                _log.warning("account.deauthorized", account=event.account, event_id=event.id)
            elif event.type == "account.application.authorized":
                accounts.connect(conn, [event.account])

    def _put_off(self, conn: psycopg.Connection, event: Leased, error: Exception) -> None:
        """Release, retry or park a failed event, as `plan_failure` decides."""
        message = f"{type(error).__name__}: {error}".strip()
        facts = {"event_id": event.id, "attempt": event.attempts, "error": type(error).__name__}
        plan = plan_failure(error, attempts=event.attempts, max_attempts=self.max_attempts)
        match plan:
            case Release(pause):
                inbox.release(conn, event.id, error=message, pause=pause)
                _log.warning("event.released", **facts)
            case Retry(pause):
                inbox.retry(conn, event.id, error=message, pause=pause)
                _log.warning("event.retried", **facts)
            case Park():
                inbox.park(conn, event.id, error=message)
                _log.error("event.parked", **facts)
        metrics.EVENTS_PUT_OFF.labels(_PUT_OFF[type(plan)]).inc()

    def _apply_thin(self, conn: psycopg.Connection, events: Sequence[Event]) -> dict[str, str]:
        """Thin events do not contain their objects, so queue a read of each object; returns the outcomes of finished
        events.

        Without a key, events that need a read are parked.
        """
        outcomes: dict[str, str] = {}
        wanted: list[tuple[Event, Wanted]] = []
        twins = [event.snapshot_event for event in events if event.snapshot_event is not None]
        stored = set(twins) - inbox.missing(conn, twins) if twins else set()
        for event in events:
            if event.type == NEVER_MADE_TYPE:
                # Stripe failed to create an event, so no delivery and no list contains it. The audit reads the object
                # later.
                _log.error(
                    "events.never_made", event_id=event.id, fix="run `stripe-sync sync all`, or wait for the audit"
                )
            if event.type == PING_TYPE:
                outcomes[event.id] = PING
            elif event.snapshot_event in stored:
                outcomes[event.id] = TWIN
            elif (target := _thin_target(event)) is None:
                outcomes[event.id] = NOT_KEPT
            elif not self.has_key:
                message = "set STRIPE_SECRET_KEY, and replay: a thin event does not contain its object"
                inbox.park(conn, event.id, error=message, outcome=NEEDS_KEY)
            else:
                outcomes[event.id] = ASKED
                wanted.append((event, target))
        mirror.doubt(conn, [(target.key, event.created) for event, target in wanted if target.key.object != "event"])
        refetch_queue.want(conn, [target for _, target in wanted])
        return outcomes

    def _apply(self, conn: psycopg.Connection, batch: Sequence[_Work]) -> Counter[str]:
        """Write the objects in the events, compute the affected users, and mark each event with its outcome.

        Returns the number of events by outcome.
        """
        outcomes: dict[str, str] = {}
        observations: list[Observation] = []
        aside: list[Event] = []
        thin: list[Event] = []
        for event in (work.event for work in batch):
            if event.livemode != self.livemode:
                outcomes[event.id] = OTHER_MODE
                aside.append(event)
            elif event.thin:
                thin.append(event)
            elif (observation := observe(event)) is None:
                outcomes[event.id] = NOT_KEPT
                aside.append(event)
            else:
                observations.append(observation)
        if thin:
            outcomes |= self._apply_thin(conn, thin)
        results = record(conn, observations, self.policy, events_of=self.livemode)
        for result in results:
            outcomes |= {source: verdict.value for source, verdict in result.verdicts.items()}
        inbox.mark_done(conn, outcomes)
        personal = {source for result in results if result.erased for source in result.verdicts}
        personal |= {aside[number].id for number in guard.concerned(conn, [_shown(event) for event in aside])}
        if personal:
            bodies = {work.leased.id: work.leased.body for work in batch if work.leased.id in personal}
            inbox.replace_bodies(conn, {id_: blank_text(body) for id_, body in bodies.items()})
        return Counter(outcomes.values())


def _shown(event: Event) -> tuple[str, str, Json]:
    return (event.object_id or "", event.account, event.object or {})


def _thin_target(event: Event) -> Wanted | None:
    """The object to read for a thin event: its related object, or else the snapshot event with the same content.

    None if there is neither.
    """
    if event.object_type is not None and event.url.startswith("/v1/"):
        type_ = object_type(event.object_type)
        id_ = event.object_id or event.object_type
        return Wanted(Key(type_.table.name, type_.name, id_, event.account), event.url, event.created)
    if event.snapshot_event is not None:
        path = f"/v1/events/{event.snapshot_event}"
        return Wanted(Key("events", "event", event.snapshot_event, event.account), path, event.created)
    return None


def compute_waiting(conn: psycopg.Connection, policy: Policy, *, limit: int = 200) -> bool:
    """Compute the users in `sync.recompute_queue`, and the users due for a recheck.

    Returns False if some rechecks must wait for open transactions or for another process that rechecks.
    """
    while not policy.off:
        with conn.transaction():
            customers = recompute_queue.take(conn, limit=limit)
            if not customers:
                break
            compute.compute_each(conn, compute.users_of(conn, customers), policy)
    while not policy.off and rechecks.any_waiting(conn):
        with conn.transaction():
            looks = rechecks.due(conn, limit=limit)
            if not looks:
                return False
            _recheck(conn, [ObjectRef(look.object, look.id) for look in looks], policy)
            rechecks.done(conn, looks)
    return True


def _recheck(conn: psycopg.Connection, missed: Sequence[ObjectRef], policy: Policy) -> None:
    users = [ref.id for ref in missed if ref.object == rechecks.USER]
    if users:
        compute.compute_each(conn, users, policy, concerned_only=True, is_recheck=True)
    customers, _ = links.customers_of(conn, missed)
    if customers:
        compute.compute_each(conn, compute.users_of(conn, customers), policy)
