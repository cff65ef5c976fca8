"""Fixtures for tests of the jobs: apply events through the inbox, and use the sandbox as Stripe."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg
import pytest
import redis

from tests import factories, sandboxes
from tests.backends import Backend
from tests.factories import Json
from tests.processes import SECRET, eventually, sign
from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.membership import organizations
from worker.membership.rules.access import Policy
from worker.mirror import shards
from worker.mirror.fold import observe
from worker.postgres import runs
from worker.stripe_api.client import Stripe
from worker.stripe_api.event import read_event
from worker.stripe_api.rate_limit import RateLimiter
from worker.web.webhook import read
from worker.writers.apply import Applier, compute_waiting
from worker.writers.list_pass import Source, Tally
from worker.writers.passes import run as passes
from worker.writers.passes.plan import Options, every_shape
from worker.writers.record import record

READING = Options(threads=4, threads_per_list=4, failures=1)
_numbers = itertools.count()


def read_lists(
    conn: psycopg.Connection,
    stripe: Source,
    lists: Iterable[str],
    policy: Policy | None = None,
    *,
    options: Options = READING,
) -> dict[str, Any]:
    """Read these lists from beginning to end, as a pass does, and return the tally."""
    number = next(_numbers)
    run, _ = shards.begin(conn, f"test {number}", Tally().as_dict())
    shards.add(conn, run, [(name, None, None) for name in lists])
    finished = passes.carry_out(
        conn, stripe, policy or Policy(), run, every_shape(), options, should_continue=lambda: True
    )
    assert finished
    result = runs.result(conn, run)
    assert result is not None
    return result


@pytest.fixture
def apply(conn: psycopg.Connection) -> Callable[..., None]:
    """Store these events as the webhook endpoint does, and drain the inbox."""

    def run(*events: Json, batch_size: int = 500, policy: Policy | None = None) -> None:
        bodies = [factories.encoded(event) for event in events]
        now = 1_000
        envelopes = [read(body, sign(body, timestamp=now), [SECRET], now=now) for body in bodies]
        inbox.store(conn, list({envelope.id: envelope for envelope in envelopes}.values()))
        applier = Applier(livemode=False, policy=policy or Policy(), batch_size=batch_size)
        applier.drain(conn)
        compute_waiting(conn, applier.policy)

    return run


@pytest.fixture
def side_by_side(conn: psycopg.Connection, database: str, apply: Callable[..., None]) -> Callable[..., None]:
    """Run two workers at once, and compute the remaining users after them.

    The first worker records the first events in an open transaction. It commits when the second worker has applied the second
    events, or as soon as the second worker waits for the first.
    """

    def run(first: list[Json], second: list[Json], *, policy: Policy | None = None) -> None:
        seen = [observe(read_event(one)) for one in first]
        draining = threading.Thread(target=apply, args=second, kwargs={"policy": policy})
        with psycopg.connect(database, autocommit=True) as other, psycopg.connect(database, autocommit=True) as look:
            waiting = (
                f"select count(*) from pg_stat_activity where {other.info.backend_pid} = any(pg_blocking_pids(pid))"
            )
            with other.transaction():
                record(other, [one for one in seen if one is not None], policy or Policy())
                draining.start()
                eventually(lambda: not draining.is_alive() or look.execute(waiting).fetchone() == (1,))
            draining.join()
        eventually(lambda: compute_waiting(conn, policy or Policy()))
        organizations.compute_waiting(conn, policy or Policy(), should_continue=lambda: True)
        eventually(lambda: compute_waiting(conn, policy or Policy()))

    return run


@pytest.fixture(scope="module")
def _sandbox() -> Iterator[Sandbox]:
    with sandboxes.running() as running:
        yield running


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Sandbox:
    """An empty sandbox that delivers to no endpoint."""
    _sandbox.tell("reset")
    _sandbox.tell("faults", clear=True, limits=None)
    _sandbox.tell("clock", real=True)
    return _sandbox


@pytest.fixture
def stripe(sandbox: Sandbox, backend: Backend) -> Iterator[Stripe]:
    """A client of the sandbox, with a rate limit too high to matter."""
    client = redis.Redis.from_url(backend.redis_url)
    client.flushall()
    limiter = RateLimiter(client, key=sandboxes.KEY, account_per_second=1000, operation_per_second=1000)
    made = Stripe(key=sandboxes.KEY, base=sandbox.address, limiter=limiter)
    yield made
    made.close()
    client.close()
