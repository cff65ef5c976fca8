"""Reconcile: every subscription that can still change is read again, every hour, in shards that share the work.

A shard is a span of `created`, cut so that each holds about as many mirrored subscriptions. Shards are worked on in
slices of a minute, by whoever is free; where each stands is in Postgres, so a worker that dies costs its last page.
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

import psycopg

from worker.config.errors import Permanent
from worker.membership.rules.access import Policy
from worker.mirror import shards
from worker.mirror import store as mirror
from worker.mirror.registry import TYPES
from worker.mirror.shards import Shard
from worker.observe import log
from worker.postgres import runs
from worker.writers.list_pass import Listing, Place, Source, Tally, narrowed, pass_over

_log = log.get("reconcile")

JOB = "reconcile"
SHARD_ROWS = 50_000
MOST_SHARDS = 64

_FINAL = tuple(sorted(TYPES["subscription"].final))
# Without `status` Stripe leaves out what has ended.
LIVING = Listing(object="subscription", path="/v1/subscriptions", final=_FINAL)


@dataclass(frozen=True, slots=True)
class Slice:
    """What a slice of a shard came to: whether the shard is done, and whether the whole run is."""

    shard_done: bool
    run_done: bool


def plan(conn: psycopg.Connection, slot: datetime) -> list[int]:
    """Claim the slot and cut the work; returns the ids of the shards, none where somebody else has the slot."""
    with conn.transaction():
        run = runs.claim(conn, JOB, slot)
        if run is None:
            return []
        table = "subscriptions"
        number = min(MOST_SHARDS, mirror.count(conn, table) // SHARD_ROWS + 1)
        bounds = [None, *mirror.shard_bounds(conn, table, shards=number), None]
        return shards.add(conn, run, list(itertools.pairwise(bounds)))


def work(
    conn: psycopg.Connection, stripe: Source, policy: Policy, shard_id: int, *, go_on: Callable[[], bool]
) -> Slice | None:
    """Work on a shard until it is done or `go_on` says no; None where somebody else works on it, or nobody need to."""
    shard = shards.take(conn, shard_id)
    if shard is None:
        return None
    tally = Tally()
    tally.add(shard.tally)

    def after_page(place: Place) -> bool:
        shards.save(conn, shard_id, asdict(place), tally.as_dict())
        return go_on()

    listing = narrowed(LIVING, gte=shard.gte, lt=shard.lt)
    try:
        place = pass_over(conn, stripe, listing, policy, tally, place=_place(shard), after_page=after_page)
    except Permanent as error:
        runs.fail(conn, shard.run_id, tally.as_dict(), str(error))
        raise
    if place is not None:
        shards.release(conn, shard_id)
        return Slice(shard_done=False, run_done=False)
    shards.save(conn, shard_id, None, tally.as_dict())
    with conn.transaction():
        total = shards.finish(conn, shard_id)
        if total is None:
            return Slice(shard_done=True, run_done=False)
        runs.finish(conn, shard.run_id, total)
    _log.info("subscriptions.reconciled", **total)
    return Slice(shard_done=True, run_done=True)


def _place(shard: Shard) -> Place | None:
    if shard.place is None:
        return None
    return Place(shard.place["after"], shard.place["down_to"], tuple(shard.place["of_that_second"]))
