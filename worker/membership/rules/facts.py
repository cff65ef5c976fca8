"""The facts that membership is computed from: values read from the mirror, times in aware UTC."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from schema.states import MembershipStatus, UserRole
from worker.membership.rules.history import History
from worker.membership.rules.lots import Lot

# The largest integer that JavaScript represents exactly, because an application in JavaScript may read balances. Sums
# are capped at this value.
MOST_TOKENS = 2**53 - 1
LIFETIME = timedelta(days=36_500)
# The keys of a product's metadata that membership reads.
POLICY_KEYS = ("role", "tokens", "access", "features")

# 5000, 5_000, 5,000 or 5 000, with one kind of separator.
_NUMBER = re.compile(r"\d{1,15}|\d{1,3}(?:([_, \u00a0\u202f])\d{3})(?:\1\d{3}){0,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """The policy in a product's metadata.

    `tokens` is the allowance of a token period. `access` is how long a one-time purchase gives the role; None if only a
    subscription gives it. `features` are the features attached to the product at Stripe. If none is attached, they are
    the features in the metadata. `unclear` names the keys whose value could not be read; for them the least is assumed.
    """

    id: str
    role: str = UserRole.PREMIUM
    tokens: int = 0
    access: timedelta | None = None
    features: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


def product_of(id_: str, metadata: object, attached: Sequence[str] = ()) -> Product:
    """Parse a product's metadata, and the features attached to it at Stripe.

    For an unclear value the least is assumed: the role USER, no tokens, no access, no features. Metadata that is not an
    object counts as empty.
    """
    stated = metadata if isinstance(metadata, dict) else {}
    values = {key: str(stated[key]).strip() for key in POLICY_KEYS if key in stated}
    named = _features_of(values.get("features", ""))
    role, tokens, access = values.get("role", ""), values.get("tokens", ""), values.get("access", "")
    return Product(
        id=id_,
        role=UserRole.PREMIUM if role.upper() in ("", "PREMIUM") else UserRole.USER,
        tokens=number_of(tokens) or 0,
        access=_access_of(access),
        features=tuple(sorted(set(attached or named or ()))),
        unclear=tuple(
            key
            for key, is_unclear in (
                ("role", role.upper() not in ("", "USER", "PREMIUM")),
                ("tokens", tokens != "" and number_of(tokens) is None),
                ("access", access != "" and _access_of(access) is None),
                ("features", named is None),
            )
            if is_unclear
        ),
    )


def number_of(text: str) -> int | None:
    """A whole number as people write it; None for anything else."""
    if not text.isascii() and not re.fullmatch(r"[0-9\u00a0\u202f]+", text):
        return None
    return int(re.sub(r"\D", "", text)) if _NUMBER.fullmatch(text) else None


def _features_of(text: str) -> tuple[str, ...] | None:
    """The features in a text: `export, api`, or a JSON array of strings. None for anything else."""
    if not text.startswith(("[", "{")):
        return tuple(name for part in text.split(",") if (name := part.strip()))
    try:
        names = json.loads(text)
    except ValueError:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(name for part in names if (name := part.strip()))


def _access_of(text: str) -> timedelta | None:
    if text.lower() == "lifetime":
        return LIFETIME
    days = number_of(text)
    return timedelta(days=days) if days and days <= LIFETIME.days else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item of a subscription. `created` is when it was added."""

    id: str
    price: str | None
    product: str | None
    quantity: int = 1
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription of one of the user's customers, or one that names the user's organization.

    `observed_at` is the time of the newest snapshot. `paused_for` is the reason of a pause, if Stripe gives one.
    `unpaid_since` is the creation time of the oldest unpaid invoice since the last paid one. `ended_at` is when the
    subscription ended for good. `removed` are former items.
    """

    id: str
    status: str
    created: datetime
    observed_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    paused_for: str | None = None
    trial_start: datetime | None = None
    trial_end: datetime | None = None
    unpaid_since: datetime | None = None
    ended_at: datetime | None = None
    items: tuple[Item, ...] = ()
    removed: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A role that an operator gave."""

    role: str
    until: datetime | None = None


class Feature(NamedTuple):
    """A feature of a user. `source` is the subscription, invoice or Checkout session that gives it, or `override`.

    `until` is when the feature ends by itself, or None if no end is known.
    """

    feature: str
    source: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidLine:
    """A line of a paid invoice, or of a paid Checkout session in payment mode that has no invoice.

    For a Checkout session, `invoice` is the id of the session, `is_checkout` is true, and `line` is empty if the
    metadata of the session names what was sold. `price_type` is None while the `price` is unknown. `amount` is before
    discounts, in minor units. `is_credit` is whether the line gives money back, or None if the invoice does not show
    it. `full_period` is the length of the price's billing interval that ends with the line, and `is_whole` is whether
    the line covers all of it. `has_changes` is whether its invoice has a proration. `has_credit` is whether its invoice
    credits the same item from the same moment. `identity` stays the same if Stripe reports the line under another id.
    """

    invoice: str
    line: str
    product: str | None
    subscription: str | None
    quantity: int
    proration: bool
    period_start: datetime
    period_end: datetime
    paid_at: datetime
    is_checkout: bool = False
    item: str | None = None
    amount: int | None = None
    is_credit: bool | None = None
    price: str | None = None
    price_type: str | None = None
    usage_type: str | None = None
    full_period: timedelta | None = None
    is_whole: bool = True
    has_changes: bool = False
    has_credit: bool = False
    tokens: int | None = None
    identity: str | None = None

    @property
    def owner(self) -> str:
        """The key of the allowance that the line pays for: its subscription item. Old API versions name no item. For
        them it is the subscription with the price."""
        if self.subscription is None:
            return ""
        return self.item or f"{self.subscription}/{self.price or ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """A product with `access`, bought once by Checkout or on an invoice. `is_returned` is true if all its money was
    returned."""

    source: str
    product: str
    paid_at: datetime
    is_returned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyBack:
    """An object that reports returned money of a bill and that is not in the ledger yet.

    The object is a refund, a lost dispute, a credit note, or a charge whose refunded amount is larger than the sum of
    its refunds. `amount` is in minor units. `at` is when the object was created, or None if it is unknown when the
    money was returned.
    """

    source_key: str
    kind: str
    amount: int
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The money of an invoice or a Checkout session, in minor units.

    `returned` is all money returned so far, reported by any number of objects. `accounted` is the part for which the
    ledger has taken tokens back. `sources` are the objects that are not in the ledger yet.
    """

    id: str
    total: int
    returned: int
    accounted: int
    sources: tuple[MoneyBack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Money that was not returned after all: a failed refund, a dispute that was won, or a voided credit note.

    `taken_by` is the row of the ledger that took tokens back for it. `money` is in minor units.
    """

    source_key: str
    kind: str
    bill: str
    money: int
    taken_by: str = ""


@dataclass(frozen=True, slots=True)
class Periods:
    """The known periods of an allowance.

    `first` and `newest` are the starts of the first and the newest period, and `starts` are the starts of all periods.
    `bill` is the invoice of the newest period.
    """

    first: datetime
    newest: datetime | None
    bill: str | None = None
    starts: frozenset[datetime] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user's present row, and all facts about the user.

    `last_key`, `lots` and `history` come from the newest row of the user's ledger: its key, the lots of the balance,
    and the recent changes of the balance. `running` are the paid lines for more than a month that have not ended,
    granted or not. `renewed` are the keys of their parts in the ledger. The keys of `periods` are allowances
    (`PaidLine.owner`).

    `subscriptions` belong to the user's own customers. Only they give tokens. Access also comes from
    `organization_subscriptions`, which name the user's organization; any customer may pay for these. `member_of` is the
    organization whose subscription last made the user a member. `is_linked` is true if the user has a customer.

    `most_tokens` is the largest balance that the application's column can hold. If an adopted application had counted
    tokens itself, `tokens_since` is the time of its adoption, and the application has granted the tokens for all
    earlier payments. Otherwise it is None. `features` are the stored features, sorted, and `given_features` are the
    features given by an operator.
    """

    id: str
    role: str
    membership_status: MembershipStatus
    stripe_product_id: str | None
    tokens: int
    tokens_expires_at: datetime | None
    subscriptions: tuple[Subscription, ...] = ()
    override: Override | None = None
    features: tuple[Feature, ...] = ()
    given_features: tuple[Feature, ...] = ()
    paid_lines: tuple[PaidLine, ...] = ()
    last_key: str | None = None
    lots: tuple[Lot, ...] = ()
    history: History | None = None
    running: tuple[PaidLine, ...] = ()
    renewed: frozenset[str] = field(default_factory=frozenset)
    bills: tuple[Bill, ...] = ()
    restored: tuple[Restored, ...] = ()
    periods: Mapping[str, Periods] = field(default_factory=dict)
    purchases: tuple[Purchase, ...] = ()
    organization_id: str | None = None
    organization_subscriptions: tuple[Subscription, ...] = ()
    member_of: str | None = None
    is_linked: bool = False
    tokens_since: datetime | None = None
    most_tokens: int = MOST_TOKENS

    @property
    def every_subscription(self) -> tuple[Subscription, ...]:
        """The user's own subscriptions and the organization's subscriptions, each once."""
        return (*self.subscriptions, *self.shared_subscriptions)

    @property
    def shared_subscriptions(self) -> tuple[Subscription, ...]:
        """The organization's subscriptions that are not the user's own."""
        own = {subscription.id for subscription in self.subscriptions}
        return tuple(each for each in self.organization_subscriptions if each.id not in own)

    @property
    def every_line(self) -> tuple[PaidLine, ...]:
        """The paid lines that may give tokens now or later."""
        return (*self.paid_lines, *self.running)

    @property
    def named_products(self) -> frozenset[str]:
        """The products named by subscriptions, paid lines and purchases."""
        items = {item.product for each in self.every_subscription for item in each.items}
        bought = {line.product for line in self.every_line} | {purchase.product for purchase in self.purchases}
        return frozenset(id_ for id_ in items | bought if id_)


def misses_facts(user: User, products: Mapping[str, Product]) -> bool:
    """Whether the facts name a product, or a paid line names a price, that is not mirrored yet."""
    unknown = any(line.price is not None and line.price_type is None for line in user.every_line)
    return unknown or not user.named_products <= products.keys()
