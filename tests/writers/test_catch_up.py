"""Catch-up against the sandbox: what no delivery brought is found in Stripe's list of events."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.postgres import counters, cursors
from worker.stripe_api.client import Page, Stripe, StripeFailed
from worker.stripe_api.envelope import Envelope
from worker.writers import catch_up
from worker.writers.catch_up import Caught

HOUR, DAY = 3600, 86_400


def caught_up(conn: psycopg.Connection, stripe: Any, *, now: int | None = None) -> Caught:
    moment = int(time.time()) + catch_up.DELAY_SECONDS + 1 if now is None else now
    return catch_up.catch_up(conn, stripe, now=moment, seen=lambda _: True)


def stored(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select id from sync.events order by received_at, created, id")]


class Recorded:
    """The way to Stripe, and what was asked on it."""

    def __init__(self, stripe: Stripe, *, failing_at: int | None = None) -> None:
        self._stripe, self._failing_at = stripe, failing_at
        self.asked: list[dict[str, Any]] = []

    def page(self, path: str, params: Any = None) -> Page:
        self.asked.append(dict(params))
        if len(self.asked) == self._failing_at:
            raise StripeFailed("Stripe answered that it is broken")
        return self._stripe.page(path, params)


def test_events_that_no_delivery_brought_are_stored_as_if_delivered(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    made = sandbox.post("/v1/customers", name="Missed")

    caught = caught_up(conn, stripe)

    rows = conn.execute("select type, object_type, object_id, status from sync.events").fetchall()
    assert rows == [("customer.created", "customer", made["id"], "pending")]
    assert (caught.found, counters.read(conn)) == (1, {counters.CAUGHT_UP: 1})


def test_what_is_stored_is_not_stored_again(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    sandbox.post("/v1/customers", name="Missed")
    caught_up(conn, stripe)

    again = caught_up(conn, stripe)

    assert again.listed == 1  # the passes overlap: the list is complete eventually, not at once
    assert again.found == 0
    assert len(stored(conn)) == 1


def test_what_is_young_is_left_to_its_delivery(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    sandbox.post("/v1/customers", name="On its way")

    caught = caught_up(conn, stripe, now=int(time.time()))

    assert (caught.found, stored(conn)) == (0, [])


def test_more_events_than_a_page_holds_are_all_found(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    cursors.save(conn, catch_up.CURSOR, int(time.time()) - 60)
    for number in range(230):
        sandbox.post("/v1/customers", name=f"C{number}")

    caught = caught_up(conn, stripe)

    assert caught.found == 230


def test_a_backlog_is_worked_off_oldest_first(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    start = int(time.time()) - 5 * HOUR
    cursors.save(conn, catch_up.CURSOR, start)
    for hour in (1, 3, 4):
        sandbox.tell("clock", now=start + hour * HOUR + 60, frozen=True)
        sandbox.post("/v1/customers", name=f"Hour {hour}")
    sandbox.tell("clock", real=True)

    caught_up(conn, stripe)

    bodies = [row[0] for row in conn.execute("select body from sync.events order by received_at")]
    assert [hour for body in bodies for hour in (1, 3, 4) if f'"Hour {hour}"' in body] == [1, 3, 4]


def test_a_page_that_fails_leaves_the_cursor_at_the_last_whole_span(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    start = int(time.time()) - 3 * HOUR
    cursors.save(conn, catch_up.CURSOR, start)

    with pytest.raises(StripeFailed):
        caught_up(conn, Recorded(stripe, failing_at=3))

    assert cursors.read(conn, catch_up.CURSOR) == start + 2 * catch_up.SPAN_SECONDS


def test_a_gap_of_more_than_thirty_days_is_said_and_the_rest_is_read(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    now = int(time.time())
    cursors.save(conn, catch_up.CURSOR, now - 31 * DAY)
    recorded = Recorded(stripe)

    caught = catch_up.catch_up(conn, recorded, now=now, seen=lambda _: len(recorded.asked) < 3)

    assert caught.gap
    assert recorded.asked[0]["created[gte]"] >= now - 30 * DAY - catch_up.OVERLAP_SECONDS
    assert cursors.read(conn, catch_up.CURSOR) < now - 29 * DAY


def test_the_first_pass_begins_now(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    recorded = Recorded(stripe)
    now = int(time.time())

    catch_up.catch_up(conn, recorded, now=now, seen=lambda _: True)

    assert [asked["created[gte]"] for asked in recorded.asked] == [
        now - catch_up.DELAY_SECONDS - catch_up.OVERLAP_SECONDS
    ]
    assert cursors.read(conn, catch_up.CURSOR) == now - catch_up.DELAY_SECONDS


def test_the_first_pass_of_a_restored_database_begins_where_its_inbox_did(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    now = int(time.time())
    inbox.store(conn, [Envelope("evt_old", "", "customer.created", "customer", "cus_1", False, now - HOUR, "{}")])
    conn.execute("update sync.events set received_at = to_timestamp(%s)", (now - HOUR,))
    recorded = Recorded(stripe)

    catch_up.catch_up(conn, recorded, now=now, seen=lambda _: True)

    assert recorded.asked[0]["created[gte]"] == now - HOUR - catch_up.OVERLAP_SECONDS


def test_a_tick_keeps_what_it_found(conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe) -> None:
    slot = datetime(2026, 11, 22, 12, tzinfo=UTC)
    now = int(time.time()) + catch_up.DELAY_SECONDS + 1
    cursors.save(conn, catch_up.CURSOR, now - 60)
    sandbox.post("/v1/customers", name="Missed")

    done = catch_up.tick(conn, lambda: stripe, slot, now=now, go_on=lambda: True)
    same = catch_up.tick(conn, lambda: stripe, slot, now=now, go_on=lambda: True)
    failing = catch_up.tick(
        conn, lambda: Recorded(stripe, failing_at=1), slot + timedelta(minutes=1), now=now, go_on=lambda: True
    )

    assert done is not None
    assert (done.found, same, failing) == (1, None, None)
    rows = conn.execute("select outcome, result from sync.runs order by slot").fetchall()
    assert rows == [("done", {"listed": 1, "found": 1}), ("failed", {"listed": 0, "found": 0})]


def test_a_pass_that_is_stopped_by_hand_is_gone_on_with_and_nothing_is_stored_twice(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    start = int(time.time()) - 3 * HOUR
    cursors.save(conn, catch_up.CURSOR, start)
    for hour in (0, 1, 2):
        sandbox.tell("clock", now=start + hour * HOUR + 60, frozen=True)
        sandbox.post("/v1/customers", name=f"Hour {hour}")
    sandbox.tell("clock", real=True)

    class Stopped(Recorded):
        def page(self, path: str, params: Any = None) -> Page:
            if len(self.asked) == 1:
                raise KeyboardInterrupt
            return super().page(path, params)

    with pytest.raises(KeyboardInterrupt):
        caught_up(conn, Stopped(stripe))
    stopped = (cursors.read(conn, catch_up.CURSOR), len(stored(conn)))
    rest = caught_up(conn, stripe)

    assert stopped == (start + catch_up.SPAN_SECONDS, 1)
    assert (rest.found, len(stored(conn))) == (2, 3)


def test_an_event_that_turns_up_late_in_the_list_is_found_by_the_overlap(
    conn: psycopg.Connection, sandbox: Sandbox, stripe: Stripe
) -> None:
    now = int(time.time())
    cursors.save(conn, catch_up.CURSOR, now)
    sandbox.tell("clock", now=now - catch_up.OVERLAP_SECONDS + 60, frozen=True)
    sandbox.post("/v1/customers", name="Late in the list")

    caught = caught_up(conn, stripe, now=now + catch_up.DELAY_SECONDS + 1)

    assert caught.found == 1
