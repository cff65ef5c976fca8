"""The backfill: generated objects without a network, and the sandbox's objects over a network as slow as Stripe's."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import psycopg

from benchmarks import objects, passes, stripe
from benchmarks.machine import Cpu
from benchmarks.stack import Stack
from worker.config import settings
from worker.config.settings import Settings
from worker.membership.rules.access import Policy
from worker.postgres.pool import connect
from worker.stripe_api.client import Stripe
from worker.stripe_api.rate_limit import RateLimiter, shared_client
from worker.writers import backfill

GENERATED = 1_000_000
LISTS = ("products", "prices", "customers", "subscriptions", "invoices", "charges")
PER_SECOND, PER_OPERATION = 100, 25
# Pages are small, so that writing, which depends on the machine, does not limit the requests.
PACED_PAGES, PACED_OBJECTS = 400, 10


def measure(stack: Stack, *, count: int) -> dict[str, Any]:
    """Read this many generated objects into an empty mirror, and read them again. Then read a tenth as many from the sandbox,
    which is as slow as Stripe."""
    stack.settle()
    cpu = Cpu({"postgres": stack.postgres.pid})
    result = passes.in_a_process(_generated, stack.database_url, count)
    result["postgres_cpu_us_per_object"] = cpu.spent()["postgres"] * 1e6 / count / 2
    with stripe.running(populate=_populate(count // 10), limits=True) as address:
        os.environ |= {"STRIPE_API_BASE": address, "REDIS_URL": stack.redis_url}
        result["over_network"] = passes.in_a_process(_over_network, stack.database_url, count // 10)
        result["paced"] = passes.in_a_process(_paced, stack.database_url, PACED_PAGES)
    return result


def _populate(count: int) -> dict[str, Any]:
    # A paid subscription also creates an invoice, a payment and a charge.
    each = count * 49 // 200
    return {"products": count // 100, "customers": each, "subscriptions": each, "invoices": True, "charges": each}


def _generated(database_url: str, count: int) -> dict[str, Any]:
    result: dict[str, Any] = {"objects": count, "peak_mib_at_start": passes.peak_mib()}
    with psycopg.connect(database_url, autocommit=True) as conn:
        _empty(conn)
        for what, read_at in (("all_new", 3600), ("unchanged", 7200)):
            source = passes.PagesOf(_lists(count), newest=objects.BORN, read_at=objects.BORN + read_at)
            work = partial(_carry_on, conn, source, LISTS[:-1], _settings(database_url))
            result[what] = passes.timed(work, source, objects=count)
            result[what]["written"] = _sum(conn, "written") + _sum(conn, "repaired")
            conn.execute("analyze")
    return result | {"peak_mib": passes.peak_mib()}


def _over_network(database_url: str, count: int) -> dict[str, Any]:
    """Read within Stripe's limits, then again with nothing to write. Then read without limits, with many threads and with
    one thread."""
    free = {"stripe_rate": 10_000, "stripe_operation_rate": 10_000}
    one = {"threads": 1, "threads_per_list": 1}
    with psycopg.connect(database_url, autocommit=True) as conn:
        _empty(conn)
        result = {"within_limits": _read_all(conn, database_url), "unchanged": _read_all(conn, database_url)}
        stripe.tell(os.environ["STRIPE_API_BASE"], "faults", {"limits": None})
        result["without_limits"] = _read_all(conn, database_url, settings=free)
        result["one_by_one"] = _read_all(conn, database_url, settings=free, options=one)
    return result | {"peak_mib": passes.peak_mib()}


def _paced(database_url: str, pages: int) -> dict[str, Any]:
    """The requests per second that a backfill of six lists sends through the limiter, while every list has pages left."""
    loaded = _settings(database_url)
    limiter = RateLimiter(
        shared_client(loaded.redis_url),
        key="paced",
        account_per_second=PER_SECOND,
        operation_per_second=PER_OPERATION,
    )
    lists = {path: (pages * PACED_OBJECTS, make) for path, (_, make) in _lists(50).items()}
    lists["/v1/charges"] = (pages * PACED_OBJECTS, lambda n: {"id": f"ch_{n:024d}", "object": "charge"})
    source = passes.PagesOf(
        lists, newest=objects.BORN, read_at=objects.BORN + 3600, page=PACED_OBJECTS, limiter=limiter
    )
    with psycopg.connect(database_url, autocommit=True) as conn:
        _empty(conn)
        _carry_on(conn, source, LISTS, loaded)
        listed = _sum(conn, "listed")
    began, *_, ended = source.requested_at
    rate = len(source.requested_at) / (ended - began)
    allowed = min(PER_SECOND, PER_OPERATION * len(LISTS))
    return {
        "objects": listed,
        "seconds": ended - began,
        "objects_per_second": listed / (ended - began),
        "requests_per_second": rate,
        "share_of_allowed": rate / allowed,
        "partial_pages": len(source.requested_at) - pages * len(LISTS),
    }


def _read_all(
    conn: psycopg.Connection[Any],
    database_url: str,
    *,
    settings: Mapping[str, Any] = MappingProxyType({}),
    options: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, float]:
    loaded = _settings(database_url, **settings)
    made = Stripe.from_settings(loaded)
    before, began = stripe.requests(loaded.stripe_api_base), time.perf_counter()
    _carry_on(conn, made, LISTS, loaded, **options)
    seconds = time.perf_counter() - began
    pages = stripe.requests(loaded.stripe_api_base) - before
    made.close()
    return {
        "objects": _sum(conn, "listed"),
        "written": _sum(conn, "written") + _sum(conn, "repaired"),
        "seconds": seconds,
        "objects_per_second": _sum(conn, "listed") / seconds,
        "requests_per_second": pages / seconds,
    }


def _settings(database_url: str, **changes: Any) -> Settings:
    redis_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:1/0")  # generated pages do not pass the limiter
    return settings.load(
        database_url=database_url,
        redis_url=redis_url,
        app_env="test",
        stripe_secret_key=stripe.KEY,
        **{"stripe_rate": PER_SECOND, "stripe_operation_rate": PER_OPERATION, **changes},
    )


def _lists(count: int) -> dict[str, tuple[int, passes.Make]]:
    each = count // 50
    return {
        "/v1/products": (each, lambda n: objects.product(n) | {"id": f"prod_{n:014d}"}),
        "/v1/prices": (each * 2, lambda n: objects.price(n) | {"id": f"price_{n:024d}"}),
        "/v1/customers": (each * 17, lambda n: objects.customer(n) | {"id": f"cus_{n:014d}"}),
        "/v1/subscriptions": (each * 15, lambda n: objects.subscription(n) | {"id": f"sub_{n:024d}"}),
        "/v1/invoices": (each * 15, lambda n: objects.invoice(n) | {"id": f"in_{n:024d}"}),
    }


def _empty(conn: psycopg.Connection[Any]) -> None:
    for name in LISTS:
        conn.execute(f"truncate mirror.{name}")
    conn.execute("truncate sync.recompute_queue")


def _carry_on(
    conn: psycopg.Connection[Any], source: Any, lists: tuple[str, ...], loaded: Settings, **options: Any
) -> None:
    backfill.start(conn, lists)
    while backfill.carry_on(
        conn,
        lambda: source,
        Policy(),
        options=replace(backfill.OPTIONS, **options),
        should_continue=lambda: True,
        connect=lambda: connect(loaded, application="bench"),
    ):
        pass


def _sum(conn: psycopg.Connection[Any], name: str) -> int:
    progress = backfill.progress(conn)
    assert progress is not None
    return sum(int(each[name]) for each in progress["lists"] if each["list"] != backfill.USERS)
