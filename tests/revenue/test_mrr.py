"""MRR by day and its movements, from the history of subscriptions."""

import random
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from schema import revenue
from tests.factories import DAY, Json, customer, event, subscription, update
from tests.revenue.lives import DAYS, Life, lives, noon, on
from worker.config.settings import Settings
from worker.membership.rules.access import Policy
from worker.mirror import movements, revenue_summary, subscription_history
from worker.mirror.fold import Key, listed, retrieved
from worker.web.console import pages, render
from worker.writers.record import record

Apply = Callable[..., None]

HISTORY = "select * from mirror.subscription_history order by account, subscription, at, source, before"


def rows(conn: psycopg.Connection, query: str, *parameters: Any) -> list[Any]:
    return conn.execute(query, parameters).fetchall()


def mrr(conn: psycopg.Connection, product: str) -> dict[date, int]:
    result = rows(
        conn,
        "select day, mrr from analytics.mrr_daily where product_id = %s and day < %s and mrr <> 0",
        product,
        on(DAYS),
    )
    return dict(result)


def moved(conn: psycopg.Connection, products: Iterable[str]) -> list[tuple[date, str, int]]:
    return rows(
        conn,
        "select day, kind, sum(amount)::bigint from analytics.mrr_movements where product_id = any(%s) "
        "group by day, kind order by day, kind",
        list(products),
    )


def check(conn: psycopg.Connection, life: Life) -> None:
    for product in life.mrr:
        assert mrr(conn, product) == life.by_day(product), product
    assert moved(conn, life.mrr) == [(on(day), kind, amount) for day, kind, amount in life.movements], life.name


def shuffled(events: list[Json], chance: random.Random) -> list[list[Json]]:
    doubled = events + chance.sample(events, len(events) // 3)
    chance.shuffle(doubled)
    cuts = sorted(chance.sample(range(1, len(doubled)), 6))
    return [doubled[start:end] for start, end in zip([0, *cuts], [*cuts, len(doubled)], strict=True)]


def test_every_life_gives_the_mrr_of_every_day_in_any_order_of_delivery(conn: psycopg.Connection, apply: Apply) -> None:
    played = lives()
    events = [each for life in played for each in life.events]
    apply(*events)
    for life in played:
        check(conn, life)
    assert movements.compute_due(conn) == len({f"cus_{life.name}" for life in played})
    for life in played:
        check(conn, life)
    first = rows(conn, HISTORY)

    for seed in range(4):
        conn.execute("truncate sync.events, mirror.subscriptions, mirror.objects, mirror.coupons")
        conn.execute("truncate mirror.subscription_history, mirror.subscription_mrr")
        conn.execute("truncate mirror.customer_movements, mirror.movements_due")
        for number, batch in enumerate(shuffled(events, random.Random(seed))):
            apply(*batch)
            if number in range(seed):
                movements.compute_due(conn)
        assert rows(conn, HISTORY) == first
        for life in played:
            check(conn, life)

    conn.execute("set timezone to 'Asia/Tokyo'")
    for life in played:
        check(conn, life)


def test_movements_add_up_to_the_difference_of_every_day(conn: psycopg.Connection, apply: Apply) -> None:
    apply(*(each for life in lives() for each in life.events))

    wrong = rows(
        conn,
        """
        select day, currency, product_id, d.mrr - coalesce(lag(d.mrr) over w, 0) as change, m.amount
        from analytics.mrr_daily as d
        full join (
            select day, currency, product_id, sum(amount) as amount from analytics.mrr_movements group by 1, 2, 3
        ) as m using (day, currency, product_id)
        window w as (partition by currency, product_id order by day)
        """,
    )

    assert len(wrong) > 1000
    assert [row for row in wrong if row[3] != (row[4] or 0)] == []


def test_movements_are_current_despite_commits_during_their_computation(
    conn: psycopg.Connection, database: str, apply: Apply
) -> None:
    life = Life("current")
    it = life.subscribe(noon(0), life.item(2000))
    apply(*life.events)
    with psycopg.connect(database) as other:
        subscription_history.compute_mrr(other, ["sub_current1"])
        other.execute("update mirror.subscription_mrr set mrr = 3000")
        assert movements.compute_due(conn) == 1
        assert moved(conn, [life.product()]) == [(on(0), "new", 2000)]
    assert moved(conn, [life.product()]) == [(on(0), "new", 3000)]

    it.end(noon(9))
    apply(life.events[-1])
    assert moved(conn, [life.product()]) == [(on(0), "new", 2000), (on(9), "churn", -2000)]
    assert movements.compute_due(conn) == 1
    assert moved(conn, [life.product()]) == [(on(0), "new", 2000), (on(9), "churn", -2000)]
    assert movements.compute_due(conn) == 0


def test_removing_repeated_facts_changes_the_mrr_of_no_day(conn: psycopg.Connection, apply: Apply) -> None:
    played = lives()
    apply(*(each for life in played for each in life.events))
    before = len(rows(conn, HISTORY))

    removed = subscription_history.compact(conn, should_continue=lambda: True)

    assert removed >= 5
    assert len(rows(conn, HISTORY)) == before - removed
    for life in played:
        check(conn, life)
    assert subscription_history.compact(conn, should_continue=lambda: True) == 0


@pytest.fixture
def read(conn: psycopg.Connection) -> Callable[..., None]:
    """Write a page of a list, read at noon on a day."""

    def run(obj: Json, day: int) -> None:
        seen = listed(obj, read_at=noon(day), shape="endive")
        assert seen is not None
        with conn.transaction():
            record(conn, [seen], Policy())

    return run


def estimated(conn: psycopg.Connection) -> dict[date, tuple[int, int]]:
    result = rows(conn, "select day, mrr, estimated from analytics.mrr_daily where mrr <> 0 and day < %s", on(100))
    return {day: (amount, part) for day, amount, part in result}


def test_a_backfill_estimates_the_past_from_the_objects_it_reads(
    conn: psycopg.Connection, read: Callable[..., None]
) -> None:
    life = Life("read")
    item = life.item(2000)
    ended: Json = {"created": noon(0), "trial_end": noon(14), "ended_at": noon(20), "status": "canceled"}
    read(subscription("sub_ended", items=[item], **ended), 60)
    read(subscription("sub_going", items=[item], created=noon(50)), 60)

    assert estimated(conn) == {
        **{on(day): (2000, 2000) for day in range(14, 20)},
        **{on(day): (2000, 2000) for day in range(50, 60)},
        **{on(day): (2000, 0) for day in range(60, 100)},
    }


def test_previous_attributes_of_the_first_event_give_the_state_before_it(
    conn: psycopg.Connection, apply: Apply
) -> None:
    life = Life("late")
    before = subscription("sub_late", items=[life.item(1000)], created=noon(0))
    after = {**before, "items": {**before["items"], "data": [life.item(3000)]}}

    apply(update("customer.subscription.updated", before, after, created=noon(10)))

    assert estimated(conn) == {
        **{on(day): (1000, 1000) for day in range(10)},
        **{on(day): (3000, 0) for day in range(10, 100)},
    }


def test_a_subscription_missing_at_stripe_counts_until_that_is_noticed(conn: psycopg.Connection, apply: Apply) -> None:
    life = Life("gone")
    life.subscribe(noon(0), life.item(2000))
    apply(*life.events)

    key = Key("subscriptions", "subscription", "sub_gone1", "")
    gone = retrieved(key, None, read_at=noon(30), shape="")
    with conn.transaction():
        record(conn, [gone], Policy())

    assert mrr(conn, life.product()) == {on(day): 2000 for day in range(30)}


def test_a_subscription_without_a_customer_counts(conn: psycopg.Connection, apply: Apply) -> None:
    life = Life("nobody")
    life.subscribe(noon(0), life.item(2000))
    for each in life.events:
        each["data"]["object"]["customer"] = None

    apply(*life.events)

    assert set(mrr(conn, life.product()).values()) == {2000}
    assert rows(conn, "select count(*) from sync.events where status <> 'done'") == [(0,)]


def test_subscriptions_older_than_the_history_table_get_their_first_fact(
    conn: psycopg.Connection, read: Callable[..., None]
) -> None:
    read(subscription("sub_1", items=[Life("seed").item(2000)], created=noon(0)), 10)
    expected = estimated(conn)
    conn.execute("truncate mirror.subscription_history, mirror.subscription_mrr")

    assert subscription_history.seed(conn, should_continue=lambda: True) == 1

    assert estimated(conn) == expected
    assert subscription_history.seed(conn, should_continue=lambda: True) == 0


def test_a_discount_written_by_a_concurrent_transaction_counts(conn: psycopg.Connection, apply: Apply) -> None:
    life = Life("meanwhile")
    life.redeem("di_meanwhile", noon(0), percent_off=50, duration="forever")
    life.subscribe(noon(0), life.item(2000), discounts=["di_meanwhile"])
    apply(*life.events)
    # The state after two concurrent transactions, neither of which saw the other's rows.
    conn.execute("update mirror.subscription_mrr set mrr = 2000, waits = true, is_partial = true")

    assert subscription_history.compute_waiting(conn) == 1

    assert set(mrr(conn, life.product()).values()) == {1000}
    assert subscription_history.compute_waiting(conn) == 0


def loyal(apply: Apply) -> tuple[Life, Json]:
    """Play a subscription of 20.00 whose customer gets half off on day 10. Return the life and the discount."""
    life = Life("half")
    life.subscribe(noon(0), life.item(2000))
    given = life.redeem("di_half", noon(10), subscription=None, percent_off=50, duration="forever")
    apply(*life.events)
    return life, given


def test_a_customer_s_discount_without_a_reported_end_counts_until_it_was_last_seen(
    conn: psycopg.Connection, apply: Apply
) -> None:
    life, given = loyal(apply)
    shown = [(noon(20), given), (noon(20) + 3, given), (noon(30), None)]
    apply(*(event("customer.updated", customer("cus_half", discount=held), created=at) for at, held in shown))

    apply(event("customer.deleted", customer("cus_half"), created=noon(40)))

    assert mrr(conn, life.product()) == {on(day): 1000 if 10 <= day < 20 else 2000 for day in range(DAYS)}


def test_a_customer_s_discount_written_by_a_concurrent_transaction_counts(
    conn: psycopg.Connection, apply: Apply
) -> None:
    life, _ = loyal(apply)
    # The state after two concurrent transactions, neither of which saw the other's rows.
    conn.execute("update mirror.subscription_mrr set mrr = 2000")

    movements.compute_due(conn)

    assert moved(conn, [life.product()]) == [(on(0), "new", 2000), (on(10), "contraction", -1000)]
    assert rows(conn, "select count(*) from mirror.movements_due") == [(0,)]


def test_the_views_equal_the_schema_s_definitions(conn: psycopg.Connection) -> None:
    for name, query in revenue.VIEWS.items():
        migrated = rows(conn, "select pg_get_viewdef(%s::regclass)", f"analytics.{name}")
        conn.execute(f"create or replace view analytics.{name} as {query}")
        assert rows(conn, "select pg_get_viewdef(%s::regclass)", f"analytics.{name}") == migrated, name
    assert rows(conn, "select count(*) from stripe.subscription_history") == [(0,)]


def test_the_console_shows_revenue_of_each_currency(conn: psycopg.Connection, apply: Apply, settings: Settings) -> None:
    def page(**query: str) -> str:
        view = pages.revenue(pages.PageRequest(conn, settings, query, {}))
        assert view is not None
        shared = {"path": "", "csrf": "", "can_write": False, "environment": "", "done": None, "is_fragment": False}
        return bytes(render.page(view.template, shared | dict(view.values)).body).decode()

    def summed_up() -> None:
        conn.execute("update sync.cursors set value = value - 'tried_at' where name = %s", (revenue_summary.JOB,))
        revenue_summary.refresh(conn, datetime.now(UTC))

    assert "There is no summary yet" in page()
    summed_up()
    assert "No subscription is known yet" in page()
    apply(*(each for life in lives() if life.name in ("euros", "comeback") for each in life.events))
    summed_up()

    assert "MRR is <strong>30.00 usd</strong>" in page()
    assert '2026-01</th><td class="number">20.00 usd' in page()
    assert "MRR is <strong>19.90 eur</strong>" in page(currency="eur")


def test_summing_up_revenue_uses_at_most_a_hundredth_of_the_time(conn: psycopg.Connection) -> None:
    now = datetime.now(UTC)
    revenue_summary.refresh(conn, now)
    first = revenue_summary.read(conn)
    cost = {"seconds": 60, "tried_at": (now - timedelta(seconds=5900)).isoformat()}
    conn.execute("update sync.cursors set value = value || %s where name = %s", (Jsonb(cost), revenue_summary.JOB))

    revenue_summary.refresh(conn, now + timedelta(minutes=5))
    too_early = revenue_summary.read(conn)
    conn.execute("update sync.cursors set value = value || '{\"seconds\": 58}' where name = %s", (revenue_summary.JOB,))
    revenue_summary.refresh(conn, now + timedelta(minutes=10))

    assert first is not None
    assert too_early == first
    assert revenue_summary.read(conn) != first


def test_churn_of_a_month(conn: psycopg.Connection, apply: Apply) -> None:
    for number in range(1, 5):
        life = Life(f"churn{number}")
        it = life.subscribe(noon(0), life.item(1000 * number))
        if number == 1:
            it.end(noon(31 + 5))
        apply(*life.events)

    result = rows(conn, "select month, customers_at_start, customers_churned, customer_churn, mrr_at_start, mrr_churned, "
                       "mrr_churn from analytics.churn_monthly order by month")  # fmt: skip

    assert [tuple(map(str, row)) for row in result] == [
        ("2026-01-01", "0", "0", "None", "0", "0", "None"),
        ("2026-02-01", "4", "1", "0.2500", "10000", "1000", "0.1000"),
    ]


def test_subscriptions_by_status(conn: psycopg.Connection, apply: Apply) -> None:
    apply(*(each for life in lives() if life.name in ("trial", "pause") for each in life.events))

    result = rows(
        conn,
        "select day, status, sum(subscriptions)::int from analytics.subscriptions_daily where day = any(%s) "
        "and subscriptions > 0 group by 1, 2 order by 1, 2",
        [on(12), on(25), on(DAY // DAY + 30)],
    )

    assert result == [
        (on(12), "paused_collection", 1),
        (on(12), "trialing", 1),
        (on(25), "active", 2),
        (on(31), "active", 1),
        (on(31), "paused", 1),
    ]
