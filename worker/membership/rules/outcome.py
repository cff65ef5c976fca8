"""The outcome of computing one user: everything to write, and the differences from the present row."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from worker.membership.rules import access, features, next_change, tokens
from worker.membership.rules.access import Access, Decision, Policy
from worker.membership.rules.balance import Grant
from worker.membership.rules.facts import Feature, Product, User

ACCESS = ("role", "membership_status", "stripe_product_id")
COLUMNS = (*ACCESS, "tokens", "tokens_expires_at", "features")


class Change(NamedTuple):
    """A column's value now, and the value it should have."""

    old: object
    new: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`changes` holds the columns of `users` to write, and `features`; it is empty if nothing changes."""

    decided: Decision
    features: tuple[Feature, ...]
    grants: tuple[Grant, ...]
    next_look: datetime | None
    changes: Mapping[str, Change]

    @property
    def access(self) -> Access:
        return self.decided.access

    @property
    def changes_access(self) -> bool:
        return any(column in self.changes for column in ACCESS)


def compute(user: User, products: Mapping[str, Product], policy: Policy, now: datetime) -> Outcome:
    """The user's outcome as a function of their facts. Computed again after it was written, it changes nothing."""
    decided = access.decide(user, products, policy, now)
    held = features.project(user, products, policy, now)
    granted = tuple(tokens.grants(user, products, policy, now))
    wanted = (
        decided.access.role,
        decided.access.membership_status,
        decided.access.stripe_product_id,
        granted[-1].balance_after if granted else user.tokens,
        granted[-1].expires_at if granted else user.tokens_expires_at,
        held,
    )
    return Outcome(
        decided=decided,
        features=held,
        grants=granted,
        next_look=next_change.next_look(user, products, policy, now),
        changes=differences(user, dict(zip(COLUMNS, wanted, strict=True))),
    )


def without_products(user: User, made: Outcome, refused: Collection[str]) -> Outcome:
    """The outcome if the application's table has no row for these products, so that no user can refer to them."""
    if made.access.stripe_product_id not in refused:
        return made
    changes = {column: change for column, change in made.changes.items() if column != "stripe_product_id"}
    if user.stripe_product_id is not None:
        changes["stripe_product_id"] = Change(user.stripe_product_id, None)
    decided = replace(made.decided, access=replace(made.access, stripe_product_id=None))
    return replace(made, decided=decided, changes=changes)


def differences(user: User, wanted: Mapping[str, object]) -> dict[str, Change]:
    """The columns of the user that differ from the wanted values."""
    pairs = ((column, Change(getattr(user, column), to)) for column, to in wanted.items())
    return {column: change for column, change in pairs if change.old != change.new}
