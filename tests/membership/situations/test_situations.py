"""Each situation ends as computed by hand, whether delivered in order or shuffled, repeated and in random batches."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from tests.backends import Backend
from tests.factories import DAY, Json
from tests.membership.situations import changes, purchases, starts
from tests.membership.situations.life import T0, Situation

Apply = Callable[..., None]
SITUATIONS = pytest.mark.parametrize(
    "situation", [*changes.SITUATIONS, *starts.SITUATIONS, *purchases.SITUATIONS], ids=lambda situation: situation.name
)


@pytest.fixture(scope="module")
def _connection(backend: Backend, template: str) -> Iterator[psycopg.Connection]:
    name = f"situations_{os.getpid()}"
    with psycopg.connect(backend.create_database(name, template=template), autocommit=True) as connection:
        yield connection
    backend.drop_database(name)


@pytest.fixture
def conn(_connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A connection in a transaction that is rolled back, because a database for each situation would take too long."""
    with _connection.transaction(force_rollback=True):
        yield _connection


def outcome(conn: psycopg.Connection) -> dict[str, Any]:
    """Return the user's state, with the day of the next change."""
    row = conn.execute(
        """
        select tokens, role::text, membership_status::text, stripe_product_id, extract(epoch from due_at)
        from users left join sync.next_changes on user_id = id
        where id = 'jenny'
        """
    ).fetchone()
    assert row is not None
    actual = dict(zip(("tokens", "role", "membership_status", "stripe_product_id", "next_change"), row, strict=True))
    due = actual["next_change"]
    return actual | {"next_change": None if due is None else round((float(due) - T0) / DAY, 2)}


def faults(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Return the events that are not done, and the last row of the ledger if it differs from the balance."""
    return conn.execute(
        """
        select id, last_error from sync.events where status <> 'done'
        union all
        select source_key, balance_after::text
        from (select * from sync.token_grants order by id desc limit 1) as g
        where not exists (select from users where tokens <= g.balance_after)
        """
    ).fetchall()


def play(
    conn: psycopg.Connection, apply: Apply, situation: Situation, batches: Callable[[Sequence[Json]], Any]
) -> None:
    conn.execute("insert into users (id) values ('jenny')")
    for phase in situation.phases:
        if isinstance(phase, int):
            conn.execute("select consume_tokens('jenny', %s)", (phase,))
            continue
        for batch in batches(phase):
            apply(*batch, policy=situation.policy)


@SITUATIONS
def test_a_situation_ends_as_computed_by_hand(conn: psycopg.Connection, apply: Apply, situation: Situation) -> None:
    play(conn, apply, situation, lambda phase: [[event] for event in phase])

    actual = outcome(conn)
    assert {name: actual[name] for name in situation.expected} == dict(situation.expected)
    assert faults(conn) == []


@pytest.mark.parametrize("seed", [1, 2])
@SITUATIONS
def test_a_situation_ends_the_same_with_shuffled_and_repeated_events(
    conn: psycopg.Connection, apply: Apply, situation: Situation, seed: int
) -> None:
    chosen = random.Random(f"{seed} {situation.name}")

    def batches(phase: Sequence[Json]) -> list[list[Json]]:
        events = [*phase, *phase]
        chosen.shuffle(events)
        cuts = sorted(chosen.sample(range(len(events) + 1), k=min(len(events), 6)))
        return [events[start:end] for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True) if start < end]

    play(conn, apply, situation, batches)

    actual = outcome(conn)
    assert {name: actual[name] for name in situation.expected} == dict(situation.expected)
    assert faults(conn) == []
