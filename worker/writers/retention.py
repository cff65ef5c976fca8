"""Retention: remove old, finished rows from the inbox and from the daemon's own bookkeeping, a few at a time.

It reads the inbox in ranges of blocks, and begins again at the end. So it needs no index, which each new event would
have to update. Each batch is a transaction, and the next tick continues.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg

from worker.inbox import retention_store
from worker.mirror import subscription_history
from worker.observe import log
from worker.postgres import cursors, runs
from worker.postgres.runs import Run
from worker.privacy import erase

_log = log.get("retention")

JOB, CURSOR = "retention", "retention"
BATCH = 5000


def tick(
    conn: psycopg.Connection,
    slot: datetime,
    *,
    keep: timedelta,
    keep_changes: timedelta = timedelta(days=35),
    should_continue: Callable[[], bool],
) -> dict[str, int] | None:
    """Remove old rows until the whole inbox was read or time is up; returns None if another worker has the slot.

    A done event is removed if it arrived and was done longer than `keep` ago. Pending and parked events stay.
    """
    removed: dict[str, int] = {}
    with runs.slot(conn, JOB, slot) as run:
        if run is None:
            return None
        bookkeeping = retention_store.bookkeeping(conn, changes_kept_days=keep_changes.days)
        removed |= {"events": 0, **bookkeeping, "parked_blanked": erase.sweep_parked(conn)}
        _remove_events(conn, run, removed, keep=keep, should_continue=should_continue)
        subscription_history.seed(conn, should_continue=should_continue)
        removed["subscription_history"] = subscription_history.compact(conn, should_continue=should_continue)
        run.result = removed
    if any(removed.values()):
        _log.info("events.removed", **removed)
    return removed


def _remove_events(
    conn: psycopg.Connection, run: Run, removed: dict[str, int], *, keep: timedelta, should_continue: Callable[[], bool]
) -> None:
    """Remove events from the position of the last tick to the end of the inbox. At the end the oldest remaining event
    is known."""
    place = cursors.read(conn, CURSOR) or {"block": 0, "oldest": None, "oldest_kept": None}
    while should_continue():
        if place["block"] >= retention_store.blocks(conn):
            cursors.save(conn, CURSOR, {"block": 0, "oldest": None, "oldest_kept": place["oldest"]})
            return
        gone, oldest = retention_store.events(conn, block=place["block"], keep=keep, limit=BATCH)
        removed["events"] += gone
        run.seen(removed)
        if gone < BATCH:
            known = [moment for moment in (place["oldest"], oldest) if moment is not None]
            place = {**place, "block": place["block"] + retention_store.BLOCKS, "oldest": min(known, default=None)}
            cursors.save(conn, CURSOR, place)
