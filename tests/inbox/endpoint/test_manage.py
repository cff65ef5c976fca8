"""Making, changing and rolling the endpoint: against the sandbox, and a roll under load with the real web process."""

import threading
import time
from pathlib import Path

import psycopg
import pytest

from tests import sandboxes
from tests.backends import Backend
from tests.processes import Daemon, eventually
from tests.sandboxes import KEY, Sandbox
from worker.inbox.endpoint import manage, sentinel
from worker.inbox.endpoint.manage import NotPossible, Step
from worker.stripe_api.client import API_VERSION, MissingPermission, Stripe
from worker.stripe_api.rate_limit import RateLimiter

URL = "https://shop.example/webhooks/stripe"
PER_SECOND = 50


def test_an_endpoint_is_made_once_with_all_events_and_the_pinned_version(sandbox: Sandbox, stripe: Stripe) -> None:
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


def test_a_key_that_may_not_write_says_so(sandbox: Sandbox, stripe: Stripe, backend: Backend) -> None:
    key = sandbox.tell("keys", deny=["webhook_write"])["key"]
    limited = Stripe(key=key, base=sandbox.address, limiter=stripe._limiter)

    with pytest.raises(MissingPermission, match="rak_webhook_write"):
        manage.create(limited, URL, connect=False)


@pytest.mark.system
def test_a_roll_under_load_loses_no_event_and_refuses_none(backend: Backend, database: str, tmp_path: Path) -> None:
    daemon = Daemon(database, backend.redis_url, tmp_path)
    with sandboxes.running() as sandbox, psycopg.connect(database, autocommit=True) as conn:
        limiter = RateLimiter(None, key=KEY, account_per_second=1000)
        stripe = Stripe(key=KEY, base=sandbox.address, limiter=limiter)
        id_, old = manage.create(stripe, daemon.door, connect=False)
        daemon.env["STRIPE_WEBHOOK_SECRET"] = old
        daemon.start_web()

        def step(*secrets: str) -> Step:
            return manage.roll(
                stripe,
                daemon.door,
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
        left = [each["id"] for each in sandbox.get("/v1/webhook_endpoints")["data"]]
        daemon.stop()
    assert made <= stored
    assert len(made) > 2 * PER_SECOND
    assert "400" not in answers
    assert len(left) == 1
    assert id_ not in left


def _make_customers(sandbox: Sandbox, stopping: threading.Event) -> None:
    """Create 50 customers a second, each with an event; late ones are caught up."""
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
