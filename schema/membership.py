"""The application's tables in `public`, as ORM classes with the relationships that its queries use.

Ids are text with a default, and times are timestamptz. A trigger sets `updated_at` (`sync.touch_updated_at`). The names are
a contract with the application, and the adapters of Auth.js expect them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from schema.base import metadata
from schema.states import MembershipStatus, UserRole


class Base(DeclarativeBase):
    """The base of the application's ORM classes."""

    metadata = metadata


user_role = Enum(UserRole, name="user_role", metadata=metadata)
membership_status = Enum(MembershipStatus, name="membership_status", metadata=metadata)

_uuid = text("(gen_random_uuid())::text")
_now = text("now()")
_time = DateTime(timezone=True)


class _Dated:
    """`created_at` and `updated_at`, set by the database unless the writer sets them."""

    created_at: Mapped[datetime] = mapped_column(_time, server_default=_now, sort_order=98)
    updated_at: Mapped[datetime] = mapped_column(_time, server_default=_now, sort_order=99)


class Organization(_Dated, Base):
    """A group of users. A subscription may entitle all of them."""

    __tablename__ = "organizations"

    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    name: Mapped[str] = mapped_column(Text)

    users: Mapped[list[User]] = relationship(back_populates="organization", passive_deletes=True)


class User(_Dated, Base):
    """A user of the application. The daemon computes role, membership_status, stripe_product_id and tokens from payments."""

    __tablename__ = "users"
    __table_args__ = (
        Index(None, "organization_id"),
        Index(None, "stripe_product_id"),
        Index(None, "role", "membership_status"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    email: Mapped[str | None] = mapped_column(Text, unique=True)
    name: Mapped[str | None] = mapped_column(Text)
    email_verified: Mapped[datetime | None] = mapped_column(_time)
    image: Mapped[str | None] = mapped_column(Text)
    role: Mapped[UserRole] = mapped_column(user_role, server_default=UserRole.USER.value)
    organization_id: Mapped[str | None] = mapped_column(ForeignKey("organizations.id", ondelete="SET NULL"))
    stripe_product_id: Mapped[str | None] = mapped_column(ForeignKey("stripe_products.id", ondelete="SET NULL"))
    membership_status: Mapped[MembershipStatus] = mapped_column(
        membership_status, server_default=MembershipStatus.ACTIVE.value
    )
    tokens: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    tokens_expires_at: Mapped[datetime | None] = mapped_column(_time)

    organization: Mapped[Organization | None] = relationship(back_populates="users")
    product: Mapped[StripeProduct | None] = relationship(back_populates="users")
    customer: Mapped[StripeCustomer | None] = relationship(back_populates="user", passive_deletes=True)
    subscriptions: Mapped[list[UserSubscription]] = relationship(back_populates="user", passive_deletes=True)
    payments: Mapped[list[Payment]] = relationship(
        back_populates="user", passive_deletes=True, order_by="Payment.created_at.desc()"
    )
    features: Mapped[list[UserFeature]] = relationship(back_populates="user", passive_deletes=True)
    accounts: Mapped[list[Account]] = relationship(back_populates="user", passive_deletes=True)
    sessions: Mapped[list[Session]] = relationship(back_populates="user", passive_deletes=True)


Index("ix_users_email_folded", func.lower(User.__table__.c.email))
Index("ix_users_tokens_expiring", User.__table__.c.tokens_expires_at, postgresql_where=User.__table__.c.tokens > 0)


class Account(_Dated, Base):
    """A user's account at an OAuth provider (Auth.js)."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("provider", "provider_account_id"), Index(None, "user_id"))

    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(Text)
    provider: Mapped[str] = mapped_column(Text)
    provider_account_id: Mapped[str] = mapped_column(Text)
    refresh_token: Mapped[str | None] = mapped_column(Text)
    access_token: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[int | None] = mapped_column(Integer, comment="unix seconds, as Auth.js expects")
    token_type: Mapped[str | None] = mapped_column(Text)
    scope: Mapped[str | None] = mapped_column(Text)
    id_token: Mapped[str | None] = mapped_column(Text)
    session_state: Mapped[str | None] = mapped_column(Text)

    user: Mapped[User] = relationship(back_populates="accounts")


class Session(_Dated, Base):
    """A signed-in browser (Auth.js)."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    session_token: Mapped[str] = mapped_column(Text, unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    expires: Mapped[datetime] = mapped_column(_time)

    user: Mapped[User] = relationship(back_populates="sessions")


class VerificationToken(_Dated, Base):
    """A one-time token, for example of a magic link (Auth.js)."""

    __tablename__ = "verification_tokens"

    identifier: Mapped[str] = mapped_column(Text, primary_key=True)
    token: Mapped[str] = mapped_column(Text, primary_key=True)
    expires: Mapped[datetime] = mapped_column(_time)


class StripeProduct(_Dated, Base):
    """A product that the application sells, copied from Stripe. `created_at` is Stripe's time."""

    __tablename__ = "stripe_products"
    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'"))

    prices: Mapped[list[StripePrice]] = relationship(back_populates="product", passive_deletes=True)
    subscriptions: Mapped[list[UserSubscription]] = relationship(back_populates="product", passive_deletes=True)
    users: Mapped[list[User]] = relationship(back_populates="product", passive_deletes=True)


Index(
    "ix_stripe_products_active",
    StripeProduct.__table__.c.name,
    postgresql_where=StripeProduct.__table__.c.active,
)


class StripePrice(_Dated, Base):
    """A price of a product. `unit_amount` is in the currency's smallest unit."""

    __tablename__ = "stripe_prices"
    __table_args__ = (Index(None, "product_id", "active"),)

    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    product_id: Mapped[str] = mapped_column(ForeignKey("stripe_products.id", ondelete="CASCADE"))
    active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    currency: Mapped[str | None] = mapped_column(Text)
    type: Mapped[str | None] = mapped_column(Text, comment="recurring or one_time")
    unit_amount: Mapped[int | None] = mapped_column(
        BigInteger, comment="null if tiers or decimals determine the amount"
    )
    interval: Mapped[str | None] = mapped_column(Text)
    interval_count: Mapped[int | None] = mapped_column(Integer)
    trial_period_days: Mapped[int | None] = mapped_column(Integer)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'"))

    product: Mapped[StripeProduct] = relationship(back_populates="prices")
    subscriptions: Mapped[list[UserSubscription]] = relationship(back_populates="price", passive_deletes=True)


class StripeCustomer(_Dated, Base):
    """The Stripe customer of a user. A row that the application writes links the customer to the user.

    The daemon never changes a row. `stripe-sync link` deletes the row if it links the customer to another user.
    """

    __tablename__ = "stripe_customers"

    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    stripe_customer_id: Mapped[str] = mapped_column(Text, unique=True)

    user: Mapped[User] = relationship(back_populates="customer")


class UserSubscription(_Dated, Base):
    """A subscription of a user, in any status. `status` and `created_at` have Stripe's values."""

    __tablename__ = "user_subscriptions"
    __table_args__ = (
        Index(None, "user_id", "status"),
        Index(None, "stripe_customer_id"),
        Index(None, "stripe_price_id"),
        Index(None, "stripe_product_id", "status"),
        Index(None, "status", "current_period_end"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    stripe_customer_id: Mapped[str] = mapped_column(Text)
    stripe_subscription_id: Mapped[str] = mapped_column(Text, unique=True)
    stripe_price_id: Mapped[str | None] = mapped_column(ForeignKey("stripe_prices.id", ondelete="SET NULL"))
    stripe_product_id: Mapped[str | None] = mapped_column(ForeignKey("stripe_products.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(Text)
    current_period_start: Mapped[datetime | None] = mapped_column(_time)
    current_period_end: Mapped[datetime | None] = mapped_column(_time)
    cancel_at_period_end: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    canceled_at: Mapped[datetime | None] = mapped_column(_time)
    trial_start: Mapped[datetime | None] = mapped_column(_time)
    trial_end: Mapped[datetime | None] = mapped_column(_time)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'"))

    user: Mapped[User] = relationship(back_populates="subscriptions")
    price: Mapped[StripePrice | None] = relationship(back_populates="subscriptions")
    product: Mapped[StripeProduct | None] = relationship(back_populates="subscriptions")


class UserFeature(Base):
    """A feature of a user, with one row per source. Applications should read it with `has_feature(user_id, feature)`."""

    __tablename__ = "user_features"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    feature: Mapped[str] = mapped_column(Text, primary_key=True, comment="the lookup key of Stripe's feature")
    source: Mapped[str] = mapped_column(
        Text, primary_key=True, comment="a subscription, an invoice or a Checkout session; or `override`"
    )
    until: Mapped[datetime | None] = mapped_column(_time, comment="when it ends by itself; null: no end is known")

    user: Mapped[User] = relationship(back_populates="features")


class Payment(_Dated, Base):
    """A payment that succeeded. `amount` is in the currency's smallest unit, and `created_at` is Stripe's time."""

    __tablename__ = "payment_history"
    __table_args__ = (Index(None, "user_id", "created_at"), Index(None, "stripe_product_id"))

    id: Mapped[str] = mapped_column(Text, primary_key=True, server_default=_uuid)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    stripe_payment_intent_id: Mapped[str] = mapped_column(Text, unique=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    stripe_product_id: Mapped[str | None] = mapped_column(ForeignKey("stripe_products.id", ondelete="SET NULL"))
    description: Mapped[str | None] = mapped_column(Text)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'"))

    user: Mapped[User] = relationship(back_populates="payments")
    product: Mapped[StripeProduct | None] = relationship()
