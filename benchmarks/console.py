"""The console with a large database: the time of each page, and the effect of three open tabs on the daemon and on deliveries.

The database has 1,000,000 events, as many subscriptions, and 100,000 users, all made by SQL.
"""

import contextlib
import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from benchmarks import everyone, latency, stack
from benchmarks.client import LOOPBACK
from benchmarks.machine import Cpu
from benchmarks.stack import Stack
from worker.mirror import revenue_summary

EVENTS, SUBSCRIPTIONS, USERS = 1_000_000, 1_000_000, 100_000
PASSWORD = "a password for the benchmark"
REPEATED = 20
# Runs without and with tabs alternate, so that other load on the machine affects both.
IDLE_ROUNDS, IDLE_SECONDS = 4, 20
# The interval at which console.js refreshes the changing parts of a page.
REFRESH_SECONDS = 5
_FORTNIGHT = (datetime.now(UTC) - timedelta(days=14)).isoformat()
PAGES = {
    "health": "/console/",
    "inbox": "/console/inbox",
    "inbox, parked": "/console/inbox?status=parked",
    "inbox, a rare type": "/console/inbox?type=payout.*",
    "inbox, one object": "/console/inbox?object=sub_c777",
    "inbox, deep": f"/console/inbox?{urlencode({'before': _FORTNIGHT, 'before_id': 'evt_c5000'})}",
    "event": "/console/inbox/evt_c777",
    "users": "/console/users",
    "users, searched": "/console/users?q=user-e777@example.com",
    "users, deep": "/console/users?after=user-e777",
    "user": "/console/users/user-e777",
    "object": "/console/objects/sub_c777",
    "catalogue": "/console/catalogue",
    "plan": "/console/catalogue/plan",
    "revenue": "/console/revenue",
    "backfill": "/console/backfill",
    "settings": "/console/settings",
}
# The parts of pages that three open tabs request.
TABS = ("/console/", "/console/backfill/progress", "/console/catalogue/progress")

EVENT_ROWS = """
    insert into sync.events (id, type, object_type, object_id, livemode, created, received_at, body, status, outcome, attempts,
        done_at, last_error)
    select 'evt_c' || n, case when n % 1000 = 0 then 'payout.paid' else 'customer.subscription.updated' end, 'subscription',
        'sub_c' || n % 300000, false, made.at, made.at + interval '1 second', raw.body,
        case when n % 5000 = 1 then 'parked' else 'done' end, case when n % 5000 = 1 then 'parked' else 'written' end, 1,
        case when n % 5000 <> 1 then made.at + interval '1 second' + n % 90 * interval '1 ms' end,
        case when n % 5000 = 1 then 'CheckViolation: refused ' || n % 7 end
    from generate_series(1, {events}) as n
    cross join lateral (select now() - interval '30 days' + n * interval '2 seconds' as at) as made
    cross join (select jsonb_build_object('object', 'event', 'note', repeat('abcdefgh ', 50))::text as body) as raw
"""
SUBSCRIPTION_ROWS = """
    insert into mirror.subscriptions (id, customer, status, current_period_start, current_period_end, metadata, observed_at,
        observed_rank, observed_in, content_hash, shape, created, data)
    select 'sub_c' || n, 'cus_c' || n, 'active', now() - interval '3 days', now() + interval '27 days', '{{}}', now(), 1,
        'evt_c' || n, repeat('0', 32), 'endive', now() - interval '3 years' + n * interval '1 minute',
        jsonb_build_object('id', 'sub_c' || n, 'object', 'subscription')
    from generate_series(1, {subscriptions}) as n
"""
_ROWS = (
    EVENT_ROWS,
    SUBSCRIPTION_ROWS,
    """
    insert into mirror.subscription_mrr (subscription, product_id, since, until, customer, currency, status, mrr, estimated,
        is_partial, waits)
    select 'sub_c' || n, 'prod_e' || n % 50, began.at, case when n % 3 = 0 then began.at + interval '200 days' end, 'cus_c' || n,
        'usd', 'active', 1900, false, false, false
    from generate_series(1, {subscriptions}) as n
    cross join lateral (select now() - interval '2 years' + n % 700 * interval '1 day' as at) as began
    """,
    "insert into mirror.movements_due (customer) select distinct customer from mirror.subscription_mrr",
    """
    insert into sync.token_grants (user_id, kind, amount, balance_before, balance_after, source_key, created_at)
    select 'user-e' || n % 1000, 'pack', 10, n / 1000 * 10, n / 1000 * 10 + 10, 'bench ' || n, now() - n * interval '1 minute'
    from generate_series(1, 50000) as n
    """,
    """
    insert into sync.minutes (minute, received, applied)
    select date_trunc('minute', now()) - n * interval '1 minute', (1500 - n) * 40, (1500 - n) * 40
    from generate_series(0, 1500) as n
    on conflict do nothing
    """,
    """
    insert into sync.drift (found_by, object, object_id, fields, found_at)
    select 'audit', 'customer', 'cus_c' || n, array['name'], now() - n * interval '1 minute' from generate_series(1, 20000) as n
    """,
)


def measure() -> dict[str, Any]:
    """Fill a separate stack; time every page, then measure idle processes and deliveries without and with three tabs.

    There is no beat, because its jobs would distort one of the two measurements.
    """
    with stack.running({"CONSOLE_PASSWORD": PASSWORD, "APP_ENV": "test"}, beat=False) as running:
        _fill(running)
        cookie = _sign_in(running.port)
        pages = {name: _timed(running, path, cookie) for name, path in PAGES.items()}
        idle: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for has_tabs in (False, True) * IDLE_ROUNDS:
            with _tabs(running.port, cookie) if has_tabs else contextlib.nullcontext():
                idle[has_tabs].append(_idle(running))
        deliveries: list[dict[str, Any]] = []
        for has_tabs in (False, True, False, True):
            with _tabs(running.port, cookie) if has_tabs else contextlib.nullcontext():
                deliveries.append(latency.measure(running, first=sum(each["events"] for each in deliveries)))
    return {
        "rows": {"events": EVENTS, "subscriptions": SUBSCRIPTIONS, "users": USERS},
        "pages_ms": pages,
        "tabs_percent_of_a_core": {name: _percent(idle, name) for name in ("web", "worker", "postgres")},
        "latency": deliveries,
    }


def _fill(running: Stack) -> None:
    with running.connect() as conn:
        everyone.fill(conn, USERS)
        for statement in _ROWS:
            conn.execute(statement.format(events=EVENTS, subscriptions=SUBSCRIPTIONS))
        conn.execute("vacuum analyze")  # as autovacuum does within minutes
        # The job runs now and then; it must not run during another measurement.
        revenue_summary.refresh(conn, datetime.now(UTC))


def _sign_in(port: int) -> str:
    connection = http.client.HTTPConnection(LOOPBACK, port)
    head = {"content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/console/sign-in", urlencode({"password": PASSWORD}), head)
    answer = connection.getresponse()
    assert answer.status == 303, f"the console answered {answer.status}"
    return str(answer.headers["set-cookie"]).partition(";")[0]


def _timed(running: Stack, path: str, cookie: str) -> dict[str, float]:
    """The milliseconds of the first request of this page, and of the later ones, with the CPU of web and Postgres."""
    connection = http.client.HTTPConnection(LOOPBACK, running.port)
    took = []
    for number in range(1 + REPEATED):
        if number == 1:
            cpu = Cpu(running.pids)
        began = time.perf_counter()
        _get(connection, path, cookie)
        took.append((time.perf_counter() - began) * 1000)
    spent = cpu.spent()
    connection.close()
    used = (spent["web"] + spent["postgres"]) * 1000 / REPEATED
    return {"first": took[0], **latency.percentiles(took[1:]), "cpu": used}


def _get(connection: http.client.HTTPConnection, path: str, cookie: str) -> None:
    connection.request("GET", path, headers={"cookie": cookie, "hx-request": "true"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, f"{path} answered {answer.status}"


@contextlib.contextmanager
def _tabs(port: int, cookie: str) -> Iterator[None]:
    """Until the end of the block, request the parts of pages that three open tabs would refresh."""
    over = threading.Event()
    failed: list[BaseException] = []

    def ask(path: str) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, port)
        try:
            while not over.wait(REFRESH_SECONDS):
                _get(connection, path, cookie)
        except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
            failed.append(error)
        finally:
            connection.close()

    tabs = [threading.Thread(target=ask, args=(path,)) for path in TABS]
    for tab in tabs:
        tab.start()
    try:
        yield
    finally:
        over.set()
        for tab in tabs:
            tab.join()
    if failed:
        raise failed[0]


def _percent(idle: dict[bool, list[dict[str, float]]], name: str) -> float:
    """The share of a core that the tabs add to this process, in percent: the difference of the medians of the rounds."""
    without, with_tabs = (statistics.median(each[name] for each in idle[has_tabs]) for has_tabs in (False, True))
    return (with_tabs - without) / IDLE_SECONDS * 100


def _idle(running: Stack) -> dict[str, float]:
    running.settle()
    cpu = Cpu(running.pids)
    time.sleep(IDLE_SECONDS)
    return cpu.spent()
