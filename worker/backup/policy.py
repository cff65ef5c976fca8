"""Name backups, decide when a backup is due, and decide which backups to keep."""

import enum
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

YOUNG = timedelta(days=1)
# Even a schedule for the 29th of February is due at least once within this many days.
_LONGEST_DAYS = 8 * 366

_NAME = re.compile(r"(?P<environment>[a-z]+)-(?P<at>\d{8}T\d{6}Z)-(?P<kind>logical|physical)")
_TIME = "%Y%m%dT%H%M%SZ"


class Kind(enum.StrEnum):
    LOGICAL = "logical"
    """A dump of one database by pg_dump. It can be restored into any empty database, also on a newer server."""
    PHYSICAL = "physical"
    """A copy of the server's files by pg_basebackup. With the archived WAL, any later point in time can be restored."""


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A backup's name: its environment, its time (UTC, whole seconds) and its kind. Names sort by time."""

    taken_at: datetime
    environment: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.environment}-{self.taken_at.astimezone(UTC).strftime(_TIME)}-{self.kind}"

    @classmethod
    def read(cls, text: str) -> "Name | None":
        """Parse a name; None if the text is not one."""
        match = _NAME.fullmatch(text)
        if match is None:
            return None
        try:
            taken_at = datetime.strptime(match["at"], _TIME).replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(taken_at, match["environment"], Kind(match["kind"]))


@dataclass(frozen=True, slots=True)
class Keep:
    """The number of days, ISO weeks and months whose last backup is kept. Periods without a backup do not count."""

    daily: int
    weekly: int
    monthly: int


def newest(names: Iterable[Name], *, environment: str, kind: Kind) -> Name | None:
    """The newest backup of this environment and kind."""
    return max((name for name in names if (name.environment, name.kind) == (environment, kind)), default=None)


def kept(names: Collection[Name], keep: Keep, *, now: datetime) -> set[Name]:
    """The backups to keep, for each environment and kind.

    The newest backup always stays. So do all backups of the last day, because an operator who takes two before a risky
    change needs both.
    """
    stay: set[Name] = set()
    for group in {(name.environment, name.kind) for name in names}:
        ours = sorted((name for name in names if (name.environment, name.kind) == group), reverse=True)
        stay.add(ours[0])
        stay |= {name for name in ours if name.taken_at > now - YOUNG}
        stay |= _last_of_each(ours, keep.daily, lambda day: day.isoformat())
        stay |= _last_of_each(ours, keep.weekly, lambda day: str(day.isocalendar()[:2]))
        stay |= _last_of_each(ours, keep.monthly, lambda day: f"{day:%Y-%m}")
    return stay


def _last_of_each(newest_first: Sequence[Name], number: int, period: Callable[[date], str]) -> set[Name]:
    """The last backup in each of the newest `number` periods that have one."""
    newest: dict[str, Name] = {}
    for name in newest_first:
        newest.setdefault(period(name.taken_at.astimezone(UTC).date()), name)
    return set(list(newest.values())[:number])


@dataclass(frozen=True, slots=True)
class Times:
    """A parsed cron line. Sunday is 0. Day of month and day of week must both match, as in Celery's beat."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]


def last_due(times: Times, now: datetime) -> datetime:
    """The last due time up to `now`. Raises ValueError if the schedule is never due."""
    now = now.astimezone(UTC)
    for back in range(_LONGEST_DAYS):
        day = now.date() - timedelta(days=back)
        if day.day not in times.days or day.month not in times.months or day.isoweekday() % 7 not in times.weekdays:
            continue
        for hour in sorted(times.hours, reverse=True):
            for minute in sorted(times.minutes, reverse=True):
                moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                if moment <= now:
                    return moment
    raise ValueError("no day fits")
