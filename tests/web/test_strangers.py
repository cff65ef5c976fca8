"""Strangers who hold connections open cannot delay Stripe's events. The real web process gets half-sent requests."""

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests import factories
from tests.backends import Backend
from tests.processes import Daemon, deliver
from worker.web.webhook import Budget, Refused

pytestmark = pytest.mark.system

BODY_SECONDS = 10
ENDED_SECONDS = 40


@pytest.fixture
def web(backend: Backend, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    database = backend.create_database("strangers", template=template)
    daemon = Daemon(database, backend.redis_url, tmp_path_factory.mktemp("logs"))
    daemon.start_web()
    yield daemon
    daemon.stop()
    backend.drop_database("strangers")


@contextlib.contextmanager
def connections(web: Daemon, number: int, send: Callable[[int], bytes]) -> Iterator[list[socket.socket]]:
    """Open `number` connections. Each sends its bytes and then stalls."""
    opened: list[socket.socket] = []
    try:
        for n in range(number):
            opened.append(socket.create_connection(("127.0.0.1", web.port), timeout=30))
            opened[-1].sendall(send(n))
        yield opened
    finally:
        for each in opened:
            each.close()


def headers(*, length: int, signature: str | None) -> bytes:
    signed = f"stripe-signature: {signature}\r\n" if signature else ""
    return (
        f"POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{signed}"
        f"content-length: {length}\r\n\r\n"
    ).encode()


def fresh() -> str:
    """A forged signature with the current time. A stranger can make no better one."""
    return f"t={int(time.time())},v1={'0' * 64}"


def status_of(connection: socket.socket) -> int:
    connection.settimeout(30)
    return int(connection.recv(64).split()[1])


def deliver_one(web: Daemon, number: int) -> int:
    body = factories.encoded(factories.event("customer.created", factories.customer(), id=f"evt_signed_{number}"))
    with web.connection() as connection:
        return deliver(connection, body)[0]


@dataclass(frozen=True, slots=True)
class Ended:
    """The server's answers to the strangers (None: closed without one), and the most memory meanwhile, in bytes."""

    answers: list[int | None]
    most_memory: int


def deliver_until_all_are_ended(web: Daemon, strangers: list[socket.socket], *, more: bytes = b"") -> Ended:
    """Deliver signed events until the server has closed the connections of all strangers, who send `more` meanwhile."""
    received = dict.fromkeys(strangers, b"")
    waiting, most, slowest, started = set(strangers), 0, 0.0, time.monotonic()
    for number in itertools.count():
        sent = time.monotonic()
        assert deliver_one(web, number) == 200
        slowest = max(slowest, time.monotonic() - sent)
        most = max(most, memory(web))
        for each in list(waiting):
            each.setblocking(False)
            try:
                if answer := each.recv(1024):
                    received[each] += answer
                else:
                    waiting.remove(each)
            except BlockingIOError:
                with contextlib.suppress(OSError):
                    each.send(more)
            except ConnectionError:
                waiting.remove(each)
        took = time.monotonic() - started
        if not waiting:
            break
        assert took < ENDED_SECONDS, f"{len(waiting)} strangers are still connected"
    print(f"{number + 1} signed events, the slowest {slowest:.3f} s; all strangers ended after {took:.1f} s")
    # A server that first ends the strangers, and then answers, takes longer.
    assert slowest < BODY_SECONDS - 1
    return Ended([int(each.split()[1]) if each else None for each in received.values()], most)


def memory(web: Daemon) -> int:
    """The memory of all web processes, in bytes."""
    total = 0
    for pid in _family(web.processes[0].pid):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/statm") as statm:
            total += int(statm.read().split()[1]) * 4096
    return total


def _family(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            return [pid, *(each for child in children.read().split() for each in _family(int(child)))]
    except FileNotFoundError:
        return [pid]


@pytest.mark.parametrize("signature", [None, "t=1,v1=00"])
def test_a_body_without_a_recent_signature_is_refused_before_it_arrives(web: Daemon, signature: str | None) -> None:
    with connections(web, 1, lambda _: headers(length=4_000_000, signature=signature)) as (only,):
        assert status_of(only) == 400


def test_stalled_bodies_are_ended_and_signed_events_are_stored_meanwhile(web: Daemon) -> None:
    half = b"x" * 1_000_000
    before = memory(web)

    with connections(web, 300, lambda _: headers(length=4_000_000, signature=fresh()) + half) as stalled:
        ended = deliver_until_all_are_ended(web, stalled)

    assert set(ended.answers) <= {408, 503}
    assert 408 in ended.answers
    assert ended.most_memory - before < 250_000_000


def test_two_thousand_half_sent_headers_delay_no_signed_event(web: Daemon) -> None:
    with connections(web, 2000, lambda _: b"POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\n") as stalled:
        ended = deliver_until_all_are_ended(web, stalled)

    assert set(ended.answers) <= {None, 408}


def test_trickling_bodies_are_ended(web: Daemon) -> None:
    with connections(web, 200, lambda _: headers(length=4_000_000, signature=fresh())) as slow:
        started = time.monotonic()
        ended = deliver_until_all_are_ended(web, slow, more=b"x")
        took = time.monotonic() - started

    assert set(ended.answers) == {408}
    assert took >= BODY_SECONDS - 1


def test_the_budget_leaves_room_for_small_bodies_beside_large_ones() -> None:
    budget = Budget(most=100)
    budget.take(75, is_large=True)

    with pytest.raises(Refused):
        budget.take(1, is_large=True)
    budget.take(25, is_large=False)
    with pytest.raises(Refused):
        budget.take(1, is_large=False)
    budget.give_back(25)

    assert budget.held == 75
