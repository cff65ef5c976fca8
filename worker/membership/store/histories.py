"""Lots and histories of balances as JSON, as the ledger stores them."""

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from worker.membership.rules.history import Act, Entry, History, Moment, Newest, State
from worker.membership.rules.lots import Lot

Row = dict[str, Any]


def write_lots(lots: Sequence[Lot]) -> str:
    return json.dumps(lots, default=_plain)


def write(history: History | None) -> str | None:
    return None if history is None else json.dumps(history, default=_plain)


def _plain(value: Any) -> str | dict[str, Any]:
    """A time or a dataclass as values that `json` knows. `dataclasses.asdict` would copy everything first, which takes 5
    times as long."""
    if isinstance(value, datetime):
        return value.isoformat()
    return {field.name: getattr(value, field.name) for field in fields(value)}


def read_lots(rows: list[Row] | None) -> tuple[Lot, ...]:
    return tuple(Lot(**_timed(row, "until", "begins", "ends")) for row in rows or ())


def read(row: Row | None) -> History | None:
    if row is None:
        return None
    base = _timed(row["base"], "expires_at")
    base["lots"] = read_lots(base["lots"])
    base["newest"] = {owner: Newest(datetime.fromisoformat(at), bill) for owner, (at, bill) in base["newest"].items()}
    return History(State(**base), tuple(_entry(entry) for entry in row["entries"]), row["balance"])


def _entry(row: Row) -> Entry:
    time, *rest = row["at"]
    lots = read_lots([row["lot"]] if row["lot"] else None)
    facts = {
        "act": Act(row["act"]),
        "at": Moment(datetime.fromisoformat(time), *rest),
        "lot": lots[0] if lots else None,
    }
    return Entry(**{**_timed(row, "seen"), **facts})


def _timed(row: Row, *names: str) -> Row:
    """The row with these columns parsed as times."""
    return {**row, **{name: datetime.fromisoformat(row[name]) for name in names if row.get(name)}}
