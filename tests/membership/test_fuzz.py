"""Signed events with impossible numbers, ids and metadata are all applied, and no user's tokens become wrong."""

import os
import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.membership import mutations
from tests.membership.situations import changes, purchases, starts
from tests.membership.situations.life import Situation

# More lives by hand: TEST_FUZZ=2000 ./run pytest tests/membership/test_fuzz.py
LIVES = int(os.environ.get("TEST_FUZZ", "100"))
SITUATIONS = (*changes.SITUATIONS, *starts.SITUATIONS, *purchases.SITUATIONS)


def _faults(conn: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Return the events that are not done, and every error in a balance."""
    return conn.execute(
        """
        select id, coalesce(last_error, status) from sync.events where status <> 'done'
        union all
        select id, 'balance ' || tokens from users where tokens < 0
        union all
        select source_key, 'a balance below 0' from sync.token_grants where balance_after < 0 or balance_before < 0
        union all
        select u.id, 'row ' || u.tokens || ', ledger ' || g.balance_after
        from users as u
        join lateral (
            select balance_after from sync.token_grants where user_id = u.id order by id desc limit 1
        ) as g on g.balance_after <> u.tokens
        union all
        select g.source_key, 'lots do not add up to ' || g.balance_after
        from sync.token_grants as g
        where g.kind <> 'expiry' and g.lots <> 'null' and g.balance_after <> (
            select coalesce(sum((lot->>'left')::numeric), 0) from jsonb_array_elements(g.lots) as lot
        )
        union all
        select user_id, 'not computed' from sync.next_changes as n
        where due_at < now() + interval '1 hour' and due_at > now() + interval '59 minutes'
        """
    ).fetchall()


def _live(
    conn: psycopg.Connection, apply: Callable[..., None], situation: Situation, chosen: random.Random
) -> list[str]:
    """Play the life with mutations, in random order and batches, and return the mutations."""
    events = [event for phase in situation.phases if not isinstance(phase, int) for event in phase]
    mutated, changes = mutations.mutate(events, chosen, chosen.choice((1, 1, 2, 5, 20)))
    # In some lives the unmutated events are applied too.
    everything = [*mutated, *(events if chosen.random() < 0.3 else [])]
    if chosen.random() < 0.5:
        chosen.shuffle(everything)
    size = chosen.randint(1, len(everything))
    conn.execute("insert into users (id) values ('jenny')")
    for start in range(0, len(everything), size):
        apply(*everything[start : start + size], policy=situation.policy)
    return changes


@pytest.mark.parametrize("seed", range(LIVES // 20))
def test_no_number_id_or_metadata_prevents_computing_a_user(
    conn: psycopg.Connection, apply: Callable[..., None], seed: int
) -> None:
    chosen = random.Random(f"fuzz {seed}")
    for _ in range(20):
        with conn.transaction(force_rollback=True):
            situation = chosen.choice(SITUATIONS)

            changes = _live(conn, apply, situation, chosen)

            assert _faults(conn) == [], (situation.name, changes)
