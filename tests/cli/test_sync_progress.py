"""The progress of `stripe-sync sync`: its table, and the estimated time left."""

from io import StringIO
from typing import Any

import psycopg
from rich.console import Console

from worker.cli.sync import run
from worker.mirror import shards
from worker.writers import backfill


def lines(progress: dict[str, Any]) -> list[str]:
    screen = Console(file=StringIO(), width=150, record=True)
    screen.print(run.table(progress))
    return screen.export_text().splitlines()


def of_list(name: str, **changes: Any) -> dict[str, Any]:
    numbers = (
        "listed",
        "written",
        "unchanged",
        "repaired",
        "marked_deleted",
        "pages",
        "remaining",
        "objects_per_second",
    )
    return {"list": name, "state": "done", "parents": None, "error": None, **dict.fromkeys(numbers, 0), **changes}


def test_the_table_counts_empty_and_waiting_lists_and_shows_the_parents_of_a_nested_list() -> None:
    progress = {
        "listed": 320,
        "seconds": 10.0,
        "objects_per_second": 32.0,
        "seconds_left": 90,
        "lists": [
            of_list("customers", listed=300),
            of_list("quotes"),
            of_list("coupons"),
            of_list("payment_methods", state="reading", listed=20, parents=40, remaining=260),
            of_list("tax_ids", state="waiting", parents=0, remaining=None),
            of_list("plans", state="failed", error="Stripe answered 500"),
        ],
    }

    *rows, end = lines(progress)

    assert [row.split()[0] for row in rows] == ["list", "plans", "payment_methods", "customers"]
    assert "300 parents" in rows[2]
    assert "Stripe answered 500" in rows[1]
    assert end == "320 objects in 10 s, 32 a second, about 90 s left. Lists: 1 waiting, 2 empty. Ctrl-C detaches."


def test_the_estimate_counts_requests_because_stripe_limits_these(conn: psycopg.Connection) -> None:
    conn.execute(
        """
        insert into mirror.customers (id, data, observed_at, observed_rank, observed_in, content_hash, shape)
        select 'cus_' || n, '{}', now(), 1, 'list:1', 'x', 'endive' from generate_series(1, 1000) as n
        """
    )
    id_, _ = backfill.start(conn, ["customers", "payment_methods"])
    customers, methods = (
        shards.lease(conn, id_, {name: 1}, owner="me", limit=1)[0] for name in ("customers", "payment_methods")
    )
    shards.save(conn, customers.id, {}, {"listed": 1000, "pages": 10}, owner="me")
    shards.finish(conn, customers.id, owner="me")
    shards.save(conn, methods.id, {}, {"listed": 50, "pages": 100, "parents": 100}, owner="me")
    conn.execute("update sync.runs set started_at = now() - interval '55 seconds'")

    progress = backfill.progress(conn)

    # 110 requests in 55 seconds, and 900 customers left to read.
    assert progress is not None
    assert progress["seconds_left"] == 450
