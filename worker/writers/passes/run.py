"""A pass over lists as a run in Postgres. Any process can continue the run, and the process that reads the last page
finishes it.

A page, its consequences and the position after it are written in one transaction. So if a process is killed, at most
one page of each shard is lost. A list that fails is retried later. If it fails too often, only that list is given up.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from worker.config.errors import Permanent, Temporary
from worker.membership.rules.access import Policy
from worker.mirror import absences, shards
from worker.observe import log
from worker.postgres import runs
from worker.writers.list_pass import Source
from worker.writers.passes import deletions
from worker.writers.passes.plan import Options, Shape, every_shape
from worker.writers.passes.reading import Reading

_log = log.get("pass")


def tick(
    conn: psycopg.Connection,
    stripe: Callable[[], Source],
    policy: Policy,
    job: str,
    slot: datetime,
    *,
    spans: Sequence[tuple[str, int | None, int | None]],
    options: Options,
    should_continue: Callable[[], bool],
    shapes: Mapping[str, Shape] | None = None,
    knows: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Continue the job's unfinished run, or begin a run for this slot of the clock, with these spans of lists.

    Returns the result if the run is finished; None if it is not finished or failed, or if another worker has the slot.
    `knows` is stored with the run and becomes part of its result.
    """
    run = shards.running(conn, job)
    if run is None:
        with conn.transaction():
            run = runs.claim(conn, job, slot)
            if run is None:
                return None
            runs.seen(conn, run, dict(knows or {}))
            shards.add(conn, run, spans)
        _log.info("pass.began", job=job, run=run)
    try:
        if not carry_out(
            conn, stripe(), policy, run, shapes or every_shape(), options, should_continue=should_continue
        ):
            return None
    except (Temporary, Permanent) as error:
        runs.fail(conn, run, {}, str(error))
        _log.warning("pass.failed", job=job, run=run, error=str(error), **error.ids)
        return None
    result = runs.result(conn, run)
    _log.info("pass.ended", job=job, run=run, **{name: n for name, n in (result or {}).items() if name != "errors"})
    return result


def carry_out(
    conn: psycopg.Connection,
    stripe: Source,
    policy: Policy,
    run: int,
    shapes: Mapping[str, Shape],
    options: Options,
    *,
    should_continue: Callable[[], bool],
    connect: Callable[[], psycopg.Connection] | None = None,
) -> bool:
    """Continue the run until nothing is left for this process or `should_continue` returns false; returns whether it is
    finished.

    The process that reads the last page finishes the run. If a list fails, its error is in the result of the run and
    the other lists continue. If all lists fail, the run fails. `connect` opens a second connection, so that one page
    can be written while another is decoded. Raises BadKey, and an error of UNAVAILABLE if Postgres is away.
    """
    reading = Reading(conn, stripe, policy, run, shapes, options, should_continue, connect)
    began = time.monotonic()
    try:
        reading.work()
    finally:
        reading.close()
        duration_ms = round((time.monotonic() - began) * 1000)
        _log.info("pass.slice_ended", run=run, pages=reading.pages_read, duration_ms=duration_ms)
    return _conclude(conn, run, policy, shapes, options)


def _conclude(
    conn: psycopg.Connection, run: int, policy: Policy, shapes: Mapping[str, Shape], options: Options
) -> bool:
    """If nothing is left to read, mark the deletions of each list that was read to its end, and finish the run."""
    standings, counts = shards.standings(conn, run), absences.counts(conn, run)
    if any(each.unfinished for each in standings.values()) or any(unasked for unasked, _ in counts.values()):
        return False
    deletions.guard(conn, run, standings, shapes, options)
    for list_, standing in shards.standings(conn, run).items():
        if standing.error is None:
            deletions.mark(conn, run, list_, shapes.get(list_), policy, alive=lambda: shards.renew(conn, run, owner=""))
        else:
            absences.drop_list(conn, run, list_)
    finish(conn, run)
    return True


def finish(conn: psycopg.Connection, run: int) -> dict[str, Any]:
    """Finish the run with the sum of the tallies of its shards; returns the result.

    The run fails if every list with something to read has failed.
    """
    standings = shards.standings(conn, run)
    total: Counter[str] = Counter()
    for standing in standings.values():
        total.update(standing.tally)
    errors = {name: standing.error for name, standing in standings.items() if standing.error is not None}
    result: dict[str, Any] = {**(runs.result(conn, run) or {}), **total, **({"errors": errors} if errors else {})}
    # A list under parents that had no parent read nothing, so it does not show whether reading works.
    worked = [
        name for name, standing in standings.items() if standing.error is not None or any(standing.tally.values())
    ]
    if errors and len(errors) == len(worked):
        runs.fail(conn, run, result, "; ".join(sorted(set(errors.values()))))
    else:
        runs.finish(conn, run, result)
    return result
