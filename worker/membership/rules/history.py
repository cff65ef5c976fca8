"""The history of a balance: all recent changes of it, ordered by when they happened and not by when they became known.

The balance follows from this list. A fact that becomes known late is inserted at its place, and later entries are
applied again; so the result does not depend on the order in which events arrive.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from worker.membership.rules.lots import Lot

# Entries stay in the list this long after they became known. A fact that comes later still counts, as if it had
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
    """The place of an entry among others.

    Of the same second, invoices without changes come first, then those with changes, then money back (`order`). Of one
    invoice, lines of a lower rank come first. `turn` counts the spends at the same time: an entry that becomes
    known after a spend of the same second stays after it. A later part only has its beginning and its allowance, so
    that one which replaces a wrong part comes to its place.
    """

    time: datetime
    turn: int = 0
    order: int = 0
    bill: str = ""
    rank: int = 0
    line: str = ""
    is_spend: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A change of the balance, at `at`; `seen` is when it became known.

    `lot` is the grant as it was paid, or the one whose allowance is reduced or ended. `amount` is the tokens that a
    credit takes or the application has spent (below 0 if it added some); for money back it is the money, in minor
    units, of a bill of `total`.
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
    """A balance, its lots, and the newest period of each allowance."""

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
