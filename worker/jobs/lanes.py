"""Lanes: a worker keeps child processes for live events that nothing else can occupy, and others for everything else.

Each lane is a Celery worker of its own, forked from one process that has imported everything, so that they share
memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kombu.utils.scheduling import priority_cycle

from worker.config.errors import Permanent
from worker.jobs.periodic import ACCESS, BACKFILL, CHANGES, EVENTS, PERIODIC

if TYPE_CHECKING:
    from worker.config.settings import Settings

# A backup may take hours. The other child continues the passes.
BACKGROUND_CHILDREN = 2
# Added to the niceness of lanes for background work: on a busy machine live events come first.
BACKGROUND_NICENESS = 10


@dataclass(frozen=True, slots=True)
class Lane:
    """Some queues, and the number of child processes that serve them. An earlier queue is served first."""

    name: str
    queues: tuple[str, ...]
    children: int

    @property
    def niceness(self) -> int:
        """The niceness of its processes relative to the worker's, for `os.nice`."""
        return BACKGROUND_NICENESS if set(self.queues) <= {PERIODIC, BACKFILL} else 0


# The number of child processes of a lane, from the settings.
_LANES: tuple[tuple[str, tuple[str, ...], "Callable[[Settings], int]"], ...] = (
    ("events", (EVENTS,), lambda settings: settings.worker_concurrency),
    ("access", (ACCESS,), lambda _: 1),
    ("background", (PERIODIC, BACKFILL), lambda _: BACKGROUND_CHILDREN),
    (CHANGES, (CHANGES,), lambda settings: int(settings.changes_url is not None)),
)
QUEUES = tuple(queue for _, queues, _ in _LANES for queue in queues)


def lanes(settings: "Settings", *, queues: Sequence[str] = QUEUES, concurrency: int | None = None) -> list[Lane]:
    """The lanes that serve these queues.

    `concurrency` replaces the number of child processes of the first lane. Raises Permanent for an unknown queue.
    """
    unknown = [queue for queue in queues if queue not in QUEUES]
    if unknown or not queues:
        raise Permanent(f"--queues: {', '.join(unknown) or 'none'} is not a queue: choose of {', '.join(QUEUES)}")
    chosen = [
        Lane(name, served, children(settings))
        for name, all_of_it, children in _LANES
        if (served := tuple(queue for queue in all_of_it if queue in queues)) and children(settings)
    ]
    if not chosen:
        raise Permanent("--queues changes: CHANGES_URL is not set, so there is nobody to call")
    if concurrency is not None:
        chosen[0] = Lane(chosen[0].name, chosen[0].queues, concurrency)
    return chosen


class QueueOrder(priority_cycle):
    """Serve an earlier queue first. Kombu's own `priority` order is that of a set of strings, so it is random."""

    def consume(self, n: int) -> list[str]:
        return sorted(self.items[:n], key=lambda queue: QUEUES.index(queue) if queue in QUEUES else len(QUEUES))
