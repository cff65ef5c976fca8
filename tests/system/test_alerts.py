"""Test deploy/alerts.yaml and the Grafana dashboard with a daemon's metrics during staged faults."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import dashboard, sandboxes
from tests.processes import SECRET, Daemon, eventually
from tests.sandboxes import Sandbox
from worker.dev.servers import Valkey, start_valkey
from worker.membership.delivery import store
from worker.mirror import shards

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "alerts.yaml"
# A scrape is repeated as one sample a minute for this many minutes.
MINUTES = 20
# The backups of today and yesterday.
BACKUPS_MADE = """
    insert into sync.runs (job, slot, started_at, finished_at, outcome)
    select 'backup', date_trunc('day', now() at time zone 'utc') at time zone 'utc' - make_interval(days => days),
        now(), now(), 'done'
    from generate_series(0, 1) as days
"""
JOB = 'job="stripe-sync", instance="web"'

Scrape = dict[str, float]
Stage = Callable[["Scene"], contextlib.AbstractContextManager[None]]


class Scene:
    """A running daemon, and the means to stage a fault."""

    def __init__(self, daemon: Daemon, stripe: Sandbox, broker: Valkey) -> None:
        self.daemon, self.stripe, self.broker = daemon, stripe, broker

    def scrape(self) -> Scrape:
        """The value of each series, or only `up` if the daemon does not answer."""
        try:
            status, text = self.daemon.get("/metrics", authorization="Bearer token")
        except OSError:
            return {f"up{{{JOB}}}": 0}
        assert status == 200, text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {f"up{{{JOB}}}": 1} | {
            f"{sample.name}{{{', '.join([JOB, *(f'{k}={json.dumps(v)}' for k, v in sample.labels.items())])}}}": sample.value
            for sample in samples
        }

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.daemon.database_url, autocommit=True) as conn:
            conn.execute(statement)

    def value(self, name: str, /, **labels: str) -> float:
        """The value of a series, or -1 if there is none."""
        wanted = f"stripe_sync_{name}{{{JOB}{''.join(f', {k}={json.dumps(v)}' for k, v in labels.items())}}}"
        return self.scrape().get(wanted, -1)

    def start_worker(self) -> None:
        self.daemon.start("worker")
        eventually(lambda: self.daemon.count("select count(distinct lane) from sync.heartbeats") == 3)

    def store_due_event(self) -> None:
        """Store an event that has been due for ten minutes."""
        self.execute(
            """
            insert into sync.events (id, type, livemode, created, next_attempt_at, body)
            values ('evt_late', 'x', false, now(), now() - interval '10 minutes', '{}')
            """
        )


@contextlib.contextmanager
def worker_dead(scene: Scene) -> Iterator[None]:
    scene.daemon.kill(next(each for each in scene.daemon.processes if "worker" in list(map(str, each.args))[3:]))  # type: ignore[arg-type]
    scene.execute("update sync.heartbeats set seen_at = seen_at - interval '2 minutes'")
    scene.store_due_event()
    yield
    scene.execute("delete from sync.heartbeats")
    scene.execute("delete from sync.events")
    scene.start_worker()


@contextlib.contextmanager
def broker_away(scene: Scene) -> Iterator[None]:
    scene.broker.stop()
    scene.store_due_event()
    yield
    scene.broker.start()
    scene.execute("delete from sync.events")
    eventually(lambda: scene.value("broker_up") == 1)


@contextlib.contextmanager
def events_late(scene: Scene) -> Iterator[None]:
    with psycopg.connect(scene.daemon.database_url) as conn:
        names = [name for (name,) in conn.execute("select name from sync.heartbeats where lane = 'events'")]
    children = [int(name.rpartition(":")[2]) for name in names]
    for child in children:
        os.kill(child, signal.SIGSTOP)
    scene.store_due_event()
    yield
    scene.execute("delete from sync.events")
    for child in children:
        os.kill(child, signal.SIGCONT)


@contextlib.contextmanager
def catch_up_late(scene: Scene) -> Iterator[None]:
    scene.stripe.tell("faults", operation="GET /v1/events", rate500=1)
    scene.execute("update sync.cursors set value = to_jsonb((value #>> '{}')::bigint - 3600) where name = 'events'")
    yield
    scene.stripe.tell("faults", clear=True)
    scene.execute("update sync.cursors set value = to_jsonb((value #>> '{}')::bigint + 3600) where name = 'events'")


@contextlib.contextmanager
def events_parked(scene: Scene) -> Iterator[None]:
    scene.execute(
        "insert into sync.events (id, type, livemode, created, body) values ('evt_x', 'x', false, now(), '{}')"
    )
    eventually(lambda: scene.daemon.count("select count(*) from sync.events where status = 'parked'"))
    yield
    scene.execute("delete from sync.events")


@contextlib.contextmanager
def changes_late(scene: Scene) -> Iterator[None]:
    with a_change(scene, parked=False):
        yield


@contextlib.contextmanager
def changes_parked(scene: Scene) -> Iterator[None]:
    with a_change(scene, parked=True):
        yield


@contextlib.contextmanager
def a_change(scene: Scene, *, parked: bool) -> Iterator[None]:
    """A change from an hour ago that its receiver has not acknowledged."""
    scene.execute(
        f"""
        with change as (
            insert into sync.changes (user_id, type, before, after, reason, created_at)
            values ('user', 'access.granted', '{{}}', '{{}}', 'entitled', now() - interval '1 hour') returning id
        ), delivery as (
            insert into sync.change_deliveries (change_id, user_id, due_at, parked)
            select id, 'user', now() + interval '1 hour', {parked} from change
        )
        insert into sync.cursors (name, value) select '{store.CURSOR}', jsonb_build_object('upto', id) from change
        on conflict (name) do update set value = excluded.value
        """
    )
    yield
    scene.execute("delete from sync.changes where created_at < now() - interval '30 minutes'")


@contextlib.contextmanager
def permission_gone(scene: Scene) -> Iterator[None]:
    scene.stripe.tell("keys", key=sandboxes.KEY, deny=["product"])
    # The worker killed above may have been reading the catalogue. Its lease of that list must expire first.
    eventually(lambda: scene.value("stripe_refused_total", status="403") > 0, within=shards.LEASE_SECONDS + 30)
    yield
    scene.stripe.tell("keys", restore=sandboxes.KEY)


@contextlib.contextmanager
def endpoint_disabled(scene: Scene) -> Iterator[None]:
    (endpoint,) = scene.stripe.get("/v1/webhook_endpoints")["data"]
    scene.stripe.post(f"/v1/webhook_endpoints/{endpoint['id']}", disabled="true")
    # Make the next check due. A worker notices it within a second.
    scene.execute("delete from sync.runs where job = 'endpoint_check'")
    eventually(lambda: scene.value("endpoint_problem", kind="disabled") > 0)
    yield
    scene.stripe.post(f"/v1/webhook_endpoints/{endpoint['id']}", disabled="false")
    scene.execute("delete from sync.runs where job = 'endpoint_check'")
    eventually(lambda: scene.value("endpoint_problem", kind="disabled") == 0)


@contextlib.contextmanager
def backup_missed(scene: Scene) -> Iterator[None]:
    scene.execute("delete from sync.runs where job = 'backup'")
    yield
    scene.execute("delete from sync.runs where job = 'backup'")
    scene.execute(BACKUPS_MADE)


@contextlib.contextmanager
def unreachable(scene: Scene) -> Iterator[None]:
    scene.daemon.kill(scene.daemon.processes[0])
    yield


# The last fault kills the web process, which the other faults need.
STAGES: dict[str, Stage] = {
    "StripeSyncWorkerDead": worker_dead,
    "StripeSyncBrokerAway": broker_away,
    "StripeSyncEventsLate": events_late,
    "StripeSyncCatchUpLate": catch_up_late,
    "StripeSyncEventsParked": events_parked,
    "StripeSyncChangesLate": changes_late,
    "StripeSyncChangesParked": changes_parked,
    "StripeSyncPermissionGone": permission_gone,
    "StripeSyncEndpoint": endpoint_disabled,
    "StripeSyncBackupMissed": backup_missed,
    "StripeSyncUnreachable": unreachable,
}


@pytest.fixture
def scene(database: str, tmp_path: Path) -> Iterator[Scene]:
    broker = start_valkey(tmp_path / "valkey")
    (tmp_path / "logs").mkdir()
    daemon = Daemon(
        database,
        broker.url,
        tmp_path / "logs",
        PRODUCT_REFRESH_INTERVAL="1",
        BACKUP_SCHEDULE="00:00",
        BACKUP_DIR=str(tmp_path / "no such folder"),
    )
    with contextlib.closing(broker), sandboxes.running(webhook=daemon.webhook) as stripe:
        secret = f"{SECRET}@{stripe.get('/v1/account')['id']}"
        daemon.env |= {"STRIPE_SECRET_KEY": sandboxes.KEY, "STRIPE_API_BASE": stripe.address}
        daemon.env |= {"STRIPE_WEBHOOK_SECRET": secret}
        scene = Scene(daemon, stripe, broker)
        scene.execute(BACKUPS_MADE)
        daemon.start_web()
        scene.start_worker()
        daemon.start("beat")
        try:
            yield scene
        finally:
            daemon.stop()


def series(name: str, quiet: Scrape, loud: Scrape) -> dict[str, str]:
    """A series for promtool: the quiet value for MINUTES, then the loud value, with `_` for a missing value."""
    values = [
        f"_x{MINUTES}" if name not in scrape else f"{scrape[name]:.6f}+0x{MINUTES - 1}" for scrape in (quiet, loud)
    ]
    return {"series": name, "values": " ".join(values)}


def case(alert: str, quiet: Scrape, loud: Scrape, expressions: str) -> dict[str, Any]:
    """One promtool test: no alert fires during the quiet values, and only this alert during the loud ones."""
    used = set(re.findall(r"\b(?:stripe_sync_\w+|up)\b", expressions))
    concerned = [name for name in sorted(quiet.keys() | loud.keys()) if name.partition("{")[0] in used]
    return {
        "name": alert,
        "interval": "1m",
        "input_series": [series(name, quiet, loud) for name in concerned],
        "promql_expr_test": [
            {"expr": "count(ALERTS)", "eval_time": f"{MINUTES - 1}m", "exp_samples": []},
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0',
                "eval_time": f"{2 * MINUTES - 8}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
            },
        ],
    }


def test_each_staged_fault_fires_its_alert_and_no_other(scene: Scene, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus); .ci/run installs it")
    eventually(lambda: scene.value("job_age_seconds", name="product_refresh") >= 0)
    eventually(lambda: 0 <= scene.value("catch_up_lag_seconds") < 60)
    scene.stripe.tell("stories/sign_up", user_id="user")
    scene.daemon.get("/webhooks/stripe")
    eventually(lambda: any("events_applied_total" in series for series in scene.scrape()))
    # The events of the sign-up are held until the webhook secret is proven to be ours.
    unfinished = "select count(*) from sync.events where status <> 'done'"
    eventually(lambda: scene.daemon.count(unfinished) == 0)
    expressions, cases = ALERTS.read_text(), []
    for alert, stage in STAGES.items():
        quiet = scene.scrape()
        with stage(scene):
            cases.append(case(alert, quiet, scene.scrape(), expressions))

    tests = tmp_path / "tests.yaml"
    tests.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": cases}))
    done = subprocess.run(
        [promtool, "test", "rules", str(tests)], capture_output=True, text=True, timeout=60, check=False
    )

    assert set(STAGES) == set(re.findall(r"alert: (\w+)", expressions))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_dashboard_shows(quiet)


def assert_dashboard_shows(scrape: Scrape) -> None:
    """Assert that the scrape holds every metric that a panel reads."""
    shown = {name.partition("{")[0] for name in scrape}
    expressions = [e for row in dashboard.ROWS.values() for panel in row for e in panel.expressions.values()]
    read = {name for expression in expressions for name in re.findall(r"stripe_sync_\w+", expression)}
    assert read - shown == set()
