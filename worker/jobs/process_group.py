"""One `stripe-sync worker`: a Celery worker for each lane, forked once everything is imported."""

import gc
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery, signals

# These are imported before the fork, so that the lanes share their memory.
from celery.apps import worker as _worker  # noqa: F401
from celery.bin import celery as _celery  # noqa: F401
from celery.concurrency import asynpool as _asynpool  # noqa: F401
from celery.concurrency import prefork as _prefork  # noqa: F401
from celery.worker import consumer as _consumer  # noqa: F401
from kombu.transport import redis as _redis  # noqa: F401

from worker.changes import sender
from worker.config.settings import Settings
from worker.jobs import celery_app, supervisor, tasks
from worker.jobs.lanes import Lane
from worker.jobs.periodic import CHANGES
from worker.jobs.process import Process
from worker.observe import log, trace

_log = log.get("worker")


def run(settings: Settings, lanes: Sequence[Lane]) -> int:
    """Serve the lanes until a signal asks to stop; returns the exit code."""
    app = celery_app.make(settings)
    process = tasks.register(app, settings)
    _freeze()
    return supervisor.run(lanes, lambda lane: _serve(app, process, lane))


def _serve(app: Celery, process: Process, lane: Lane) -> int:
    """Serve one lane in its own process; returns the exit code."""
    process.lane, code = lane.name, 0
    os.nice(lane.niceness)
    structlog.contextvars.bind_contextvars(lane=lane.name)
    if lane.queues == (CHANGES,):
        return _send_changes(process)

    def started(**_: Any) -> None:
        _log.info("worker.started", queues=lane.queues, children=lane.children)

    def stopped(sender: Any, **_: Any) -> None:
        # `worker_main` returns no code, not even after an error that ended the consumer.
        nonlocal code
        code = sender.exitcode or 0
        _log.info("worker.stopped", code=code)

    def begin_child(**_: Any) -> None:
        supervisor.die_with_parent()
        trace.configure(process.settings, process=f"worker {lane.name}")
        process.reporter.start()

    def end_child(**_: Any) -> None:
        process.reporter.stop()
        trace.shutdown()

    signals.worker_init.connect(_freeze, weak=False)
    signals.worker_ready.connect(started, weak=False)
    signals.worker_shutdown.connect(stopped, weak=False)
    signals.worker_process_init.connect(begin_child, weak=False)
    signals.worker_process_shutdown.connect(end_child, weak=False)
    app.worker_main(
        [
            "--quiet",
            "worker",
            f"--concurrency={lane.children}",
            f"--queues={','.join(lane.queues)}",
            "--without-gossip",
            "--without-mingle",
            f"--hostname=stripe-sync-{lane.name}-{os.getpid()}@%h",
            "--loglevel=WARNING",
        ]
    )
    return code


def _send_changes(process: Process) -> int:
    """Call CHANGES_URL until a signal asks to stop. This lane takes no tasks from Celery."""
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


def _freeze(**_: Any) -> None:
    """Keep the garbage collector from writing to objects older than the fork, so that children share their pages."""
    gc.collect()
    gc.freeze()
