"""Every job that reads Stripe's lists is killed again and again. The next start continues, and the result is complete.

A process dies at a request, or in the transaction that writes a page. The next process reads the saved position from the
database.
"""

import itertools
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.sandboxes import Sandbox
from worker.config.settings import Settings
from worker.inbox.endpoint import sentinel
from worker.jobs import periodic
from worker.membership.rules.access import Policy
from worker.mirror import shards
from worker.postgres import cursors
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.client import Stripe
from worker.stripe_api.lists import LISTS
from worker.writers import audit, backfill, catch_up, connected, reconcile, refresh_catalogue
from worker.writers.list_pass import Source
from worker.writers.passes.plan import Options

ACCOUNTS = ("acct_large", "acct_small")
# The pages between two deaths, for jobs that read hundreds of lists. Dying at each list would test nothing new.
EVERY = {"audit": 25, "product_refresh": 13, "accounts": 25}
TABLES = ("products", "prices", "customers", "subscriptions", "payment_methods")


class Killed(BaseException):
    """Raised in place of kill -9. A job's handlers of Exception don't catch it."""


class Mortal:
    """The Stripe client of a process that dies after `lives` requests."""

    def __init__(self, stripe: Stripe, asked: Counter[Any], *, lives: int, account: str = "") -> None:
        self._stripe, self._asked, self._lives, self._account = stripe, asked, itertools.count(lives, -1), account

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
        if next(self._lives) <= 0:
            raise Killed
        account = account or self._account
        # Each turn of an account reads its newest events again.
        if not account or path != "/v1/events":
            self._asked[account, path, tuple(sorted((params or {}).items()))] += 1
        return self._stripe.page(path, params, account=account)

    def retrieve(self, path: str, *, params: Mapping[str, Any] | None = None) -> Answer:
        if next(self._lives) <= 0:
            raise Killed
        return self._stripe.retrieve(path, params=params, account=self._account)

    def acting_for(self, account: str) -> Source:
        made = Mortal(self._stripe, self._asked, lives=0, account=account)
        made._lives = self._lives
        return made


class Job:
    """A job, run as its task runs it. Only a kill interrupts it."""

    def __init__(self, conn: psycopg.Connection, name: str, threads: int = 1) -> None:
        self._conn, self.name = conn, name
        self._threads = {"threads": threads, "threads_per_list": threads}
        self._slots = (datetime(2026, 11, 22, tzinfo=UTC) + timedelta(hours=n) for n in itertools.count())
        self._now = int(time.time()) + catch_up.DELAY_SECONDS + 1

    def carry_on(self, stripe: Any) -> bool:
        slot = next(self._slots)

        def forever() -> bool:
            return True

        def options(of: Options) -> Options:
            return replace(of, **self._threads)  # type: ignore[arg-type]

        conn, source = self._conn, lambda: stripe
        match self.name:
            case "product_refresh":
                how = options(refresh_catalogue.OPTIONS)
                return (
                    refresh_catalogue.tick(conn, source, Policy(), slot, options=how, should_continue=forever)
                    is not None
                )
            case "reconcile":
                how = options(reconcile.OPTIONS)
                return reconcile.tick(conn, source, Policy(), slot, options=how, should_continue=forever) is not None
            case "catch_up":
                how = options(catch_up.OPTIONS)
                return (
                    catch_up.tick(conn, source, slot, now=self._now, options=how, should_continue=forever) is not None
                )
            case "audit":
                audit.tick(conn, source, Policy(), slot, options=options(audit.OPTIONS), should_continue=forever)
                return shards.running(conn, audit.ROUND) is None
            case "accounts":
                how = options(connected.OPTIONS)
                conn.execute("update sync.accounts set last_pass_at = null")
                connected.tick(
                    conn, source, Policy(), slot, now=self._now, pause=3600, options=how, should_continue=forever
                )
                return conn.execute("select min(rounds) > 0, count(*) from sync.accounts").fetchone() == (True, 2)
            case "backfill":
                return not backfill.carry_on(
                    conn, source, Policy(), options=options(backfill.OPTIONS), should_continue=forever
                )
        raise AssertionError(f"this test does not know how to run {self.name}: add a case")

    def time_passes(self) -> None:
        """Let the leases of the dead process expire."""
        self._conn.execute("update sync.shards set leased_until = now() - interval '1 second' where not done")
        self._conn.execute(
            "update sync.runs set seen_at = now() - interval '1 hour' where job in ('audit', 'accounts')"
        )
        self._conn.execute("update sync.accounts set leased_until = null")


# The endpoint check saves no position. A separate test covers it.
ELSEWHERE = {"endpoint_check"}
READING = [job.name for job in periodic.JOBS if job.needs_key and job.name not in ELSEWHERE]


@pytest.mark.parametrize("name", [*READING, "backfill"])
@pytest.mark.parametrize("at", ["request", "transaction"])
def test_a_job_killed_at_every_page_ends_complete(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, monkeypatch: pytest.MonkeyPatch, name: str, at: str
) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    events = fill(sandbox) if name == "catch_up" else populate(sandbox)
    if name == "accounts":
        sandbox.tell("accounts", connect=ACCOUNTS)
        populate(sandbox.connected(ACCOUNTS[0]))
    if name == "backfill":
        backfill.start(conn, TABLES)
    job, asked, kills, done = Job(conn, name), Counter[Any](), 0, False
    if at == "transaction":
        die_in_transactions(monkeypatch, nth=EVERY[name] - 4 if name in EVERY else 2)
    while not done:
        lives = 1_000 if at == "transaction" else EVERY.get(name, 1)
        try:
            done = job.carry_on(Mortal(stripe, asked, lives=lives))
        except Killed:
            kills += 1
            job.time_passes()
        assert kills < 150

    assert kills >= 3
    again = sum(number - 1 for number in asked.values())
    assert again <= (kills if at == "transaction" else 0)
    if name == "catch_up":
        assert {row[0] for row in conn.execute("select id from sync.events")} == events
    read = sandbox.connected(ACCOUNTS[0]) if name == "accounts" else sandbox
    for table in {"product_refresh": TABLES[:2], "reconcile": (), "catch_up": ()}.get(name, TABLES):
        assert held(conn, table) == at_stripe(read, str(LISTS[table].object)), table
    if name == "reconcile":
        states = sandbox.ask("state?type=subscription")["objects"]
        assert {each["id"] for each in states if each["status"] != "canceled"} == held(conn, "subscriptions")


def test_the_next_tick_repeats_an_endpoint_check_that_died_at_any_request(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, settings: Settings
) -> None:
    slots = (datetime(2026, 11, 22, tzinfo=UTC) + timedelta(minutes=n) for n in itertools.count())
    made, kills = sandbox.post("/v1/webhook_endpoints", **{"url": "http://127.0.0.1:1", "enabled_events[]": "*"}), 0
    while cursors.read(conn, sentinel.CURSOR) is None:
        dying = Mortal(stripe, Counter(), lives=kills)
        try:
            sentinel.tick(conn, lambda: dying, settings, next(slots))  # noqa: B023
        except Killed:
            kills += 1
            # A process that is really killed can't record that its run failed, so undo that record.
            conn.execute(
                """
                update sync.runs set outcome = null, finished_at = null, seen_at = now() - interval '1 hour'
                where id = (select max(id) from sync.runs)
                """
            )
    sandbox.delete(f"/v1/webhook_endpoints/{made['id']}")

    assert kills >= 2
    outcomes = conn.execute("select outcome, count(*)::int from sync.runs where job = 'endpoint_check' group by 1")
    assert dict(outcomes.fetchall()) == {"lost": kills, "done": 1}


def die_in_transactions(monkeypatch: pytest.MonkeyPatch, *, nth: int) -> None:
    """Let the process die at every nth page, after it has written the page and before it commits."""
    save, pages = shards.save_all, itertools.count(1)

    def dying(*arguments: Any, **options: Any) -> Any:
        saved = save(*arguments, **options)
        if next(pages) % nth == 0:
            raise Killed
        return saved

    monkeypatch.setattr(shards, "save_all", dying)


def populate(sandbox: Sandbox) -> set[str]:
    sandbox.tell("populate", products=230, customers=30, subscriptions=330)
    return set()


def fill(sandbox: Sandbox) -> set[str]:
    for number in range(320):
        sandbox.post("/v1/customers", name=f"C{number}")
    ids, more, after = set[str](), True, ""
    while more:
        page = sandbox.get(f"/v1/events?limit=100{after}")
        ids |= {event["id"] for event in page["data"]}
        more, after = page["has_more"], f"&starting_after={page['data'][-1]['id']}"
    return ids


def held(conn: psycopg.Connection, table: str) -> set[str]:
    return {row[0] for row in conn.execute(f"select id from stripe.{table} where not deleted")}


def at_stripe(sandbox: Sandbox, type_: str) -> set[str]:
    return {obj["id"] for obj in sandbox.ask(f"state?type={type_}")["objects"]}
