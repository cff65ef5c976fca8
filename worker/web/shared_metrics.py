"""The values of GET /metrics: gauges from the database and the broker, and the saved counts of all processes.

Every web process shows the same values, so scraping any of them scrapes the whole daemon.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import redis
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from psycopg.rows import dict_row

from worker.backup import scheduled
from worker.config.settings import Settings
from worker.inbox.endpoint import sentinel
from worker.jobs import celery_app, lanes, periodic, status
from worker.mirror import refetch_queue
from worker.observe import metrics
from worker.postgres import counters
from worker.writers import catch_up

# Name without the prefix, documentation and label.
_GAUGES: dict[str, tuple[str, str | None]] = {
    "pending": ("Events in the inbox that are not applied yet", None),
    "parked": ("Events set aside for a person", None),
    "oldest_pending_seconds": ("Age of the oldest event that is not applied yet", None),
    "unsettled": ("Mirrored rows whose latest state is uncertain", None),
    "unlinked_customers": ("Stripe customers without a user", None),
    "workers_alive": ("Child processes of workers that reported within the last 90 s", None),
    "lane_processes": ("Child processes of workers that reported within the last 90 s, by lane", "lane"),
    "queue_age_seconds": ("How long the oldest due work of a lane has waited", "lane"),
    "queue_length": ("Messages in a queue of the broker", "queue"),
    "broker_up": ("Whether the broker answers", None),
    "fetch_queue": ("Objects that wait to be read from Stripe; at most 10,000 are counted", None),
    "fetch_queue_age_seconds": ("How long the oldest due object has waited to be read from Stripe", None),
    "catch_up_lag_seconds": ("How many seconds catch-up is behind Stripe's list of events", None),
    "job_age_seconds": ("Seconds since a periodic job last succeeded", "name"),
    "job_interval_seconds": ("How often a periodic job is due", "name"),
    "accounts_connected": ("Connected accounts that are read (CONNECT=on)", None),
    "accounts_failing": ("Connected accounts whose last read failed", None),
    "accounts_unread": ("Connected accounts whose lists were never read", None),
    "changes_pending": ("Changes of users that CHANGES_URL has not acknowledged, counted up to 10,000", None),
    "changes_parked": ("Changes set aside after the last attempt to send them, counted up to 10,000", None),
    "oldest_pending_change_seconds": ("Age of the oldest change that CHANGES_URL has not acknowledged", None),
    "endpoint_problem": ("Problems of the webhook endpoint at Stripe, by kind", "kind"),
    "backup_missed": ("Whether the last scheduled backup is missing an hour after its time", None),
}


@dataclass(frozen=True, slots=True)
class Known:
    """The values of one scrape: gauges by name and label, and counts by name."""

    gauges: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]


class Shared(Collector):
    """One scrape, in the form that the Prometheus library expects."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def collect(self) -> Iterator[Metric]:
        for name, values in self._known.gauges.items():
            documentation, label = _GAUGES[name]
            family = GaugeMetricFamily(f"stripe_sync_{name}", documentation, labels=[label] if label else [])
            for of, value in values.items():
                family.add_metric([of] if label else [], value)
            yield family
        yield from metrics.families(self._known.counts)


def read(conn: psycopg.Connection, queue: redis.Redis, settings: Settings) -> Known:
    """The current values. Raises the database's errors. If the broker is absent, `broker_up` is 0."""
    lengths, waited = _queues(queue)
    plain = {name: {"": value} for name, value in (status.gauges(conn) | _ages(conn)).items() if name in _GAUGES}
    of_jobs = _jobs(conn, settings)
    return Known(
        plain
        | of_jobs
        | {
            "lane_processes": _lane_processes(conn, settings),
            "queue_age_seconds": _queue_ages(conn, of_jobs, fetch=plain["fetch_queue_age_seconds"][""])
            | {"access": waited},
            "queue_length": lengths,
            "endpoint_problem": dict.fromkeys(sentinel.KINDS, 0.0)
            | Counter(each["kind"] for each in sentinel.problems(conn)),
            "broker_up": {"": float(bool(lengths))},
            "backup_missed": {"": float(scheduled.missed(conn, settings, datetime.now(UTC)) is not None)},
        },
        counters.read(conn),
    )


def _ages(conn: psycopg.Connection) -> dict[str, float]:
    with conn.cursor(row_factory=dict_row) as cursor:
        row: dict[str, Any] | None = cursor.execute(
            """
            select
                greatest(extract(epoch from now()) - (value #>> '{}')::float8, 0) as catch_up_lag_seconds
            from sync.cursors where name = %s
            """,
            (catch_up.CURSOR,),
        ).fetchone()
    number, age = refetch_queue.backlog(conn)
    return (row or {}) | {"fetch_queue": number, "fetch_queue_age_seconds": age}


def _lane_processes(conn: psycopg.Connection, settings: Settings) -> dict[str, float]:
    alive = [worker["lane"] for worker in status.workers(conn)]
    return {name: float(alive.count(name)) for name in {lane.name for lane in lanes.lanes(settings)}}


def _queue_ages(conn: psycopg.Connection, jobs: Mapping[str, Mapping[str, float]], *, fetch: float) -> dict[str, float]:
    """The age of the oldest due work in each lane, in seconds.

    The lane `events` has events, and users that wait to be computed. The lane `background` has periodic jobs that are
    late, and objects that wait to be read again.
    """
    row = conn.execute(
        """
        select extract(epoch from now() - least(
            (select min(next_attempt_at) from sync.events where status = 'pending' and next_attempt_at <= now()),
            (select min(requested_at) from sync.recompute_queue where not deferred),
            now()
        ))::float8
        """
    ).fetchone()
    late = (age - jobs["job_interval_seconds"].get(job, age) for job, age in jobs["job_age_seconds"].items())
    return {"events": row[0] if row else 0.0, "background": max(0.0, fetch, *late)}


def _jobs(conn: psycopg.Connection, settings: Settings) -> dict[str, dict[str, float]]:
    ages: dict[str, float] = dict(
        conn.execute(
            """
            select job, extract(epoch from now() - done.at)::float8
            from unnest(%s::text[]) as jobs (job)
            cross join lateral (
                select finished_at as at from sync.runs as r
                where r.job = jobs.job and r.outcome = 'done'
                order by r.slot desc
                limit 1
            ) as done
            """,
            ([*(job.name for job in periodic.JOBS), scheduled.JOB],),
        ).fetchall()
    )
    intervals = {job.name: job.interval(settings) for job in periodic.jobs(settings)}
    return {"job_age_seconds": ages, "job_interval_seconds": intervals}


def _queues(queue: redis.Redis) -> tuple[dict[str, float], float]:
    """The number of messages in each queue, and how long the oldest access request has waited, in seconds.

    If the broker does not answer, the numbers are empty and the wait is 0.
    """
    try:
        with queue.pipeline(transaction=False) as pipeline:
            for name in lanes.QUEUES:
                pipeline.llen(name)
            pipeline.lindex(periodic.ACCESS, -1)
            *lengths, oldest = pipeline.execute()
    except (OSError, redis.RedisError):
        return {}, 0.0
    return dict(zip(lanes.QUEUES, map(float, lengths), strict=True)), _waited(oldest)


def _waited(message: bytes | None) -> float:
    """The age of the message in seconds; 0 if there is none, or if another application sent it."""
    if message is None:
        return 0.0
    sent_at = json.loads(message)["headers"].get(celery_app.SENT_AT)
    return max(0.0, time.time() - sent_at) if isinstance(sent_at, int | float) else 0.0
