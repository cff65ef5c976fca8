"""For each lane (the processes of a worker that serve the same queues), the age of its oldest due work in GET /metrics."""

import time
from collections.abc import Mapping

import psycopg
import pytest
import redis

from tests.backends import Backend
from worker.config.settings import Settings
from worker.jobs import celery_app
from worker.jobs.periodic import ACCESS, task_name
from worker.web import shared_metrics


def ages(conn: psycopg.Connection, backend: Backend, settings: Settings) -> Mapping[str, float]:
    with redis.Redis.from_url(backend.redis_url) as queue:
        return shared_metrics.read(conn, queue, settings).gauges["queue_age_seconds"]


def test_the_age_of_a_lane_is_the_age_of_its_oldest_due_work(
    conn: psycopg.Connection, backend: Backend, settings: Settings
) -> None:
    assert ages(conn, backend, settings) == {"events": 0.0, "background": 0.0, "access": 0.0}

    conn.execute("insert into sync.recompute_queue values ('cus_1', now() - interval '40 s', false)")
    conn.execute("insert into sync.recompute_queue values ('cus_2', now() - interval '9 hours', true)")
    conn.execute(
        "insert into sync.refetch_queue (object, id, path, event_at, due_at)"
        " values ('customer', 'cus_1', '/', now(), now() - interval '70 s'),"
        " ('customer', 'cus_2', '/', now(), now() + interval '1 hour')"
    )

    late = ages(conn, backend, settings)
    assert 40 <= late["events"] < 60
    assert 70 <= late["background"] < 90


def test_the_age_of_the_access_lane_is_the_age_of_its_oldest_message(
    conn: psycopg.Connection, backend: Backend, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, now = celery_app.make(settings.redis_url), time.time()
    with redis.Redis.from_url(backend.redis_url) as queue:
        queue.delete(ACCESS)
    try:
        for sent_at in (now - 50, now - 20):
            monkeypatch.setattr(time, "time", lambda sent_at=sent_at: sent_at)
            app.send_task(task_name("sync_user"), args=("user",), queue=ACCESS)
        monkeypatch.undo()

        waited = ages(conn, backend, settings)["access"]
    finally:
        with redis.Redis.from_url(backend.redis_url) as queue:
            queue.delete(ACCESS)

    assert 50 <= waited < 60
