"""Random lives end as the model predicts, however their events are shuffled, duplicated and batched."""

import os
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.factories import DAY, Json
from tests.membership.situations.life import T0
from tests.model import drawing, lives
from tests.model.model import Model
from worker.membership.rules.access import Policy

Apply = Callable[..., None]
# More and different lives: TEST_LIVES=3000 TEST_LIVES_SEED=a ./run pytest tests/model (about 0.3 s for each life)
LIVES = int(os.environ.get("TEST_LIVES", "80"))
SEED = os.environ.get("TEST_LIVES_SEED", "")
A_TEST = 20


def outcome(conn: psycopg.Connection) -> dict[str, Any]:
    """Return the state of the user, with the tokens left of the packs and of each item's allowance."""
    row = conn.execute("select tokens, role::text, membership_status::text, stripe_product_id from users").fetchone()
    assert row is not None
    lots = conn.execute(
        """
        select lot->>'owner', sum((lot->>'left')::bigint)::bigint
        from (select lots from sync.token_grants order by id desc limit 1) as g, jsonb_array_elements(g.lots) as lot
        group by 1 having sum((lot->>'left')::bigint) > 0
        """
    ).fetchall()
    parked = conn.execute("select id, last_error from sync.events where status <> 'done'").fetchall()
    return {
        **dict(zip(("tokens", "role", "status", "product"), row, strict=True)),
        "lots": dict(lots),
        "parked": parked,
    }


def expected(model: Model) -> dict[str, Any]:
    return {
        "tokens": model.tokens,
        "role": model.role,
        "status": model.status,
        "product": model.product,
        "lots": model.by_owner,
        "parked": [],
    }


def deliver(conn: psycopg.Connection, apply: Apply, events: list[Json], policy: Policy, chosen: random.Random) -> None:
    """Deliver the events in any order, some twice, in batches of any size."""
    shuffled = [*events, *chosen.sample(events, k=len(events) // 2)]
    chosen.shuffle(shuffled)
    while shuffled:
        size = chosen.choice((1, 2, 5, 50))
        batch, shuffled = shuffled[:size], shuffled[size:]
        apply(*batch, policy=policy)


def live(conn: psycopg.Connection, apply: Apply, seed: str, *, is_reset: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Play the life of this seed, and return the actual state and the state that the model expects."""
    chosen = random.Random(seed)
    life = drawing.draw(chosen)
    model = Model(prices=lives.PRICES, is_reset=is_reset, now=(time.time() - T0) / DAY)
    policy = Policy(token_ttl=timedelta(days=60), tokens_reset=is_reset)
    conn.execute("insert into users (id) values ('jenny')")
    for phase in drawing.events_of(life):
        if isinstance(phase, int):
            conn.execute("select consume_tokens('jenny', %s)", (phase,))
        else:
            deliver(conn, apply, phase, policy, chosen)
    model.play([happened for steps in life.phases for step in steps for happened in step.happened])
    wanted = expected(model)
    held = outcome(conn)
    if sum(held["lots"].values()) != held["tokens"]:
        # The lots in the ledger's newest row do not include tokens spent after that row.
        held["lots"] = wanted["lots"] = None
    return held, wanted


@pytest.mark.parametrize("number", range(LIVES // A_TEST))
@pytest.mark.parametrize("policy", ["reset", "add"])
def test_random_lives_end_as_the_model_says(conn: psycopg.Connection, apply: Apply, policy: str, number: int) -> None:
    for each in range(A_TEST):
        seed = f"{SEED}{policy} {number} {each}"
        with conn.transaction(force_rollback=True):
            held, wanted = live(conn, apply, seed, is_reset=policy == "reset")
            assert held == wanted, seed
