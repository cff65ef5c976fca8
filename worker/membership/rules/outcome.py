"""The outcome of computing one user: all values to write, and the differences from the present row."""

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
    """The present value of a column, and the value that it should have."""

    old: object
    new: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The computed values. `changes` holds the columns of `users` that change, and `features` if they change."""

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
    """Compute the user's outcome from the facts. Once the outcome is written, computing it again changes nothing."""
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
    """The outcome without references to these products, because the application's table has no rows for them."""
    if made.access.stripe_product_id not in refused:
        return made
    changes = {column: change for column, change in made.changes.items() if column != "stripe_product_id"}
    if user.stripe_product_id is not None:
        changes["stripe_product_id"] = Change(user.stripe_product_id, None)
    decided = replace(made.decided, access=replace(made.access, stripe_product_id=None))
    return replace(made, decided=decided, changes=changes)


def differences(user: User, wanted: Mapping[str, object]) -> dict[str, Change]:
    """The columns whose present value differs from the wanted value."""
    pairs = ((column, Change(getattr(user, column), to)) for column, to in wanted.items())
    return {column: change for column, change in pairs if change.old != change.new}
