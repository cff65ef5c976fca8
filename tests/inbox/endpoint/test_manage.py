"""Creating, changing and rolling the endpoint in the sandbox, and a roll under load with the real web process."""

import threading
import time
from pathlib import Path

import psycopg
import pytest

from tests import sandboxes
from tests.backends import Backend
from tests.processes import Daemon, eventually
from tests.sandboxes import KEY, Sandbox
from worker.inbox.endpoint import both_versions, manage, sentinel
from worker.inbox.endpoint.manage import NotPossible, Step
from worker.stripe_api.answers import API_VERSION
from worker.stripe_api.client import Stripe
from worker.stripe_api.errors import MissingPermission
from worker.stripe_api.rate_limit import RateLimiter

URL = "https://shop.example/webhooks/stripe"
PER_SECOND = 50


def test_an_endpoint_is_created_once_with_all_events_and_the_pinned_version(sandbox: Sandbox, stripe: Stripe) -> None:
    id_, secret = manage.create(stripe, URL, connect=False)

    shown = sandbox.get(f"/v1/webhook_endpoints/{id_}")
    sandbox.delete(f"/v1/webhook_endpoints/{id_}")
    assert (shown["url"], shown["enabled_events"], shown["api_version"]) == (URL, ["*"], API_VERSION)
    assert secret.startswith("whsec_")


def test_an_update_enables_the_endpoint_and_selects_every_event(sandbox: Sandbox, stripe: Stripe) -> None:
    id_, _ = manage.create(stripe, URL, connect=False)
    form = {"enabled_events[]": "customer.created", "disabled": "true"}
    sandbox.post(f"/v1/webhook_endpoints/{id_}", **form)

    changes = manage.update(stripe, URL, required=sentinel.required_types())

    shown = sandbox.get(f"/v1/webhook_endpoints/{id_}")
    again = manage.update(stripe, URL, required=sentinel.required_types())
    with pytest.raises(NotPossible, match="delivers to"):
        manage.create(stripe, URL, connect=False)
    sandbox.delete(f"/v1/webhook_endpoints/{id_}")
    assert (shown["status"], shown["enabled_events"]) == ("enabled", ["*"])
    assert (len(changes), again) == (2, [])


@pytest.mark.parametrize("payload", ["snapshot", "thin"])
def test_an_update_enables_a_destination_and_adds_the_missing_types(
    sandbox: Sandbox, stripe: Stripe, payload: str
) -> None:
    wants, adds = (
        (["v1.customer.created", "v2.core.account.created"], "v1.") if payload == "thin" else (["invoice.paid"], "")
    )
    sandbox.tell(
        "endpoints", id="ed_1", url=URL, secrets=["whsec_1"], payload=payload, enabled_events=wants, disabled=True
    )
    sandbox.tell(
        "endpoints", id="ed_2", url=URL, secrets=["whsec_2"], payload=payload, enabled_events=wants, connect=True
    )
    required = ["customer.created", "invoice.paid", "product.updated", "issuing_authorization.request"]

    changes = manage.update(stripe, URL, required=required)

    shown = {each.id: each for each in both_versions.read(stripe)}
    again = manage.update(stripe, URL, required=required)
    sandbox.delete(f"{both_versions.DESTINATIONS}/ed_1")
    sandbox.delete(f"{both_versions.DESTINATIONS}/ed_2")
    assert changes == ["ed_1 receives all events now", "ed_1 is enabled", "ed_2 receives all events now"]
    assert shown["ed_1"].enabled
    expected = {*wants, *(adds + type_ for type_ in ("customer.created", "invoice.paid", "product.updated"))}
    assert shown["ed_1"].types == shown["ed_2"].types == expected
    assert again == []


def test_an_update_does_not_change_a_destination_covered_by_a_webhook_endpoint(
    sandbox: Sandbox, stripe: Stripe
) -> None:
    id_, _ = manage.create(stripe, URL, connect=False)
    sandbox.tell("endpoints", id="ed_1", url=URL, secrets=["whsec_1"], enabled_events=["invoice.paid"])

    changes = manage.update(stripe, URL, required=sentinel.required_types())

    sandbox.delete(f"/v1/webhook_endpoints/{id_}")
    sandbox.delete(f"{both_versions.DESTINATIONS}/ed_1")
    assert changes == []


def test_a_roll_creates_an_equal_successor_of_a_destination(sandbox: Sandbox, stripe: Stripe) -> None:
    types = ["v1.customer.created", "v1.invoice.paid"]
    shape = {"payload": "thin", "connect": True, "enabled_events": types}
    sandbox.tell("endpoints", id="ed_1", url=URL, secrets=["whsec_1"], **shape)

    def step(*secrets: str) -> Step:
        return manage.roll(stripe, URL, secrets=secrets, signed=lambda _: True, accepts=lambda *_: True)

    begun = step("whsec_1")
    waiting = next(each for each in both_versions.read(stripe) if each.id != "ed_1")
    new = next(line for line in begun.lines if line.startswith("whsec_"))
    named = [step("whsec_1", new).name, step("whsec_1", new).name]

    (left,) = both_versions.read(stripe)
    sandbox.delete(f"{both_versions.DESTINATIONS}/{left.id}")
    assert named == ["turned on", "done"]
    assert waiting.types == set(manage.QUIET_THIN)
    assert left.id == waiting.id
    assert (left.thin, left.is_connect, left.types) == (True, True, frozenset(types))
    assert left.metadata == {"stripe_sync": "connect"}


def test_a_roll_fails_if_the_old_destination_is_gone(sandbox: Sandbox, stripe: Stripe) -> None:
    sandbox.tell("endpoints", id="ed_1", url=URL, secrets=["whsec_1"])

    def step(*secrets: str) -> Step:
        return manage.roll(stripe, URL, secrets=secrets, signed=lambda _: True, accepts=lambda *_: True)

    new = next(line for line in step("whsec_1").lines if line.startswith("whsec_"))
    sandbox.delete(f"{both_versions.DESTINATIONS}/ed_1")
    with pytest.raises(NotPossible, match="ed_1 no longer exists"):
        step("whsec_1", new)
    (left,) = both_versions.read(stripe)
    sandbox.delete(f"{both_versions.DESTINATIONS}/{left.id}")


def test_a_missing_write_permission_is_named(sandbox: Sandbox, stripe: Stripe, backend: Backend) -> None:
    key = sandbox.tell("keys", deny=["webhook_write"])["key"]
    limited = Stripe(key=key, base=sandbox.address, limiter=stripe._limiter)

    with pytest.raises(MissingPermission, match="rak_webhook_write"):
        manage.create(limited, URL, connect=False)


@pytest.mark.system
@pytest.mark.parametrize("is_destination", [False, True])
def test_a_roll_under_load_loses_no_event_and_refuses_none(
    backend: Backend, database: str, tmp_path: Path, is_destination: bool
) -> None:
    daemon = Daemon(database, backend.redis_url, tmp_path)
    with sandboxes.running() as sandbox, psycopg.connect(database, autocommit=True) as conn:
        limiter = RateLimiter(None, key=KEY, account_per_second=1000)
        stripe = Stripe(key=KEY, base=sandbox.address, limiter=limiter)
        if is_destination:
            id_, old = "ed_1", "whsec_1"
            sandbox.tell("endpoints", id=id_, url=daemon.webhook, secrets=[old], api_version=API_VERSION)
        else:
            id_, old = manage.create(stripe, daemon.webhook, connect=False)
        daemon.env["STRIPE_WEBHOOK_SECRET"] = old
        daemon.start_web()

        def step(*secrets: str) -> Step:
            return manage.roll(
                stripe,
                daemon.webhook,
                secrets=secrets,
                signed=lambda mark: sentinel.has_signed(conn, mark),
                accepts=manage.accepts,
            )

        stopping = threading.Event()
        load = threading.Thread(target=_make_customers, args=(sandbox, stopping))
        load.start()
        begun = step(old)
        new = next(line for line in begun.lines if line.startswith("whsec_"))
        with pytest.raises(NotPossible, match="refuses the new secret"):
            step(old, new)
        daemon.env["STRIPE_WEBHOOK_SECRET"] = f"{old},{new}"
        daemon.kill(daemon.processes[0])
        daemon.start_web()
        assert step(old, new).name == "turned on"
        assert eventually(lambda: (taken := step(old, new)).name == "done" and taken, within=20)
        rolled = len(_events(sandbox))
        eventually(lambda: len(_events(sandbox)) > rolled + PER_SECOND)
        stopping.set()
        load.join()
        sandbox.tell("deliveries", drain=20)

        made = {event["id"] for event in _events(sandbox)}
        eventually(lambda: daemon.count("select count(*) from sync.events") >= len(made), within=20)
        stored = {row[0] for row in conn.execute("select id from sync.events")}
        answers = sandbox.ask("stats")["deliveries"]["by_status"]
        left = both_versions.read(stripe)
        daemon.stop()
    assert made <= stored
    assert len(made) > 2 * PER_SECOND
    assert "400" not in answers
    assert [each.is_destination for each in left] == [is_destination]
    assert left[0].id != id_


def _make_customers(sandbox: Sandbox, stopping: threading.Event) -> None:
    """Create 50 customers per second on average. Each customer makes an event."""
    due = time.monotonic()
    while not stopping.is_set():
        sandbox.post("/v1/customers", name="Jenny")
        due += 1 / PER_SECOND
        stopping.wait(max(due - time.monotonic(), 0))


def _events(sandbox: Sandbox) -> list[dict[str, str]]:
    events: list[dict[str, str]] = []
    while True:
        after = f"&starting_after={events[-1]['id']}" if events else ""
        page = sandbox.get(f"/v1/events?limit=100{after}")
        events += page["data"]
        if not page["has_more"]:
            return events
