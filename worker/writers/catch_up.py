"""Catch-up: Stripe's list of events is read from where it was last read to, and what no delivery brought is stored.

So a webhook that was lost is made good within two minutes, and the daemon works without any public address. The list is
complete eventually, not at once: each pass begins a little before the last one's end. A backlog is worked off oldest
first, in spans of an hour.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec
import psycopg

from worker.config.errors import Permanent, Temporary
from worker.inbox import store as inbox
from worker.observe import log
from worker.postgres import counters, cursors, runs
from worker.stripe_api.client import Page
from worker.stripe_api.envelope import read_envelope

_log = log.get("catchup")

JOB = "catch_up"
CURSOR = "events"
# What is younger may still be on its way to the door; what is older and missing was lost.
DELAY_SECONDS = 20
OVERLAP_SECONDS = 300
SPAN_SECONDS = 3600
KEPT_SECONDS = 30 * 86_400
# A page takes no longer. What was lost is to be made good within two minutes, also where a worker died over it.
LOST_SECONDS = 65


class Source(Protocol):
    """What catch-up wants of `stripe_api.Stripe`."""

    def page(self, path: str, params: Mapping[str, Any] | None = None) -> Page: ...


class Caught(msgspec.Struct):
    """What a pass did: events listed, those found missing, and whether events are gone for good (older than 30 days)."""

    listed: int = 0
    found: int = 0
    gap: bool = False

    def as_dict(self) -> dict[str, int]:
        return {"listed": self.listed, "found": self.found}


def catch_up(
    conn: psycopg.Connection,
    stripe: Source,
    *,
    now: int,
    seen: Callable[[Caught], bool],
    alive: Callable[[Caught], None] = lambda _: None,
) -> Caught:
    """Read the events since the cursor, oldest span first; `seen` is told after each span, and says whether to go on.

    `alive` is called after each page.
    """
    caught = Caught()
    since = cursors.read(conn, CURSOR)
    if since is None:
        # A database that was restored to before the first pass has events, and no cursor.
        since = min(now - DELAY_SECONDS, max(inbox.listening_since(conn) or now, now - KEPT_SECONDS))
        cursors.save(conn, CURSOR, since)
    if since < now - KEPT_SECONDS:
        caught.gap = True
        _log.error("events.lost", since=since, mend="Stripe lists 30 days: run `stripe-sync sync all`; it was started")
        since = now - KEPT_SECONDS
    until = now - DELAY_SECONDS
    while True:
        end = min(since + SPAN_SECONDS, until)
        _read_span(conn, stripe, since - OVERLAP_SECONDS, end, caught, alive=alive)
        cursors.save(conn, CURSOR, max(end, since))
        since = end
        if not seen(caught) or since >= until:
            return caught


def tick(
    conn: psycopg.Connection, stripe: Callable[[], Source], slot: datetime, *, now: int, go_on: Callable[[], bool]
) -> Caught | None:
    """The pass of one slot of the clock; None where somebody else has it, or where it failed."""
    run = runs.claim(conn, JOB, slot, lost_seconds=LOST_SECONDS)
    if run is None:
        return None
    caught = Caught()

    def alive(so_far: Caught) -> None:
        runs.seen(conn, run, so_far.as_dict())

    try:
        caught = catch_up(conn, stripe(), now=now, seen=lambda _: go_on(), alive=alive)
    except (Temporary, Permanent) as error:
        runs.fail(conn, run, caught.as_dict(), str(error))
        _log.warning("events.not_caught_up", error=str(error), **error.ids)
        return None
    except Exception as error:
        runs.fail(conn, run, caught.as_dict(), type(error).__name__)
        raise
    runs.finish(conn, run, caught.as_dict())
    if caught.found:
        _log.warning("events.caught_up", **caught.as_dict())
    return caught


def _read_span(
    conn: psycopg.Connection, stripe: Source, since: int, until: int, caught: Caught, *, alive: Callable[[Caught], None]
) -> None:
    """Store what is missing of the events created in [since, until]."""
    params: dict[str, Any] = {"created[gte]": since, "created[lte]": until}
    while True:
        page = stripe.page("/v1/events", params)
        caught.listed += len(page.data)
        missing = inbox.missing(conn, [event["id"] for event in page.data])
        envelopes = [
            read_envelope(msgspec.json.encode(event).decode()) for event in page.data if event["id"] in missing
        ]
        found = len(inbox.store(conn, envelopes))
        caught.found += found
        counters.add(conn, counters.CAUGHT_UP, found)
        alive(caught)
        if not page.has_more:
            return
        params["starting_after"] = page.data[-1]["id"]
