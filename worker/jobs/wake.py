"""Wake-ups: messages that only tell workers that there is work. Publishing is debounced, and never blocks the caller."""

import threading
import time
from collections.abc import Callable

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from worker.jobs.periodic import EVENTS, task_name
from worker.observe import log, metrics

_log = log.get("wake")

GAP_SECONDS = 0.02


def queue_client(url: str) -> redis.Redis:
    """A client that reads the broker's queues, with short time-outs."""
    return redis.Redis.from_url(
        url.replace("redis+socket://", "unix://"), socket_timeout=2, socket_connect_timeout=2, health_check_interval=15
    )


def publish_drain(app: Celery, client: redis.Redis) -> str:
    """Send the task `drain`, unless one is still queued: that one will see everything committed until now."""
    if client.llen(EVENTS):
        return "already_queued"
    app.send_task(task_name("drain"), queue=EVENTS, retry=False)
    return "sent"


class Waker:
    """A thread that publishes wake-ups: the first at once, further ones after a gap.

    Every call of `wake` is followed by a wake-up that is sent after the call.
    """

    def __init__(self, publish: Callable[[], str], *, gap_seconds: float = GAP_SECONDS) -> None:
        self._publish, self._gap = publish, gap_seconds
        self._wanted, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Publish a wake-up that is still requested, then end the thread."""
        self._stopped.set()
        self._wanted.set()
        self._thread.join(timeout=5)

    def wake(self) -> None:
        """Request a wake-up. Returns at once, even if the broker is away."""
        self._wanted.set()

    def _run(self) -> None:
        failing = False
        while not self._stopped.is_set() or self._wanted.is_set():
            self._wanted.wait()
            self._wanted.clear()
            if self._stopped.is_set() and failing:
                return
            try:
                metrics.WAKE_UPS.labels(self._publish()).inc()
                failing = False
            except (OSError, redis.RedisError, OperationalError) as error:
                # Nothing is lost: the beat's `wake` finds due work. Logged once per outage.
                metrics.WAKE_UPS.labels("failed").inc()
                if not failing:
                    _log.warning("broker.unreachable", error=type(error).__name__)
                failing = True
            time.sleep(self._gap)
