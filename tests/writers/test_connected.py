"""Connected accounts, read from the sandbox: lost events are found, and objects of different accounts are never confused."""

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests import factories
from tests.sandboxes import Sandbox
from tests.system.test_convergence import CHILDREN, TABLES, faults, held_by
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.mirror import accounts
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.writers import connected, refetch
from worker.writers.apply import Applier

ACCOUNTS = ("acct_a", "acct_b", "acct_c")
MIRROR_ONLY = Policy(off=True)
Json = dict[str, Any]

_slots = itertools.count()


@pytest.fixture
def turn(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> Callable[..., dict[str, int] | None]:
    """Run a tick in which every account is due."""

    def tick(**options: Any) -> dict[str, int] | None:
        conn.execute("update sync.accounts set last_pass_at = null")
        return connected.tick(
            conn,
            lambda: stripe,
            MIRROR_ONLY,
            datetime(2026, 11, 22, tzinfo=UTC) + timedelta(minutes=next(_slots)),
            now=int(sandbox.ask("clock")["now"]),
            pause=3600,
            options=replace(connected.OPTIONS, **options),
            should_continue=lambda: True,
        )

    return tick


def live(sandbox: Sandbox, name: str) -> None:
    """Create objects of many types, in states that differ from those in the other accounts."""
    ids = sandbox.tell("stories/sign_up", user_id="user_1", email="jenny@example.com", name=name)["ids"]
    sandbox.post(f"/v1/customers/{ids['customer']}", name=name)
    for number in range(5):
        customer = sandbox.post("/v1/customers", name=f"{name} {number}")
        if number % 2:
            sandbox.post(f"/v1/customers/{customer['id']}", name=f"{name} renamed")
    if name == "acct_b":
        sandbox.delete(f"/v1/customers/{customer['id']}")


def events_of(sandbox: Sandbox) -> list[Json]:
    """The account's events as Stripe delivers them."""
    page = sandbox.get("/v1/events?limit=100")
    assert not page["has_more"]
    return [{**event, "account": sandbox.account} if sandbox.account else event for event in page["data"]]


def settle(conn: psycopg.Connection, stripe: Stripe) -> None:
    """Apply due events and read unsettled objects until nothing is left."""
    for _ in range(20):
        Applier(livemode=False, policy=MIRROR_ONLY, has_key=True, connect=True).drain(conn)
        conn.execute("update sync.refetch_queue set due_at = now()")
        if not refetch.drain(conn, stripe, MIRROR_ONLY, should_continue=lambda: True):
            return
    raise AssertionError("some objects stay unsettled")


def differences(conn: psycopg.Connection, sandbox: Sandbox) -> list[str]:
    """Every difference between the account at Stripe and its mirrored rows."""
    wrong: list[str] = []
    with conn.cursor(row_factory=dict_row) as cursor:
        for type_, table in (TABLES | CHILDREN).items():
            source, gone = held_by(sandbox, type_)
            rows = {
                row["id"]: row
                for row in cursor.execute(f"select * from stripe.{table} where account = %s", (sandbox.account,))
            }
            wrong += [f"{type_} {id_} is not mirrored" for id_ in source.keys() - rows.keys()]
            for id_, row in rows.items():
                wrong += [f"{type_} {id_}: {each}" for each in faults(row, source.get(id_), id_ in gone, type_)]
    return wrong


def test_accounts_with_equal_object_ids_equal_stripe_despite_lost_deliveries(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, apply: Callable[..., None], turn: Callable[..., Any]
) -> None:
    sandbox.tell("clock", now=time.time(), frozen=True)
    sandbox.tell("accounts", connect=ACCOUNTS, seed=0)
    every = [sandbox, *(sandbox.connected(id_) for id_ in ACCOUNTS)]
    chance, lost = random.Random(7), 0
    delivered: list[Json] = []
    for each in every:
        live(each, each.account or "platform")
        made = events_of(each)
        kept = made if each is sandbox else [event for event in made if chance.random() > 0.1]
        lost += len(made) - len(kept)
        delivered += kept
    chance.shuffle(delivered)
    apply(*delivered, policy=MIRROR_ONLY)
    sandbox.tell("clock", advance=60)

    first = turn()
    while conn.execute("select min(rounds) from sync.accounts").fetchone() == (0,):
        turn()
    settle(conn, stripe)

    ids = [set(held_by(each, "customer")[0]) for each in every]
    assert ids[1] == ids[3]
    assert ids[2] < ids[1]
    assert lost > 3
    assert first is not None
    assert first["events"] == lost
    for each in every:
        assert differences(conn, each) == []
    assert conn.execute("select count(*) from sync.accounts where error is null").fetchone() == (len(ACCOUNTS),)


def test_a_huge_account_delays_no_small_account(
    conn: psycopg.Connection, sandbox: Sandbox, turn: Callable[..., Any]
) -> None:
    small = [f"acct_small{number}" for number in range(20)]
    sandbox.tell("accounts", connect=["acct_huge", *small])
    sandbox.connected("acct_huge").tell("populate", customers=1500, subscriptions=0)

    result = turn(pages=3)

    assert result is not None
    assert result["turns"] == 21
    (mirrored,) = conn.execute("select count(*) from mirror.customers where account = 'acct_huge'").fetchone() or (0,)
    assert mirrored < 1500
    assert conn.execute("select count(*) from sync.accounts where last_pass_at is null").fetchone() == (0,)


def test_the_catalogue_and_active_subscriptions_are_read_between_rounds(
    conn: psycopg.Connection, sandbox: Sandbox, turn: Callable[..., Any]
) -> None:
    sandbox.tell("accounts", connect=["acct_a"])
    account = sandbox.connected("acct_a")
    account.tell("populate", customers=3, subscriptions=3)
    turn()
    while conn.execute("select min(rounds) from sync.accounts").fetchone() != (1,):
        turn()
    turn()
    asked = sandbox.ask("stats")["requests"]
    conn.execute("update sync.runs set finished_at = finished_at - interval '2 hours' where job like '~%'")
    conn.execute("update mirror.subscriptions set content_hash = '', observed_at = observed_at - interval '2 hours'")
    feature = account.post("/v1/entitlements/features", name="Export", lookup_key="export")["id"]
    product = account.ask("state?type=product")["objects"][0]["id"]
    account.post(f"/v1/products/{product}/features", entitlement_feature=feature)

    turn()

    after = sandbox.ask("stats")["requests"]
    read = {name for name in after if name.startswith("GET /v1/") and after[name] > asked.get(name, 0)}
    attached = conn.execute("select product from stripe.product_features where account = 'acct_a'").fetchall()
    assert attached == [(product,)]
    assert read == {
        "GET /v1/events",
        "GET /v1/prices",
        "GET /v1/products",
        "GET /v1/products/{id}/features",
        "GET /v1/subscriptions",
    }
    assert conn.execute("select count(*) from mirror.subscriptions where content_hash = ''").fetchone() == (0,)
    assert conn.execute("select rounds from sync.accounts").fetchone() == (1,)


def test_an_account_that_withdraws_is_no_longer_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, turn: Callable[..., Any]
) -> None:
    sandbox.tell("accounts", connect=["acct_gone", "acct_stays", "acct_says_so"])
    turn(pages=1)
    sandbox.tell("accounts", deauthorize="acct_gone")
    event = factories.event("account.application.deauthorized", {"id": "ca_1", "object": "application"})
    applier = Applier(livemode=False, policy=MIRROR_ONLY, connect=True)
    inbox.store(conn, [read_envelope(factories.encoded({**event, "account": "acct_says_so"}).decode())])
    applier.drain(conn)
    turn(pages=1)

    again = turn(pages=1)

    assert again is not None
    assert (again["turns"], again["failed"]) == (1, 0)
    assert {row["id"]: row["status"] for row in accounts.rows(conn)} == {
        "acct_gone": "deauthorized",
        "acct_stays": "connected",
        "acct_says_so": "deauthorized",
    }
