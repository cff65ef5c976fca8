"""The backfill, run against the sandbox: many threads read every list, despite kills and missing, slow or failing lists."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.processes import eventually
from tests.sandboxes import Sandbox
from worker.membership.rules.access import Policy
from worker.membership.store import recompute_queue
from worker.mirror import shards
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.client import Stripe
from worker.stripe_api.errors import InvalidRequest, MissingPermission, TimedOut
from worker.stripe_api.lists import LISTS
from worker.writers import backfill
from worker.writers.list_pass import Place, Source

CORE = ["products", "prices", "customers", "subscriptions", "invoices", "payment_intents", "charges"]


class Killed(BaseException):
    """Raised in place of kill -9. A job's handlers of Exception don't catch it."""


class Through:
    """A client of the sandbox that records its requests. Before each request it calls `before`, which may raise or hang."""

    def __init__(self, stripe: Stripe, *, before: Callable[[str, Mapping[str, Any]], None] | None = None) -> None:
        self._stripe, self._before = stripe, before
        self.asked: list[tuple[str, tuple[tuple[str, Any], ...]]] = []
        self._lock = threading.Lock()

    def page(self, path: str, params: Mapping[str, Any] | None = None) -> Page:
        if self._before is not None:
            self._before(path, params or {})
        with self._lock:
            self.asked.append((path, tuple(sorted((params or {}).items()))))
        return self._stripe.page(path, params)

    def retrieve(self, path: str) -> Answer:
        return self._stripe.retrieve(path)

    def acting_for(self, account: str) -> Source:
        return self._stripe.acting_for(account)


def carried_on(conn: psycopg.Connection, stripe: Any, **changes: Any) -> bool:
    options = replace(backfill.OPTIONS, **{"threads": 6, "threads_per_list": 6, **changes})
    return backfill.carry_on(conn, lambda: stripe, Policy(), options=options, should_continue=lambda: True)


def states(conn: psycopg.Connection) -> dict[str, str]:
    progress = backfill.progress(conn)
    assert progress is not None
    return {each["list"]: each["state"] for each in progress["lists"]}


def held(conn: psycopg.Connection, table: str) -> set[str]:
    return {row[0] for row in conn.execute(f"select id from stripe.{table} where not deleted")}


def at_stripe(sandbox: Sandbox, type_: str) -> set[str]:
    return {obj["id"] for obj in sandbox.ask(f"state?type={type_}")["objects"]}


def assert_equal_to_stripe(conn: psycopg.Connection, sandbox: Sandbox) -> None:
    for name in CORE:
        assert held(conn, name) == at_stripe(sandbox, str(LISTS[name].object)), name


def test_an_empty_mirror_becomes_equal_to_stripe_and_users_are_computed_once(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    conn.execute("insert into users (id) values ('u')")
    sandbox.tell("stories/sign_up", user_id="u", email="u@example.com", name="U")
    sandbox.tell("populate", customers=120, subscriptions=260, invoices=True)
    backfill.start(conn, list(LISTS))

    more = carried_on(conn, stripe)

    assert not more
    assert_equal_to_stripe(conn, sandbox)
    assert held(conn, "payment_methods") == at_stripe(sandbox, "payment_method") != set()
    assert conn.execute("select role::text, tokens > 0 from users").fetchone() == ("PREMIUM", True)
    assert conn.execute("select count(*) from sync.recompute_queue").fetchone() == (0,)


def test_a_second_backfill_writes_nothing(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    sandbox.tell("populate", products=4, customers=60, subscriptions=150, invoices=True)
    backfill.start(conn, CORE)
    carried_on(conn, stripe)

    def written() -> list[Any]:
        return [row for name in CORE for row in conn.execute(f"select id, xmin::text from mirror.{name} order by id")]

    before = written()
    backfill.start(conn, CORE)
    carried_on(conn, stripe)

    progress = backfill.progress(conn)
    assert progress is not None
    assert written() == before
    assert sum(each["unchanged"] for each in progress["lists"]) == progress["listed"] > 300


def test_a_list_is_split_while_it_is_read_so_that_many_threads_share_it(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=3000)
    backfill.start(conn, ["customers"])
    busy, most = Counter[str](), [0]
    lock = threading.Lock()

    class Watched(Through):
        def page(self, path: str, params: Mapping[str, Any] | None = None) -> Page:
            with lock:
                busy["now"] += 1
                most[0] = max(most[0], busy["now"])
            try:
                return super().page(path, params)
            finally:
                with lock:
                    busy["now"] -= 1

    source = Watched(stripe)
    carried_on(conn, source, threads=8, threads_per_list=8)

    assert len(held(conn, "customers")) == 3000
    assert most[0] >= 4
    # There are 30 pages of 100. Each split of the list costs a page that is not full.
    assert len(source.asked) <= 30 + 25


@pytest.mark.parametrize("threads", [1, 4])
def test_a_killed_backfill_reads_only_the_last_page_of_each_shard_again(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, threads: int
) -> None:
    """Each process dies at its fourth request, so the next process reads the saved position from the database."""
    sandbox.tell("populate", products=3, customers=350, subscriptions=450, invoices=True)
    backfill.start(conn, ["products", "customers", "subscriptions", "invoices"])
    asked: Counter[Any] = Counter()
    kills, deleted, more = 0, "", True
    while more:
        pages = [0]

        def die(path: str, params: Mapping[str, Any], pages: list[int] = pages) -> None:
            pages[0] += 1
            if pages[0] > 3:
                raise Killed

        source = Through(stripe, before=die)
        try:
            more = carried_on(conn, source, threads=threads, threads_per_list=threads)
        except Killed:
            kills += 1
            conn.execute("update sync.shards set leased_until = now() - interval '1 second' where not done")
        asked.update(source.asked)
        if not deleted:
            # Delete the object that a saved cursor points to.
            rows = conn.execute("select place ->> 'after' from sync.shards where list = 'customers' and not done")
            deleted = next((row[0] for row in rows if row[0]), "")
            if deleted:
                sandbox.delete(f"/v1/customers/{deleted}")
        assert kills < 60

    assert kills >= 3
    assert deleted
    conn.execute("update mirror.customers set observed_at = observed_at - interval '1 hour'")
    backfill.start(conn, ["customers"])
    assert not carried_on(conn, stripe)
    assert held(conn, "customers") == at_stripe(sandbox, "customer") - {deleted}
    assert held(conn, "subscriptions") == at_stripe(sandbox, "subscription")
    assert held(conn, "invoices") == at_stripe(sandbox, "invoice")
    again = sum(number - 1 for number in asked.values())
    assert again <= kills * threads


def test_a_list_that_is_forbidden_missing_or_failing_ends_with_its_error_and_stops_no_other(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", products=5, customers=40, subscriptions=50, invoices=True)

    def trouble(path: str, params: Mapping[str, Any]) -> None:
        if path == "/v1/invoices":
            raise TimedOut("Stripe did not answer in time")
        if path == "/v1/prices":
            raise MissingPermission("the key lacks rak_price_read")
        if path == "/v1/issuing/cards":
            raise InvalidRequest("GET /v1/issuing/cards: Stripe answered 404")

    backfill.start(conn, ["products", "prices", "customers", "subscriptions", "invoices", "issuing_cards"])
    more = carried_on(conn, Through(stripe, before=trouble), failures=2)

    progress = backfill.progress(conn)
    assert progress is not None
    errors = {each["list"]: each["error"] for each in progress["lists"] if each["error"]}
    assert not more
    assert states(conn) == {
        "products": "done",
        "prices": "not available",
        "customers": "done",
        "subscriptions": "done",
        "invoices": "failed",
        "issuing_cards": "not available",
        "users": "done",
    }
    assert "rak_price_read" in errors["prices"]
    assert "404" in errors["issuing_cards"]
    assert errors["invoices"] == "Stripe did not answer in time"
    assert held(conn, "subscriptions") == at_stripe(sandbox, "subscription")


def test_a_hanging_list_delays_no_other(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    sandbox.tell("populate", customers=250, subscriptions=250)
    others_are_read, hanging = threading.Event(), threading.Event()

    def hang(path: str, params: Mapping[str, Any]) -> None:
        if path == "/v1/customers":
            hanging.set()
            assert others_are_read.wait(60)

    def watch() -> None:
        with psycopg.connect(conn.info.dsn, autocommit=True, password=conn.info.password) as other:
            while held(other, "subscriptions") != at_stripe(sandbox, "subscription"):
                time.sleep(0.05)
        others_are_read.set()

    backfill.start(conn, ["customers", "subscriptions"])
    watching = threading.Thread(target=watch)
    watching.start()
    carried_on(conn, Through(stripe, before=hang), threads=4, threads_per_list=2)
    watching.join()

    assert hanging.is_set()
    assert held(conn, "customers") == at_stripe(sandbox, "customer")


def test_a_pass_that_would_mark_most_of_a_table_deleted_marks_nothing(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=220)
    backfill.start(conn, ["customers"])
    carried_on(conn, stripe)
    conn.execute("update mirror.customers set observed_at = observed_at - interval '1 hour'")
    mirrored = held(conn, "customers")
    sandbox.tell("reset")
    sandbox.post("/v1/customers", name="Of another account")

    backfill.start(conn, ["customers"])
    carried_on(conn, stripe)

    progress = backfill.progress(conn)
    assert progress is not None
    assert mirrored < held(conn, "customers")
    assert "MAX_DELETED_SHARE" in str(progress["lists"][0]["error"])
    # A sample is enough: not all 220 objects were read.
    assert sandbox.ask("stats")["requests"]["GET /v1/customers/{id}"] < 150

    backfill.start(conn, ["customers"])
    carried_on(conn, stripe, max_deleted_share=1)

    assert held(conn, "customers") == at_stripe(sandbox, "customer")


def test_a_few_unreported_deletions_are_marked_once_the_list_is_complete(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=230)
    backfill.start(conn, ["customers"])
    carried_on(conn, stripe)
    conn.execute("update mirror.customers set observed_at = observed_at - interval '1 hour'")
    gone = sorted(held(conn, "customers"))[:5]
    for id_ in gone:
        sandbox.delete(f"/v1/customers/{id_}")

    backfill.start(conn, ["customers"])
    carried_on(conn, stripe)

    assert held(conn, "customers") == at_stripe(sandbox, "customer") - set(gone)
    assert states(conn)["customers"] == "done"


def test_a_user_gets_tokens_once_a_failed_list_has_been_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    conn.execute("insert into users (id) values ('u')")
    sandbox.tell("stories/sign_up", user_id="u", email="u@example.com", name="U")
    backfill.start(conn, CORE)

    def only_once(path: str, params: Mapping[str, Any]) -> None:
        if path == "/v1/invoices":
            raise TimedOut("Stripe did not answer in time")

    carried_on(conn, Through(stripe, before=only_once), failures=1)
    first = conn.execute("select tokens from users").fetchone()
    backfill.start(conn, ["invoices"])
    carried_on(conn, stripe)

    assert first == (0,)
    assert conn.execute("select tokens > 0 from users").fetchone() == (True,)


def test_a_stopped_job_keeps_its_rows_and_computes_the_users(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    conn.execute("insert into users (id) values ('u')")
    sandbox.tell("stories/sign_up", user_id="u", email="u@example.com", name="U")
    backfill.start(conn, ["customers", "subscriptions", "products", "prices"])
    carried_on(conn, stripe, pages=0)
    turns = iter([True, True, False])
    backfill.carry_on(conn, lambda: stripe, Policy(), should_continue=lambda: next(turns, False))
    stopped = backfill.stop(conn)

    while carried_on(conn, stripe):
        pass

    assert stopped
    assert not backfill.stop(conn)
    assert conn.execute("select count(*) from sync.recompute_queue").fetchone() == (0,)
    assert conn.execute("select outcome, error from sync.runs where job = 'backfill'").fetchone() == (
        "failed",
        backfill.STOPPED,
    )


def test_users_are_computed_while_a_list_under_parents_is_read(
    conn: psycopg.Connection, database: str, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=3)
    backfill.start(conn, ["customers", "payment_methods"])
    waited: list[int] = []

    def request(path: str, _: Mapping[str, Any]) -> None:
        if path.endswith("/payment_methods") and not waited:
            waited.append(1)
            with psycopg.connect(database, autocommit=True) as other:
                users = "select count(*) from sync.shards where list = 'users' and retry_at is not null"
                eventually(lambda: other.execute(users).fetchone() == (1,))
                recompute_queue.request(other, ["cus_1"], deferred=True)
                eventually(lambda: not recompute_queue.any_deferred(other))
            waited.append(2)

    carried_on(conn, Through(stripe, before=request))

    assert waited == [1, 2]
    assert set(states(conn).values()) == {"done"}


def test_since_reads_only_objects_created_at_or_after_that_time(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.tell("populate", customers=120)
    since = datetime.now(UTC) - timedelta(days=90)
    backfill.start(conn, ["customers"], since=since)

    carried_on(conn, stripe)

    later = {c["id"] for c in sandbox.ask("state?type=customer")["objects"] if c["created"] >= since.timestamp()}
    assert held(conn, "customers") == later != at_stripe(sandbox, "customer")


@pytest.mark.parametrize(
    "place",
    [
        Place(),
        Place(after="cus_1", down_to=1_790_000_000, of_that_second=("cus_1", "cus_2"), span=40),
        Place(after="cus_1", down_to=1_790_000_000, of_that_second=None, span=1),
        Place(parent="cus_1", ahead=("cus_3",), open={"cus_2": "pm_1"}),
    ],
    ids=str,
)
def test_a_position_survives_a_round_trip_through_postgres(conn: psycopg.Connection, place: Place) -> None:
    run, _ = shards.begin(conn, "test", {})
    shards.add(conn, run, [("customers", None, None)])
    (shard,) = shards.lease(conn, run, {"customers": 1}, owner="me", limit=1)

    shards.save(conn, shard.id, place.as_json(), {}, owner="me")
    shards.release(conn, [shard.id], owner="me")
    (again,) = shards.lease(conn, run, {"customers": 1}, owner="you", limit=1)

    assert Place.from_json(again.place) == place


def test_a_position_from_another_release_restarts_the_list() -> None:
    assert Place.from_json({"after": 7, "down_to": "soon"}) == Place()
