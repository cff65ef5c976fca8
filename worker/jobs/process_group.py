"""One `stripe-sync worker`: a Celery worker for each lane, forked after everything has been imported."""

import gc
import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

# These are imported before the fork, so that the lanes share their memory.
from billiard import popen_fork as _popen  # noqa: F401
from billiard import sharedctypes as _sharedctypes  # noqa: F401
from celery import Celery, signals
from celery.app import amqp as _amqp  # noqa: F401
from celery.app import control as _control  # noqa: F401
from celery.app import events as _events  # noqa: F401
from celery.app import log as _celery_log  # noqa: F401
from celery.apps import worker as _worker  # noqa: F401
from celery.backends import base as _backend  # noqa: F401
from celery.concurrency import asynpool as _asynpool  # noqa: F401
from celery.concurrency import prefork as _prefork  # noqa: F401
from celery.events import state as _state  # noqa: F401
from celery.worker import autoscale as _autoscale  # noqa: F401
from celery.worker import components as _components  # noqa: F401
from celery.worker import consumer as _consumer  # noqa: F401
from celery.worker import strategy as _strategy  # noqa: F401
from celery.worker.consumer import delayed_delivery as _delayed  # noqa: F401
from kombu.transport import redis as _redis  # noqa: F401

from worker.config.settings import Settings
from worker.jobs import broker as _broker  # noqa: F401
from worker.jobs import celery_app, supervisor, tasks
from worker.jobs.lanes import Lane
from worker.jobs.periodic import CHANGES
from worker.jobs.process import Process
from worker.membership.delivery import sender
from worker.observe import log, trace

_log = log.get("worker")

# How many new objects are allocated between two garbage collections.
COLLECT_AFTER = 20_000


def run(settings: Settings, lanes: Sequence[Lane]) -> int:
    """Serve the lanes until a signal stops them; returns the exit code."""
    app = celery_app.make(settings.redis_url)
    process = tasks.register(app, settings)
    app.finalize()
    app.loader.import_default_modules()
    freeze()
    return supervisor.run(lanes, lambda lane: _serve(app, process, lane))


def _serve(app: Celery, process: Process, lane: Lane) -> int:
    """Serve one lane in its own process; returns the exit code."""
    process.lane = lane.name
    os.nice(lane.niceness)
    log.bind(lane=lane.name)
    if lane.queues == (CHANGES,):
        return _send_changes(process)

    def started(**_: Any) -> None:
        _log.info("worker.started", queues=lane.queues, children=lane.children)

    def begin_child(**_: Any) -> None:
        supervisor.die_with_parent()
        trace.configure(process.settings, process=f"worker {lane.name}")
        process.reporter.start()

    def end_child(**_: Any) -> None:
        process.reporter.stop()
        trace.shutdown()

    signals.worker_init.connect(freeze, weak=False)
    signals.worker_ready.connect(started, weak=False)
    signals.worker_process_init.connect(begin_child, weak=False)
    signals.worker_process_shutdown.connect(end_child, weak=False)
    # Started directly, because Celery's command line would cost each lane 8 MB.
    worker = app.Worker(
        hostname=f"stripe-sync-{lane.name}-{os.getpid()}@{socket.gethostname()}",
        concurrency=lane.children,
        queues=list(lane.queues),
        pool="prefork",
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    worker.start()
    code = worker.exitcode or 0
    _log.info("worker.stopped", code=code)
    return code


def _send_changes(process: Process) -> int:
    """Call CHANGES_URL until a signal stops the process; returns the exit code. This lane takes no tasks from Celery."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda *_: stopping.set())
    trace.configure(process.settings, process=f"worker {CHANGES}")
    process.reporter.start()
    _log.info("worker.started", queues=(CHANGES,), children=1)
    try:
        with process.reporter.doing("changes"):
            sender.sender(process.settings).run(lambda: not stopping.is_set())
    except sender.Stuck:
        _log.error("changes.stuck", seconds=sender.STUCK_SECONDS)
        return 1
    finally:
        process.reporter.stop()
        trace.shutdown()
    _log.info("worker.stopped", code=0)
    return 0


def freeze(**_: Any) -> None:
    """Keep the garbage collector from writing to objects made before the fork, so that children share their memory.

    The collector also runs less often, because a page from Stripe has ten thousand dicts and lists, none in a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
