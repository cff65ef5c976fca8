"""Catch-up, run against the sandbox: it finds undelivered events in Stripe's list of events."""

import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.postgres import counters, cursors
from worker.stripe_api.answers import Answer, Page
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import Envelope
from worker.stripe_api.errors import StripeFailed
from worker.writers import catch_up
from worker.writers.catch_up import Caught

HOUR, DAY = 3600, 86_400


_slots = itertools.count()


def caught_up(
    conn: psycopg.Connection, stripe: Any, *, now: int | None = None, threads: int = 4, slot: datetime | None = None
) -> Caught | None:
    moment = int(time.time()) + catch_up.DELAY_SECONDS + 1 if now is None else now
    return catch_up.tick(
        conn,
        lambda: stripe,
        slot or datetime(2026, 11, 22, tzinfo=UTC) + timedelta(minutes=next(_slots)),
        now=moment,
        should_continue=lambda: True,
        options=replace(catch_up.OPTIONS, threads=threads),
    )


def stored(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select id from sync.events order by received_at, created, id")]


class Recorded:
    """A Stripe client that records its requests."""

    def __init__(self, stripe: Stripe, *, failing_at: int | None = None) -> None:
        self._stripe, self._failing_at = stripe, failing_at
        self.asked: list[dict[str, Any]] = []

    def page(self, path: str, params: Any = None) -> Page:
        self.asked.append(dict(params))
        if len(self.asked) == self._failing_at:
            raise StripeFailed("Stripe answered that it is broken")
        return self._stripe.page(path, params)

    def retrieve(self, path: str) -> Answer:
        raise AssertionError("catch-up reads pages of events, not single events")


def test_undelivered_events_are_stored_as_if_delivered(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    made = sandbox.post("/v1/customers", name="Missed")

    caught = caught_up(conn, stripe)
    assert caught is not None

    rows = conn.execute("select type, object_type, object_id, status from sync.events").fetchall()
    assert rows == [("customer.created", "customer", made["id"], "pending")]
    assert (caught.lost, counters.read(conn)) == (1, {counters.CAUGHT_UP: 1})


def test_a_stored_event_is_not_stored_again(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    sandbox.post("/v1/customers", name="Missed")
    caught_up(conn, stripe)

    again = caught_up(conn, stripe)
    assert again is not None

    assert again.listed == 1  # the time ranges of two passes overlap, because an event may appear late in the list
    assert again.lost == 0
    assert len(stored(conn)) == 1


def test_a_recent_event_is_left_to_its_delivery(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    sandbox.post("/v1/customers", name="On its way")

    caught = caught_up(conn, stripe, now=int(time.time()))
    assert caught is not None

    assert (caught.lost, stored(conn)) == (0, [])


def test_events_on_several_pages_are_all_found(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    for number in range(230):
        sandbox.post("/v1/customers", name=f"C{number}")

    caught = caught_up(conn, stripe)
    assert caught is not None

    assert caught.lost == 230


def test_a_backlog_is_stored_oldest_first(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    start = int(time.time()) - 5 * HOUR
    cursors.save(conn, catch_up.CURSOR, start)
    for hour in (1, 3, 4):
        sandbox.tell("clock", now=start + hour * HOUR + 60, frozen=True)
        sandbox.post("/v1/customers", name=f"Hour {hour}")
    sandbox.tell("clock", real=True)

    caught_up(conn, stripe, threads=1)

    bodies = [row[0] for row in conn.execute("select body from sync.events order by received_at")]
    assert [hour for body in bodies for hour in (1, 3, 4) if f'"Hour {hour}"' in body] == [1, 3, 4]


def test_a_failed_page_does_not_move_the_cursor(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    start = int(time.time()) - 3 * HOUR
    cursors.save(conn, catch_up.CURSOR, start)

    failed = caught_up(conn, Recorded(stripe, failing_at=3), threads=1)

    assert failed is None
    assert cursors.read(conn, catch_up.CURSOR) == start


def test_a_gap_of_more_than_thirty_days_is_reported_and_the_last_thirty_days_are_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    now = int(time.time())
    cursors.save(conn, catch_up.CURSOR, now - 31 * DAY)
    recorded = Recorded(stripe)

    caught = caught_up(conn, recorded, now=now)

    assert caught is not None
    assert caught.gap
    assert min(asked["created[gte]"] for asked in recorded.asked) == now - 30 * DAY - catch_up.OVERLAP_SECONDS
    assert cursors.read(conn, catch_up.CURSOR) == now - catch_up.DELAY_SECONDS


def test_the_first_pass_begins_at_the_present(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    recorded = Recorded(stripe)
    now = int(time.time())

    caught_up(conn, recorded, now=now)

    assert [asked["created[gte]"] for asked in recorded.asked] == [
        now - catch_up.DELAY_SECONDS - catch_up.OVERLAP_SECONDS
    ]
    assert cursors.read(conn, catch_up.CURSOR) == now - catch_up.DELAY_SECONDS


def test_the_first_pass_of_a_restored_database_begins_at_its_first_stored_event(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    now = int(time.time())
    inbox.store(conn, [Envelope("evt_old", "", "customer.created", "customer", "cus_1", False, now - HOUR, "{}")])
    conn.execute("update sync.events set received_at = to_timestamp(%s)", (now - HOUR,))
    recorded = Recorded(stripe)

    caught_up(conn, recorded, now=now)

    assert recorded.asked[0]["created[gte]"] == now - HOUR - catch_up.OVERLAP_SECONDS


def test_a_tick_records_its_result(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    slot = datetime(2026, 11, 22, 12, tzinfo=UTC)
    now = int(time.time()) + catch_up.DELAY_SECONDS + 1
    cursors.save(conn, catch_up.CURSOR, now - 60)
    sandbox.post("/v1/customers", name="Missed")

    done = caught_up(conn, stripe, now=now, slot=slot)
    same = caught_up(conn, stripe, now=now, slot=slot)
    failing = caught_up(conn, Recorded(stripe, failing_at=1), now=now, slot=slot + timedelta(minutes=1))

    assert done is not None
    assert (done.lost, same, failing) == (1, None, None)
    rows = conn.execute("select outcome, result ->> 'lost', error is null from sync.runs order by slot").fetchall()
    assert rows == [("done", "1", True), ("failed", None, False)]


def test_the_overlap_finds_an_event_that_appears_late_in_the_list(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    now = int(time.time())
    cursors.save(conn, catch_up.CURSOR, now)
    sandbox.tell("clock", now=now - catch_up.OVERLAP_SECONDS + 60, frozen=True)
    sandbox.post("/v1/customers", name="Late in the list")

    caught = caught_up(conn, stripe, now=now + catch_up.DELAY_SECONDS + 1)
    assert caught is not None

    assert caught.lost == 1
