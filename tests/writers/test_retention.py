"""Retention removes old finished rows in small batches, and keeps pending, parked, recent and locked rows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.factories import customer, event
from worker.config.settings import ConfigError, load
from worker.inbox import retention_store
from worker.jobs import status as health
from worker.postgres import runs
from worker.writers import retention

Apply = Callable[..., None]
SLOT = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEEP = timedelta(days=35)


def stored(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select id from sync.events order by id")]


def store(
    conn: psycopg.Connection, id_: str, *, days: float, status: str = "done", done_days: float | None = None
) -> None:
    """Store an event that arrived this many days ago."""
    conn.execute(
        """
        insert into sync.events (id, type, livemode, created, received_at, body, status, done_at)
        values (%(id)s, 't', false, now(), now() - %(days)s * interval '1 day', '{}', %(status)s,
            case when %(status)s = 'done' then now() - %(done)s * interval '1 day' end)
        """,
        {"id": id_, "days": days, "status": status, "done": days if done_days is None else done_days},
    )


def tick(conn: psycopg.Connection, *, hour: int = 0, should_continue: Callable[[], bool] = lambda: True) -> int | None:
    removed = retention.tick(conn, SLOT + timedelta(hours=hour), keep=KEEP, should_continue=should_continue)
    return None if removed is None else removed["events"]


def test_only_old_finished_events_are_removed(conn: psycopg.Connection) -> None:
    store(conn, "evt_old", days=36)
    store(conn, "evt_young", days=34)
    store(conn, "evt_parked", days=400, status="parked")
    store(conn, "evt_pending", days=400, status="pending")
    store(conn, "evt_replayed", days=400, done_days=1)

    removed = tick(conn)

    assert removed == 1
    assert stored(conn) == ["evt_parked", "evt_pending", "evt_replayed", "evt_young"]


def test_retention_runs_once_per_slot(conn: psycopg.Connection) -> None:
    assert (tick(conn), tick(conn), tick(conn, hour=1)) == (0, None, 0)


def test_the_next_tick_continues_a_tick_that_ran_out_of_time(
    conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    for number in range(25):
        store(conn, f"evt_{number}", days=40)
    store(conn, "evt_kept", days=1)
    answers = iter([True, True])

    first = tick(conn, should_continue=lambda: next(answers, False))
    second = tick(conn, hour=1)

    assert (first, second) == (20, 5)
    assert stored(conn) == ["evt_kept"]


def test_a_locked_row_is_left_for_later(conn: psycopg.Connection, database: str) -> None:
    store(conn, "evt_held", days=40)
    store(conn, "evt_free", days=40)
    with psycopg.connect(database) as holder:
        holder.execute("select from sync.events where id = 'evt_held' for update")

        removed = tick(conn)

    assert removed == 1
    assert stored(conn) == ["evt_held"]
    assert tick(conn, hour=1) == 1


def test_the_status_shows_the_oldest_stored_event_and_the_last_tick(conn: psycopg.Connection) -> None:
    store(conn, "evt_old", days=40)
    store(conn, "evt_kept", days=20)

    tick(conn)

    shown = health.status(conn)
    kept = datetime.fromisoformat(shown["oldest_event_kept"])
    assert timedelta(days=20) <= datetime.now(UTC) - kept < timedelta(days=20, minutes=5)
    assert shown["last_retention"]["result"]["events"] == 1


def test_a_removed_event_that_is_delivered_again_changes_nothing(conn: psycopg.Connection, apply: Apply) -> None:
    late = event("customer.updated", customer(name="Late"), created=2_000_000_000)
    early = event("customer.created", customer(name="Early"))
    apply(early, late)
    conn.execute(
        "update sync.events set received_at = now() - interval '40 days', done_at = now() - interval '40 days'"
    )
    tick(conn)
    assert stored(conn) == []

    apply(early)

    assert conn.execute("select name from stripe.customers").fetchone() == ("Late",)


def test_old_bookkeeping_is_removed_and_each_job_s_newest_run_is_kept(conn: psycopg.Connection) -> None:
    for days in (100, 200, 300):
        slot = SLOT - timedelta(days=days)
        runs.note(conn, "audit", slot, {})
    conn.execute("update sync.runs set finished_at = slot")
    conn.execute(
        """
        insert into sync.drift (object, object_id, fields, found_by, found_at)
        values ('a', 'b', '{}', 'c', now() - interval '100 days')
        """
    )
    conn.execute(
        "insert into sync.heartbeats (name, seen_at) values ('gone', now() - interval '2 days'), ('here', now())"
    )

    removed = retention_store.bookkeeping(conn)

    assert removed == {"runs": 2, "drift": 1, "changes": 0, "heartbeats": 1}
    assert conn.execute("select slot from sync.runs").fetchall() == [(SLOT - timedelta(days=100),)]


def test_events_are_kept_at_least_as_long_as_stripe_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/x")
    monkeypatch.setenv("REDIS_URL", "redis://localhost")
    assert load().events_keep_days == 35

    monkeypatch.setenv("EVENTS_KEEP_DAYS", "30")

    with pytest.raises(ConfigError, match="EVENTS_KEEP_DAYS: must be at least 31: Stripe lists events for 30 days"):
        load()
