"""Catch-up: read Stripe's list of events since the last pass, and store events that were not delivered.

So a lost delivery is repaired within two minutes, and the daemon works without a public address. A new event may appear
in the list with a delay, so each pass begins a little before the end of the last one. A backlog is read in spans of an
hour, the oldest first and several at once.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import psycopg

from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.observe import log
from worker.postgres import counters, cursors
from worker.stripe_api.answers import Page
from worker.stripe_api.envelope import read_envelope
from worker.writers.list_pass import Listing, Source
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options, Shape

_log = log.get("catchup")

JOB = "catch_up"
CURSOR = "events"
# A younger event may still be on its way to the webhook endpoint. An older event that is not stored was lost.
DELAY_SECONDS = 20
OVERLAP_SECONDS = 300
SPAN_SECONDS = 3600
KEPT_SECONDS = 30 * 86_400
OPTIONS = Options(threads=4, threads_per_list=4, failures=1, splits=False)


class Caught(msgspec.Struct):
    """The result of a pass.

    `listed` is the number of events in the list, `lost` the number of events that were not stored before. `gap` is true
    if events were lost for good, because Stripe lists only 30 days.
    """

    listed: int = 0
    lost: int = 0
    gap: bool = False


def tick(
    conn: psycopg.Connection,
    stripe: Callable[[], Source],
    slot: datetime,
    *,
    now: int,
    should_continue: Callable[[], bool],
    options: Options = OPTIONS,
) -> Caught | None:
    """Read the events since the last pass for one slot of the clock, or continue an interrupted pass.

    Returns the result if the pass is finished; None if it is not finished or failed, or if another worker has the slot.
    """
    since, gap = _since(conn, now)
    until = now - DELAY_SECONDS
    result = read_spans(
        conn,
        stripe,
        JOB,
        since=since - OVERLAP_SECONDS,
        until=until,
        knows={"until": max(until, since), "gap": gap},
        slot=slot,
        options=options,
        should_continue=should_continue,
    )
    if result is None:
        return None
    cursors.save(conn, CURSOR, result["until"])
    caught = Caught(result.get("listed", 0), result.get("lost", 0), result["gap"])
    if caught.lost:
        _log.warning("events.caught_up", listed=caught.listed, lost=caught.lost)
    return caught


def read_spans(
    conn: psycopg.Connection,
    stripe: Callable[[], Source],
    job: str,
    *,
    since: int,
    until: int,
    knows: Mapping[str, Any] | None = None,
    slot: datetime | None = None,
    account: str = "",
    options: Options = OPTIONS,
    should_continue: Callable[[], bool],
) -> dict[str, Any] | None:
    """Read the list of events between two times, in spans of an hour, and store missing events; or continue a running
    job.

    Returns the result if the job is finished, else None.
    """
    return passes.tick(
        conn,
        stripe,
        Policy(off=True),
        job,
        slot or datetime.now(UTC),
        spans=_spans(since, until + 1),
        shapes={
            "events": Shape(Listing(object=None, path="/v1/events"), record=partial(store_missing, account=account))
        },
        knows=knows,
        options=options,
        should_continue=should_continue,
    )


def _since(conn: psycopg.Connection, now: int) -> tuple[int, bool]:
    """The time up to which events were read, and whether Stripe no longer lists all events since then."""
    since = cursors.read(conn, CURSOR)
    if since is None:
        # A database restored to a time before the first pass has events, but no cursor.
        since = min(now - DELAY_SECONDS, max(inbox.listening_since(conn) or now, now - KEPT_SECONDS))
        cursors.save(conn, CURSOR, since)
    if since >= now - KEPT_SECONDS:
        return since, False
    _log.error(
        "events.lost",
        since=since,
        fix="Stripe lists events for 30 days only: the audit reads all lists again, and `stripe-sync sync all` does so at once",
    )
    return now - KEPT_SECONDS, True


def _spans(gte: int, lt: int) -> list[tuple[str, int | None, int | None]]:
    """Spans of an hour, the oldest first."""
    return [("events", at, min(at + SPAN_SECONDS, lt)) for at in range(gte, max(lt, gte + 1), SPAN_SECONDS)]


def store_missing(conn: psycopg.Connection, page: Page, *, account: str = "") -> dict[str, int]:
    """Store the events of a page that were not delivered.

    Events in the list of a connected account do not name the account, so it is added.
    """
    missing = inbox.missing(conn, [event["id"] for event in page.data])
    events = [event for event in page.data if event["id"] in missing]
    if account:
        events = [{**event, "account": account} for event in events]
    number = len(inbox.store(conn, [read_envelope(msgspec.json.encode(event).decode()) for event in events]))
    counters.add(conn, counters.CAUGHT_UP, number)
    return {"listed": len(page.data), "lost": number}
