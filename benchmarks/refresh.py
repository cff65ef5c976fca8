"""The product refresh over a large catalogue: new, unchanged, all changed."""

from functools import partial
from typing import Any

import psycopg

from benchmarks import objects, passes
from benchmarks.stack import Stack
from worker.writers import refresh_catalogue

PRODUCTS = 10_000


def measure(stack: Stack, *, count: int = PRODUCTS) -> dict[str, Any]:
    """Refresh this many products, each with a price, three times."""
    stack.settle()
    return passes.in_a_process(_run, stack.database_url, count)


def _run(database_url: str, count: int) -> dict[str, Any]:
    result: dict[str, Any] = {"products": count, "prices": count}
    with psycopg.connect(database_url, autocommit=True) as conn:
        at_start = passes.peak_mib()
        # Of two snapshots that are seconds apart, the daemon can't tell the newer one, so the passes are an hour apart.
        for hour, (name, note) in enumerate(
            (("all_new", "a"), ("nothing_changed", "a"), ("all_changed", "b")), start=1
        ):
            lists = {
                "/v1/products": (count, partial(objects.product, note=note)),
                "/v1/prices": (count, partial(objects.price, products=count, note=note)),
            }
            source = passes.PagesOf(lists, newest=objects.BORN, read_at=objects.BORN + hour * 3600)
            tally: dict[str, Any] = {}

            def work(source: passes.PagesOf = source, tally: dict[str, Any] = tally) -> None:
                tally |= passes.read_lists(conn, source, refresh_catalogue.CATALOGUE, refresh_catalogue.OPTIONS)

            result[name] = passes.timed(work, source, objects=2 * count) | {"tally": tally}
        result["peak_mib"], result["peak_mib_at_start"] = passes.peak_mib(), at_start
    unchanged = result["nothing_changed"]["tally"]["unchanged"]
    assert unchanged == 2 * count, f"{unchanged} of {2 * count} objects were found unchanged"
    assert result["all_changed"]["tally"]["repaired"] == 2 * count
    return result
