"""The sentinel against the sandbox: one run names every problem of the endpoint."""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.backends import Backend
from tests.cli.conftest import command_on
from tests.sandboxes import KEY, Sandbox
from worker.config.settings import Settings
from worker.inbox.endpoint import sentinel
from worker.inbox.endpoint.rules import Endpoint, lacking, ours
from worker.jobs import status
from worker.postgres import counters
from worker.stripe_api.answers import API_VERSION
from worker.stripe_api.client import Stripe

URL = "http://127.0.0.1:1/webhooks/stripe"
Look = Callable[[], list[str]]

_slots = itertools.count()


@pytest.fixture
def endpoint(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    made = sandbox.post("/v1/webhook_endpoints", **{"url": URL, "enabled_events[]": "*", "api_version": API_VERSION})
    yield made
    sandbox.delete(f"/v1/webhook_endpoints/{made['id']}")


@pytest.fixture
def look(conn: psycopg.Connection, stripe: Stripe, settings: Settings) -> Look:
    """Run a tick, and return the kinds of the problems that `status` shows after it."""

    def tick() -> list[str]:
        slot = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(minutes=next(_slots))
        sentinel.tick(conn, lambda: stripe, settings, slot)
        shown = status.status(conn)
        assert shown["endpoint_problems"] == len(shown["endpoint"])
        assert all(each["detail"] and each["fix"] for each in shown["endpoint"])
        return [each["kind"] for each in shown["endpoint"]]

    return tick


def changed(sandbox: Sandbox, endpoint: dict[str, Any], **form: str) -> None:
    sandbox.post(f"/v1/webhook_endpoints/{endpoint['id']}", **form)


def test_a_correct_or_repaired_endpoint_has_no_problem(sandbox: Sandbox, endpoint: dict[str, Any], look: Look) -> None:
    assert look() == []

    changed(sandbox, endpoint, disabled="true")
    assert look() == ["disabled"]

    changed(sandbox, endpoint, disabled="false")
    assert look() == []


def test_a_missing_endpoint_is_named(sandbox: Sandbox, look: Look) -> None:
    assert look() == ["missing"]


def test_event_types_that_are_not_selected_are_named(sandbox: Sandbox, endpoint: dict[str, Any], look: Look) -> None:
    every = [type_ for type_ in sentinel.required_types() if type_ not in ("*", "customer.subscription.updated")]
    changed(sandbox, endpoint, **{f"enabled_events[{number}]": type_ for number, type_ in enumerate(every)})

    assert look() == ["types"]


def test_an_endpoint_with_another_api_version_is_named(sandbox: Sandbox, look: Look) -> None:
    old = sandbox.tell("endpoints", url=URL, api_version="2024-06-20")

    kinds = look()

    sandbox.delete(f"/v1/webhook_endpoints/{old['id']}")
    assert kinds == ["version"]


@pytest.fixture
def destination(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    """An event destination of API v2, which is not in the list of webhook endpoints."""
    made = sandbox.tell("endpoints", id="ed_test_1", url=URL, api_version=API_VERSION)
    yield made
    sandbox.tell("reset", endpoints=True)


def test_a_destination_of_api_v2_is_an_endpoint_and_each_of_its_problems_is_named(
    sandbox: Sandbox, destination: dict[str, Any], look: Look, stripe: Stripe, settings: Settings
) -> None:
    assert sandbox.get("/v1/webhook_endpoints")["data"] == []
    assert look() == []

    sandbox.tell("endpoints", **destination | {"disabled": True})
    assert look() == ["disabled"]
    sandbox.tell("endpoints", **destination | {"enabled_events": ["customer.created"]})
    assert look() == ["types"]
    sandbox.tell("endpoints", **destination | {"api_version": "2024-06-20"})
    assert look() == ["version"]
    thin = [f"v1.{type_}" for type_ in sentinel.required_types() if type_ != "*"]
    sandbox.tell("endpoints", **destination | {"payload": "thin", "enabled_events": thin})
    assert look() == []
    sandbox.tell("endpoints", **destination | {"payload": "thin", "enabled_events": thin[1:]})
    assert look() == ["types"]


def test_destinations_are_read_to_the_last_page(sandbox: Sandbox, destination: dict[str, Any], stripe: Stripe) -> None:
    for number in range(2, 110):
        sandbox.tell("endpoints", id=f"ed_test_{number}", url="https://other.example/", enabled_events=["plan.created"])

    read = sentinel.read(stripe)

    assert read is not None
    assert len({endpoint.id for endpoint in read}) == 109
    assert [endpoint.id for endpoint in ours(read, URL)] == ["ed_test_1"]


def test_endpoint_check_names_a_disabled_destination_with_its_fix(
    sandbox: Sandbox, destination: dict[str, Any], backend: Backend, database: str
) -> None:
    names = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": sandbox.address, "STRIPE_WEBHOOK_SECRET": "whsec_test"}
    run = command_on(database, backend, **names)
    sound = run("endpoint", "check")
    sandbox.tell("endpoints", **destination | {"disabled": True})

    broken = run("endpoint", "check")

    assert (sound.returncode, sound.stdout) == (0, "The endpoint is in order.\n")
    assert broken.returncode == 1
    assert broken.stdout.startswith("disabled  ed_test_1 Stripe delivers nothing to it")
    assert "then run `stripe-sync endpoint update`" in broken.stdout


def test_deliveries_of_the_other_mode_are_named(conn: psycopg.Connection, endpoint: dict[str, Any], look: Look) -> None:
    look()
    counters.add(conn, 'events_applied {"outcome": "other_mode"}', 3)

    assert look() == ["mode"]


def test_deliveries_that_stop_while_events_continue_are_named(
    conn: psycopg.Connection, endpoint: dict[str, Any], look: Look
) -> None:
    look()
    counters.add(conn, counters.CAUGHT_UP, 2)
    assert look() == ["stopped"]

    counters.add_all(conn, {counters.CAUGHT_UP: 2, 'events_received {"outcome": "new"}': 5})
    assert look() == []


def test_events_that_stripe_can_not_deliver_are_named_unless_they_arrived_here(
    conn: psycopg.Connection, sandbox: Sandbox, endpoint: dict[str, Any], look: Look
) -> None:
    sandbox.tell("deliveries", drop=1.0)
    sandbox.tell("clock", now=time.time() - 1200)
    sandbox.post("/v1/customers", name="Never told")
    sandbox.tell("clock", real=True)
    assert look() == ["failing"]

    for event in sandbox.get("/v1/events?delivery_success=false")["data"]:
        # The failed delivery was to another endpoint: this event arrived here in time.
        conn.execute(
            "insert into sync.events (id, type, livemode, created, received_at, body) "
            "values (%s, 'customer.created', false, to_timestamp(%s), to_timestamp(%s), '{}')",
            (event["id"], event["created"], event["created"] + 1),
        )
    assert look() == []


def test_selecting_all_events_includes_every_type_except_issuing_authorization_request() -> None:
    selected = Endpoint(id="we_1", url=URL, enabled=True, types=frozenset(), version=None, livemode=False, metadata={})
    assert "issuing_authorization.request" not in lacking([selected], sentinel.required_types())
    assert len(lacking([selected], sentinel.required_types())) > 200
