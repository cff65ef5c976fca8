"""Connected accounts (CONNECT=on): read the events and then the lists of each account, with the header Stripe-Account.

Accounts take turns. A turn is short, and the account that has waited longest is next, so a huge account does not delay
a thousand small ones. This is background work within the rate limit of the platform's key.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast

import psycopg

from worker.config.errors import Permanent, Temporary
from worker.membership.rules.access import Policy
from worker.mirror import accounts, shards
from worker.mirror.accounts import Account
from worker.observe import log
from worker.postgres import cursors, runs
from worker.stripe_api.answers import Page
from worker.stripe_api.errors import BadKey, MissingPermission
from worker.stripe_api.lists import LISTS
from worker.writers import catch_up, reconcile, refresh_catalogue
from worker.writers.list_pass import Source
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options, every_shape

_log = log.get("connect")

JOB = "accounts"
# The names of these runs sort after all names of jobs, so that a scan over jobs stops before them.
ROUND, REFRESH, EVENTS = "~{} lists", "~{} refresh", "~{} events"
OPTIONS = Options(threads=8, threads_per_list=4, pages=40, failures=2)
AT_ONCE = 16
# How often Stripe's list of accounts is read, and after how long all lists of an account are read again.
LIST_SECONDS, ROUND_SECONDS = 900, 6 * 3600
# Between two rounds, only the catalogue and the subscriptions that can still change are read. No event reports the
# features of products.
REFRESH_SECONDS, REFRESHED = 3600, (*refresh_catalogue.CATALOGUE, "subscriptions")
LISTED_AT = "accounts_listed"
# Lists that only the platform has.
NOT_THEIRS = ("accounts", "webhook_endpoints", "account_persons", "account_external_accounts", "account_capabilities")


class Platform(Protocol):
    """The methods of `stripe_api.client.Stripe` that this module uses."""

    def page(self, path: str, params: Any = None, *, account: str = "") -> Page: ...

    def acting_for(self, account: str) -> Any: ...


def tick(
    conn: psycopg.Connection,
    stripe: Callable[[], Platform],
    policy: Policy,
    slot: datetime,
    *,
    now: int,
    pause: float,
    options: Options = OPTIONS,
    should_continue: Callable[[], bool],
) -> dict[str, int] | None:
    """Give a turn to each account that was not read for `pause` seconds; returns None if another worker has the
    slot."""
    result = {"turns": 0, "events": 0, "rounds": 0, "failed": 0}
    with runs.slot(conn, JOB, slot) as run:
        if run is None:
            return None
        _list(conn, stripe(), now)
        while should_continue() and (batch := accounts.lease(conn, limit=AT_ONCE, pause=pause)):
            for account, read in zip(batch, _newest(stripe(), batch, now), strict=True):
                _turn(
                    conn,
                    stripe(),
                    policy,
                    account,
                    read,
                    result,
                    now=now,
                    options=options,
                    should_continue=should_continue,
                )
            run.seen(result)
        run.result = result
    return result


def _list(conn: psycopg.Connection, stripe: Platform, now: int) -> None:
    """Read the list of connected accounts from Stripe, if that was not done recently."""
    if now - (cursors.read(conn, LISTED_AT) or 0) < LIST_SECONDS:
        return
    after: dict[str, str] = {}
    while True:
        page = stripe.page("/v1/accounts", after)
        accounts.connect(conn, [account["id"] for account in page.data])
        if not page.has_more:
            break
        after = {"starting_after": page.data[-1]["id"]}
    cursors.save(conn, LISTED_AT, now)


def _newest(stripe: Platform, batch: Sequence[Account], now: int) -> list[Page | Temporary | Permanent]:
    """For each account, the newest page of events since its last turn, or the error of reading it."""

    def read(account: Account) -> Page | Temporary | Permanent:
        span = {"created[gte]": _since(account, now) - catch_up.OVERLAP_SECONDS, "created[lt]": _until(now) + 1}
        try:
            return stripe.page("/v1/events", span, account=account.id)
        except (Temporary, Permanent) as error:
            return error

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="accounts") as pool:
        return list(pool.map(read, batch))


def _turn(
    conn: psycopg.Connection,
    stripe: Platform,
    policy: Policy,
    account: Account,
    read: Page | Temporary | Permanent,
    result: dict[str, int],
    *,
    now: int,
    options: Options,
    should_continue: Callable[[], bool],
) -> None:
    """The turn of one account: store events that were not delivered, then read some pages of its lists."""
    result["turns"] += 1
    events_until, rounds = None, 0
    try:
        if not isinstance(read, Page):
            raise read
        source = cast(Source, stripe.acting_for(account.id))
        stored = _store(conn, source, account, read, now=now, should_continue=should_continue)
        if stored is not None:
            result["events"] += stored
            events_until = _until(now)
        rounds = _carry_on(conn, source, policy, account, options, should_continue)
        result["rounds"] += rounds
    except BadKey:
        raise
    except MissingPermission as error:
        # Stripe gives the same answer if the account has disconnected or was never connected.
        accounts.deauthorize(conn, account.id)
        _log.warning("account.deauthorized", account=account.id, error=str(error))
        result["failed"] += 1
    except (Temporary, Permanent) as error:
        accounts.done(conn, account.id, events_until=events_until, error=str(error))
        _log.warning("account.not_read", account=account.id, error=str(error))
        result["failed"] += 1
    else:
        accounts.done(conn, account.id, events_until=events_until, rounds=rounds)


def _store(
    conn: psycopg.Connection,
    source: Source,
    account: Account,
    page: Page,
    *,
    now: int,
    should_continue: Callable[[], bool],
) -> int | None:
    """Store the account's missing events; returns their number, or None if some are left for the next turn."""
    if not page.has_more:
        with conn.transaction():
            return catch_up.store_missing(conn, page, account=account.id)["lost"]
    # More than a page: read the events as catch-up does, in spans of an hour with a saved position.
    since = max(_since(account, now) - catch_up.OVERLAP_SECONDS, now - catch_up.KEPT_SECONDS)
    job = EVENTS.format(account.id)
    caught = catch_up.read_spans(
        conn, lambda: source, job, since=since, until=_until(now), account=account.id, should_continue=should_continue
    )
    if caught is None:
        return None
    conn.execute("delete from sync.runs where job = %s and finished_at is not null", (job,))
    return int(caught.get("lost", 0))


def _carry_on(
    conn: psycopg.Connection,
    source: Source,
    policy: Policy,
    account: Account,
    options: Options,
    should_continue: Callable[[], bool],
) -> int:
    """Read some pages of the account's lists, for the round or refresh that is running or due; returns the number of
    finished rounds."""
    job = _due(conn, account)
    if job is None:
        return 0
    is_round, shapes = job == ROUND.format(account.id), every_shape(account.id)
    if not is_round:
        living = replace(reconcile.LIVING.listing, account=account.id)
        shapes["subscriptions"] = replace(reconcile.LIVING, listing=living)
    with conn.transaction():
        run, is_new = shards.begin(conn, job, {})
        if is_new:
            lists = [name for name in LISTS if name not in NOT_THEIRS] if is_round else REFRESHED
            shards.add(conn, run, [(name, None, None) for name in lists])
    if not passes.carry_out(conn, source, policy, run, shapes, options, should_continue=should_continue):
        return 0
    conn.execute("delete from sync.runs where job = %s and id < %s", (job, run))
    return int(is_round)


def _due(conn: psycopg.Connection, account: Account) -> str | None:
    """The job to continue or start for the account; None if none is due. A running job comes first. A round also counts
    as a refresh."""
    jobs = [ROUND.format(account.id), REFRESH.format(account.id)]
    for job in jobs:
        if shards.running(conn, job) is not None:
            return job
    ended: dict[str, datetime] = dict(
        conn.execute(
            "select job, max(finished_at) from sync.runs where job = any(%s) and finished_at is not null group by job",
            (jobs,),
        ).fetchall()
    )
    now, never = datetime.now(UTC), datetime.fromtimestamp(0, UTC)
    if now - ended.get(jobs[0], never) > timedelta(seconds=ROUND_SECONDS):
        return jobs[0]
    return jobs[1] if now - max(ended.values(), default=never) > timedelta(seconds=REFRESH_SECONDS) else None


def _since(account: Account, now: int) -> int:
    return account.events_until if account.events_until is not None else _until(now)


def _until(now: int) -> int:
    """The end of the span to read. A younger event may still be on its way to the webhook endpoint."""
    return now - catch_up.DELAY_SECONDS
