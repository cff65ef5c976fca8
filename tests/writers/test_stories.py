"""The daemon grants and takes the tokens that each story of the sandbox expects. Daemon and sandbox share no code."""

import time
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg
import pytest

from sandbox.periods import period_end
from tests.factories import Json, encoded
from tests.sandboxes import Sandbox
from worker.inbox import store as inbox
from worker.membership.rules.access import Policy
from worker.stripe_api.client import Stripe
from worker.stripe_api.envelope import read_envelope
from worker.writers import refetch
from worker.writers.apply import Applier, compute_waiting

DAY = 24 * 3600

Scene = tuple[float, str, dict[str, Any]]
SIGN_UP: Scene = (0, "sign_up", {"price": "starter_monthly"})
PRO: Scene = (0, "sign_up", {"price": "pro_monthly"})
YEAR: Scene = (0, "sign_up", {"price": "starter_yearly"})
# Bill the next month. The story moves the sandbox's clock to the beginning of that month.
RENEWAL: Scene = (20, "renewal", {})


class Left(NamedTuple):
    """The tokens at the end of a story with TOKEN_POLICY=reset, computed by hand.

    Their number is the sum of three parts. `whole` counts in full. Of each monthly allowance in `rest` only the share from
    day 10 to the end of the first month counts. Of the monthly allowance `stub` only 20 days count, out of the month that
    ends on day 20.
    """

    whole: int = 0
    rest: tuple[int, ...] = ()
    stub: int = 0

    def tokens(self, begin: int) -> int:
        month = period_end(begin, "month", 1, anchor=begin) - begin
        end = begin + 20 * DAY
        until = end - period_end(end, "month", -1, anchor=end)
        rest = (abs(of) * (month - 10 * DAY) // month * (1 if of > 0 else -1) for of in self.rest)
        return self.whole + sum(rest) + self.stub * 20 * DAY // until


# Each story's scenes, and the tokens that are left with TOKEN_POLICY=reset. With `add`, the sandbox says what is left.
STORIES: dict[str, tuple[list[Scene], Left]] = {
    "switch to a year": ([SIGN_UP, (10, "switch_interval", {})], Left(1000)),
    "switch to a month": ([YEAR, (10, "switch_interval", {"price": "starter_monthly"})], Left(1000)),
    "upgrade, always_invoice": ([SIGN_UP, (10, "upgrade", {})], Left(1000, rest=(-1000, 5000))),
    "upgrade, create_prorations": ([SIGN_UP, (10, "upgrade", {"proration": "create_prorations"})], Left(1000)),
    "upgrade, none": ([SIGN_UP, (10, "upgrade", {"proration": "none"})], Left(1000)),
    "upgrade of a year": ([YEAR, (10, "upgrade", {"price": "pro_yearly"})], Left(1000 - 666 + 3333)),
    "upgrade that is not paid": ([SIGN_UP, (10, "upgrade", {"payment": "fails"})], Left(1000)),
    "upgrade from free": ([(0, "free_plan", {}), (10, "upgrade", {"price": "starter_monthly"})], Left(1000)),
    "more seats": ([SIGN_UP, (10, "seats", {"quantity": 5})], Left(1000, rest=(-1000, 5000))),
    "add-on": ([SIGN_UP, (10, "addon", {})], Left(1000, rest=(100,))),
    "add-on of a year": ([YEAR, (10, "addon", {"price": "extra_yearly"})], Left(1000 + 100)),
    "add-on of another interval": (
        [SIGN_UP, (10, "addon", {"price": "extra_yearly"}), (15, "drop_addon", {})],
        Left(1000 + 100 - 83),
    ),
    "end of a trial": ([(0, "trial", {}), (5, "trial_end_now", {})], Left(5000)),
    "end of a trial that is not paid": ([(0, "trial", {}), (5, "trial_end_now", {"payment": "fails"})], Left(0)),
    "set-up fee": ([(0, "setup_fee", {})], Left(0)),
    "stub": ([(0, "stub", {"days": 20})], Left(stub=1000)),
    "stub without a flag": ([(0, "stub", {"days": 20, "flagged": False})], Left(stub=1000)),
    "pack": ([SIGN_UP, (10, "add_pack", {"alone": True})], Left(1000 + 500)),
    "credit note": ([PRO, (10, "credit_note", {"amount": 1450})], Left(2500)),
    "credit note with a refund": ([PRO, (10, "credit_note", {"amount": 1450, "how": "refund"})], Left(2500)),
    "lifetime": ([(0, "lifetime", {})], Left(0)),
    "lifetime by invoice, given back": ([(0, "lifetime", {"by_invoice": True}), (1, "credit_note", {})], Left(0)),
    "guest": ([(0, "guest_checkout", {"quantity": 2})], Left(2 * 500)),
    "no cost": ([(0, "no_cost", {})], Left(500)),
    "no cost, by invoice": ([(0, "no_cost", {"by_invoice": True})], Left(500)),
    "three refunds": ([PRO, *((day, "refund", {"amount": n}) for day, n in ((1, 967), (2, 967), (3, 966)))], Left(0)),
    "refund and dispute": ([PRO, (1, "refund", {"amount": 1450}), (2, "dispute", {})], Left(0)),
    "refund of two grants": (
        [
            (0, "sign_up", {"price": "pro_monthly", "extras": ["extra_monthly"]}),
            (1, "refund", {"amount": 700}),
        ],
        Left(5000 - 1093 + 100 - 21),
    ),
    "upgrade, anchor_now": ([SIGN_UP, (10, "upgrade", {"anchor_now": True})], Left(5000)),
    "upgrade, anchor_now, flagged": ([SIGN_UP, (10, "upgrade", {"anchor_now": True, "flagged": True})], Left(5000)),
    "renewal": ([SIGN_UP, RENEWAL], Left(1000)),
    "renewal after an upgrade, always_invoice": ([SIGN_UP, (10, "upgrade", {}), RENEWAL], Left(5000)),
    "renewal after an upgrade, create_prorations": (
        [SIGN_UP, (10, "upgrade", {"proration": "create_prorations"}), RENEWAL],
        Left(5000),
    ),
    "renewal after more seats": ([SIGN_UP, (10, "seats", {"quantity": 5}), RENEWAL], Left(5 * 1000)),
    "renewal after a stub": ([(0, "stub", {"days": 20}), RENEWAL], Left(1000)),
    "renewal after a pack": ([SIGN_UP, (10, "add_pack", {"alone": True}), RENEWAL], Left(1000 + 500)),
    "renewal with a pack": ([SIGN_UP, (10, "add_pack", {}), RENEWAL], Left(1000 + 500)),
    "renewal of an add-on": ([SIGN_UP, (10, "addon", {}), RENEWAL], Left(1000 + 100)),
    "renewal beside an add-on of a year": (
        [SIGN_UP, (10, "addon", {"price": "extra_yearly"}), RENEWAL],
        Left(1000 + 100),
    ),
    "renewal that is refunded by half": ([PRO, RENEWAL, (37, "refund", {"amount": 1450})], Left(2500)),
    "renewal that is not paid": ([SIGN_UP, (20, "past_due", {})], Left(1000)),
    "renewal that is paid late": ([SIGN_UP, (20, "past_due", {}), (37, "recovery", {})], Left(1000)),
}


def play(sandbox: Sandbox, scenes: list[Scene], begin: int) -> tuple[list[Json], Json]:
    """Play the scenes. Return their events, and the state that the sandbox expects after the last one."""
    events = list[Json]()
    for day, name, params in scenes:
        sandbox.tell("clock", now=begin + round(day * DAY), frozen=True)
        ids = [event["id"] for event in sandbox.tell(f"stories/{name}", user_id="ada", **params)["events"]]
        events += [sandbox.get(f"/v1/events/{id}") for id in ids]
    sandbox.tell("clock", now=int(time.time()), frozen=True)
    return events, sandbox.ask("expected?user_id=ada")


@pytest.mark.parametrize("is_reset", [False, True], ids=["add", "reset"])
@pytest.mark.parametrize("name", STORIES)
def test_a_story_ends_as_expected(
    sandbox: Sandbox, stripe: Stripe, conn: psycopg.Connection, name: str, is_reset: bool
) -> None:
    conn.execute("insert into users (id) values ('ada')")
    scenes, left = STORIES[name]
    # The story begins at midnight UTC. The present is within its first month or, after a renewal, within the second one.
    begin = int(time.time()) // DAY * DAY - (38 if name.startswith("renewal") else 24) * DAY
    policy = Policy(token_ttl=timedelta(days=60), tokens_reset=is_reset)
    events, expected = play(sandbox, scenes, begin)

    inbox.store(conn, [read_envelope(encoded(event).decode()) for event in events])
    Applier(livemode=False, policy=policy, has_key=True).drain(conn)
    conn.execute("update sync.refetch_queue set due_at = now()")
    refetch.drain(conn, stripe, policy, should_continue=lambda: True)
    compute_waiting(conn, policy)

    tokens, role = conn.execute("select tokens, role::text from users").fetchone() or (None, None)
    granted = sum(grant["tokens"] for grant in expected["grants"])
    taken = sum(back["tokens"] for back in expected["clawbacks"])
    assert (tokens, role) == (left.tokens(begin) if is_reset else granted - taken, expected["role"])
