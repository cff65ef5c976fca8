"""The facts that membership is computed from: values read from the mirror, times in aware UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from schema.states import MembershipStatus, UserRole
from worker.membership.rules.lots import Lot


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """The policy that a product's metadata states: `role` (USER or PREMIUM) and `tokens` per token period."""

    id: str
    role: UserRole = UserRole.PREMIUM
    tokens: int = 0


def product_of(id_: str, metadata: Mapping[str, Any] | None) -> Product:
    """The policy in a product's metadata; what can't be read as one is as if it were not there. Never ADMIN."""
    said = metadata or {}
    role = UserRole.USER if str(said.get("role", "")).strip().upper() == "USER" else UserRole.PREMIUM
    tokens = str(said.get("tokens", "")).strip().replace("_", "")
    readable = tokens.isascii() and tokens.isdigit() and len(tokens) <= 9  # more than a balance holds is a slip
    return Product(id=id_, role=role, tokens=int(tokens) if readable else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    id: str
    price: str | None
    product: str | None
    quantity: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription of one of the user's customers, or of their organization. `paused_for` is Stripe's reason, where it
    gives one."""

    id: str
    status: str
    created: datetime
    period_start: datetime | None = None
    period_end: datetime | None = None
    paused_for: str | None = None
    trial_end: datetime | None = None
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A role that an operator gave."""

    role: UserRole
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidLine:
    """A line of a paid invoice that has no row in the ledger yet, or of a Checkout session of packs that has no invoice (its
    id is the `invoice` then, and `line` is empty where its metadata says what was sold).

    `price_type` is None while nobody has told of the `price`. `amount` is before discounts; `full_period` how long the
    price's whole interval is that ends with the line.
    """

    invoice: str
    line: str
    billing_reason: str | None
    product: str | None
    subscription: str | None
    quantity: int
    proration: bool
    period_start: datetime
    period_end: datetime
    paid_at: datetime
    item: str | None = None
    amount: int | None = None
    total: int | None = None
    price: str | None = None
    price_type: str | None = None
    usage_type: str | None = None
    full_period: timedelta | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clawback:
    """Money of a bill that went back, by a refund or a dispute that was lost, and that the ledger does not have yet."""

    source_key: str
    kind: str
    bill: str
    amount: int
    paid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A clawback in the ledger whose refund failed, or whose dispute was won after all: what it was worth and what it
    took."""

    source_key: str
    kind: str
    bill: str
    worth: int
    taken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user's row as it stands, and every fact about them. `last_key` is that of the newest row of their ledger, and
    `lots` what it says the balance was made of then. `running` are paid lines of more than a month that last, granted or
    not, and `renewed` the keys of their renewals that the ledger has.

    `subscriptions` are those of the user's own customers. They alone give tokens; access comes of these, and of those that
    name the user's organization, whoever pays for them. `member_of` is the organization that last made the user a member
    by a subscription, `is_linked` whether any customer is the user. `tokens_since` is when the application, which counted
    tokens itself until then, was adopted: what was paid before, it has granted. None where it counted none.
    """

    id: str
    role: UserRole
    membership_status: MembershipStatus
    stripe_product_id: str | None
    tokens: int
    tokens_expires_at: datetime | None
    subscriptions: tuple[Subscription, ...] = ()
    override: Override | None = None
    paid_lines: tuple[PaidLine, ...] = ()
    granted_invoices: frozenset[str] = field(default_factory=frozenset)
    last_key: str | None = None
    lots: tuple[Lot, ...] = ()
    running: tuple[PaidLine, ...] = ()
    renewed: frozenset[str] = field(default_factory=frozenset)
    clawbacks: tuple[Clawback, ...] = ()
    restored: tuple[Restored, ...] = ()
    last_granted: Mapping[str, datetime] = field(default_factory=dict)
    organization_id: str | None = None
    organization_subscriptions: tuple[Subscription, ...] = ()
    member_of: str | None = None
    is_linked: bool = False
    tokens_since: datetime | None = None

    @property
    def every_subscription(self) -> tuple[Subscription, ...]:
        """The user's own and the organization's, each once."""
        return (*self.subscriptions, *self.shared_subscriptions)

    @property
    def shared_subscriptions(self) -> tuple[Subscription, ...]:
        """The organization's that are not the user's own."""
        own = {subscription.id for subscription in self.subscriptions}
        return tuple(found for found in self.organization_subscriptions if found.id not in own)

    @property
    def every_line(self) -> tuple[PaidLine, ...]:
        """The paid lines that may give tokens, now or later."""
        return (*self.paid_lines, *self.running)

    @property
    def named_products(self) -> frozenset[str]:
        """The products that subscriptions and paid lines name."""
        items = {item.product for found in self.every_subscription for item in found.items}
        return frozenset(id_ for id_ in items | {line.product for line in self.every_line} if id_)


def misses_something(user: User, products: Mapping[str, Product]) -> bool:
    """Whether the facts name a product, or a paid line its price, that nobody has told of yet."""
    unknown = any(line.price is not None and line.price_type is None for line in user.every_line)
    return unknown or not user.named_products <= products.keys()
