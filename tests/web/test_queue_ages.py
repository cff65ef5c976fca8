"""The age of the work that each lane has waiting, as GET /metrics shows it."""

from collections.abc import Mapping

import psycopg
import redis

from tests.backends import Backend
from worker.config.settings import Settings
from worker.web import shared_metrics


def ages(conn: psycopg.Connection, backend: Backend, settings: Settings) -> Mapping[str, float]:
    with redis.Redis.from_url(backend.redis_url) as queue:
        return shared_metrics.read(conn, queue, settings).gauges["queue_age_seconds"]


def test_a_lane_is_as_late_as_the_work_that_is_due_longest(
    conn: psycopg.Connection, backend: Backend, settings: Settings
) -> None:
    assert ages(conn, backend, settings) == {"events": 0.0, "background": 0.0}

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
