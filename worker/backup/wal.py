"""Read the file names of PostgreSQL's write-ahead log: the segments that a base backup needs, obsolete ones, and gaps."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_ARCHIVED = re.compile(r"([0-9A-F]{24})(\.partial|\.[0-9A-F]{8}\.backup)?\.gz")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history\.gz")


@dataclass(frozen=True, slots=True)
class Span:
    """The WAL that makes a base backup consistent: its timeline, first position and last position."""

    timeline: int
    start: int
    stop: int


def position(lsn: str) -> int:
    """Convert a position such as 0/2000028 to a number."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def segment(timeline: int, at: int, size: int) -> str:
    """The name of the segment file with the byte at position `at`, if segments have `size` bytes."""
    number, per_log = at // size, (1 << 32) // size
    return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"


def obsolete(archived: Iterable[str], *, oldest: str) -> set[str]:
    """The archived files that no base backup needs. `oldest` is the first segment of the oldest remaining base backup.

    Positions continue across timelines, so files of all timelines are compared by position. Timeline histories stay.
    """
    matches = ((name, _ARCHIVED.fullmatch(name)) for name in archived)
    return {name for name, match in matches if match is not None and match[1][8:] < oldest[8:]}


def is_segment(name: str) -> bool:
    """Whether a file in a server's pg_wal is a WAL segment."""
    return re.fullmatch(r"[0-9A-F]{24}", name) is not None


def timelines(archived: Iterable[str]) -> set[int]:
    """The timelines whose histories are archived. The first timeline has no history."""
    return {int(match[1], 16) for name in archived if (match := _HISTORY.fullmatch(name))}


def read_history(text: str) -> dict[int, int]:
    """Parse a timeline's history: its ancestors, and the position at which each ancestor ended."""
    matches = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {int(words[0]): position(words[1]) for words in matches}


def is_ancestor(base: Span, timeline: int, history: Mapping[int, int]) -> bool:
    """Whether a base backup can be recovered to the timeline. It can't if it ends after the timelines branched."""
    return base.timeline == timeline or base.stop <= history.get(base.timeline, -1)


def chain_end(archived: Iterable[str], base: Span, size: int) -> tuple[str | None, bool]:
    """Return the last segment that can be reached from the base backup, and whether there are more after a gap.

    The last segment is None if the first segment of the base backup is missing. Segments after a gap can't be restored. A
    new timeline continues at the same position, so segments of later timelines count too.
    """
    held: dict[str, str] = {}
    for name in sorted(archived):
        match = _ARCHIVED.fullmatch(name)
        if match is not None and not match[2] and int(match[1][:8], 16) >= base.timeline:
            held[match[1][8:]] = match[1]
    at, last = base.start // size * size, None
    while (place := segment(0, at, size)[8:]) in held:
        last, at = held[place], at + size
    return last, any(matches > (last or segment(0, base.start, size))[-16:] for matches in held)
