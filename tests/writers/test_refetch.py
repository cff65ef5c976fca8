"""Asking Stripe for what events left uncertain: what is asked, what an answer settles, and what no failure loses."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import redis

from tests import factories
from tests.backends import Backend
from tests.factories import NOW, Json, customer, encoded, event, thin_event
from tests.sandboxes import Sandbox
from worker.config.errors import Temporary
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.mirror import refetch_queue
from worker.stripe_api.client import Answer, BadKey, Page, Stripe, StripeFailed, TimedOut
from worker.stripe_api.envelope import read_envelope
from worker.stripe_api.rate_limit import RateLimited, RateLimiter
from worker.writers import refetch
from worker.writers.apply import Applier

YEAR = 365 * factories.DAY


def deliver(conn: psycopg.Connection, *events: Json, has_key: bool = True) -> None:
    """Store the events as the webhook endpoint does, and drain the inbox."""
    inbox.store(conn, [read_envelope(encoded(event).decode()) for event in events])
    Applier(livemode=False, policy=Policy(), has_key=has_key).drain(conn)


def ask(conn: psycopg.Connection, stripe: refetch.Source) -> int:
    """Ask at once for all that is wanted; returns how many objects were asked for."""
    conn.execute("update sync.refetch_queue set due_at = now()")
    return refetch.drain(conn, stripe, Policy(), should_continue=lambda: True)


def rows(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query).fetchall()


def held(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    return rows(conn, "select name, deleted, unsettled from stripe.customers")


def waiting(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    """The queued reads, and whether each waits for its time."""
    return rows(conn, "select object, id, due_at > now() from sync.refetch_queue")


def outcomes(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in rows(conn, "select outcome from sync.events order by received_at, id")]


def doubtful(conn: psycopg.Connection, sandbox: Sandbox, *, name: str = "Second") -> Json:
    """A customer of the sandbox's whose row is unsettled: two states of one second were seen, and neither is Stripe's."""
    made: Json = sandbox.post("/v1/customers", name=name)
    seen = [{**made, "name": "This"}, {**made, "name": "That"}]
    deliver(conn, *(event("customer.updated", state, created=made["created"]) for state in seen))
    return made


def later(sandbox: Sandbox, seconds: int = 20) -> None:
    """Stripe's clock goes on: every replica has what happened before."""
    sandbox.tell("clock", advance=seconds)


@dataclass
class Canned:
    """A Stripe that answers every question alike, or fails; it remembers what it was asked."""

    answer: Answer | Exception
    asked: list[str] = field(default_factory=list)

    def retrieve(self, path: str, *, account: str = "") -> Answer:
        self.asked.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
        raise AssertionError(f"nobody was to read {path}")


@dataclass
class Meanwhile:
    """A Stripe whose first answer is so long under way that something happens first."""

    stripe: Stripe
    happens: Callable[[], None]
    happened: bool = False

    def retrieve(self, path: str, *, account: str = "") -> Answer:
        answer = self.stripe.retrieve(path, account=account)
        if not self.happened:
            self.happened = True
            self.happens()
        return answer

    def page(self, path: str, params: Mapping[str, Any] | None = None, *, account: str = "") -> Page:
        return self.stripe.page(path, params, account=account)


def answered(obj: Json, *, read_at: int) -> Answer:
    return Answer(obj, deleted=False, missing=False, read_at=read_at)


@pytest.fixture
def restricted(sandbox: Sandbox, backend: Backend) -> Iterator[Stripe]:
    """The way to the sandbox with a key that may not read customers."""
    key = sandbox.tell("keys", deny=["customer"])["key"]
    client = redis.Redis.from_url(backend.redis_url)
    limiter = RateLimiter(client, key=key, account_per_second=1000, operation_per_second=1000)
    made = Stripe(key=key, base=sandbox.address, limiter=limiter)
    yield made
    made.close()
    client.close()


def test_an_ambiguous_pair_is_asked_for_once_and_ends_at_stripes_state(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    doubtful(conn, sandbox, name="Stripe's")
    later(sandbox)

    asked = ask(conn, stripe)

    assert asked == 1
    assert held(conn) == [("Stripe's", False, False)]
    assert waiting(conn) == []


def test_many_events_of_an_object_cost_one_question(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = sandbox.post("/v1/customers", name="Last")
    for number in range(12):
        state = {**made, "name": f"State {number}"}
        deliver(conn, event("customer.updated", state, created=made["created"] + number % 3))
    later(sandbox)

    asked = ask(conn, stripe)

    assert asked == 1
    assert sandbox.ask("stats")["requests"]["GET /v1/customers/{id}"] == 1
    assert held(conn) == [("Last", False, False)]


def test_a_question_waits_until_the_burst_is_over(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = doubtful(conn, sandbox)

    asked = refetch.drain(conn, stripe, Policy(), should_continue=lambda: True)

    assert asked == 0
    assert waiting(conn) == [("customer", made["id"], True)]


@pytest.mark.parametrize("name", ["Newer", "This"])  # a change, and a state that was seen before
def test_an_answer_that_an_event_overtook_is_thrown_away_and_asked_for_again(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, name: str
) -> None:
    made = doubtful(conn, sandbox, name="Before")

    def overtake() -> None:
        sandbox.post(f"/v1/customers/{made['id']}", name=name)
        deliver(conn, event("customer.updated", {**made, "name": name}, created=made["created"]))

    later(sandbox)
    ask(conn, Meanwhile(stripe, overtake))

    assert ("Before", False, False) not in held(conn)
    assert rows(conn, "select unsettled from stripe.customers") == [(True,)]
    assert waiting(conn) == [("customer", made["id"], True)]

    ask(conn, stripe)

    assert held(conn) == [(name, False, False)]


def test_an_equal_event_in_flight_makes_the_answer_old_too(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox, name="Before")
    shown = held(conn)[0][0]

    def repeat() -> None:
        deliver(conn, event("customer.updated", {**made, "name": shown}, created=made["created"]))

    later(sandbox)
    ask(conn, Meanwhile(stripe, repeat))

    assert held(conn) == [(shown, False, True)]
    assert waiting(conn) == [("customer", made["id"], True)]


def test_an_answer_read_too_soon_is_taken_but_settles_nothing(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    sandbox.tell("clock", now=made["created"] + 2, frozen=True)

    ask(conn, stripe)

    assert held(conn) == [("Second", False, True)]
    assert waiting(conn) == [("customer", made["id"], True)]

    sandbox.tell("clock", now=made["created"] + 8, frozen=True)
    ask(conn, stripe)

    assert held(conn) == [("Second", False, False)]
    assert waiting(conn) == []


def test_a_date_that_is_behind_is_believed_not_our_own_clock(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    doubtful(conn, sandbox)
    later(sandbox, 8)
    sandbox.tell("faults", date_skew_seconds=-6)

    ask(conn, stripe)

    assert held(conn) == [("Second", False, True)]


def test_a_later_event_that_settles_the_row_makes_the_question_needless(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    deliver(conn, event("customer.updated", {**made, "name": "Later"}, created=made["created"] + 60))

    ask(conn, stripe)

    assert held(conn) == [("Later", False, False)]
    assert waiting(conn) == []
    assert "GET /v1/customers/{id}" not in sandbox.ask("stats")["requests"]


def test_a_thin_event_is_not_answered_by_an_older_snapshot_that_comes_after_it(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="Newest")
    moment = datetime.fromtimestamp(made["created"], UTC).isoformat()
    deliver(conn, thin("v1.customer.updated", made, created=moment))
    deliver(conn, event("customer.created", {**made, "name": "Old"}, created=made["created"] - 60))

    ask(conn, stripe)

    assert rows(conn, "select name from stripe.customers") == [("Newest",)]


def test_a_missing_object_is_deleted_only_after_a_second_404(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    product = sandbox.post("/v1/products", name="Gone")
    states = [{**product, "name": "This"}, {**product, "name": "That"}]
    deliver(conn, *(event("product.updated", state, created=product["created"]) for state in states))
    sandbox.delete(f"/v1/products/{product['id']}")
    later(sandbox)

    ask(conn, stripe)

    assert rows(conn, "select deleted, unsettled from stripe.products") == [(False, True)]
    assert rows(
        conn, "select due_at > now() + interval '9 seconds' from sync.refetch_queue where missing_at is not null"
    ) == [(True,)]

    ask(conn, stripe)

    assert rows(conn, "select deleted, unsettled from stripe.products") == [(True, False)]
    assert waiting(conn) == []


def test_an_object_that_is_missing_once_and_then_found_lives(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    later(sandbox)

    ask(conn, Canned(Answer(None, deleted=True, missing=True, read_at=made["created"] + 20)))
    ask(conn, stripe)

    assert held(conn) == [("Second", False, False)]


def test_a_stub_says_deleted_and_is_believed_at_once(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    sandbox.delete(f"/v1/customers/{made['id']}")
    later(sandbox)

    asked = ask(conn, stripe)

    assert asked == 1
    assert rows(conn, "select deleted, unsettled from stripe.customers") == [(True, False)]
    assert waiting(conn) == []


def test_a_key_that_may_not_ask_keeps_the_doubt_and_names_the_permission(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, restricted: Stripe
) -> None:
    made = doubtful(conn, sandbox)
    later(sandbox)

    ask(conn, restricted)

    ((object_, reason, number),) = refetch_queue.refused(conn)
    assert (object_, number) == ("customer", 1)
    assert "rak_customer_read" in reason
    assert rows(conn, "select unsettled from stripe.customers") == [(True,)]
    assert waiting(conn) == [("customer", made["id"], True)]

    ask(conn, stripe)

    assert held(conn) == [("Second", False, False)]
    assert refetch_queue.refused(conn) == []


def test_a_key_that_may_not_ask_for_one_type_still_asks_for_others(
    conn: psycopg.Connection, sandbox: Sandbox, restricted: Stripe
) -> None:
    doubtful(conn, sandbox)
    product = sandbox.post("/v1/products", name="Stripe's")
    states = [{**product, "name": "This"}, {**product, "name": "That"}]
    deliver(conn, *(event("product.updated", state, created=product["created"]) for state in states))
    later(sandbox)

    ask(conn, restricted)

    assert rows(conn, "select name, unsettled from stripe.products") == [("Stripe's", False)]


def test_a_key_that_is_refused_stops_the_asking_and_loses_nothing(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made, other = doubtful(conn, sandbox), doubtful(conn, sandbox)
    refusing = Canned(BadKey())
    later(sandbox)

    with pytest.raises(BadKey):
        ask(conn, refusing)

    assert len(refusing.asked) <= refetch.THREADS
    assert rows(conn, "select unsettled from stripe.customers") == [(True,), (True,)]
    assert {row[1] for row in waiting(conn)} == {made["id"], other["id"]}


@pytest.mark.parametrize(
    "trouble",
    [RateLimited("a request too many"), StripeFailed("Stripe answered 500"), TimedOut()],
    ids=["429", "500", "timeout"],
)
def test_a_stripe_in_trouble_is_asked_again_later_and_later(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, trouble: Temporary
) -> None:
    made = doubtful(conn, sandbox)
    later(sandbox)
    pauses = []

    for _ in range(3):
        ask(conn, Canned(trouble))
        pauses.append(rows(conn, "select extract(epoch from due_at - now())::float8 from sync.refetch_queue")[0][0])
    waits = waiting(conn)
    ask(conn, stripe)

    assert waits == [("customer", made["id"], True)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0] + 2
    assert held(conn) == [("Second", False, False)]


def test_objects_are_read_at_once_and_a_slow_one_delays_no_other(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    slow, *others = [doubtful(conn, sandbox) for _ in range(refetch.THREADS)]
    later(sandbox)
    meeting, settled = threading.Barrier(refetch.THREADS, timeout=10), threading.Event()

    class Meeting(Meanwhile):
        def retrieve(self, path: str, *, account: str = "") -> Answer:
            meeting.wait()  # every thread asks before any has its answer
            if path.endswith(slow["id"]):
                assert settled.wait(10)
            return self.stripe.retrieve(path, account=account)

    def until_the_others_are_settled() -> bool:
        left = rows(conn, "select id from stripe.customers where unsettled")
        if left == [(slow["id"],)]:
            settled.set()
        return True

    conn.execute("update sync.refetch_queue set due_at = now()")
    asked = refetch.drain(conn, Meeting(stripe, lambda: None), Policy(), should_continue=until_the_others_are_settled)

    assert settled.is_set()
    assert asked == len(others) + 1
    assert rows(conn, "select count(*) from stripe.customers where unsettled") == [(0,)]
    assert waiting(conn) == []


def test_an_answer_that_no_row_can_take_blocks_nobody(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    # A constraint fails the write here, which no answer should be able to do.
    conn.execute("alter table mirror.customers add constraint no_evil check (name <> 'Evil')")
    for name in ("Good", "Evil", "Better"):
        doubtful(conn, sandbox, name=name)
    later(sandbox)

    ask(conn, stripe)

    assert {row[0] for row in rows(conn, "select name from stripe.customers where not unsettled")} == {"Good", "Better"}
    ((_, reason, number),) = refetch_queue.refused(conn)
    assert number == 1
    assert "no_evil" in reason
    assert [row[2] for row in waiting(conn)] == [True]


@pytest.mark.parametrize(
    ("story", "type_", "table", "children", "parent", "number"),
    [
        ("many_items", "subscription", "subscriptions", "subscription_items", "subscription", 12),
        ("many_lines", "invoice", "invoices", "invoice_line_items", "invoice", 14),
    ],
)
def test_a_list_that_was_cut_short_is_read_to_its_end(
    conn: psycopg.Connection,
    sandbox: Sandbox,
    stripe: Stripe,
    story: str,
    type_: str,
    table: str,
    children: str,
    parent: str,
    number: int,
) -> None:
    id_ = sandbox.tell(f"stories/{story}", user_id="u")["ids"][type_]
    listed = stripe.page("/v1/events").data
    last = next(event for event in listed if event["data"]["object"]["id"] == id_)

    def family() -> list[tuple[Any, ...]]:
        return rows(
            conn,
            f"""
            select p.unsettled, count(c.id), jsonb_array_length(coalesce(p.data -> 'items', p.data -> 'lines') -> 'data')
            from stripe.{table} as p
            left join stripe.{children} as c on c.{parent} = p.id and not c.deleted
            where p.id = '{id_}' group by 1, 3
            """,
        )

    deliver(conn, *listed)
    (cut,) = family()
    later(sandbox)
    ask(conn, stripe)

    assert cut == (True, 10, 10)
    assert family() == [(False, number, number)]

    # Items beyond the cut of an equal event may have changed: nothing is lost, and the object is read again.
    deliver(conn, {**last, "id": "evt_equal", "created": last["created"] + 10})

    assert family() == [(True, number, number)]

    later(sandbox)
    ask(conn, stripe)

    assert family() == [(False, number, number)]


def test_an_object_on_a_test_clock_is_asked_for_and_settles_however_far_ahead_its_clock_is(
    conn: psycopg.Connection,
) -> None:
    ahead = NOW + 5 * YEAR
    obj = customer(test_clock="clock_1", name="Stripe's")
    answer = Canned(answered(obj, read_at=ahead - 4 * YEAR))

    deliver(conn, event("customer.created", obj, created=ahead))
    marked = held(conn)
    first = ask(conn, answer)

    assert marked == [("Stripe's", False, True)]
    assert first == 1
    assert held(conn) == [("Stripe's", False, False)]

    # An equal event shows nothing new, and is doubted all the same.
    deliver(conn, event("customer.updated", obj, created=ahead + 3))
    again = ask(conn, answer)

    assert again == 1
    assert held(conn) == [("Stripe's", False, False)]
    assert waiting(conn) == []


def test_a_forgotten_doubt_of_a_test_clock_settles_too(conn: psycopg.Connection) -> None:
    ahead = NOW + 5 * YEAR
    obj = customer(test_clock="clock_1", name="Stripe's")
    deliver(conn, event("customer.created", obj, created=ahead))
    conn.execute("delete from sync.refetch_queue")

    refetch_queue.want_forgotten(conn, limit=10)
    ask(conn, Canned(answered(obj, read_at=ahead - 4 * YEAR)))

    assert held(conn) == [("Stripe's", False, False)]


def test_a_doubt_that_nobody_asks_about_is_found(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    doubtful(conn, sandbox)
    conn.execute("delete from sync.refetch_queue")
    later(sandbox)

    forgotten = refetch_queue.want_forgotten(conn, limit=10)
    ask(conn, stripe)
    left = refetch_queue.want_forgotten(conn, limit=10)

    assert (forgotten, left) == (1, 0)
    assert held(conn) == [("Second", False, False)]


def thin(type_: str, obj: Json, **more: Any) -> Json:
    related = {"id": obj["id"], "type": obj["object"], "url": f"/v1/{obj['object']}s/{obj['id']}"}
    return thin_event(type_, related=related, **more)


def test_a_thin_event_is_asked_about_and_its_object_written(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="Shown by nobody")

    deliver(conn, thin("v1.customer.created", made))
    before = held(conn)
    ask(conn, stripe)

    assert before == []
    assert outcomes(conn) == ["asked"]
    assert held(conn) == [("Shown by nobody", False, False)]
    assert waiting(conn) == []


def test_a_thin_event_makes_a_row_that_is_there_doubtful(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="New")
    deliver(conn, event("customer.created", {**made, "name": "Old"}, created=made["created"]))

    deliver(conn, thin("v1.customer.updated", made))
    between = held(conn)
    later(sandbox)
    ask(conn, stripe)

    assert between == [("Old", False, True)]
    assert held(conn) == [("New", False, False)]


def test_a_thin_event_and_its_snapshot_twin_count_once(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made = sandbox.post("/v1/customers", name="Twin")
    deliver(conn, event("customer.created", made, id="evt_snapshot", created=made["created"]))

    deliver(conn, {**thin("v1.customer.created", made), "snapshot_event": "evt_snapshot"})

    assert outcomes(conn) == ["written", "twin"]
    assert held(conn) == [("Twin", False, False)]
    assert waiting(conn) == []


def test_a_singleton_is_kept_under_its_name(conn: psycopg.Connection) -> None:
    related = {"type": "balance", "url": "/v1/balance"}
    balance = {"object": "balance", "available": [{"amount": 7, "currency": "usd"}], "livemode": False}
    stripe = Canned(answered(balance, read_at=NOW + 3600))

    deliver(conn, thin_event("v1.balance.available", related=related))
    ask(conn, stripe)

    assert stripe.asked == ["/v1/balance"]
    assert rows(conn, "select object, id, data -> 'available' -> 0 ->> 'amount' from stripe.other_objects") == [
        ("balance", "balance", "7")
    ]


def test_a_type_that_nobody_knows_is_asked_for_where_the_event_says_it_is(conn: psycopg.Connection) -> None:
    related = {"id": "nt_1", "type": "new.thing", "url": "/v1/new/things/nt_1"}
    stripe = Canned(answered({"id": "nt_1", "object": "new.thing", "colour": "red"}, read_at=NOW + 3600))

    deliver(conn, thin_event("v1.new.thing.created", related=related))
    ask(conn, stripe)

    assert stripe.asked == ["/v1/new/things/nt_1"]
    assert rows(conn, "select id, data ->> 'colour', unsettled from stripe.other_objects") == [("nt_1", "red", False)]


def test_events_that_name_nothing_of_ours_are_done_at_once(conn: psycopg.Connection) -> None:
    elsewhere = {"id": "acct_1", "type": "v2.core.account", "url": "/v2/core/accounts/acct_1"}

    deliver(conn, thin_event("v2.core.event_destination.ping", id="evt_1"))
    deliver(conn, thin_event("v2.core.account.updated", id="evt_2", related=elsewhere))

    assert outcomes(conn) == ["ping", "not_kept"]
    assert waiting(conn) == []


def test_a_thin_event_without_an_object_goes_through_the_snapshot_that_tells_the_same(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.post("/v1/customers", name="Told by the twin")
    (listed,) = stripe.page("/v1/events").data

    deliver(conn, {**thin_event("v1.customer.created"), "snapshot_event": listed["id"]})
    ask(conn, stripe)
    deliver(conn)

    assert sorted(outcomes(conn)) == ["asked", "written"]
    assert held(conn) == [("Told by the twin", False, False)]
    assert waiting(conn) == []


def test_without_a_key_a_thin_event_waits_for_one(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    made = sandbox.post("/v1/customers", name="Waited for")

    deliver(conn, thin("v1.customer.created", made, id="evt_thin"), has_key=False)
    parked = rows(conn, "select status, outcome from sync.events")
    inbox.replay(conn, ["evt_thin"])
    deliver(conn)
    ask(conn, stripe)

    assert parked == [("parked", "needs_key")]
    assert rows(conn, "select status, outcome from sync.events") == [("done", "asked")]
    assert held(conn) == [("Waited for", False, False)]


def test_a_snapshot_that_a_replica_does_not_have_yet_is_asked_for_again(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    sandbox.post("/v1/customers", name="Told by the twin")
    (listed,) = stripe.page("/v1/events").data
    deliver(conn, {**thin_event("v1.customer.created"), "snapshot_event": listed["id"]})

    ask(conn, Canned(Answer(None, deleted=True, missing=True, read_at=listed["created"])))
    still = waiting(conn)
    ask(conn, stripe)
    deliver(conn)

    assert still == [("event", listed["id"], True)]
    assert held(conn) == [("Told by the twin", False, False)]
