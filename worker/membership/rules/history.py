"""The history of a balance: its recent changes, in the order in which they happened.

The balance is computed from this list. A fact that becomes known late is inserted at its place, and the later entries
are applied again. So the result does not depend on the order in which events arrive.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from worker.membership.rules.lots import Lot

# Entries stay in the list this long after they became known. A fact older than the list still counts, as if it had
# happened at the beginning of the list.
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
    """The position of an entry in the list.

    Within a second, invoices without changes come first, then invoices with changes, then returned money (`order`).
    Within an invoice, lines of a lower rank come first. `turn` counts the spends at the same time: an entry that
    becomes known after a spend of the same second stays after it. For a later 30-day part, only `time` and `line` (its
    allowance) are set, so that a part that replaces a wrong one gets the same position.
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
    """A change of the balance. `at` is its position, `seen` is when it became known.

    `lot` is the grant as it was paid; for REDUCE and END it names the allowance to reduce or end. `amount` is the
    number of tokens that a credit takes, or that the application has spent (below 0 if it added some). For BACK it is
    the returned money in minor units, and `total` is the total of the bill.
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
    """The state before the first entry, the entries, and the balance after the last one."""

    base: State
    entries: tuple[Entry, ...] = ()
    balance: int = 0
