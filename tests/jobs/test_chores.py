"""The chores of `wake`: a failing chore does not stop the others."""

import psycopg
import pytest
from celery import Celery

from worker.config.settings import Settings
from worker.jobs import celery_app, chores, lanes, tasks
from worker.jobs.process import Process


@pytest.fixture
def process(settings: Settings) -> Process:
    app = Celery("test", broker="memory://", set_as_current=False)
    return tasks.register(app, settings)


def test_a_chore_that_raises_does_not_stop_the_next(
    conn: psycopg.Connection, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def fails(_: psycopg.Connection, __: Process) -> None:
        raise ValueError("a fault of this chore")

    def deadlocks(_: psycopg.Connection, __: Process) -> None:
        raise psycopg.errors.DeadlockDetected

    def works(_: psycopg.Connection, __: Process) -> None:
        ran.append("works")

    monkeypatch.setattr(chores, "CHORES", (fails, deadlocks, works))

    chores.run(conn, process)

    assert ran == ["works"]


def test_a_lost_connection_ends_all_chores(
    conn: psycopg.Connection, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loses(open_: psycopg.Connection, _: Process) -> None:
        open_.close()
        open_.execute("select 1")

    monkeypatch.setattr(chores, "CHORES", (loses,))

    with pytest.raises(psycopg.OperationalError):
        chores.run(conn, process)


def test_every_chore_runs_on_an_empty_database(conn: psycopg.Connection, process: Process) -> None:
    for chore in chores.CHORES:
        chore(conn, process)

    assert conn.execute("select count(*) from sync.runs").fetchone() == (0,)


def test_each_job_has_a_task_and_each_tick_a_queue(settings: Settings) -> None:
    with_key = settings.model_copy(update={"stripe_secret_key": settings.stripe_webhook_secret[0]})
    app = Celery("test", broker="memory://", set_as_current=False)
    tasks.register(app, with_key)

    ticks = celery_app.ticks(with_key)

    assert {tick.task for tick in ticks} <= set(app.tasks)
    assert {tick.queue for tick in ticks} <= set(lanes.QUEUES)
    assert {tick.name for tick in celery_app.ticks(settings)} == {"wake", "retention", "revenue"}
