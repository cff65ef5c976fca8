"""Reads of unsettled objects that fail or are refused: no queued read is lost, and no object delays another."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
import redis

from tests.backends import Backend
from tests.factories import event
from tests.sandboxes import Sandbox
from tests.writers.refetching import (
    Canned,
    Meanwhile,
    deliver,
    held,
    later,
    read_queued,
    rows,
    unsettled_customer,
    waiting,
)
from worker.config.errors import Temporary
from worker.membership.rules.access import Policy
from worker.mirror import refetch_queue
from worker.stripe_api.answers import Answer
from worker.stripe_api.client import Stripe
from worker.stripe_api.errors import BadKey, StripeFailed, TimedOut
from worker.stripe_api.rate_limit import RateLimited, RateLimiter
from worker.writers import refetch


@pytest.fixture
def restricted(sandbox: Sandbox, backend: Backend) -> Iterator[Stripe]:
    """A client of the sandbox with a key that may not read customers."""
    key = sandbox.tell("keys", deny=["customer"])["key"]
    client = redis.Redis.from_url(backend.redis_url)
    limiter = RateLimiter(client, key=key, account_per_second=1000, operation_per_second=1000)
    made = Stripe(key=key, base=sandbox.address, limiter=limiter)
    yield made
    made.close()
    client.close()


def test_without_permission_the_row_stays_unsettled_and_the_permission_is_named(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, restricted: Stripe
) -> None:
    made = unsettled_customer(conn, sandbox)
    later(sandbox)

    read_queued(conn, restricted)

    ((object_, reason, number),) = refetch_queue.refused(conn)
    assert (object_, number) == ("customer", 1)
    assert "rak_customer_read" in reason
    assert rows(conn, "select unsettled from stripe.customers") == [(True,)]
    assert waiting(conn) == [("customer", made["id"], True)]

    read_queued(conn, stripe)

    assert held(conn) == [("Second", False, False)]
    assert refetch_queue.refused(conn) == []


def test_without_permission_for_one_type_other_types_are_still_read(
    conn: psycopg.Connection, sandbox: Sandbox, restricted: Stripe
) -> None:
    unsettled_customer(conn, sandbox)
    product = sandbox.post("/v1/products", name="Stripe's")
    states = [{**product, "name": "This"}, {**product, "name": "That"}]
    deliver(conn, *(event("product.updated", state, created=product["created"]) for state in states))
    later(sandbox)

    read_queued(conn, restricted)

    assert rows(conn, "select name, unsettled from stripe.products") == [("Stripe's", False)]


def test_a_refused_key_stops_all_reads_and_loses_nothing(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    made, other = unsettled_customer(conn, sandbox), unsettled_customer(conn, sandbox)
    refusing = Canned(BadKey())
    later(sandbox)

    with pytest.raises(BadKey):
        read_queued(conn, refusing)

    assert len(refusing.asked) <= refetch.THREADS
    assert rows(conn, "select unsettled from stripe.customers") == [(True,), (True,)]
    assert {row[1] for row in waiting(conn)} == {made["id"], other["id"]}


@pytest.mark.parametrize(
    "trouble",
    [RateLimited("too many requests"), StripeFailed("Stripe answered 500"), TimedOut()],
    ids=["429", "500", "timeout"],
)
def test_failed_reads_are_retried_with_growing_pauses(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe, trouble: Temporary
) -> None:
    made = unsettled_customer(conn, sandbox)
    later(sandbox)
    pauses = []

    for _ in range(3):
        read_queued(conn, Canned(trouble))
        pauses.append(rows(conn, "select extract(epoch from due_at - now())::float8 from sync.refetch_queue")[0][0])
    waits = waiting(conn)
    read_queued(conn, stripe)

    assert waits == [("customer", made["id"], True)]
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0] + 2
    assert held(conn) == [("Second", False, False)]


def test_objects_are_read_concurrently_and_a_slow_one_delays_no_other(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    slow, *others = [unsettled_customer(conn, sandbox) for _ in range(refetch.THREADS)]
    later(sandbox)
    meeting, settled = threading.Barrier(refetch.THREADS, timeout=10), threading.Event()

    class Meeting(Meanwhile):
        def retrieve(self, path: str, *, account: str = "") -> Answer:
            meeting.wait()  # every thread has sent its request before any answer arrives
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


def test_an_answer_that_cannot_be_written_blocks_no_other(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    # No answer makes a write fail, so this test adds a constraint that does.
    conn.execute("alter table mirror.customers add constraint no_evil check (name <> 'Evil')")
    for name in ("Good", "Evil", "Better"):
        unsettled_customer(conn, sandbox, name=name)
    later(sandbox)

    read_queued(conn, stripe)

    assert {row[0] for row in rows(conn, "select name from stripe.customers where not unsettled")} == {"Good", "Better"}
    ((_, reason, number),) = refetch_queue.refused(conn)
    assert number == 1
    assert "no_evil" in reason
    assert [row[2] for row in waiting(conn)] == [True]
