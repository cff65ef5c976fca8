"""The lots of a balance: each grant is a lot, and spent tokens are subtracted from the lots in a fixed order.

The application sees one number and spends from it. Lots record where the tokens came from. So a renewal replaces only
the allowance of its own item, packs survive a reset, and a refund takes back only the tokens that the refunded money
had paid for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Tokens of one grant.

    `owner` is their allowance (`PaidLine.owner`), empty for packs, and `subscription` is the subscription of the
    allowance. `bill` is the invoice or Checkout session that paid. `taken_back` is the number of tokens that the money
    returned so far had paid for. `taken` is the number actually taken, because fewer may have been left. The tokens are
    for the time from `begins` to `ends`, and expire at `until`.
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
        """Whether the lot is a later part of a payment for more than a month."""
        return self.source.startswith("part:")


def after_spending(lots: Sequence[Lot], balance: int) -> tuple[Lot, ...]:
    """The lots after spending, so that together they hold no more than the balance.

    Allowances are spent before packs, and lots that expire soonest before others.
    """
    return drawn(lots, sum(lot.left for lot in lots) - max(balance, 0))


def drawn(lots: Sequence[Lot], amount: int, *, bills: Iterable[str] = (), owner: str | None = None) -> tuple[Lot, ...]:
    """Take this many tokens from the lots: first from lots of these bills, then from lots of this owner."""
    preferred, left = set(bills), dict[str, int]()
    order = sorted(
        lots, key=lambda lot: (lot.bill not in preferred, lot.owner != owner, lot.pack, lot.until, lot.source)
    )
    for lot in order:
        given = min(lot.left, max(amount, 0))
        amount -= given
        left[lot.source] = lot.left - given
    return tuple(replace(lot, left=left[lot.source]) for lot in lots)
