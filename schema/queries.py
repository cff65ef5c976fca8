"""Queries for applications. Each query sends a fixed number of statements, however many rows it returns.

Like the ORM classes, this module imports only SQLAlchemy. An application can install this package without the daemon's
dependencies (`pip install --no-deps stripe-sync`, with SQLAlchemy and a driver of its choice), and import `schema.queries`.
The application provides session, transaction and engine. The functions here only read.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, Select, select
from sqlalchemy.orm import Session, joinedload, selectinload

from schema.membership import Payment, StripePrice, StripeProduct, User, UserSubscription

T = TypeVar("T")

# The statuses of a subscription that is currently paid for or on trial.
CURRENT = ("active", "trialing")
MAX_LIMIT = 500
# The daemon refreshes the catalogue at this interval.
CATALOGUE_MAX_AGE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list. `offset` rows come before it, and `has_more` says whether more rows follow."""

    items: Sequence[T]
    limit: int
    offset: int
    has_more: bool

    @property
    def next_offset(self) -> int | None:
        return self.offset + len(self.items) if self.has_more else None


@dataclass(frozen=True, slots=True)
class Price:
    """An active price. `unit_amount` is in the currency's smallest unit, or None if tiers or decimals determine the amount."""

    id: str
    currency: str | None
    type: str | None
    unit_amount: int | None
    interval: str | None
    interval_count: int | None
    trial_period_days: int | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Product:
    """An active product with its active prices, cheapest first."""

    id: str
    name: str
    description: str | None
    metadata: Mapping[str, Any]
    prices: tuple[Price, ...]


def user_with_subscriptions(session: Session, user_id: str) -> User | None:
    """Return the user, with product, organization and customer. `subscriptions` has only active and trialing subscriptions."""
    return session.scalars(_users().where(User.id == user_id)).one_or_none()


def users_with_subscriptions(session: Session, *, limit: int = 50, offset: int = 0) -> Page[User]:
    """Return users ordered by id, each loaded as `user_with_subscriptions` does."""
    return _page(session, _users().order_by(User.id), limit=limit, offset=offset)


def active_subscription(session: Session, user_id: str) -> UserSubscription | None:
    """Return the user's active or trialing subscription, with product and price, or None.

    Of several subscriptions, one to the user's product (`users.stripe_product_id`) is preferred, then the one that ends last.
    """
    query = (
        select(UserSubscription)
        .join(UserSubscription.user)
        .where(UserSubscription.user_id == user_id, UserSubscription.status.in_(CURRENT))
        .order_by(
            UserSubscription.stripe_product_id.is_not_distinct_from(User.stripe_product_id).desc(),
            UserSubscription.current_period_end.desc().nulls_last(),
            UserSubscription.id,
        )
        .limit(1)
        .options(joinedload(UserSubscription.product), joinedload(UserSubscription.price))
    )
    return session.scalars(query).one_or_none()


def payment_history(session: Session, user_id: str, *, limit: int = 50, offset: int = 0) -> Page[Payment]:
    """Return the user's payments with their products, newest first."""
    query = (
        select(Payment)
        .where(Payment.user_id == user_id)
        .order_by(Payment.created_at.desc(), Payment.id)
        .options(selectinload(Payment.product))
    )
    return _page(session, query, limit=limit, offset=offset)


def active_products(
    engine: Engine, *, max_age: timedelta = CATALOGUE_MAX_AGE, now: Callable[[], float] = time.monotonic
) -> tuple[Product, ...]:
    """Return the active products, sorted by name, read at most `max_age` ago.

    The products are cached per engine, and immutable. Any thread may call this function. While one thread reads, other threads
    wait for its result.
    """
    return _shelf_of(engine).products(engine, max_age, now)


def forget_products(engine: Engine) -> None:
    """Make the next `active_products` read the tables."""
    _shelf_of(engine).forget()


class _Shelf:
    """The cached products of one engine, and when they were read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: tuple[float, tuple[Product, ...]] | None = None

    def products(self, engine: Engine, max_age: timedelta, now: Callable[[], float]) -> tuple[Product, ...]:
        with self._lock:
            if self._read is None or now() - self._read[0] >= max_age.total_seconds():
                # The age counts from the start of the read.
                began = now()
                self._read = began, _read_products(engine)
            return self._read[1]

    def forget(self) -> None:
        with self._lock:
            self._read = None


_shelves: WeakKeyDictionary[Engine, _Shelf] = WeakKeyDictionary()
_shelves_lock = threading.Lock()


def _shelf_of(engine: Engine) -> _Shelf:
    with _shelves_lock:
        return _shelves.setdefault(engine, _Shelf())


def _read_products(engine: Engine) -> tuple[Product, ...]:
    query = (
        select(StripeProduct)
        .where(StripeProduct.active)
        .order_by(StripeProduct.name, StripeProduct.id)
        .options(selectinload(StripeProduct.prices.and_(StripePrice.active)))
    )
    with Session(engine) as session:
        return tuple(_product(each) for each in session.scalars(query))


def _product(product: StripeProduct) -> Product:
    prices = sorted(product.prices, key=lambda price: (price.unit_amount is None, price.unit_amount or 0, price.id))
    return Product(
        id=product.id,
        name=product.name,
        description=product.description,
        metadata=MappingProxyType(product.metadata_),
        prices=tuple(_price(price) for price in prices),
    )


def _price(price: StripePrice) -> Price:
    return Price(
        id=price.id,
        currency=price.currency,
        type=price.type,
        unit_amount=price.unit_amount,
        interval=price.interval,
        interval_count=price.interval_count,
        trial_period_days=price.trial_period_days,
        metadata=MappingProxyType(price.metadata_),
    )


def _users() -> Select[User]:
    current = selectinload(User.subscriptions.and_(UserSubscription.status.in_(CURRENT)))
    return (
        select(User)
        .options(
            selectinload(User.product),
            selectinload(User.organization),
            selectinload(User.customer),
            current.selectinload(UserSubscription.product),
            current.selectinload(UserSubscription.price),
        )
        # If the session has already loaded a user with other subscriptions, the user is loaded again.
        .execution_options(populate_existing=True)
    )


def _page(session: Session, query: Select[T], *, limit: int, offset: int) -> Page[T]:
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"limit: must be between 1 and {MAX_LIMIT}, not {limit}")
    if offset < 0:
        raise ValueError(f"offset: must be 0 or more, not {offset}")
    rows = session.scalars(query.limit(limit + 1).offset(offset)).all()
    return Page(rows[:limit], limit, offset, has_more=len(rows) > limit)
