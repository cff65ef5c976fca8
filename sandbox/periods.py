"""Billing periods, by the calendar."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta


def period_end(start: int, interval: str, count: int, *, anchor: int) -> int:
    """The end of a period that begins at `start`. A month ends on the anchor's day, or on its last day if it is shorter."""
    begins = datetime.fromtimestamp(start, UTC)
    if interval in ("day", "week"):
        days = count * (7 if interval == "week" else 1)
        return int((begins + timedelta(days=days)).timestamp())
    months = count * (12 if interval == "year" else 1)
    year, month = divmod(begins.year * 12 + begins.month - 1 + months, 12)
    day = min(datetime.fromtimestamp(anchor, UTC).day, monthrange(year, month + 1)[1])
    return int(begins.replace(year=year, month=month + 1, day=day).timestamp())
