"""PostgreSQL's write-ahead log by file names: the segments a base backup needs, obsolete segments, and gaps."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_ARCHIVED = re.compile(r"([0-9A-F]{24})(\.partial|\.[0-9A-F]{8}\.backup)?\.gz")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history\.gz")


@dataclass(frozen=True, slots=True)
class Span:
    """The WAL that makes a base backup consistent: its timeline, its first and its last position."""

    timeline: int
    start: int
    stop: int


def position(lsn: str) -> int:
    """A position such as 0/2000028 as a number."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def segment(timeline: int, at: int, size: int) -> str:
    """The name of the file that holds the byte at a position, in segments of `size` bytes."""
    number, per_log = at // size, (1 << 32) // size
    return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"


def obsolete(archived: Iterable[str], *, oldest: str) -> set[str]:
    """The archived files that no base needs, where `oldest` is the first segment of the oldest base that is kept.

    Timelines share one count of positions, so files of all timelines are compared by position. Timeline histories stay.
    """
    matches = ((name, _ARCHIVED.fullmatch(name)) for name in archived)
    return {name for name, match in matches if match is not None and match[1][8:] < oldest[8:]}


def is_segment(name: str) -> bool:
    """Whether a file in a server's pg_wal is WAL."""
    return re.fullmatch(r"[0-9A-F]{24}", name) is not None


def timelines(archived: Iterable[str]) -> set[int]:
    """The timelines whose histories are archived: all but the first."""
    return {int(match[1], 16) for name in archived if (match := _HISTORY.fullmatch(name))}


def read_history(text: str) -> dict[int, int]:
    """A timeline's history: its ancestors, and the position at which each was left."""
    matches = (line.split() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {int(words[0]): position(words[1]) for words in matches}


def is_ancestor(base: Span, timeline: int, history: Mapping[int, int]) -> bool:
    """Whether the timeline's WAL continues the base. It does not if the base ended after its own timeline was left."""
    return base.timeline == timeline or base.stop <= history.get(base.timeline, -1)


def chain_end(archived: Iterable[str], base: Span, size: int) -> tuple[str | None, bool]:
    """Return the last segment that can be reached from the base, and whether there are more behind a gap.

    The segment is None if the base's first one is missing. Segments behind a gap can't be restored. A fork continues at
    the same position on another timeline, so segments of any later timeline count.
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
