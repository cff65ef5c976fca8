"""A missing object is rechecked until no transaction can still be writing it."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.processes import eventually
from worker.membership.rules.access import Policy
from worker.membership.store import rechecks, recompute_queue
from worker.membership.store.rechecks import Look
from worker.stripe_api.event import ObjectRef
from worker.writers.apply import compute_waiting


@pytest.fixture
def other(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


def waiting(conn: psycopg.Connection) -> list[ObjectRef]:
    return [ObjectRef(*row) for row in conn.execute("select object, id from sync.rechecks order by 1, 2")]


MISSED = [ObjectRef("invoice", "in_1"), ObjectRef("user", "jenny")]


def test_the_last_recheck_waits_for_concurrent_writers(conn: psycopg.Connection, other: psycopg.Connection) -> None:
    with other.transaction():
        other.execute("insert into users (id) values ('somebody')")
        rechecks.note(conn, MISSED)
        in_time = compute_waiting(conn, Policy())
        meanwhile = waiting(conn)

    # The server may have a transaction of its own running.
    eventually(lambda: compute_waiting(conn, Policy()))

    assert (in_time, meanwhile) == (False, MISSED)
    assert waiting(conn) == []


def test_a_recheck_requested_again_starts_over(conn: psycopg.Connection, other: psycopg.Connection) -> None:
    with other.transaction():
        other.execute("insert into users (id) values ('somebody')")
        rechecks.note(conn, MISSED[:1])
        compute_waiting(conn, Policy())
    looks = conn.execute("select object, id, horizon from sync.rechecks").fetchall()
    with conn.transaction():
        rechecks.note(other, MISSED[:1])
        rechecks.done(conn, [Look(*look) for look in looks])

    assert [horizon is not None for _, _, horizon in looks] == [True]
    assert waiting(conn) == MISSED[:1]


def test_only_one_worker_rechecks_at_a_time(conn: psycopg.Connection, other: psycopg.Connection) -> None:
    rechecks.note(conn, MISSED)

    with other.transaction():
        rechecks.due(other, limit=1)
        done = compute_waiting(conn, Policy())

    assert (done, waiting(conn)) == (False, MISSED)


def test_a_horizon_from_another_cluster_does_not_block_rechecks(conn: psycopg.Connection) -> None:
    conn.execute("insert into sync.rechecks (object, id, horizon) values ('user', 'jenny', 1000000000000)")

    assert compute_waiting(conn, Policy())
    assert waiting(conn) == []


def test_a_repeated_request_is_not_taken_before_its_transaction_commits(
    conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    recompute_queue.request(conn, ["cus_1", "cus_2"])

    with other.transaction():
        recompute_queue.request(other, ["cus_2"])
        before = recompute_queue.take(conn, limit=10)
    after = recompute_queue.take(conn, limit=10)

    assert (before, after) == (["cus_1"], ["cus_2"])
