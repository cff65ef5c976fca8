"""Explain a user: each column with its rule and evidence. `access` and `tokens` decide; this module only reports."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from schema.states import UserRole
from worker.membership.rules import access, outcome, tokens, wording
from worker.membership.rules.access import Candidate, Decision, Policy, Rule, Service
from worker.membership.rules.balance import Grant
from worker.membership.rules.evidence import (
    Customer,
    Elsewhere,
    Entry,
    Evidence,
    HeldRow,
    Note,
    Schedule,
    Source,
    Unlinked,
)
from worker.membership.rules.facts import Override, Product, User
from worker.membership.rules.lines import row_of
from worker.membership.rules.lots import Lot, after_spending
from worker.membership.rules.outcome import Change
from worker.membership.rules.tokens import NoGrant
from worker.membership.rules.upcoming import Happening, upcoming

# The rule for a user about whom neither Stripe nor an operator has reported anything.
NO_CUSTOMER = "no_customer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The stored and the computed value of a column, the rule and the subscription that decide it, and the reason as a
    sentence."""

    stored: object
    computed: object
    rule: str
    because: str
    subscription: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A feature of the user, and its source."""

    feature: str
    source: str
    until: datetime | None
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A subscription: the service it gives, its rank among subscriptions that give service (1 is best), and the
    reason."""

    id: str
    status: str
    service: Service
    place: int | None
    because: str
    products: tuple[str, ...]
    period_start: datetime | None
    period_end: datetime | None
    schedule: Schedule
    source: Source | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ungranted:
    """A paid line that gave nothing and has no row in the ledger. `row` names its kind (`lines.TABLE`)."""

    source_key: str
    why: NoGrant
    row: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The tokens: the value of the column, the part that can be spent now, the lots and the newest rows of the ledger.

    `spent` is the number of tokens spent since the newest row of the ledger. It is below 0 if the application added
    some. `due` are the grants that a computation would make now.
    """

    stored: int
    spendable: int
    expires_at: datetime | None
    because: str
    lots: tuple[Lot, ...]
    spent: int
    ledger: tuple[Entry, ...]
    due: tuple[Grant, ...]
    ungranted: tuple[Ungranted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The explanation of one user.

    `differs` holds the columns whose stored value differs from the computed one, with both values. `fix` is the command
    that corrects them, or None if nothing differs.
    """

    user: str
    email: str | None
    organization: str | None
    as_of: datetime
    role: Column
    membership_status: Column
    stripe_product_id: Column
    features: tuple[Held, ...]
    tokens: Balance
    override: Override | None
    override_note: Note | None
    customers: tuple[Customer, ...]
    unlinked: tuple[Unlinked, ...]
    elsewhere: tuple[Elsewhere, ...]
    held: tuple[HeldRow, ...]
    subscriptions: tuple[Standing, ...]
    products: Mapping[str, Product]
    sources: Mapping[str, Source]
    next: tuple[Happening, ...]
    differs: Mapping[str, Change]
    is_waiting: bool
    fix: str | None


def explain(
    user: User, products: Mapping[str, Product], policy: Policy, now: datetime, evidence: Evidence
) -> Explanation:
    """Explain a user by the facts that decide and the evidence for them."""
    decided = access.decide(user, products, policy, now)
    made = outcome.compute(user, products, policy, now)
    is_computed = access.is_concerned(user)
    differs = made.changes if is_computed else {}
    role, status, product = _columns(user, products, policy, now, decided, evidence)
    return Explanation(
        user=user.id,
        email=evidence.email,
        organization=user.organization_id,
        as_of=now,
        role=role,
        membership_status=status,
        stripe_product_id=product,
        features=tuple(
            Held(**each._asdict(), because=wording.feature(each, user, products))
            for each in (made.features if is_computed else user.features)
        ),
        tokens=_balance(user, products, policy, now, evidence, made.grants if is_computed else ()),
        override=user.override,
        override_note=evidence.note,
        customers=evidence.customers,
        unlinked=evidence.unlinked,
        elsewhere=evidence.elsewhere,
        held=evidence.held,
        subscriptions=_standings(user, policy, now, decided, evidence),
        products=products,
        sources=evidence.sources,
        next=upcoming(user, products, policy, now, evidence),
        differs=differs,
        is_waiting=evidence.is_waiting,
        fix=f"stripe-sync membership apply {user.id}" if differs or (is_computed and made.grants) else None,
    )


def _columns(
    user: User,
    products: Mapping[str, Product],
    policy: Policy,
    now: datetime,
    decided: Decision,
    evidence: Evidence,
) -> tuple[Column, Column, Column]:
    stored = (user.role, user.membership_status, user.stripe_product_id)
    if not access.is_concerned(user):
        sentence = wording.not_computed(evidence.customers)
        role, status, product = (
            Column(stored=each, computed=each, rule=NO_CUSTOMER, because=sentence) for each in stored
        )
        return role, status, product
    best = decided.candidates[0] if decided.candidates else None
    behind = _rivals(decided)
    # The access that the user would have without the override or the fixed role.
    bare = access.decide(replace(user, override=None, role=UserRole.USER), products, policy, now)
    return (
        Column(
            stored=stored[0],
            computed=decided.access.role,
            rule=decided.role,
            because=wording.role(user, decided, bare.access.role, behind, products, now, evidence.note),
            subscription=best.subscription.id if best and decided.role is Rule.ENTITLED else None,
        ),
        Column(
            stored=stored[1],
            computed=decided.access.membership_status,
            rule=decided.membership_status,
            because=wording.membership_status(user, decided),
            subscription=decided.standing_of.id if decided.standing_of else None,
        ),
        Column(
            stored=stored[2],
            computed=decided.access.stripe_product_id,
            rule=decided.stripe_product_id,
            because=wording.product(user, decided, behind),
            subscription=best.subscription.id if best else None,
        ),
    )


def _rivals(decided: Decision) -> list[tuple[Candidate, str]]:
    """The best candidate of each other subscription, with the first criterion by which it loses to the best."""
    if not decided.candidates:
        return []
    best, reasons = decided.candidates[0], dict[str, tuple[Candidate, str]]()
    for other in decided.candidates[1:]:
        if other.subscription.id != best.subscription.id:
            differs = (name for name in best.preference._fields if _says(best, name) != _says(other, name))
            reasons.setdefault(other.subscription.id, (other, next(differs)))
    return list(reasons.values())


def _says(candidate: Candidate, name: str) -> object:
    return getattr(candidate.preference, name)


def _standings(
    user: User, policy: Policy, now: datetime, decided: Decision, evidence: Evidence
) -> tuple[Standing, ...]:
    """The subscriptions that give service in order of preference, then the others with the newest first."""
    order = list(dict.fromkeys(candidate.subscription.id for candidate in decided.candidates))
    behind = {other.subscription.id: name for other, name in _rivals(decided)}
    reasons = [
        Standing(
            id=each.id,
            status=each.status,
            service=gives,
            place=order.index(each.id) + 1 if each.id in order else None,
            because=wording.standing(each, gives, policy, behind.get(each.id), order[0] if order else None),
            products=tuple(sorted({item.product for item in each.items if item.product})),
            period_start=each.period_start,
            period_end=each.period_end,
            schedule=evidence.schedules.get(each.id, Schedule()),
            source=evidence.sources.get(each.id),
        )
        for each in sorted(user.every_subscription, key=lambda each: (-each.created.timestamp(), each.id))
        for gives in [access.service(each, policy, now)]
    ]
    return tuple(sorted(reasons, key=lambda standing: standing.place or len(order) + 1))


def _line_row(entry: Entry, user: User, evidence: Evidence) -> str | None:
    """The name of the paid line's row in `lines.TABLE`; None if the ledger entry has no paid line."""
    if entry.source_key.startswith("cs:"):
        return "pack"
    lines = [line for line in evidence.granted if tokens.source_key(line) == entry.source_key]
    return row_of(lines[0], user).name if lines else None


def _balance(
    user: User,
    products: Mapping[str, Product],
    policy: Policy,
    now: datetime,
    evidence: Evidence,
    due: tuple[Grant, ...],
) -> Balance:
    is_over = user.tokens_expires_at is not None and user.tokens_expires_at <= now
    last = evidence.ledger[0] if evidence.ledger else None
    passed = tokens.ungranted(user, products, policy, now) if access.is_concerned(user) else []
    return Balance(
        stored=user.tokens,
        spendable=0 if is_over else user.tokens,
        expires_at=user.tokens_expires_at,
        because=wording.balance(user, last, is_over=is_over),
        lots=() if is_over else tuple(lot for lot in after_spending(user.lots, user.tokens) if lot.left),
        spent=last.balance_after - user.tokens if last else 0,
        ledger=tuple(replace(entry, row=_line_row(entry, user, evidence)) for entry in evidence.ledger),
        due=due,
        ungranted=tuple(
            Ungranted(
                source_key=tokens.source_key(line),
                why=why,
                row=row.name,
                because=wording.ungranted(line, why, row, products.get(line.product or "")),
            )
            for line, why, row in passed
        ),
    )
