"""The process that sends periodic tasks on time: `python -m worker.jobs.beat`.

The beat is idle most of the time, so it runs without the settings and the command line, whose modules take 30 MB.
"""

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from celery.apps.beat import Beat
from celery.beat import ScheduleEntry, Scheduler, SchedulingError

from worker.config import program
from worker.jobs import celery_app
from worker.observe import log

if TYPE_CHECKING:
    from worker.config.settings import Settings

_log = log.get("beat")

_TICKS = "STRIPE_SYNC_TICKS"


class OutageScheduler(Scheduler):  # type: ignore[misc]  # celery has no types
    """Celery's scheduler, but an outage of the broker is logged once. Celery logs each tick that fails, with its stack."""

    is_failing = False

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send the tick. If the broker is unreachable, the tick is lost, and the next one is sent at its time."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            if not self.is_failing:
                _log.warning("broker.unreachable", error=str(error))
            self.is_failing = True
        else:
            self.is_failing = False


def serve(settings: "Settings") -> None:
    """Replace this process with one that sends the ticks until a signal stops it; does not return."""
    ticks = json.dumps([asdict(tick) for tick in celery_app.ticks(settings)])
    words = (settings.log_level, "json" if log.is_json(settings) else "console")
    program.become("worker.jobs.beat", *words, environment={"REDIS_URL": settings.redis_url, _TICKS: ticks})


def main(log_level: str, log_format: str) -> None:
    """Send the ticks until a signal stops the process. The environment has the ticks and the broker's address."""
    log.configure_as(level=log_level, as_json=log_format == "json")
    _log.info("beat.started")
    app = celery_app.make(os.environ["REDIS_URL"], [celery_app.Tick(**tick) for tick in json.loads(os.environ[_TICKS])])
    # Started directly, because Celery's command line would cost 8 MB.
    Beat(app=app, scheduler_cls=OutageScheduler, loglevel="WARNING", quiet=True).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
