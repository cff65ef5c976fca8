"""Calls for changes arrive at least once and in order per user, whatever happens to the sender and the receiver."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.factories import Json
from tests.membership.delivery.receiver import Receiver, receiving
from tests.membership.delivery.sending import PACE, sender
from tests.processes import eventually
from worker.config.backoff import Backoff
from worker.membership import by_hand
from worker.membership.delivery import address, store
from worker.membership.delivery.sender import THREADS, Pace
from worker.membership.rules.access import Policy

USERS = 40


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    with receiving() as both:
        yield both


def write(conn: psycopg.Connection, number: int, users: int = USERS) -> None:
    """Write this many changes, spread over users, a few per transaction. One more user never changes."""
    conn.execute(
        "insert into users (id) select 'u' || n from generate_series(0, %s) as n on conflict do nothing", (users,)
    )
    for begin in range(0, number, 100):
        conn.execute(
            """
            insert into sync.change_drafts (user_id, type, before, after, reason)
            select 'u' || n %% %s, 'features.changed', '{"tokens": 0}', jsonb_build_object('tokens', n), 'entitled'
            from generate_series(%s::int, %s::int) as n
            """,
            (users, begin, min(begin + 100, number) - 1),
        )


def all_ids(conn: psycopg.Connection) -> dict[str, list[int]]:
    by_user: dict[str, list[int]] = {}
    for user, id_ in conn.execute("select user_id, id from sync.changes order by id"):
        by_user.setdefault(user, []).append(id_)
    return by_user


class Running:
    """A sender in a thread of this process."""

    def __init__(self, database: str, url: str, pace: Pace = PACE) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=sender(database, url, pace).run, args=(lambda: not self._stopping.is_set(),), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def running(database: str, receiver: tuple[Receiver, str]) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(url: str = receiver[1], pace: Pace = PACE) -> Running:
        made.append(Running(database, url, pace))
        return made[-1]

    yield start
    for each in made:
        each.stop()


def backlog(conn: psycopg.Connection) -> tuple[int, int]:
    numbers = store.backlog(conn)
    return numbers["changes_pending"], numbers["changes_parked"]


def test_a_call_is_signed_with_every_secret_and_says_what_changed(
    conn: psycopg.Connection, receiver: tuple[Receiver, str], running: Callable[..., Running]
) -> None:
    conn.execute("insert into users (id) values ('jenny')")
    with conn.transaction():
        by_hand.override_feature(conn, "jenny", "beta", Policy(), until=None, note=None)
    running()
    eventually(lambda: receiver[0].calls)

    ((id_, body),) = receiver[0].calls
    (change,) = store.after(conn, 0, limit=10)
    before: Json = {
        "role": "USER",
        "membership_status": "ACTIVE",
        "stripe_product_id": None,
        "features": [],
        "tokens": 0,
    }
    assert (id_, body) == (
        change.id,
        {
            "type": "features.changed",
            "timestamp": change.timestamp,
            "data": {
                "user_id": "jenny",
                "before": before,
                "after": before | {"features": ["beta"]},
                "reason": "override",
            },
        },
    )


def test_a_refused_change_delays_only_its_own_user_and_is_parked(
    conn: psycopg.Connection, receiver: tuple[Receiver, str], running: Callable[..., Running]
) -> None:
    taken, _ = receiver
    taken.refuses = "u1"
    write(conn, 12, users=3)
    running(pace=Pace(attempts=2, away_after=100, idle=0.02, backoff=Backoff(first=0.01, longest=0.01)))
    eventually(lambda: backlog(conn) == (0, 4))

    assert taken.users == {user: ids for user, ids in all_ids(conn).items() if user != "u1"}
    parked = store.parked(conn, limit=10)
    assert {(row["user_id"], row["attempts"], row["error"]) for row in parked} == {
        ("u1", 2, "the receiver answered 500")
    }
    taken.refuses = ""
    assert store.resend(conn, parked=True) == 4
    eventually(lambda: backlog(conn) == (0, 0))
    assert taken.users == all_ids(conn)


def test_a_redirect_is_not_followed(
    conn: psycopg.Connection, receiver: tuple[Receiver, str], running: Callable[..., Running]
) -> None:
    receiver[0].status = 302
    write(conn, 1)
    running(pace=Pace(attempts=1, idle=0.02))

    eventually(lambda: backlog(conn) == (0, 1))
    assert store.parked(conn, limit=1)[0]["error"] == "the receiver answered 302"


def test_changes_wait_visibly_while_no_sender_runs(
    conn: psycopg.Connection, receiver: tuple[Receiver, str], running: Callable[..., Running]
) -> None:
    write(conn, 3)
    conn.execute("update sync.changes set created_at = now() - id * interval '1 hour'")

    numbers = store.backlog(conn)

    assert (numbers["changes_pending"], numbers["changes_parked"]) == (3, 0)
    assert 3600 <= numbers["oldest_pending_change_seconds"] < 3700
    running()
    eventually(lambda: backlog(conn) == (0, 0))
    assert len(receiver[0].calls) == 3


def test_changes_older_than_the_receiver_are_not_sent(
    conn: psycopg.Connection, receiver: tuple[Receiver, str], running: Callable[..., Running]
) -> None:
    write(conn, 5)
    store.skip_all(conn)
    running()
    write(conn, 1, users=1)

    eventually(lambda: receiver[0].calls)
    assert receiver[0].ids == [store.last_id(conn)]
    assert store.resend(conn, since=0) == 6
    eventually(lambda: len(receiver[0].calls) == 7)


def test_a_dead_receiver_is_called_rarely_and_changes_stay_in_the_database(
    conn: psycopg.Connection, receiver: tuple[Receiver, str], running: Callable[..., Running]
) -> None:
    taken, _ = receiver
    taken.status = 503
    write(conn, 400, users=200)
    running(
        pace=Pace(
            away_after=3, idle=0.01, away=Backoff(first=3600, longest=3600), backoff=Backoff(first=0.01, longest=1)
        )
    )
    tried = "select count(*) from sync.change_deliveries where attempts > 0"
    # Each thread had one call in flight when the third call failed.
    eventually(lambda: conn.execute(tried).fetchone() == (THREADS,))

    time.sleep(0.3)

    assert conn.execute(tried).fetchone() == (THREADS,)
    assert taken.refused == THREADS
    assert backlog(conn) == (400, 0)


@pytest.mark.parametrize(
    ("resolved", "is_public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        *(
            (each, False)
            for each in (
                "127.0.0.1", "10.0.0.8", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
                "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:10.0.0.8",
                "64:ff9b::a00:8", "2002:a00:8::1", "2001:db8::1", "nonsense",
            )
        ),
    ],
)  # fmt: skip
def test_a_private_address_is_refused_in_every_notation(resolved: str, is_public: bool) -> None:
    assert address.is_public(resolved) is is_public


def test_a_host_name_with_a_private_address_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [(2, 1, 6, "", ("10.0.0.8", 443)), (2, 1, 6, "", ("93.184.216.34", 443))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: answers)
    # If a host has several addresses, the call goes to a public one.
    assert address.resolve("https://app.example.com/hook", allow_private=False).address == "93.184.216.34"

    del answers[1]
    with pytest.raises(address.AddressRefused, match=r"10\.0\.0\.8.*CHANGES_ALLOW_PRIVATE"):
        address.resolve("https://app.example.com/hook", allow_private=False)
    assert address.resolve("https://app.example.com/hook", allow_private=True).address == "10.0.0.8"
