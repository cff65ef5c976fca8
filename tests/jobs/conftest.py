"""What tests of the jobs share: an inbox to fill, a drain, and the sandbox as Stripe."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
import redis

from tests import factories, sandboxes
from tests.backends import Backend
from tests.factories import Json
from tests.processes import SECRET, sign
from tests.sandboxes import Sandbox
from worker.apply import Applier, compute_waiting
from worker.core.membership.access import Policy
from worker.ingress import read
from worker.rate_limit import RateLimiter
from worker.store import inbox
from worker.stripe_api import Stripe


@pytest.fixture
def apply(conn: psycopg.Connection) -> Callable[..., None]:
    """Store these events as the door does, and drain the inbox."""

    def run(*events: Json, batch_size: int = 500, policy: Policy | None = None) -> None:
        bodies = [factories.encoded(event) for event in events]
        now = 1_000
        arrivals = [read(body, sign(body, timestamp=now), [SECRET], now=now) for body in bodies]
        inbox.store(conn, list({arrival.id: arrival for arrival in arrivals}.values()))
        applier = Applier(livemode=False, policy=policy or Policy(), batch_size=batch_size)
        applier.drain(conn)
        compute_waiting(conn, applier.policy)

    return run


@pytest.fixture(scope="module")
def _sandbox() -> Iterator[Sandbox]:
    with sandboxes.running() as running:
        yield running


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Sandbox:
    """An empty sandbox that delivers to nobody."""
    _sandbox.tell("reset")
    _sandbox.tell("faults", clear=True, limits=None)
    _sandbox.tell("clock", real=True)
    return _sandbox


@pytest.fixture
def stripe(sandbox: Sandbox, backend: Backend) -> Iterator[Stripe]:
    """The daemon's way to that sandbox. Its pace is not what these tests are about."""
    client = redis.Redis.from_url(backend.redis_url)
    client.flushall()
    limiter = RateLimiter(client, key=sandboxes.KEY, account_per_second=1000, operation_per_second=1000)
    made = Stripe(key=sandboxes.KEY, base=sandbox.address, limiter=limiter)
    yield made
    made.close()
    client.close()
