"""Requests for access that are answered from the tables: GET /v1/users/{id}/access at a steady rate, each for another user."""

import threading
import time
from typing import Any

from benchmarks.client import LOOPBACK, Connection
from benchmarks.latency import percentiles
from benchmarks.machine import Cpu
from benchmarks.stack import API_TOKEN, Stack

USERS = 10_000
CONNECTIONS = 4


def measure(stack: Stack, *, per_second: int = 200, seconds: int = 20) -> dict[str, Any]:
    """Send at a steady rate, without waiting for earlier answers. Latency is measured from the time a request was due."""
    _fill(stack)
    stack.settle()
    took: list[list[float]] = [[] for _ in range(CONNECTIONS)]
    failed: list[BaseException] = []
    cpu = Cpu(stack.pids)
    began = time.perf_counter() + 0.1

    def ask(mine: int) -> None:
        connection = Connection(stack.port)
        try:
            for number in range(mine, per_second * seconds, CONNECTIONS):
                due = began + number / per_second
                time.sleep(max(0.0, due - time.perf_counter()))
                connection.post(_request(stack.port, number * 7919 % USERS))
                took[mine].append(time.perf_counter() - due)
        except BaseException as error:  # noqa: BLE001 - raised in the waiting thread
            failed.append(error)
        finally:
            connection.close()

    askers = [threading.Thread(target=ask, args=(number,), name=f"asker {number}") for number in range(CONNECTIONS)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    if failed:
        raise failed[0]
    spent, count = cpu.spent(), per_second * seconds
    return {
        "requests": count,
        "per_second": per_second,
        "users": USERS,
        "answer_ms": percentiles([value * 1000 for mine in took for value in mine]),
        "cpu_us_per_request": {name: spent[name] * 1e6 / count for name in ("web", "postgres")},
    }


def _request(port: int, user: int) -> bytes:
    head = f"GET /v1/users/access_{user}/access?max_age=3600 HTTP/1.1\r\nhost: {LOOPBACK}:{port}\r\n"
    return f"{head}authorization: Bearer {API_TOKEN}\r\n\r\n".encode()


def _fill(stack: Stack) -> None:
    """Insert users with a customer, a subscription and a product, as if they had just been read from Stripe."""
    with stack.connect() as conn:
        conn.execute("insert into stripe_products (id, name) values ('prod_access', 'Pro') on conflict do nothing")
        for statement in (
            """
            insert into users (id, role, stripe_product_id, tokens, tokens_expires_at)
            select 'access_' || n, 'PREMIUM', 'prod_access', 5000, now() + interval '1 month'
            """,
            """
            insert into sync.customer_links (stripe_customer_id, user_id, source, linked_at)
            select 'cus_access_' || n, 'access_' || n, 'operator', now() - interval '1 day'
            """,
            """
            insert into stripe_customers (id, user_id, stripe_customer_id)
            select 'cus_access_' || n, 'access_' || n, 'cus_access_' || n
            """,
            """
            insert into user_subscriptions (user_id, stripe_customer_id, stripe_subscription_id, stripe_product_id, status)
            select 'access_' || n, 'cus_access_' || n, 'sub_access_' || n, 'prod_access', 'active'
            """,
            "insert into sync.user_syncs (user_id, synced_at) select 'access_' || n, now()",
        ):
            conn.execute(f"{statement} from generate_series(0, {USERS - 1}) as n on conflict do nothing")
        conn.execute("analyze users, user_subscriptions, stripe_customers, sync.customer_links, sync.user_syncs")
