"""The rolling audit reads every list at Stripe again, repairs each difference and records the repair."""

import contextlib
import random
import time
import urllib.error
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.draining import read_lists
from tests.factories import Json, encoded, event
from tests.sandboxes import Sandbox
from tests.system.test_convergence import CHILDREN, TABLES, faults, held_by
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.stripe_api.lists import LISTS
from worker.writers import audit, catch_up, refetch
from worker.writers.apply import Applier

LIFE = (
    "sign_up",
    "renewal",
    "refund",
    "dispute",
    "upgrade",
    "seats",
    "past_due",
    "recovery",
    "cancel",
    "delete_customer",
)
SLOT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def ticks(conn: psycopg.Connection, stripe: Any, number: int) -> list[dict[str, int]]:
    made = [
        audit.tick(conn, lambda: stripe, Policy(), SLOT + timedelta(minutes=minute), should_continue=lambda: True)
        for minute in range(number)
    ]
    return [tally for tally in made if tally is not None]


def test_a_round_mirrors_everything_in_the_sandbox(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    conn.execute("insert into users (id) values ('u')")
    sandbox.tell("stories/sign_up", user_id="u", email="u@example.com", name="U")

    ticks(conn, stripe, 2)

    for type_, table in (
        ("product", "products"),
        ("price", "prices"),
        ("customer", "customers"),
        ("payment_method", "payment_methods"),
        ("subscription", "subscriptions"),
        ("invoice", "invoices"),
        ("charge", "charges"),
        ("checkout.session", "checkout_sessions"),
    ):
        held = {row[0] for row in conn.execute(f"select id from stripe.{table}")}
        assert held == {obj["id"] for obj in sandbox.ask(f"state?type={type_}")["objects"]}
    assert conn.execute("select role::text, tokens > 0 from users").fetchone() == ("PREMIUM", True)
    assert conn.execute("select count(*) from payment_history").fetchone() == (1,)


def test_an_audit_continues_where_the_last_tick_ended(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.tell("populate", customers=2500)
    monkeypatch.setattr(audit, "PAGES_PER_TICK", 12)

    made = ticks(conn, stripe, 24)

    assert made[0]["listed"] < 2500
    assert conn.execute("select count(*) from stripe.customers").fetchone() == (2500,)
    assert sandbox.ask("stats")["requests"]["GET /v1/customers"] <= 25 + len(made)


def test_a_round_continues_within_a_second_that_fills_several_pages(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    """An import may create thousands of objects in the same second.

    A saved position within that second contains the ids that were already read.
    """
    sandbox.tell("clock", now=int(time.time()) - 5000, frozen=True)
    ids = [sandbox.post("/v1/products", name=f"P{number}")["id"] for number in range(320)]
    sandbox.tell("clock", real=True)
    one_page = replace(audit.OPTIONS, threads=1)

    for minute in range(12):
        pages = [0]

        def one(pages: list[int] = pages) -> bool:
            pages[0] += 1
            return pages[0] <= 3

        slot = SLOT + timedelta(minutes=minute)
        assert audit.tick(conn, lambda: stripe, Policy(), slot, options=one_page, should_continue=one) is not None

    held = {row[0] for row in conn.execute("select id from stripe.products where not deleted")}
    assert held == set(ids)
    assert conn.execute("select count(*) from sync.absences").fetchone() == (0,)


def test_a_hurried_round_reads_everything_in_one_tick(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.tell("populate", customers=1200, subscriptions=30, products=3)
    monkeypatch.setattr(audit, "PAGES_PER_TICK", 5)
    audit.restart(conn)
    hurried = audit.is_hurried(conn)

    (tally,) = ticks(conn, stripe, 1)

    assert hurried
    assert not audit.is_hurried(conn)
    assert tally["listed"] > 1200
    assert conn.execute("select count(*) from stripe.subscriptions").fetchone() == (30,)


def test_a_hurried_round_is_still_hurried_after_a_stop(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=300)
    audit.restart(conn)

    audit.tick(conn, lambda: stripe, Policy(), SLOT, should_continue=lambda: False)
    stopped = audit.is_hurried(conn)
    audit.tick(conn, lambda: stripe, Policy(), SLOT + timedelta(minutes=1), should_continue=lambda: True)

    assert stopped
    assert not audit.is_hurried(conn)
    assert conn.execute("select count(*) from stripe.customers").fetchone() == (300,)


def test_a_repair_is_recorded_with_the_fields_that_differed(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="Old", email="a@example.com")
    read_lists(conn, stripe, ["customers"])
    conn.execute("update mirror.customers set observed_at = observed_at - interval '1 hour'")
    sandbox.post(f"/v1/customers/{made['id']}", name="New")

    ticks(conn, stripe, 1)

    rows = conn.execute("select object_id, fields, behind > interval '59 minutes', found_by from sync.drift").fetchall()
    assert rows == [(made["id"], ["name"], True, "list of /v1/customers")]
    assert conn.execute("select name from stripe.customers").fetchall() == [("New",)]


def test_an_unreported_deletion_is_found_by_the_object_s_absence(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, apply: Callable[..., None]
) -> None:
    made = sandbox.post("/v1/customers", name="Gone")
    apply(event("customer.created", made, created=made["created"] - 100))
    sandbox.delete(f"/v1/customers/{made['id']}")

    ticks(conn, stripe, 2)

    assert conn.execute("select deleted from stripe.customers").fetchall() == [(True,)]
    done = conn.execute("select result ->> 'marked_deleted' from sync.runs where job = 'audit_round'").fetchone()
    assert done == ("1",)


def test_an_unreported_payment_method_is_found_in_its_customer_s_list(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("stories/sign_up", user_id="u", email="u@example.com", name="U")
    ticks(conn, stripe, 2)
    (method,) = conn.execute("select id from stripe.payment_methods").fetchone() or ("",)
    conn.execute("update mirror.payment_methods set customer = null, observed_at = observed_at - interval '1 hour'")
    conn.execute("update mirror.payment_methods set content_hash = 'another'")

    audit.restart(conn)
    audit.tick(conn, lambda: stripe, Policy(), SLOT + timedelta(hours=1), should_continue=lambda: True)

    held = conn.execute("select customer is not null from stripe.payment_methods where id = %s", (method,)).fetchone()
    assert held == (True,)


def test_a_second_round_changes_nothing(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    sandbox.tell("populate", products=5, customers=20, subscriptions=40, invoices=True)
    tables = [name for name, each in LISTS.items() if each.parent is None][:13]

    once = read_lists(conn, stripe, tables)
    again = read_lists(conn, stripe, tables)

    assert once["written"] == once["listed"]
    assert (again["unchanged"], again["written"], again["repaired"]) == (again["listed"], 0, 0)


class Forgetful:
    """A Stripe client whose list of events lacks the lost events, so catch-up can't find them."""

    def __init__(self, stripe: Stripe, lost: Collection[str]) -> None:
        self._stripe, self._lost = stripe, lost

    def page(self, path: str, params: Mapping[str, Any] | None = None) -> Page:
        page = self._stripe.page(path, params)
        if path != "/v1/events":
            return page
        return Page([event for event in page.data if event["id"] not in self._lost], page.has_more, page.read_at)

    def retrieve(self, path: str) -> Answer:
        return self._stripe.retrieve(path)


def test_one_round_repairs_the_loss_of_a_tenth_of_all_events(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    events = live_a_year(conn, sandbox)
    chance = random.Random(11)
    of_type: dict[str, list[str]] = {}
    for each in events:
        of_type.setdefault(each["type"], []).append(each["id"])
    lost = {id_ for ids in of_type.values() for id_ in chance.sample(ids, ceil(len(ids) / 10))}
    lost |= {id_ for type_, ids in of_type.items() if type_.startswith("payment_method.") for id_ in ids}
    delivered = [event for event in events if event["id"] not in lost]
    chance.shuffle(delivered)
    inbox.store(conn, [read_envelope(encoded(event).decode()) for event in delivered])
    Applier(livemode=False, policy=Policy(), has_key=True).drain(conn)
    source = Forgetful(stripe, lost)

    now = int(time.time()) + 60
    assert catch_up.tick(conn, lambda: source, SLOT, now=now, should_continue=lambda: True) is not None
    before = differences(conn, sandbox)
    audit.restart(conn)
    ticks(conn, source, 1)
    sandbox.tell("clock", advance=10)
    conn.execute("update sync.refetch_queue set due_at = now()")
    refetch.drain(conn, stripe, Policy(), should_continue=lambda: True)

    assert not audit.is_hurried(conn)
    assert len(events) > 150
    assert before != []
    # Stripe lists no payment methods of a deleted customer.
    cards, deleted = held_by(sandbox, "payment_method")[0], held_by(sandbox, "customer")[1]
    unlisted = {f"payment_method {id_} is not mirrored" for id_, card in cards.items() if card["customer"] in deleted}
    assert set(differences(conn, sandbox)) <= unlisted
    assert len(unlisted) < len(cards) / 2


def differences(conn: psycopg.Connection, sandbox: Sandbox) -> list[str]:
    """The differences between the mirrored tables and Stripe."""
    wrong: list[str] = []
    with psycopg.connect(conn.info.dsn, row_factory=dict_row) as look:
        for type_, table in (TABLES | CHILDREN).items():
            live, gone = held_by(sandbox, type_)
            rows = {row["id"]: row for row in look.execute(f"select * from stripe.{table}")}
            wrong += [f"{type_} {id_} is not mirrored" for id_ in live.keys() - rows.keys()]
            for id_, row in rows.items():
                wrong += [f"{type_} {id_}: {fault}" for fault in faults(row, live.get(id_), id_ in gone, type_)]
    return wrong


def live_a_year(conn: psycopg.Connection, sandbox: Sandbox) -> list[Json]:
    """Play every story of the sandbox, and return all events.

    The events are read after each story, because Stripe lists an event for only 30 days.
    """
    events: dict[str, Json] = {}
    names = [story["story"] for story in sandbox.ask("")["stories"]]
    turns = [(name, name) for name in names] + [("ada", name) for name in LIFE]
    for user, name in turns:
        # A story that continues another story is refused.
        with contextlib.suppress(urllib.error.HTTPError):
            sandbox.tell(f"stories/{name}", user_id=user)
        more, after = True, ""
        while more:
            page = sandbox.get(f"/v1/events?limit=100{after}")
            new = {event["id"]: event for event in page["data"] if event["id"] not in events}
            events |= new
            more = page["has_more"] and len(new) == len(page["data"])
            after = f"&starting_after={page['data'][-1]['id']}" if page["data"] else ""
        sandbox.tell("clock", advance=60)
    conn.execute("insert into users (id) select unnest(%s::text[])", [["ada", *names]])
    return list(events.values())
