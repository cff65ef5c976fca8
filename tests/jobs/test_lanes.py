"""Lanes: the child processes that serve each queue, and the supervisor that keeps them running."""

import os
import signal
from pathlib import Path

import psycopg
import pytest

from tests.processes import eventually
from worker.config.backoff import Backoff
from worker.config.errors import Permanent
from worker.config.settings import Settings
from worker.jobs import status, supervisor
from worker.jobs.lanes import BACKGROUND_NICENESS, Lane, QueueOrder, lanes
from worker.jobs.reporter import Reporter
from worker.observe import metrics
from worker.postgres import counters


def test_live_events_have_their_own_child_processes(settings: Settings) -> None:
    served = lanes(settings.model_copy(update={"worker_concurrency": 3}))

    assert served == [
        Lane("events", ("events",), 3),
        Lane("access", ("access",), 1),
        Lane("background", ("periodic", "backfill"), 2),
    ]


def test_the_option_queues_splits_the_lanes_over_machines(settings: Settings) -> None:
    assert lanes(settings, queues=["events"], concurrency=4) == [Lane("events", ("events",), 4)]
    assert lanes(settings, queues=["backfill"]) == [Lane("background", ("backfill",), 2)]
    assert lanes(settings, queues=["backfill", "periodic"], concurrency=4) == [
        Lane("background", ("periodic", "backfill"), 4)
    ]


def test_background_lanes_have_a_lower_priority(settings: Settings) -> None:
    called = settings.model_copy(update={"changes_url": "http://127.0.0.1/"})

    assert {lane.name: lane.niceness for lane in lanes(called)} == {
        "events": 0,
        "access": 0,
        "background": BACKGROUND_NICENESS,
        "changes": 0,
    }


def test_changes_have_a_lane_once_a_receiver_is_configured(settings: Settings) -> None:
    called = settings.model_copy(update={"changes_url": "http://127.0.0.1/"})

    assert lanes(called)[-1] == lanes(called, queues=["changes"])[0] == Lane("changes", ("changes",), 1)
    with pytest.raises(Permanent, match="CHANGES_URL is not set"):
        lanes(settings, queues=["changes"])


@pytest.mark.parametrize("queues", [["events", "evnts"], []])
def test_an_unknown_queue_is_refused(settings: Settings, queues: list[str]) -> None:
    with pytest.raises(Permanent, match="choose from events, access, periodic, backfill"):
        lanes(settings, queues=queues)


def test_a_pass_is_served_before_a_backfill() -> None:
    order = QueueOrder(["backfill", "periodic"])  # type: ignore[no-untyped-call]  # kombu has no types

    assert order.consume(2) == ["periodic", "backfill"]


def run_in_fork(lanes: list[Lane], serve: object) -> int:
    """Run a supervisor in a forked process, and return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(supervisor.run(lanes, serve))  # type: ignore[arg-type]
        finally:
            os._exit(99)
    return pid


def test_a_lane_that_ends_unexpectedly_is_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTARTS", Backoff(first=0.01, longest=0.01))

    def serve(lane: Lane) -> int:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        (tmp_path / f"{lane.name}-{os.getpid()}").touch()
        if lane.name == "ends" and len(list(tmp_path.glob("ends-*"))) < 3:
            return 0
        while True:
            signal.pause()

    pid = run_in_fork([Lane("ends", ("events",), 1), Lane("stays", ("periodic",), 1)], serve)
    eventually(lambda: len(list(tmp_path.glob("ends-*"))) == 3)
    os.kill(pid, signal.SIGTERM)
    _, ended = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(ended) == 0
    assert len(list(tmp_path.glob("stays-*"))) == 1


def test_the_supervisor_exits_with_the_code_of_a_lane_that_fails_while_stopping(tmp_path: Path) -> None:
    def serve(lane: Lane) -> int:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(3 if lane.name == "fails" else 0))
        (tmp_path / lane.name).touch()
        while True:
            signal.pause()

    pid = run_in_fork([Lane("fails", ("events",), 1), Lane("stops", ("periodic",), 1)], serve)
    eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    os.kill(pid, signal.SIGTERM)
    _, ended = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(ended) == 3


def test_lanes_end_if_their_supervisor_is_killed(tmp_path: Path) -> None:
    def serve(lane: Lane) -> int:
        (tmp_path / str(os.getpid())).touch()
        while True:
            signal.pause()

    pid = run_in_fork([Lane("events", ("events",), 1)], serve)
    eventually(lambda: list(tmp_path.iterdir()))
    (lane,) = (int(file.name) for file in tmp_path.iterdir())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    eventually(lambda: not _runs(lane))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_heartbeat_names_the_lane_the_task_and_its_start(conn: psycopg.Connection, settings: Settings) -> None:
    reporter = Reporter(settings, name="host:1", lane="background")

    with reporter.doing("audit"):
        reporter.report()
        (working,) = status.workers(conn)
    reporter.report()
    (waiting,) = status.workers(conn)

    assert (working["name"], working["lane"], working["task"]) == ("host:1", "background", "audit")
    assert working["since"] is not None
    assert (waiting["task"], waiting["since"]) == (None, None)


def test_an_idle_process_writes_its_counts(conn: psycopg.Connection, settings: Settings) -> None:
    reporter = Reporter(settings, name="host:1", lane="events")
    reporter.report()
    before = counters.read(conn)
    reporter.start()

    metrics.EVENTS_APPLIED.labels("written").inc(7)
    with reporter.doing("drain"):
        pass
    name = 'events_applied {"outcome": "written"}'
    eventually(lambda: counters.read(conn).get(name, 0) - before.get(name, 0) == 7)
    reporter.stop()

    assert status.workers(conn) == []


def test_counts_survive_an_outage_of_postgres(conn: psycopg.Connection, settings: Settings) -> None:
    away = settings.model_copy(
        update={"database_url": "postgresql://127.0.0.1:1/nothing", "database_connect_timeout": 1}
    )
    reporter = Reporter(away, name="host:1", lane="events")
    metrics.EVENTS_APPLIED.labels("written").inc(3)

    with pytest.raises(psycopg.OperationalError):
        reporter.report()
    reporter._settings = settings
    before = counters.read(conn)
    reporter.report()

    name = 'events_applied {"outcome": "written"}'
    assert counters.read(conn)[name] - before.get(name, 0) >= 3
