"""The backfill: read all of Stripe's lists as one job that any number of workers share.

There is one job at a time. Each list is divided into spans of `created` while it is read. If a list fails, the others
continue. Each user is computed once, after all lists that membership depends on were read.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from worker.config.errors import Permanent
from worker.membership import compute
from worker.membership.rules.access import Policy
from worker.membership.store import recompute_queue
from worker.mirror import absences, shards
from worker.mirror import store as mirror
from worker.mirror.registry import TYPES
from worker.observe import log
from worker.postgres import runs
from worker.stripe_api.client import Stripe
from worker.stripe_api.lists import LISTS
from worker.writers.list_pass import Listing, Source
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options, Shape, every_shape

_log = log.get("backfill")

JOB = "backfill"
# The name of a shard that reads no list. Its steps compute the users that wait for their objects.
USERS = "users"
USERS_AT_ONCE = 200
OPTIONS = Options(threads=32, threads_per_list=16, failures=6, users_later=True)
STOPPED = "An operator stopped it."


class OtherJob(Permanent):
    """Another backfill is running."""


class UnknownList(Permanent):
    """Stripe has no such list."""


def lists_named(names: Sequence[str]) -> list[str]:
    """The lists with these names. A name is a list's name, its path or the type of its objects, or `all` for all
    lists."""
    if "all" in names:
        return list(LISTS)
    if "products" in names:
        names = [*names, "product_features"]  # no event reports the features of products
    by_name = {spelling: row.name for row in reversed(LISTS.values()) for spelling in (row.object, row.path, row.name)}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise UnknownList(
            f"Stripe has no list {', '.join(unknown)}. Name lists as their paths, with underscores: {', '.join(LISTS)}"
        )
    return list(dict.fromkeys(by_name[name] for name in names))


def start(
    conn: psycopg.Connection, lists: Sequence[str], *, since: datetime | None = None, account: str = ""
) -> tuple[int, bool]:
    """Start a job, or add the lists to the running one; returns the id of the job, and whether it is new.

    With `since`, only objects created since then are read; lists that Stripe can't filter by time are read completely.
    Raises OtherJob if the running job is for another account or time.
    """
    asked = {"account": account, "since": since.isoformat() if since is not None else None}
    gte = int(since.timestamp()) if since is not None else None
    with conn.transaction():
        run, is_new = shards.begin(conn, JOB, asked)
        known = runs.result(conn, run) or {}
        if {name: known.get(name) for name in asked} != asked:
            raise OtherJob(
                f"a backfill of {known.get('account') or 'your own account'} since {known.get('since') or 'the beginning'} is "
                "running: wait for it, or end it with `stripe-sync sync stop`"
            )
        had = shards.lists_of(conn, run)
        added: list[tuple[str, int | None, int | None]] = [
            (name, gte if LISTS[name].by_created else None, None) for name in lists if name not in had
        ]
        shards.add(conn, run, added + ([] if USERS in had else [(USERS, None, None)]))
    _log.info("backfill.started" if is_new else "backfill.joined", run=run, lists=len(lists))
    return run, is_new


def stop(conn: psycopg.Connection) -> bool:
    """End the job; returns False if none is running. Rows written so far stay, and the affected users are computed."""
    run = shards.running(conn, JOB)
    if run is None:
        return False
    runs.fail(conn, run, {**(runs.result(conn, run) or {}), **_total(conn, run)}, STOPPED)
    _log.info("backfill.stopped", run=run)
    return True


def carry_on(
    conn: psycopg.Connection,
    stripe: Callable[[], Stripe],
    policy: Policy,
    *,
    options: Options = OPTIONS,
    should_continue: Callable[[], bool],
    connect: Callable[[], psycopg.Connection] | None = None,
) -> bool:
    """Continue the job while `should_continue` returns true; returns whether something is left to do."""
    run = shards.running(conn, JOB)
    if run is None:
        return _compute_left_over(conn, policy, should_continue)
    account = str((runs.result(conn, run) or {}).get("account") or "")
    try:
        source = stripe() if not account else stripe().acting_for(account)
        finished = passes.carry_out(
            conn,
            cast(Source, source),
            policy,
            run,
            {**every_shape(account), USERS: _users(policy)},
            options,
            should_continue=should_continue,
            connect=connect,
        )
    except Permanent as error:
        runs.fail(conn, run, {**(runs.result(conn, run) or {}), **_total(conn, run)}, str(error))
        _log.error("backfill.failed", run=run, error=str(error), **error.ids)
        return False
    if finished:
        _log.info("backfill.finished", run=run, **_total(conn, run))
    return not finished or _compute_left_over(conn, policy, should_continue)


def is_wanted(conn: psycopg.Connection) -> bool:
    """Whether a job is running, or has left users that still must be computed."""
    return shards.running(conn, JOB) is not None or recompute_queue.any_deferred(conn)


def progress(conn: psycopg.Connection, run: int | None = None) -> dict[str, Any] | None:
    """The progress of the job `run`, or of the newest job; None if there is no such job. Rates are in objects per
    second."""
    with conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            select id, to_json(started_at) as started_at, to_json(finished_at) as finished_at, outcome, error, result,
                extract(epoch from coalesce(finished_at, now()) - started_at)::float8 as seconds
            from sync.runs where job = %s and (%s::bigint is null or id = %s) order by id desc limit 1
            """,
            (JOB, run, run),
        ).fetchone()
    if row is None:
        return None
    result = row.pop("result") or {}
    lists = [_list_progress(conn, each, row["seconds"]) for each in shards.standings(conn, row["id"]).values()]
    listed = sum(each["listed"] for each in lists)
    known = [each["remaining"] for each in lists]
    rate = listed / max(row["seconds"], 0.001)
    remaining = None if any(each is None for each in known) else sum(known)
    requests = sum(each["pages"] for each in lists)
    left = None if remaining is None else sum(map(_requests_left, lists))
    return {
        **row,
        "state": row["outcome"] or "running",
        "account": result.get("account", ""),
        "since": result.get("since"),
        "listed": listed,
        "objects_per_second": round(rate, 1),
        "remaining": remaining,
        "seconds_left": round(left * row["seconds"] / requests)
        if left is not None and requests and not row["outcome"]
        else None,
        "lists": lists,
    }


def _requests_left(each: Mapping[str, Any]) -> float:
    """An estimate of the requests left: one for a hundred objects, or one for each parent."""
    if each["list"] == USERS:
        return 0
    return float(each["remaining"] if each["parents"] is not None else each["remaining"] / 100)


def _list_progress(conn: psycopg.Connection, standing: shards.Standing, seconds: float) -> dict[str, Any]:
    tally = standing.tally
    state = "failed" if standing.error else "done" if not standing.unfinished else "waiting"
    if standing.error and tally.get("refused_lists"):
        state = "not available"
    if state == "waiting" and (standing.leased or tally):
        state = "reading"
    remaining, parents = standing.remaining, None
    if standing.list != USERS and LISTS[standing.list].parent is not None:
        parents = tally.get("parents", 0)
    if standing.unfinished and standing.list == USERS:
        remaining = recompute_queue.count_deferred(conn)
    elif standing.unfinished and (parent := LISTS[standing.list].parent) is not None:
        # For lists under parents, count the parents, because each needs at least one request.
        object_ = LISTS[parent].object
        remaining = None if object_ is None else max(absences.rows_of(conn, object_) - tally.get("parents", 0), 0)
    return {
        "list": standing.list,
        "state": state,
        "listed": tally.get("listed", 0) + tally.get("users", 0),
        "written": tally.get("written", 0),
        "unchanged": tally.get("unchanged", 0),
        "repaired": tally.get("repaired", 0),
        "marked_deleted": tally.get("marked_deleted", 0),
        "refused": tally.get("refused", 0),
        "pages": tally.get("pages", 0),
        "parents": parents,
        "remaining": remaining if standing.unfinished else 0,
        "objects_per_second": round((tally.get("listed", 0) + tally.get("users", 0)) / max(seconds, 0.001), 1),
        "error": standing.error,
    }


def _users(policy: Policy) -> Shape:
    """The step of the pass that computes users. It runs after the lists that users depend on were read to their end."""
    core = tuple(name for name, row in LISTS.items() if row.object in TYPES and row.parent is None)
    analyzed = False

    def step(conn: psycopg.Connection) -> int:
        nonlocal analyzed
        if not analyzed:
            mirror.analyze(conn)
            analyzed = True
        return compute_some(conn, policy)

    return Shape(Listing(object=None, path=""), by_created=False, after=core, step=step)


def compute_some(conn: psycopg.Connection, policy: Policy) -> int:
    """Compute the users of some customers that wait for the backfill; returns the number of customers.

    Runs in the caller's transaction.
    """
    customers = recompute_queue.take(conn, limit=USERS_AT_ONCE, deferred=True)
    if customers:
        compute.compute_each(conn, compute.users_of(conn, customers), policy)
    return len(customers)


def _compute_left_over(conn: psycopg.Connection, policy: Policy, should_continue: Callable[[], bool]) -> bool:
    """Compute users that a job has left, because it was stopped or because requests were added after its last step.

    Returns whether some are left.
    """
    while should_continue():
        with conn.transaction():
            if not compute_some(conn, policy):
                return False
    return recompute_queue.any_deferred(conn)


def _total(conn: psycopg.Connection, run: int) -> Mapping[str, int]:
    total: dict[str, int] = {}
    for standing in shards.standings(conn, run).values():
        for name, number in standing.tally.items():
            total[name] = total.get(name, 0) + number
    return total
