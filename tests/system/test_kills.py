"""While one job reads Stripe, every process is killed three times. The end state equals Stripe, and few pages are read twice.

At the first kill, the object that a cursor points to is deleted, so Stripe refuses that cursor.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg.rows import dict_row

from tests import sandboxes
from tests.backends import Backend
from tests.processes import Daemon, eventually
from tests.proxies import Proxy
from tests.sandboxes import Sandbox
from tests.system.test_convergence import NEVER, TABLES, faults, held_by
from worker.jobs import periodic
from worker.postgres import cursors, runs
from worker.stripe_api.lists import LISTS
from worker.writers import audit, backfill, catch_up, reconcile, refresh_catalogue

pytestmark = pytest.mark.system

THREADS = 4
HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job to kill.

    - `run`: the job's name in `sync.runs`
    - `pages`: the numbers of saved pages at which the processes are killed
    - `types`: the types that the job mirrors
    - `setting`: the setting of the job's interval
    - `cursor`: the list whose cursor points to an object that is deleted at the first kill
    """

    run: str
    pages: tuple[int, int, int]
    types: tuple[str, ...]
    setting: str = ""
    cursor: str = ""
    slow_seconds: float = 0.3
    populate: dict[str, Any] = field(default_factory=lambda: {"products": 230, "customers": 30, "subscriptions": 330})


CORE = ("product", "price", "customer", "subscription")
BACKFILLED = ("products", "prices", "customers", "subscriptions", "invoices")
MANY = {"products": 3, "customers": 500, "subscriptions": 990, "invoices": True}
JOBS = {
    "backfill": Job(
        run=backfill.JOB,
        pages=(3, 9, 16),
        types=(*CORE, "invoice"),
        cursor="customers",
        slow_seconds=2,
        populate=MANY,
    ),
    "product_refresh": Job(
        run=refresh_catalogue.JOB,
        pages=(1, 40, 90),
        types=("product", "price"),
        setting="PRODUCT_REFRESH_INTERVAL",
        cursor="products",
    ),
    "reconcile": Job(
        run=reconcile.JOB,
        pages=(1, 4, 7),
        types=("subscription",),
        setting="RECONCILE_INTERVAL",
        cursor="subscriptions",
        slow_seconds=2,
        populate=MANY,
    ),
    "audit": Job(
        run=audit.ROUND, pages=(1, 90, 250), types=CORE, setting="AUDIT_INTERVAL", cursor="products", slow_seconds=0.2
    ),
    "catch_up": Job(
        run=catch_up.JOB, pages=(1, 4, 7), types=("customer",), setting="CATCH_UP_INTERVAL", slow_seconds=1, populate={}
    ),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_killed_three_times_ends_equal_to_stripe_and_reads_few_pages_twice(
    backend: Backend, database: str, tmp_path: Path, name: str
) -> None:
    job, lost, deleted = JOBS[name], 0, ""
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    with (
        through_proxy(backend, database, tmp_path, job) as (daemon, sandbox, proxy),
        psycopg.connect(database, autocommit=True) as conn,
    ):
        prepare(conn, sandbox, name, job)
        for number, pages in enumerate(job.pages):
            start(daemon, name)
            sandbox.tell("deliveries", paused=False)
            eventually(partial(has_saved, conn, job, pages, with_cursor=job.cursor if not deleted else ""), within=60)
            lost += kill(daemon, conn, job)
            if number == 0 and job.cursor:
                deleted = cursor_of(conn, job)
                sandbox.tell("deliveries", paused=True)
                delete(sandbox, job, deleted)
        sandbox.tell("faults", clear=True)
        start(daemon, name)
        eventually(lambda: has_ended(conn, job), within=120)
        sandbox.tell("deliveries", drain=60)
        daemon.wait_until_applied()
        # If a list and an event disagree about an object within a second, the object is read again.
        eventually(lambda: not any("unsettled" in each for each in differences(conn, sandbox, job)), within=60)
        lost += kill(daemon, conn, job, is_done=True)

        assert differences(conn, sandbox, job) == []
        if name == "catch_up":
            events = {row[0] for row in conn.execute("select id from sync.events")}
            assert len(events) == sandbox.ask("stats")["events"]
        of_its_own = {"backfill": ("backfill.finished",), "audit": ("audit.continued",)}
        for event in ("pass.slice_ended", *of_its_own.get(name, ("pass.began", "pass.ended"))):
            assert f'"{event}"' in daemon.logs()
        lists = [(at, address) for at, address in proxy.requests if "limit=100" in address]
        refused = [each for each in lists if deleted and f"starting_after={deleted}" in each[1]]
        assert refused or not deleted
        read = [each for each in lists if each not in refused]
        of_the_run = [address for at, address in read if at < ended_at(conn, job)]
        # Only pages in progress at the kills, and failed pages, are read twice.
        lost += daemon.logs().count("list.put_off")
        assert len(read) - pages_saved(conn) <= lost, daemon.logs()
        assert len(of_the_run) - len(set(of_the_run)) <= lost, daemon.logs()


@contextlib.contextmanager
def through_proxy(backend: Backend, database: str, logs: Path, job: Job) -> Iterator[tuple[Daemon, Sandbox, Proxy]]:
    """A daemon that reads the sandbox through a proxy and receives its deliveries."""
    intervals = {f"{name}_INTERVAL": str(NEVER) for name in ("PRODUCT_REFRESH", "RECONCILE", "AUDIT", "CATCH_UP")}
    daemon = Daemon(
        database,
        backend.redis_url,
        logs,
        STRIPE_SECRET_KEY=sandboxes.KEY,
        STRIPE_CONCURRENCY=str(THREADS),
        STRIPE_RATE="1000",
        STRIPE_OPERATION_RATE="1000",
        **(intervals | ({job.setting: "1"} if job.setting else {})),
    )
    with sandboxes.running(webhook=daemon.webhook) as sandbox, Proxy(int(sandbox.address.rpartition(":")[2])) as proxy:
        daemon.env["STRIPE_API_BASE"] = f"http://127.0.0.1:{proxy.port}"
        try:
            yield daemon, sandbox, proxy
        finally:
            daemon.stop()


def prepare(conn: psycopg.Connection, sandbox: Sandbox, name: str, job: Job) -> None:
    """Create objects at Stripe, slow its answers so that the job is running at each kill, and keep other jobs from running."""
    if job.populate:
        sandbox.tell("populate", **job.populate)
    else:
        fill_hours(sandbox)
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 5 * HOUR)
    sandbox.tell("faults", slow_seconds=job.slow_seconds)
    check = periodic.ENDPOINT_CHECK_SECONDS
    for other in periodic.JOBS:
        if other.name == "endpoint_check":
            # The test may run into the next slot, but not into the one after it.
            for slot in (periodic.slot_of(check), periodic.slot_of(check) + timedelta(seconds=check)):
                runs.note(conn, other.name, slot, {})
        elif other.name != name:
            runs.note(conn, other.name, periodic.slot_of(NEVER), {})


def fill_hours(sandbox: Sandbox) -> None:
    """Create events in the last four hours, and deliver none of them."""
    now = int(time.time())
    sandbox.tell("deliveries", drop=1.0)
    for hours in (4, 3, 2, 1):
        sandbox.tell("clock", now=now - hours * HOUR)
        for number in range(210):
            sandbox.post("/v1/customers", name=f"Customer {number}")
    sandbox.tell("clock", real=True)


def start(daemon: Daemon, name: str) -> None:
    """Start the processes, and start or continue the backfill if that is the job."""
    daemon.start_web()
    daemon.start("worker")
    daemon.start("beat")
    if name == "backfill":
        command = [sys.executable, "-m", "worker", "sync", *BACKFILLED, "--no-wait"]
        subprocess.run(command, env=daemon.env, check=True, stdout=subprocess.DEVNULL)


def delete(sandbox: Sandbox, job: Job, id_: str) -> None:
    """Delete a product with its prices, a customer, or a subscription. The object then disappears from its list."""
    if job.cursor == "products":
        sandbox.tell("stories/delete_product", product=id_)
    else:
        sandbox.delete(f"/v1/{job.cursor}/{id_}")


def kill(daemon: Daemon, conn: psycopg.Connection, job: Job, *, is_done: bool = False) -> int:
    """Kill every process, let the leases expire, and return the largest possible number of pages in progress."""
    for process in daemon.processes:
        daemon.kill(process)
    assert is_done or not has_ended(conn, job)
    leased = conn.execute("select list from sync.shards where leased_until > now() and not done").fetchall()
    conn.execute("update sync.shards set leased_until = now() - interval '1 second' where not done")
    conn.execute("update sync.absences set leased_until = now() - interval '1 second'")
    conn.execute("update sync.runs set seen_at = now() - interval '1 hour' where finished_at is null")
    # In a list that is read for one parent after another, all threads share one shard, and each may be reading a page.
    return sum(THREADS if list_ in LISTS and LISTS[list_].parent else 1 for (list_,) in leased)


def has_ended(conn: psycopg.Connection, job: Job) -> bool:
    return ended_at(conn, job) < float("inf")


def ended_at(conn: psycopg.Connection, job: Job) -> float:
    """When the job's first run ended, in unix seconds."""
    query = """
        select coalesce(extract(epoch from min(finished_at)), 'infinity')::float8 from sync.runs
        where job = %s and outcome = 'done'
    """
    row = conn.execute(query, (job.run,)).fetchone()
    assert row is not None
    return float(row[0])


def has_saved(conn: psycopg.Connection, job: Job, pages: int, *, with_cursor: str) -> bool:
    return pages_saved(conn) >= pages and (not with_cursor or bool(cursor_of(conn, job)))


def pages_saved(conn: psycopg.Connection) -> int:
    row = conn.execute("select coalesce(sum((tally ->> 'pages')::bigint), 0)::bigint from sync.shards").fetchone()
    return int(row[0]) if row else 0


def cursor_of(conn: psycopg.Connection, job: Job) -> str:
    """The object after which the next page of the list begins, or an empty string."""
    query = "select place ->> 'after' from sync.shards where list = %s and not done and place ->> 'after' is not null"
    row = conn.execute(query, (job.cursor,)).fetchone()
    return row[0] if row else ""


def differences(conn: psycopg.Connection, sandbox: Sandbox, job: Job) -> list[str]:
    """Describe each difference between the mirror and Stripe."""
    wrong: list[str] = []
    for type_ in job.types:
        live, gone = held_by(sandbox, type_)
        with conn.cursor(row_factory=dict_row) as cursor:
            rows = {row["id"]: row for row in cursor.execute(f"select * from stripe.{TABLES[type_]}")}
        # Reconcile does not read ended subscriptions.
        owed = {id_ for id_, obj in live.items() if job.run != reconcile.JOB or obj["status"] != "canceled"}
        wrong += [f"{type_} {id_} is not mirrored" for id_ in owed - rows.keys()]
        for id_, row in rows.items():
            wrong += [f"{type_} {id_}: {fault}" for fault in faults(row, live.get(id_), id_ in gone, type_)]
    return wrong
