"""A webhook secret of another Stripe account, configured beside ours, changes none of our data and is reported."""

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from tests import factories, sandboxes
from tests.backends import Backend
from tests.cli.conftest import Run, command_on
from tests.processes import sign
from tests.sandboxes import Sandbox
from worker.config.settings import Settings
from worker.inbox import store as inbox
from worker.inbox.endpoint import proof, sentinel
from worker.membership.rules.access import Policy
from worker.stripe_api.client import Stripe, fingerprint
from worker.web.verdicts import Verdicts
from worker.web.webhook import read
from worker.writers import audit
from worker.writers.apply import Applier

OURS, THEIRS = "whsec_ours", "whsec_theirs"
KEY = SecretStr(sandboxes.KEY)


class Door:
    """Store a delivery as the webhook endpoint does, and drain the inbox."""

    def __init__(
        self, conn: psycopg.Connection, settings: Settings, *secrets: str, key: SecretStr | None = KEY
    ) -> None:
        self.settings = settings.model_copy(
            update={"stripe_webhook_secret": tuple(map(SecretStr, secrets)), "stripe_secret_key": key}
        )
        self.conn, self.verdicts = conn, Verdicts(self.settings)
        self.verdicts.refresh(conn)

    def deliver(self, event: Any, secret: str) -> bool:
        """Store an event as if it was delivered a minute ago. Return False if the event is refused."""
        body = json.dumps(event).encode()
        secrets = list(self.settings.webhook_secrets)
        envelope = read(body, sign(body, secret=secret, timestamp=1000), secrets, now=1000)
        if self.verdicts.is_foreign(envelope.signed_by):
            return False
        self.conn.execute(inbox.INSERT, inbox.insert_parameters([envelope], self.verdicts.known))
        self.conn.execute(
            "update sync.events set received_at = now() - interval '1 minute' where id = %s", (event["id"],)
        )
        return True

    def judge(self, stripe: Stripe) -> None:
        proof.judge_all(self.conn, lambda: stripe)
        self.verdicts.refresh(self.conn)
        Applier(livemode=False, policy=Policy()).drain(self.conn)

    def outcomes(self) -> list[str]:
        rows = self.conn.execute("select coalesce(outcome, status) from sync.events order by received_at, id")
        return sorted(row[0] for row in rows)

    def customers(self) -> list[str]:
        return [row[0] for row in self.conn.execute("select id from stripe.customers where not deleted order by id")]


def event_of(sandbox: Sandbox, customer: str) -> Any:
    events = sandbox.get("/v1/events?limit=100")["data"]
    return next(event for event in events if event["data"]["object"]["id"] == customer)


@pytest.fixture
def run(backend: Backend, database: str) -> Run:
    return command_on(database, backend)


@pytest.fixture
def door(conn: psycopg.Connection, settings: Settings) -> Door:
    return Door(conn, settings, OURS, THEIRS)


def test_another_account_s_deliveries_are_never_applied_and_its_secret_is_named(
    conn: psycopg.Connection, door: Door, sandbox: Sandbox, stripe: Stripe
) -> None:
    ours = sandbox.post("/v1/customers", name="Ours")["id"]
    with sandboxes.running(seed=7) as other:
        theirs = other.post("/v1/customers", name="Theirs")["id"]
        foreign = event_of(other, theirs)
    assert door.deliver(event_of(sandbox, ours), OURS)
    assert door.deliver(foreign, THEIRS)
    assert door.outcomes() == ["held", "held"]

    door.judge(stripe)
    door.judge(stripe)

    assert door.customers() == [ours]
    assert door.outcomes() == ["other_account", "written"]
    assert not door.deliver({**foreign, "id": "evt_again"}, THEIRS)
    named = [problem for problem in sentinel.look(conn, stripe, door.settings) if problem.kind == "secret"]
    assert [fingerprint(THEIRS) in problem.detail for problem in named] == [True]


def test_an_audit_after_foreign_deliveries_deletes_nothing_and_doctor_names_the_secret(
    conn: psycopg.Connection, door: Door, sandbox: Sandbox, stripe: Stripe, run: Run
) -> None:
    ours = [sandbox.post("/v1/customers", name=f"Ours {number}")["id"] for number in range(3)]
    product = sandbox.post("/v1/products", id="pro", name="Ours")["id"]
    with sandboxes.running(seed=7) as other:
        other.post("/v1/products", id="pro", name="Theirs")
        other.post("/v1/products/pro", name="Theirs again")
        theirs = [other.post("/v1/customers", name=f"Theirs {number}")["id"] for number in range(30)]
        other.delete(f"/v1/products/{product}")
        foreign = other.get("/v1/events?limit=100")["data"]
    for event in sandbox.get("/v1/events?limit=100")["data"]:
        assert door.deliver(event, OURS)
    assert all(door.deliver(event, THEIRS) for event in foreign)

    door.judge(stripe)
    door.judge(stripe)
    for table in ("customers", "products", "objects"):
        conn.execute(f"update mirror.{table} set observed_at = observed_at - interval '1 hour'")
    slot = datetime(2026, 11, 22, tzinfo=UTC)
    assert audit.tick(conn, lambda: stripe, Policy(), slot, should_continue=lambda: True) is not None
    names = {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": sandbox.address}
    printed = run("doctor", **names, STRIPE_WEBHOOK_SECRET=f"{OURS},{THEIRS}").stdout

    assert door.customers() == sorted(ours)
    assert not set(theirs) & {row[0] for row in conn.execute("select id from stripe.customers")}
    assert conn.execute("select name, deleted from stripe.products").fetchall() == [("Ours", False)]
    assert conn.execute("select count(*) from stripe.other_objects where deleted").fetchone() == (0,)
    assert f"the webhook secret {fingerprint(THEIRS)} belongs to another Stripe account" in printed
    assert f"webhook secret 2 {' ' * 6}has the fingerprint {fingerprint(THEIRS)}" in printed


def test_our_own_new_secret_is_proven_by_its_first_event(door: Door, sandbox: Sandbox, stripe: Stripe) -> None:
    first, second = (sandbox.post("/v1/customers", name=name)["id"] for name in ("First", "Second"))
    door.deliver(event_of(sandbox, first), OURS)
    door.judge(stripe)

    door.deliver(event_of(sandbox, second), THEIRS)
    door.judge(stripe)

    assert door.customers() == sorted([first, second])
    assert set(door.verdicts.known.values()) == {"ours"}


def test_events_held_after_their_secret_was_judged_are_released(
    conn: psycopg.Connection, door: Door, sandbox: Sandbox, stripe: Stripe
) -> None:
    first, second = (sandbox.post("/v1/customers", name=name)["id"] for name in ("First", "Second"))
    door.deliver(event_of(sandbox, first), OURS)
    proof.judge_all(conn, lambda: stripe)
    door.deliver(event_of(sandbox, second), OURS)

    door.judge(stripe)

    assert door.customers() == sorted([first, second])


def test_events_that_cannot_be_read_back_are_applied_while_no_other_secret_is_proven(
    door: Door, stripe: Stripe
) -> None:
    door.deliver(factories.event("customer.created", factories.customer(id="cus_made_up")), THEIRS)

    door.judge(stripe)

    assert door.customers() == ["cus_made_up"]
    assert door.verdicts.known[fingerprint(THEIRS)] == "assumed"


def test_a_secret_bound_to_another_account_is_refused_and_one_bound_to_ours_needs_no_event(
    conn: psycopg.Connection, settings: Settings, sandbox: Sandbox, stripe: Stripe
) -> None:
    account = sandbox.get("/v1/account")["id"]
    door = Door(conn, settings, f"{OURS}@{account}", f"{THEIRS}@acct_another")

    door.judge(stripe)

    assert door.deliver(factories.event("customer.created", factories.customer(id="cus_1")), OURS)
    assert not door.deliver(factories.event("customer.created", factories.customer(id="cus_2")), THEIRS)


def test_events_of_a_single_secret_are_not_held(conn: psycopg.Connection, settings: Settings) -> None:
    door = Door(conn, settings, OURS)

    door.deliver(factories.event("customer.created", factories.customer(id="cus_1")), OURS)

    assert door.outcomes() == ["pending"]


def test_without_a_key_the_accounts_configured_with_the_secrets_decide_which_events_are_accepted(
    conn: psycopg.Connection, settings: Settings
) -> None:
    door = Door(conn, settings, f"{OURS}@acct_ours", f"{THEIRS}@acct_another", key=None)

    assert door.deliver(factories.event("customer.created", factories.customer(id="cus_1")), OURS)
    assert not door.deliver(factories.event("customer.created", factories.customer(id="cus_2")), THEIRS)
    assert door.outcomes() == ["pending"]
