"""What a computation makes of one user: everything that is written, and how it differs from the row as it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.core.membership import access, alarm, tokens
from worker.core.membership.access import Access, Policy
from worker.core.membership.facts import Product, User
from worker.core.membership.tokens import Grant

__all__ = ["COLUMNS", "Outcome", "compute"]

# What a balance can hold: the column is an integer, and the ledger is not.
_MOST = 2**31 - 1
COLUMNS = ("role", "membership_status", "stripe_product_id", "tokens", "tokens_expires_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`changes` holds, by column of `users`, what is there and what is to be; it is empty where nothing changes."""

    access: Access
    grants: tuple[Grant, ...]
    next_look: datetime | None
    changes: Mapping[str, tuple[object, object]]

    @property
    def changes_access(self) -> bool:
        return any(column in self.changes for column in ("role", "membership_status", "stripe_product_id"))


def compute(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> Outcome:
    """The user's outcome: a function of their facts, which computed again on what it wrote changes nothing."""
    decided = access.project(user, products, policy, now)
    granted = tuple(tokens.grants(user, products, policy, now))
    wanted = (
        decided.role,
        decided.membership_status,
        decided.stripe_product_id,
        min(granted[-1].balance_after, _MOST) if granted else user.tokens,
        granted[-1].expires_at if granted else user.tokens_expires_at,
    )
    pairs = ((column, (getattr(user, column), to)) for column, to in zip(COLUMNS, wanted, strict=True))
    return Outcome(
        access=decided,
        grants=granted,
        next_look=alarm.next_look(user, policy, now),
        changes={column: pair for column, pair in pairs if pair[0] != pair[1]},
    )
