"""The lots of a balance: each grant is a lot, and spending is counted against the lots in one fixed order.

The application sees one number and spends from it as it likes. Lots record where tokens came from: a renewal replaces
only its own item's allowance, packs survive a reset, and a refund takes back what it paid for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Tokens of one grant.

    `owner` is their allowance (`PaidLine.owner`), empty for packs, and `subscription` its subscription. `bill` is the
    invoice, or the Checkout session, that paid; `taken_back` the tokens for all returned money so far, and `taken`
    those of them that could still be taken. They are for the time from `begins` to `ends`, and lapse at `until`.
    """

    source: str
    owner: str
    bill: str
    granted: int
    left: int
    until: datetime
    pack: bool = False
    taken_back: int = 0
    taken: int = 0
    begins: datetime | None = None
    ends: datetime | None = None
    subscription: str | None = None

    @property
    def is_part(self) -> bool:
        """Whether it is a later part of a payment for more than a month."""
        return self.source.startswith("part:")


def after_spending(lots: Sequence[Lot], balance: int) -> tuple[Lot, ...]:
    """The lots after spending, so that together they hold no more than the balance.

    Allowances are spent before packs, and those that lapse soonest first.
    """
    return drawn(lots, sum(lot.left for lot in lots) - max(balance, 0))


def drawn(lots: Sequence[Lot], amount: int, *, bills: Iterable[str] = (), owner: str | None = None) -> tuple[Lot, ...]:
    """Take this many tokens from the lots; lots of these bills, and then of this owner, come first."""
    preferred, left = set(bills), dict[str, int]()
    order = sorted(
        lots, key=lambda lot: (lot.bill not in preferred, lot.owner != owner, lot.pack, lot.until, lot.source)
    )
    for lot in order:
        given = min(lot.left, max(amount, 0))
        amount -= given
        left[lot.source] = lot.left - given
    return tuple(replace(lot, left=left[lot.source]) for lot in lots)
