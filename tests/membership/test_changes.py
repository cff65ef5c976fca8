"""The changes of users that are recorded in the transaction that makes them."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from tests.factories import Json
from tests.membership.situations.life import (
    at,
    catalogue,
    checkout,
    invoiced,
    item,
    jenny,
    line,
    product,
    refunded,
    subscribed,
)
from worker.membership import by_hand
from worker.membership.rules.access import Policy
from worker.membership.store import save_changes

Apply = Callable[..., None]


def unread(conn: psycopg.Connection, user: str = "jenny") -> list[tuple[str, str, list[str]]]:
    """Take the user's unread changes: type, reason and sources."""
    rows = conn.execute(
        "delete from sync.changes where user_id = %s returning id, type, reason, sources", (user,)
    ).fetchall()
    return [(type_, reason, sources) for _, type_, reason, sources in sorted(rows)]


def of_period(start: float) -> Json:
    """The item of `basic` in the 30-day period that begins at `start`."""
    return item("basic", created=-31, current_period_start=at(start), current_period_end=at(start + 30))


@pytest.fixture(autouse=True)
def _jenny(conn: psycopg.Connection) -> None:
    conn.execute("insert into users (id) values ('jenny'), ('other')")


def test_each_change_in_a_user_s_life_is_recorded_exactly_once(conn: psycopg.Connection, apply: Apply) -> None:
    begun = [jenny(), product("basic", tokens="1000", features="export"), *catalogue("basic")[1:]]
    first, second = of_period(-31), of_period(-1)
    start = subscribed(first, when=-31)
    apply(*begun, start)
    assert unread(conn) == [
        ("access.granted", "entitled", ["sub_1"]),
        ("subscription.changed", "entitled", ["sub_1"]),
        ("features.changed", "entitled", ["sub_1"]),
    ]

    paid = invoiced("in_1", line("basic", (-1, 29), id="il_1"), when=-1)
    renewed = subscribed(second, when=-1, begun=-31)
    apply(renewed, paid)
    assert unread(conn) == [
        ("subscription.renewed", "period_began", ["sub_1"]),
        ("tokens.granted", "start", ["in_1"]),
    ]

    apply(renewed, paid, start, *begun)
    assert unread(conn) == []

    apply(subscribed(second, when=-0.9, begun=-31, status="past_due"))
    assert unread(conn) == [
        ("subscription.changed", "best_standing", ["sub_1"]),
        ("payment.failed", "past_due", ["sub_1"]),
    ]

    apply(subscribed(second, when=-0.8, begun=-31, status="canceled"))
    assert unread(conn) == [
        ("access.revoked", "nothing_entitles", []),
        ("subscription.changed", "nothing_entitles", []),
        ("features.changed", "nothing_entitles", ["sub_1"]),
    ]
    assert unread(conn, "other") == []


def test_a_change_holds_the_user_before_and_after(conn: psycopg.Connection, apply: Apply) -> None:
    apply(
        jenny(),
        product("lifetime", access="lifetime", features="export"),
        *catalogue("lifetime")[1:],
        checkout(metadata={"product": "prod_lifetime"}, amount=30_000),
    )
    none: Json = {"role": "USER", "membership_status": "ACTIVE", "stripe_product_id": None, "features": [], "tokens": 0}
    bought = none | {"role": "PREMIUM", "stripe_product_id": "prod_lifetime", "features": ["export"]}
    rows = conn.execute("delete from sync.changes returning type, before, after, reason").fetchall()
    assert {row[0] for row in rows} == {"access.granted", "subscription.changed", "features.changed"}
    assert [row[1:] for row in rows] == [(none, bought, "purchased")] * 3

    apply(refunded("cs_1", 30_000))

    rows = conn.execute("select distinct before, after, reason from sync.changes").fetchall()
    assert rows == [(bought, none, "nothing_entitles")]


def test_an_operator_s_feature_is_recorded_with_its_reason(conn: psycopg.Connection) -> None:
    with conn.transaction():
        by_hand.override_feature(conn, "jenny", "beta", Policy(), until=None, note=None)

    assert unread(conn) == [("features.changed", "override", ["override"])]


@pytest.mark.parametrize("threshold", [None, 100])
def test_low_tokens_are_recorded_once_when_the_balance_falls_below_the_threshold(
    conn: psycopg.Connection, threshold: int | None
) -> None:
    conn.execute("update users set tokens = 150, tokens_expires_at = now() + interval '1 day'")
    save_changes.keep_threshold(conn, threshold)

    for spent, is_low in ((50, False), (1, True), (1, False)):
        conn.execute("select consume_tokens('jenny', %s)", (spent,))
        assert unread(conn) == ([("tokens.low", "below_threshold", [])] if is_low and threshold else [])

    assert unread(conn, "other") == []


def test_a_rolled_back_change_is_not_recorded(conn: psycopg.Connection) -> None:
    with conn.transaction(force_rollback=True):
        by_hand.override_feature(conn, "jenny", "beta", Policy(), until=None, note=None)

    assert conn.execute(
        "select (select count(*) from sync.changes), (select count(*) from sync.change_drafts)"
    ).fetchone() == (
        0,
        0,
    )


def test_a_change_committed_later_has_a_larger_id(conn: psycopg.Connection, database: str) -> None:
    """The first transaction to write commits last. Its change has the larger id."""
    listening = psycopg.connect(database, autocommit=True)
    listening.execute("listen stripe_sync_changes")
    with psycopg.connect(database) as slow:
        by_hand.override_feature(slow, "jenny", "beta", Policy(), until=None, note=None)
        with conn.transaction():
            by_hand.override_feature(conn, "other", "beta", Policy(), until=None, note=None)
        seen = conn.execute("select max(id) from sync.changes").fetchone()
        assert seen is not None
        assert conn.execute("select user_id from sync.changes").fetchall() == [("other",)]

    later = conn.execute("select user_id from sync.changes where id > %s", seen).fetchall()
    assert later == [("jenny",)]
    ids = [row[0] for row in conn.execute("select id from sync.changes order by id")]
    heard = [int(notice.payload) for notice in listening.notifies(timeout=5, stop_after=2)]
    listening.close()
    assert heard == ids


def test_ids_follow_the_order_of_commits_under_concurrency(conn: psycopg.Connection, database: str) -> None:
    """A reader that continues after the largest id it has seen sees every change, however transactions overlap."""
    conn.execute("insert into users (id) select 'u' || n from generate_series(1, 4) as n")
    stopped, read = threading.Event(), list[int]()

    def write(user: str) -> None:
        with psycopg.connect(database, autocommit=True) as own:
            for number in range(25):
                with own.transaction():
                    by_hand.override_feature(own, user, f"f{number}", Policy(), until=None, note=None)

    def read_on() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            last, is_last = 0, False
            while not is_last:
                is_last = stopped.is_set()
                rows = own.execute("select id from sync.changes where id > %s order by id", (last,)).fetchall()
                read.extend(id_ for (id_,) in rows)
                last = read[-1] if read else 0

    reader = threading.Thread(target=read_on)
    writers = [threading.Thread(target=write, args=(f"u{n}",)) for n in range(1, 5)]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stopped.set()
    reader.join()

    assert read == [id_ for (id_,) in conn.execute("select id from sync.changes order by id")]
    assert len(read) == 100
