"""What a balance is made of: each grant is a lot, and what was spent is counted against them in one fixed order.

The application sees one number and spends from it as it likes. A lot says where tokens came from, so that a renewal
replaces its own subscription's alone, bought packs outlive a reset, and a refund takes from what it paid for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Tokens of one grant. `bill` is the invoice, or the Checkout session, that paid; `taken_back` what refunds and
    disputes of it were worth so far; `owner` the subscription, empty for packs; `ends` the paid period's end, of those."""

    source: str
    owner: str
    bill: str
    granted: int
    left: int
    until: datetime
    pack: bool = False
    taken_back: int = 0
    ends: datetime | None = None


def after_spending(lots: Sequence[Lot], balance: int) -> tuple[Lot, ...]:
    """The lots once they hold no more than the balance: allowances were spent first, the soonest to lapse before others."""
    return drawn(lots, sum(lot.left for lot in lots) - max(balance, 0))


def drawn(lots: Sequence[Lot], amount: int, *, first: Iterable[str] = ()) -> tuple[Lot, ...]:
    """The lots without this many tokens; those of the bills in `first` give before all others."""
    preferred, left = set(first), dict[str, int]()
    order = sorted(lots, key=lambda lot: (lot.bill not in preferred, lot.pack, lot.until, lot.source))
    for lot in order:
        given = min(lot.left, max(amount, 0))
        amount -= given
        left[lot.source] = lot.left - given
    return tuple(replace(lot, left=left[lot.source]) for lot in lots)
