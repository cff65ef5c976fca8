"""The daemon grants and takes the tokens that each story of the sandbox expects. Daemon and sandbox share no code."""

import time
from typing import Any

import psycopg
import pytest

from tests.factories import Json, encoded
from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.writers import refetch
from worker.writers.apply import Applier, compute_waiting

DAY = 24 * 3600
# Balances add up, so that the sum of the expectations is the balance.
POLICY = Policy(tokens_reset=False)

Scene = tuple[float, str, dict[str, Any]]
SIGN_UP: Scene = (0, "sign_up", {"price": "starter_monthly"})
PRO: Scene = (0, "sign_up", {"price": "pro_monthly"})
YEAR: Scene = (0, "sign_up", {"price": "starter_yearly"})

STORIES: dict[str, list[Scene]] = {
    "switch to a year": [SIGN_UP, (10, "switch_interval", {})],
    "switch to a month": [YEAR, (10, "switch_interval", {"price": "starter_monthly"})],
    "upgrade, always_invoice": [SIGN_UP, (10, "upgrade", {})],
    "upgrade, create_prorations": [SIGN_UP, (10, "upgrade", {"proration": "create_prorations"})],
    "upgrade, none": [SIGN_UP, (10, "upgrade", {"proration": "none"})],
    "upgrade of a year": [YEAR, (10, "upgrade", {"price": "pro_yearly"})],
    "upgrade that is not paid": [SIGN_UP, (10, "upgrade", {"payment": "fails"})],
    "upgrade from free": [(0, "free_plan", {}), (10, "upgrade", {"price": "starter_monthly"})],
    "more seats": [SIGN_UP, (10, "seats", {"quantity": 5})],
    "add-on": [SIGN_UP, (10, "addon", {})],
    "add-on of a year": [YEAR, (10, "addon", {"price": "extra_yearly"})],
    "add-on of another interval": [SIGN_UP, (10, "addon", {"price": "extra_yearly"}), (15, "drop_addon", {})],
    "end of a trial": [(0, "trial", {}), (5, "trial_end_now", {})],
    "end of a trial that is not paid": [(0, "trial", {}), (5, "trial_end_now", {"payment": "fails"})],
    "set-up fee": [(0, "setup_fee", {})],
    "stub": [(0, "stub", {"days": 20})],
    "stub without a flag": [(0, "stub", {"days": 20, "flagged": False})],
    "pack": [SIGN_UP, (10, "add_pack", {"alone": True})],
    "credit note": [PRO, (10, "credit_note", {"amount": 1450})],
    "credit note with a refund": [PRO, (10, "credit_note", {"amount": 1450, "how": "refund"})],
    "lifetime": [(0, "lifetime", {})],
    "lifetime by invoice, given back": [(0, "lifetime", {"by_invoice": True}), (1, "credit_note", {})],
    "guest": [(0, "guest_checkout", {"quantity": 2})],
    "no cost": [(0, "no_cost", {})],
    "no cost, by invoice": [(0, "no_cost", {"by_invoice": True})],
    "three refunds": [PRO, *((day, "refund", {"amount": n}) for day, n in ((1, 967), (2, 967), (3, 966)))],
    "refund and dispute": [PRO, (1, "refund", {"amount": 1450}), (2, "dispute", {})],
    "refund of two grants": [
        (0, "sign_up", {"price": "pro_monthly", "extras": ["extra_monthly"]}),
        (1, "refund", {"amount": 700}),
    ],
}


def play(sandbox: Sandbox, scenes: list[Scene]) -> tuple[list[Json], Json]:
    """Play the scenes, beginning 24 days ago. Return their events, and the state that the sandbox expects after the last one."""
    begin, events = int(time.time()) - 24 * DAY, list[Json]()
    for day, name, params in scenes:
        sandbox.tell("clock", now=begin + round(day * DAY), frozen=True)
        ids = [event["id"] for event in sandbox.tell(f"stories/{name}", user_id="ada", **params)["events"]]
        events += [sandbox.get(f"/v1/events/{id}") for id in ids]
    sandbox.tell("clock", now=int(time.time()), frozen=True)
    return events, sandbox.ask("expected?user_id=ada")


@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_as_expected(sandbox: Sandbox, stripe: Stripe, conn: psycopg.Connection, name: str) -> None:
    conn.execute("insert into users (id) values ('ada')")
    events, expected = play(sandbox, STORIES[name])

    inbox.store(conn, [read_envelope(encoded(event).decode()) for event in events])
    Applier(livemode=False, policy=POLICY, has_key=True).drain(conn)
    conn.execute("update sync.refetch_queue set due_at = now()")
    refetch.drain(conn, stripe, POLICY, should_continue=lambda: True)
    compute_waiting(conn, POLICY)

    tokens, role = conn.execute("select tokens, role::text from users").fetchone() or (None, None)
    granted = sum(grant["tokens"] for grant in expected["grants"])
    taken = sum(back["tokens"] for back in expected["clawbacks"])
    assert (tokens, role) == (granted - taken, expected["role"])
