"""The names of backups, when one is due, and which of them stay."""

import enum
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

YOUNG = timedelta(days=1)
# A schedule such as the 29th of February is due once in so many days at the latest.
_LONGEST_DAYS = 8 * 366

_NAME = re.compile(r"(?P<environment>[a-z]+)-(?P<at>\d{8}T\d{6}Z)-(?P<kind>logical|physical)")
_TIME = "%Y%m%dT%H%M%SZ"


class Kind(enum.StrEnum):
    LOGICAL = "logical"
    """One database as pg_dump writes it: restored into any empty database, of a newer server too."""
    PHYSICAL = "physical"
    """The server's files as pg_basebackup copies them: with archived WAL, the ground of every minute after it."""


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A backup's name: whose it is, when it was taken (UTC, whole seconds), and of which kind. Later sorts later."""

    taken_at: datetime
    environment: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.environment}-{self.taken_at.astimezone(UTC).strftime(_TIME)}-{self.kind}"

    @classmethod
    def read(cls, text: str) -> "Name | None":
        """The name that the text is; None where it is none."""
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
    """Of how many days, ISO weeks and months the last backup is kept; counted in those that have one."""

    daily: int
    weekly: int
    monthly: int


def newest(names: Iterable[Name], *, environment: str, kind: Kind) -> Name | None:
    """The newest of the environment's backups of that kind."""
    return max((name for name in names if (name.environment, name.kind) == (environment, kind)), default=None)


def kept(names: Collection[Name], keep: Keep, *, now: datetime) -> set[Name]:
    """The backups that stay: of each environment and kind by themselves.

    The newest always stays, and so does what is younger than a day: who makes two before a risky change wants both.
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
    """The last backup of each of the newest so many periods that have one."""
    newest: dict[str, Name] = {}
    for name in newest_first:
        newest.setdefault(period(name.taken_at.astimezone(UTC).date()), name)
    return set(list(newest.values())[:number])


@dataclass(frozen=True, slots=True)
class Times:
    """A cron line, taken apart. Sunday is 0. Days of the month and of the week must both fit, as Celery's beat has it."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]


def last_due(times: Times, now: datetime) -> datetime:
    """When it was due last, now included; raises ValueError where it is never due."""
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
