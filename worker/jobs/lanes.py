"""Lanes: a worker has child processes that serve only live events, and separate ones for other work.

Each lane is a Celery worker. All lanes are forked from one process that has imported everything, so they share memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kombu.utils.scheduling import priority_cycle

from worker.config.errors import Permanent
from worker.jobs.periodic import ACCESS, BACKFILL, CHANGES, EVENTS, PERIODIC

if TYPE_CHECKING:
    from worker.config.settings import Settings

# While a backup occupies one child for hours, the other child continues the passes.
BACKGROUND_CHILDREN = 2
# Added to the niceness of lanes for background work, so that live events come first on a busy machine.
BACKGROUND_NICENESS = 10


@dataclass(frozen=True, slots=True)
class Lane:
    """Queues, and the number of child processes that serve them. Earlier queues are served first."""

    name: str
    queues: tuple[str, ...]
    children: int

    @property
    def niceness(self) -> int:
        """How much to raise the niceness of this lane's processes, for `os.nice`."""
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

    `concurrency` replaces the number of child processes in the first lane. Raises Permanent for an unknown queue.
    """
    unknown = [queue for queue in queues if queue not in QUEUES]
    if unknown or not queues:
        raise Permanent(f"--queues: {', '.join(unknown) or 'none'} is not a queue: choose from {', '.join(QUEUES)}")
    chosen = [
        Lane(name, served, children(settings))
        for name, all_of_it, children in _LANES
        if (served := tuple(queue for queue in all_of_it if queue in queues)) and children(settings)
    ]
    if not chosen:
        raise Permanent("--queues changes: CHANGES_URL is not set, so there is no address to call")
    if concurrency is not None:
        chosen[0] = Lane(chosen[0].name, chosen[0].queues, concurrency)
    return chosen


class QueueOrder(priority_cycle):
    """Serve earlier queues first. Kombu's own `priority` order comes from a set of strings, so it is random."""

    def consume(self, n: int) -> list[str]:
        return sorted(self.items[:n], key=lambda queue: QUEUES.index(queue) if queue in QUEUES else len(QUEUES))
