"""The rolling audit: read all of Stripe's lists again and again, some pages in each tick.

The audit finds differences that no event and no other pass has reported, also in lists under a parent. Each page goes
through the guarded write, and a repair is recorded in `sync.drift`. Reading all lists once is a round. A round is one
run in Postgres, which each tick continues.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg

from worker.config.errors import Permanent, Temporary
from worker.membership.rules.access import Policy
from worker.mirror import shards
from worker.observe import log
from worker.postgres import runs
from worker.stripe_api.lists import LISTS
from worker.writers.list_pass import Source, Tally
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options, every_shape

_log = log.get("audit")

JOB, ROUND = "audit", "audit_round"
PAGES_PER_TICK = 120
OPTIONS = Options(threads=8, threads_per_list=4, splits=False)


def tick(
    conn: psycopg.Connection,
    stripe: Callable[[], Source],
    policy: Policy,
    slot: datetime,
    *,
    options: Options = OPTIONS,
    should_continue: Callable[[], bool],
) -> dict[str, Any] | None:
    """Read the next pages of the round. A hurried round has no page limit: it continues while `should_continue` returns
    true.

    Returns the tally of this tick; None if another worker has the slot or if the tick failed.
    """
    run = runs.claim(conn, JOB, slot)
    if run is None:
        return None
    round_ = _round(conn)
    before = _done(conn, round_)
    if not is_hurried(conn):
        options = replace(options, pages=PAGES_PER_TICK)
    try:
        passes.carry_out(conn, stripe(), policy, round_, every_shape(), options, should_continue=should_continue)
    except (Temporary, Permanent) as error:
        runs.fail(conn, run, dict(_done(conn, round_) - before), str(error))
        _log.warning("audit.interrupted", error=str(error), **error.ids)
        return None
    except Exception as error:
        runs.fail(conn, run, dict(_done(conn, round_) - before), type(error).__name__)
        raise
    result = {**Tally().as_dict(), **(_done(conn, round_) - before)}
    runs.finish(conn, run, result)
    _log.info("audit.continued", **result)
    return result


def restart(conn: psycopg.Connection) -> None:
    """Begin a new, hurried round, because events were lost for good."""
    with conn.transaction():
        current = shards.running(conn, ROUND)
        if current is not None:
            runs.fail(conn, current, {}, "a new round was started because events were lost")
        _round(conn, hurried=True)


def is_hurried(conn: psycopg.Connection) -> bool:
    """Whether the present round has no page limit in each tick."""
    row = conn.execute(
        "select result ->> 'hurried' from sync.runs where job = %s and finished_at is null", (ROUND,)
    ).fetchone()
    return row is not None and row[0] == "true"


def _round(conn: psycopg.Connection, *, hurried: bool = False) -> int:
    """The run of the present round, or of a new one if there is none."""
    with conn.transaction():
        run, is_new = shards.begin(conn, ROUND, {"hurried": hurried})
        if is_new:
            shards.add(conn, run, [(name, None, None) for name in LISTS])
    return run


def _done(conn: psycopg.Connection, run: int) -> Counter[str]:
    total: Counter[str] = Counter()
    for standing in shards.standings(conn, run).values():
        total.update(standing.tally)
    return total
