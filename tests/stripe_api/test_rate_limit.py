"""One rate limit for all processes, with a real Valkey and real processes, on Valkey's time or a fake clock."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.stripe_api.conftest import Clock
from worker.stripe_api.rate_limit import (
    ACCOUNT,
    HORIZON_SECONDS,
    REDIS_PAUSE_SECONDS,
    RateLimited,
    RateLimiter,
    shared_client,
)

GET_ONE, GET_LIST = "GET /v1/products/{id}", "GET /v1/products"
ACCOUNT_RATE, OPERATION_RATE = 40, 25


class Slept(BaseException):
    """Raised instead of sleeping, with the seconds to sleep."""


def _raise_slept(seconds: float) -> None:
    raise Slept(seconds)


def _impatient(client: redis.Redis | None, **changes: Any) -> RateLimiter:
    """A limiter that gives one place every ten seconds, and raises Slept instead of sleeping."""
    given: dict[str, Any] = {"key": "sk_test_a", "account_per_second": 0.1, "sleep": _raise_slept}
    return RateLimiter(client, **{**given, **changes})


def _wait_of_next(limiter: RateLimiter, operation: str = GET_ONE) -> float:
    with pytest.raises(Slept) as slept:
        limiter.acquire(operation, within=59, reserved=True)
    return float(slept.value.args[0]) + HORIZON_SECONDS / 2


def _take_many(socket: str, reserved: bool, count: int) -> list[tuple[str, float]]:
    """Acquire places without a pause, in two threads of this process. Return each operation with the time of its place."""
    with redis.Redis(unix_socket_path=socket) as client, ThreadPoolExecutor(2) as threads:
        limiter = RateLimiter(
            client, key="sk_test_a", account_per_second=ACCOUNT_RATE, operation_per_second=OPERATION_RATE
        )
        operations = [GET_ONE if number % 4 else GET_LIST for number in range(count)]
        places = threads.map(lambda operation: limiter.acquire(operation, within=30, reserved=reserved), operations)
        return list(zip(operations, places, strict=True))


def _busiest_second(places: list[float]) -> int:
    places = sorted(places)
    # Allow a tenth of a millisecond for floating-point rounding.
    return max(sum(1 for later in places if 0 <= later - first < 1 - 1e-4) for first in places)


def test_processes_together_never_exceed_a_limit_in_any_second(valkey: redis.Redis, valkey_socket: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        background = processes.submit(_take_many, str(valkey_socket), False, 40)
        on_access = processes.submit(_take_many, str(valkey_socket), True, 40)
        unreserved, everything = background.result(), background.result() + on_access.result()

    assert _busiest_second([at for _, at in everything]) <= ACCOUNT_RATE
    assert _busiest_second([at for operation, at in everything if operation == GET_ONE]) <= OPERATION_RATE
    assert _busiest_second([at for _, at in unreserved]) <= 0.96 * ACCOUNT_RATE + 1
    assert _busiest_second([at for operation, at in unreserved if operation == GET_ONE]) <= 0.96 * OPERATION_RATE + 1


def _spacing(limiter: RateLimiter, operation: str, *, reserved: bool = False) -> float:
    places = [limiter.acquire(operation, within=60, reserved=reserved) for _ in range(6)]
    return (places[-1] - places[1]) / 4


@pytest.mark.parametrize("shared", [True, False])
def test_background_work_leaves_a_fifth_of_the_budget_only_while_on_access_work_runs(
    shared: bool, valkey: redis.Redis, clock: Clock
) -> None:
    limiter = (
        RateLimiter(valkey, key="k", account_per_second=50, operation_per_second=50)
        if shared
        else RateLimiter(
            None, key="k", account_per_second=500, operation_per_second=500, clock=clock, sleep=clock.sleep
        )
    )

    undisturbed = _spacing(limiter, GET_ONE)
    on_access = _spacing(limiter, GET_LIST, reserved=True)
    background = _spacing(limiter, GET_ONE)

    # Of 50 requests per second, background work may use 48, or 40 while on-access work runs.
    assert (undisturbed, on_access, background) == pytest.approx((1 / 48, 1 / 50, 1 / 40), rel=0.1)


def test_only_one_of_many_waiting_threads_asks_redis(valkey: redis.Redis) -> None:
    limiter = RateLimiter(valkey, key="k", account_per_second=40, operation_per_second=40)

    with ThreadPoolExecutor(16) as threads:
        before = valkey.info("commandstats")["cmdstat_evalsha"]["calls"] if limiter.acquire(GET_ONE, within=5) else 0
        list(threads.map(lambda _: limiter.acquire(GET_ONE, within=30), range(32)))
    asked = valkey.info("commandstats")["cmdstat_evalsha"]["calls"] - before

    assert asked <= 2 * 32


def test_a_place_after_the_deadline_is_refused_at_once(valkey: redis.Redis) -> None:
    limiter = _impatient(valkey)
    limiter.acquire(GET_ONE, within=0)

    with pytest.raises(RateLimited):
        limiter.acquire(GET_LIST, within=5)


def test_each_operation_has_its_own_limit(valkey: redis.Redis) -> None:
    limiter = _impatient(valkey, account_per_second=1e6, operation_per_second=0.1)
    limiter.acquire(GET_ONE, within=1)

    limiter.acquire(GET_LIST, within=1)
    with pytest.raises(RateLimited):
        limiter.acquire(GET_ONE, within=5)


def test_two_accounts_do_not_share_a_budget(valkey: redis.Redis) -> None:
    _impatient(valkey, key="sk_test_a").acquire(GET_ONE, within=0)

    _impatient(valkey, key="sk_test_b").acquire(GET_ONE, within=0)


def test_redis_keys_never_contain_the_stripe_key(valkey: redis.Redis) -> None:
    _impatient(valkey, key="sk_test_secret").acquire(GET_ONE, within=0)

    assert all(b"secret" not in key for key in valkey.scan_iter())


def test_a_429_slows_the_whole_fleet(valkey: redis.Redis, logs: list[Any]) -> None:
    one, other = _impatient(valkey), _impatient(valkey)

    one.slow_down(ACCOUNT, reason="global-rate")
    other.slow_down(ACCOUNT, reason="global-rate")  # a request that was in flight
    other.acquire(GET_ONE, within=0)

    assert _wait_of_next(other) == pytest.approx(20, abs=1)
    assert [(line["event"], line["scope"], line["share"]) for line in logs] == [("rate.slowed", ACCOUNT, 0.5)]


def test_a_429_for_one_operation_slows_no_other(valkey: redis.Redis) -> None:
    limiter = _impatient(valkey, account_per_second=1e6, operation_per_second=0.1)

    limiter.slow_down(GET_ONE, reason="endpoint-rate")
    limiter.acquire(GET_ONE, within=1, reserved=True)
    limiter.acquire(GET_LIST, within=1, reserved=True)

    assert _wait_of_next(limiter, GET_ONE) == pytest.approx(20, abs=1)
    assert _wait_of_next(limiter, GET_LIST) == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("seconds_later", "spacing", "expected"), [(4, 20, []), (20, 10 / 0.75, []), (36, 10, ["rate.restored"])]
)
def test_the_rate_recovers_gradually(
    valkey: redis.Redis, logs: list[Any], seconds_later: int, spacing: float, expected: list[str]
) -> None:
    limiter, other = _impatient(valkey), _impatient(valkey)
    limiter.slow_down(ACCOUNT, reason="global-rate")
    [slow] = valkey.scan_iter("*slow*")
    valkey.hincrby(slow, "since", -seconds_later * 1_000_000)

    limiter.acquire(GET_ONE, within=0)

    assert _wait_of_next(other) == pytest.approx(spacing, abs=1)
    assert [line["event"] for line in logs[1:]] == expected


def test_the_rate_never_falls_to_zero(valkey: redis.Redis) -> None:
    limiter = _impatient(valkey, account_per_second=1)

    for _ in range(8):
        limiter.slow_down(ACCOUNT, reason="global-rate")
        [slow] = valkey.scan_iter("*slow*")
        valkey.hincrby(slow, "since", -2_000_000)
    limiter.acquire(GET_ONE, within=0)

    assert _wait_of_next(limiter) == pytest.approx(16, abs=1)


def test_without_redis_a_process_keeps_to_a_safe_share_and_logs_it_once(
    clock: Clock, logs: list[Any], tmp_path: Path
) -> None:
    client = shared_client(f"redis+socket://{tmp_path / 'none'}")
    limiter = RateLimiter(client, key="k", account_per_second=100, clock=clock, sleep=clock.sleep)

    places = [limiter.acquire(GET_ONE, within=60, reserved=True) for _ in range(26)]

    assert places[-1] - places[0] == pytest.approx(10)  # a tenth of the 25 requests per second of an operation
    assert [line["event"] for line in logs] == ["limiter.isolated"]


def test_the_share_of_a_process_is_at_least_one_per_second(clock: Clock) -> None:
    limiter = RateLimiter(None, key="k", account_per_second=2, clock=clock, sleep=clock.sleep)

    places = [limiter.acquire(GET_ONE, within=60, reserved=True) for _ in range(4)]

    assert places[-1] - places[0] == pytest.approx(3)


def test_the_budget_is_shared_again_once_redis_is_back(
    clock: Clock, logs: list[Any], tmp_path: Path, valkey: redis.Redis, valkey_socket: Path
) -> None:
    client = shared_client(f"unix://{tmp_path / 's'}")
    limiter = RateLimiter(client, key="k", account_per_second=100, clock=clock, sleep=clock.sleep)
    limiter.acquire(GET_ONE, within=1)

    (tmp_path / "s").symlink_to(valkey_socket)
    clock.advance(REDIS_PAUSE_SECONDS)
    limiter.acquire(GET_ONE, within=1)

    assert [line["event"] for line in logs] == ["limiter.isolated", "limiter.rejoined"]
    assert list(valkey.scan_iter())
    assert client is not None
    client.close()


def test_a_process_without_redis_slows_down_and_recovers_too(clock: Clock, logs: list[Any]) -> None:
    limiter = RateLimiter(None, key="k", account_per_second=10, clock=clock, sleep=clock.sleep)
    limiter.slow_down(ACCOUNT, reason="global-rate")
    limiter.slow_down(ACCOUNT, reason="global-rate")

    def spacing() -> float:
        first = limiter.acquire(GET_ONE, within=60, reserved=True)
        return limiter.acquire(GET_ONE, within=60, reserved=True) - first

    assert spacing() == pytest.approx(2)
    clock.advance(60)
    assert spacing() == pytest.approx(1)
    assert [line["event"] for line in logs] == ["limiter.isolated", "rate.slowed"]


@pytest.mark.parametrize("make", [lambda client: _impatient(client), lambda _: _impatient(None)])
def test_a_caller_whose_deadline_has_passed_takes_no_place(
    make: Callable[[redis.Redis], RateLimiter], valkey: redis.Redis
) -> None:
    limiter = make(valkey)

    with pytest.raises(RateLimited):
        limiter.acquire(GET_ONE, within=-1)

    limiter.acquire(GET_ONE, within=0)


def test_a_url_of_redis_sentinel_gives_no_shared_budget() -> None:
    assert shared_client("sentinel://127.0.0.1:26379/0") is None
