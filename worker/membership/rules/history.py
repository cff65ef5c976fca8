"""The history of a balance: all that changed it lately, by its own time and not by the time at which it came to be known.

The balance follows from this list. A fact that comes to be known late is put in its place, and the rest happens again after it;
so the end does not depend on the order in which events arrive.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from worker.membership.rules.lots import Lot

# Entries stay in the list this long after they came to be known. A fact that comes later still counts, but as if it had
# happened when the list begins.
KEPT = timedelta(days=31)


class Act(enum.StrEnum):
    """The effect of an entry."""

    BEGIN = "begin"
    ADD = "add"
    REDUCE = "reduce"
    END = "end"
    BACK = "back"
    SPEND = "spend"


class Moment(NamedTuple):
    """The place of an entry among others. Of one invoice, lines of a lower rank come first.

    `turn` counts the spends at the same time: what comes to be known after a spend, and is of its very second, stays after
    it. A later part has nothing but its begin and its allowance, so that one which takes the place of a wrong one comes where
    that was.
    """

    time: datetime
    turn: int = 0
    bill: str = ""
    rank: int = 0
    line: str = ""
    is_spend: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that changed the balance, at `at`; `seen` is when it came to be known.

    `lot` is the grant as it was paid, or whose allowance is reduced or ended. `amount` are the tokens that a credit takes or the
    application has spent (less than 0 if it added some), and of money back the money, in minor units, of a bill of `total`.
    """

    act: Act
    at: Moment
    seen: datetime
    source: str
    lot: Lot | None = None
    amount: int = 0
    total: int = 0


class Newest(NamedTuple):
    """The newest period of an allowance, and the bill that paid it."""

    begins: datetime
    bill: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A balance, what it is made of, and the newest period of each allowance."""

    lots: tuple[Lot, ...] = ()
    balance: int = 0
    expires_at: datetime | None = None
    newest: Mapping[str, Newest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """The state in which the list begins, the list, and the balance after it."""

    base: State
    entries: tuple[Entry, ...] = ()
    balance: int = 0
