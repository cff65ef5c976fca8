"""Read subscriptions from Stripe's list: first into an empty mirror, then an hourly pass that finds nothing new."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg

from benchmarks import objects, passes
from benchmarks.stack import Stack
from worker.writers import reconcile

SUBSCRIPTIONS = 100_000
# Higher than the numbers of all objects that are sent as events.
FIRST = 500_000_000


def measure(stack: Stack, *, count: int = SUBSCRIPTIONS) -> dict[str, Any]:
    """Mirror this many subscriptions, then reconcile them in their shards."""
    stack.settle()
    return passes.in_a_process(_run, stack.database_url, count)


def _run(database_url: str, count: int) -> dict[str, Any]:
    result: dict[str, Any] = {"subscriptions": count}
    lists = {"/v1/subscriptions": (count, _subscription)}
    with psycopg.connect(database_url, autocommit=True) as conn:
        at_start = passes.peak_mib()
        # Rows of the other benchmarks are not in this list, and each would be read from Stripe.
        conn.execute("delete from mirror.subscriptions")
        source = passes.PagesOf(lists, newest=objects.BORN, read_at=objects.BORN + 3600)
        fill = partial(passes.read_lists, conn, source, ["subscriptions"], reconcile.OPTIONS)
        result["all_new"] = passes.timed(fill, source, objects=count)
        conn.execute("analyze mirror.subscriptions")  # as autovacuum does within a minute
        source = passes.PagesOf(lists, newest=objects.BORN, read_at=objects.BORN + 7200)
        result["nothing_changed"] = passes.timed(partial(_hourly, conn, source), source, objects=count)
        (tally_of_run,) = conn.execute("select result from sync.runs where job = %s", (reconcile.JOB,)).fetchone() or (
            None,
        )
        result["nothing_changed"]["tally"] = tally_of_run
        result["peak_mib"], result["peak_mib_at_start"] = passes.peak_mib(), at_start
    assert tally_of_run is not None
    assert tally_of_run["unchanged"] >= count, (
        f"{tally_of_run['unchanged']} of {count} subscriptions were found unchanged"
    )
    return result


def _hourly(conn: psycopg.Connection[Any], source: passes.PagesOf) -> None:
    slot = datetime.now(UTC)
    assert reconcile.tick(conn, lambda: source, passes.POLICY, slot, should_continue=lambda: True) is not None


def _subscription(number: int) -> dict[str, Any]:
    """A subscription. Its id ends in its position in the list, as `PagesOf` requires."""
    return objects.subscription(FIRST + number) | {"id": f"sub_{number:024d}"}
