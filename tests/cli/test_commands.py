"""The commands as an operator runs them: processes, their output and their exit codes."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests import factories, sandboxes
from tests.backends import Backend
from tests.sandboxes import KEY, Sandbox
from worker.inbox import store as inbox
from worker.postgres import runs
from worker.stripe_api.envelope import read_envelope
from worker.stripe_api.lists import LISTS

pytestmark = pytest.mark.system

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with sandboxes.running() as running:
        yield running


@pytest.fixture
def run(backend: Backend, database: str, sandbox: Sandbox) -> Run:
    env = {
        "DATABASE_URL": database,
        "REDIS_URL": backend.redis_url,
        "STRIPE_SECRET_KEY": KEY,
        "STRIPE_API_BASE": sandbox.address,
        "STRIPE_WEBHOOK_SECRET": "whsec_test",
        "API_TOKEN": "token",
        "APP_ENV": "test",
    }

    def command(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "worker", *words],
            env=env | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


def test_status_has_the_documented_numbers(run: Run) -> None:
    done = run("status", "--json")

    assert done.returncode == 0
    assert {
        "pending",
        "parked",
        "unsettled",
        "oldest_pending_seconds",
        "unlinked_customers",
        "last_product_refresh",
        "last_reconcile",
        "last_catch_up",
        "workers_alive",
    } <= json.loads(done.stdout).keys()


def test_sync_products_writes_the_catalogue_and_reports_it(run: Run, sandbox: Sandbox, database: str) -> None:
    sandbox.post("/v1/products", name="Pro")

    output = run("sync", "products")
    counted = run("sync", "products", "--json")

    assert output.returncode == 0, output.stderr
    assert "listed" in output.stdout
    assert "marked deleted" in output.stdout
    tally = {each["list"]: each for each in json.loads(counted.stdout)["lists"]}["products"]
    assert tally["unchanged"] == tally["listed"] > 0
    with psycopg.connect(database) as conn:
        assert conn.execute("select name from stripe_products").fetchall() == [("Pro",)]


def test_sync_all_reads_every_list_and_names_those_without_permission(run: Run, sandbox: Sandbox) -> None:
    sandbox.post("/v1/customers", name="Jenny")

    key = sandbox.tell("keys", deny=["issuing_card"])["key"]
    done = run("sync", "all", "--json", STRIPE_SECRET_KEY=key)

    assert done.returncode == 0, done.stderr
    progress = json.loads(done.stdout)
    states = {each["list"]: each["state"] for each in progress["lists"]}
    assert (progress["state"], progress["seconds_left"]) == ("done", None)
    assert (states["customers"], states["users"], states["issuing_cards"]) == ("done", "done", "not available")
    assert set(states) == {*LISTS, "users"}


def test_several_lists_are_read_by_one_command(run: Run, sandbox: Sandbox) -> None:
    done = run("sync", "customers", "checkout.session", "--since", "2026-01-01", "--json")

    assert done.returncode == 0, done.stderr
    progress = json.loads(done.stdout)
    assert [each["list"] for each in progress["lists"]] == ["customers", "checkout_sessions", "users"]
    assert progress["since"] == "2026-01-01T00:00:00+00:00"


def test_an_unknown_list_is_refused_with_the_names_of_the_known_ones(run: Run) -> None:
    done = run("sync", "custmers")

    assert done.returncode == 1
    assert "custmers" in done.stderr
    assert "customers, subscriptions" in done.stderr


def test_a_job_continues_without_the_command_until_it_is_stopped(run: Run, sandbox: Sandbox) -> None:
    started = run("sync", "all", "--no-wait")
    joined = run("sync", "all", "--no-wait", "--json")
    other = run("sync", "all", "--no-wait", "--account", "acct_1")
    stopped = run("sync", "stop")
    again = run("sync", "stop")

    assert [each.returncode for each in (started, joined, other, stopped, again)] == [0, 0, 1, 0, 0]
    assert json.loads(joined.stdout)["state"] == "running"
    assert "sync stop" in other.stderr
    assert "No backfill" in again.stdout


def test_a_missing_permission_is_named_without_the_key(run: Run, sandbox: Sandbox) -> None:
    key = sandbox.tell("keys", deny=["product"])
    restricted = key["key"] if "key" in key else next(iter(key.values()))

    done = run("sync", "products", STRIPE_SECRET_KEY=restricted)

    assert done.returncode == 1
    assert "rak_product_read" in done.stdout
    assert restricted not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_names_the_setting_behind_each_problem(run: Run) -> None:
    healthy = run("doctor")
    broken = run("doctor", REDIS_URL="redis://127.0.0.1:1/0", STRIPE_SECRET_KEY="", API_TOKEN="")

    assert healthy.returncode == 0, healthy.stdout
    assert broken.returncode == 1
    for word in ("REDIS_URL", "STRIPE_SECRET_KEY", "API_TOKEN"):
        assert word in broken.stdout


def test_status_and_doctor_show_connected_accounts(run: Run, conn: psycopg.Connection) -> None:
    conn.execute(
        "insert into sync.accounts (id, last_pass_at, error) values ('acct_shop', now(), 'Stripe answered 500')"
    )
    on_time = run("doctor", CONNECT="on")
    conn.execute("update sync.accounts set last_pass_at = now() - interval '2 hours', error = null")
    late = run("doctor", CONNECT="on")
    shown = run("status")

    assert "account acct_shop" in on_time.stdout
    assert "ok    connected accounts     1 connected, 0 deauthorized" in on_time.stdout
    assert (
        "FAIL  connected accounts     1 connected, 0 deauthorized. One has been waiting for its turn since"
        in late.stdout
    )
    assert "acct_shop" in shown.stdout
    assert json.loads(run("status", "--json").stdout)["accounts"][0]["id"] == "acct_shop"


def test_doctor_reports_a_missing_backup(run: Run, conn: psycopg.Connection) -> None:
    clock = {"BACKUP_SCHEDULE": "0 3 * * *", "BACKUP_DIR": "backups"}
    missing = run("doctor", **clock)
    runs.note(conn, "backup", datetime.now(UTC), {})
    made = run("doctor", **clock)

    assert missing.returncode == 1
    assert (
        "none has been made yet: is a worker for the queue `backfill` running on the machine with BACKUP_DIR?"
        in missing.stdout
    )
    assert made.returncode == 0, made.stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DATABASE_URL": ""}, ["DATABASE_URL: is not set"]),
        ({"DATABASE_URL": "mysql://x", "REDIS_URL": "http://x"}, ["DATABASE_URL", "REDIS_URL"]),
        ({"STRIPE_SECRET_KEY": "pk_test_1", "PORT": "high"}, ["STRIPE_SECRET_KEY: must begin with sk_", "PORT"]),
        ({"STRIPE_LIVEMODE": "true"}, ["STRIPE_LIVEMODE"]),
    ],
)
def test_wrong_settings_are_reported_together(run: Run, changes: dict[str, str], words: list[str]) -> None:
    done = run("status", **changes)

    assert done.returncode == 1
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_database_is_reported_in_one_line(run: Run) -> None:
    done = run("status", DATABASE_URL="postgresql://127.0.0.1:1/x")

    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("prefix", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_every_spelling_of_the_database_url_works(run: Run, database: str, prefix: str) -> None:
    spelt = prefix + database.partition("://")[2]

    assert run("status", DATABASE_URL=spelt).returncode == 0


def test_events_are_listed_shown_replayed_and_discarded(run: Run, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            """
            insert into sync.events (id, type, object_id, livemode, created, body, status, last_error)
            values ('evt_1', 'customer.created', 'cus_1', false, now(), '{"id": "evt_1"}', 'parked', 'because')
            """
        )
        listed: Any = json.loads(run("events", "list", "--status", "parked", "--json").stdout)
        shown = json.loads(run("events", "show", "evt_1").stdout)
        unknown = run("events", "show", "evt_2")
        discarded = run("events", "discard", "evt_1").stdout
        replayed = run("events", "replay", "evt_1").stdout

        assert [row["last_error"] for row in listed] == ["because"]
        assert shown["body"] == {"id": "evt_1"}
        assert (unknown.returncode, "evt_2" in unknown.stderr) == (1, True)
        assert discarded.startswith("1 ")
        assert replayed.startswith("1 ")
        assert conn.execute("select status, attempts from sync.events").fetchone() == ("pending", 0)


def test_the_database_is_downgraded_and_upgraded_by_hand(run: Run) -> None:
    down = run("db", "rollback", "--to", "base")
    empty = run("status")
    up = run("db", "migrate")
    again = run("db", "migrate")
    sql = run("db", "migrate", "--to", "head", "--sql")

    assert down.returncode == 0, down.stderr
    assert "db migrate" in empty.stderr
    assert up.returncode == again.returncode == sql.returncode == 0


def test_an_object_is_synced_and_its_history_shown(run: Run, sandbox: Sandbox, database: str) -> None:
    made = sandbox.post("/v1/customers", name="Before")["id"]

    first = run("sync", "object", made)
    sandbox.post(f"/v1/customers/{made}", name="After")
    second = run("sync", "object", made, "cus_none", "--json")
    shown = run("history", made)

    assert (first.returncode, first.stderr) == (0, "")
    assert f"customer {made} differed from the mirror, and was corrected." in first.stdout
    synced, failed = json.loads(second.stdout)
    assert second.returncode == 1
    assert {"path": "name", "before": "Before", "after": "After"} in synced["changed"]
    assert "Stripe has no customer cus_none, and neither has the mirror" in failed["error"]
    assert f"customer {made}: " in shown.stdout


def test_a_dry_run_prints_what_an_event_would_change(run: Run, database: str) -> None:
    event = factories.event("customer.created", factories.customer("cus_dry", name="Jenny"))
    with psycopg.connect(database, autocommit=True) as conn:
        inbox.store(conn, [read_envelope(factories.encoded(event).decode())])

        done = run("replay", "--dry-run", event["id"])

        assert conn.execute("select count(*) from mirror.customers").fetchone() == (0,)
    assert "mirror.customers cus_dry" in done.stdout
    assert 'name: null -> "Jenny"' in done.stdout
    assert "Nothing was kept" in done.stdout
