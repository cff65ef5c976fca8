"""Stripe Connect in real processes: three accounts with equal object ids lose a tenth of their deliveries. The rows of each
account still equal its objects.

The sandbox's clock is four minutes behind while the events are created. Catch-up skips the newest events, so it would
otherwise have to wait before it reads these.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg.rows import dict_row

from schema import catalogue
from tests import sandboxes
from tests.backends import Backend
from tests.processes import SECRET, Daemon, eventually
from tests.sandboxes import Sandbox
from tests.system.test_convergence import CHILDREN, TABLES, faults, held_by
from tests.writers.test_every_type import sample
from worker.writers import catch_up

pytestmark = pytest.mark.system

CONNECTED = ("acct_a", "acct_b")
SEED = 3
# Types without a table of their own. The sandbox stores these objects as given. Stripe has events for only some of them.
OTHERS = ("payout", "topup", "promotion_code", "tax_rate", "issuing.card", "billing.meter")


@pytest.fixture
def daemon(backend: Backend, database: str, tmp_path: Path) -> Iterator[Daemon]:
    with redis.Redis.from_url(backend.redis_url) as client:
        client.flushall()
    running = Daemon(
        database,
        backend.redis_url,
        tmp_path,
        CONNECT="on",
        CATCH_UP_INTERVAL="2",
        AUDIT_INTERVAL="2",
        STRIPE_RATE="2000",
        STRIPE_OPERATION_RATE="2000",
    )
    yield running
    running.stop()


@pytest.fixture
def sandbox(daemon: Daemon) -> Iterator[Sandbox]:
    with sandboxes.running(webhook=daemon.webhook, seed=SEED) as running:
        running.tell("endpoints", url=daemon.webhook, secrets=[SECRET], connect=True)
        running.tell("reset")  # so that every account generates the same ids
        running.tell("accounts", connect=CONNECTED, seed=SEED)
        daemon.env |= {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": running.address}
        yield running


def test_the_rows_of_each_account_equal_stripe_despite_lost_deliveries(daemon: Daemon, sandbox: Sandbox) -> None:
    every = [sandbox, *(sandbox.connected(id_) for id_ in CONNECTED)]
    with psycopg.connect(daemon.database_url, autocommit=True) as conn:
        conn.execute("insert into users (id, email) values ('user_1', '1@example.com'), ('user_2', '2@example.com')")
        daemon.start_web()
        daemon.start("worker")
        sandbox.tell("clock", now=time.time() - catch_up.OVERLAP_SECONDS + 60)
        for each in every:
            each.tell("populate", customers=4, subscriptions=4, invoices=True, user_prefix="member_")
        sandbox.tell("deliveries", drop=0.1, duplicate=0.1, reorder_seconds=0.5)
        for each in every:
            live(each)
        lost = {each.account: len(undelivered(each)) for each in every}
        sandbox.tell("clock", real=True)
        sandbox.tell("deliveries", drain=20)
        made = {id_ for each in every for id_ in events(each)}
        end = int(time.time()) - catch_up.DELAY_SECONDS

        daemon.start("beat")
        wait_until_read(daemon, end)

        assert min(lost.values()) > 0, lost
        assert made <= {row[0] for row in conn.execute("select id from sync.events")}
        ids = [set(held_by(each, "customer")[0]) for each in every]
        assert len(ids[0] & ids[1] & ids[2]) > 10
        compared = {each.account: compare(conn, each) for each in every}
        assert min(compared.values()) > 50, compared
        assert stray(conn) == []
        users = conn.execute("select id, role::text, tokens > 0 from users order by id").fetchall()
        assert users == [("user_1", "PREMIUM", True), ("user_2", "USER", False)]


def live(sandbox: Sandbox) -> None:
    """Play the stories that every account has, so that the ids are equal. Names and later changes differ by account."""
    name = sandbox.account or "platform"
    user = "user_2" if sandbox.account else "user_1"
    ids = sandbox.tell("stories/sign_up", user_id=user, email=f"{user}@example.com", name=name)["ids"]
    sandbox.post(f"/v1/customers/{ids['customer']}", name=name)
    made = [sandbox.post("/v1/customers", name=f"{name} {number}")["id"] for number in range(8)]
    for number, type_ in enumerate(OTHERS):
        obj = sample(type_, 0)
        sandbox.tell("objects", object=obj)
        if (number + len(name)) % 2:
            sandbox.tell("objects", object={**obj, "description": name})
    for customer in made[: len(name) // 2]:
        sandbox.post(f"/v1/customers/{customer}", name=f"{name} again")
    if sandbox.account == "acct_b":
        sandbox.tell("stories/cancel", user_id=user, when="now")
        sandbox.delete(f"/v1/customers/{made[0]}")


def events(sandbox: Sandbox, query: str = "") -> list[str]:
    page = sandbox.get(f"/v1/events?limit=100{query}")
    assert not page["has_more"]
    return [event["id"] for event in page["data"]]


def undelivered(sandbox: Sandbox) -> list[str]:
    """Wait until every delivery that is not lost has arrived. Return the ids of the events whose delivery was lost."""
    sandbox.tell("deliveries", drain=20)
    return events(sandbox, "&delivery_success=false")


def wait_until_read(daemon: Daemon, end: int) -> None:
    """Wait until catch-up and an audit round have covered each account, and nothing is unsettled."""
    unread = f"""
        select (select count(*) from sync.accounts where rounds = 0 or coalesce(events_until, 0) < {end})
            + (select 1 - count(*) from sync.cursors where name = 'events' and value::text::bigint >= {end})
            + (select 1 - least(count(*), 1) from sync.runs where job = 'audit_round' and finished_at is not null)
    """
    eventually(lambda: daemon.count("select count(*) from sync.accounts") == len(CONNECTED), within=30)
    eventually(lambda: daemon.count(unread) == 0, within=90)
    unsettled = " + ".join(
        f"(select count(*) from mirror.{table} where unsettled)" for table in (*TABLES.values(), "objects")
    )
    busy = f"""
        select (select count(*) from sync.events where status = 'pending') + (select count(*) from sync.refetch_queue)
            + (select count(*) from sync.recompute_queue) + {unsettled}
    """
    eventually(lambda: daemon.count(busy) == 0, within=60)


def compare(conn: psycopg.Connection, sandbox: Sandbox) -> int:
    """Compare the account's rows in every view with its objects, and return the number of objects."""
    held = {name for name, number in sandbox.ask("state").items() if number} & catalogue.types().keys()
    wrong: list[str] = []
    number = 0
    with conn.cursor(row_factory=dict_row) as cursor:
        for type_ in sorted(held | TABLES.keys() | CHILDREN.keys()):
            source, gone = held_by(sandbox, type_)
            view = catalogue.types()[type_].view
            query = f"select * from stripe.{view} where account = %s"
            rows = {row["id"]: row for row in cursor.execute(query, (sandbox.account,))}
            wrong += [f"{type_} {id_} is not mirrored" for id_ in source.keys() - rows.keys()]
            for id_, row in rows.items():
                wrong += [f"{type_} {id_}: {each}" for each in faults(row, source.get(id_), id_ in gone, type_)]
            number += len(source)
    assert not wrong, f"{sandbox.account or 'platform'}:\n" + "\n".join(wrong)
    return number


def stray(conn: psycopg.Connection) -> list[tuple[str, str]]:
    """The table and id of every row whose account does not exist."""
    known = ["", *CONNECTED]
    return [
        (table, row[0])
        for table in (*TABLES.values(), *CHILDREN.values(), "objects")
        for row in conn.execute(f"select id from mirror.{table} where account <> all (%s)", (known,))
    ]
