"""The tables of the schema `sync` for computing users: links, the ledger of tokens, queues, and changes to report."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.base import metadata
from schema.membership import user_role

SCHEMA = "sync"

_now = text("now()")

customer_links = Table(
    "customer_links",
    metadata,
    Column("stripe_customer_id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), comment="null: the customer is not linked yet"),
    Column("source", Text, comment="the rule that linked it"),
    Column("linked_at", DateTime(timezone=True)),
    Column("checked_at", DateTime(timezone=True), nullable=False, server_default=_now),
    CheckConstraint("(user_id is null) = (linked_at is null)", name="linked_at_tells_the_link"),
    Index(None, "user_id"),
    Index("ix_customer_links_unlinked", "checked_at", postgresql_where=text("user_id is null")),
    schema=SCHEMA,
    comment="The user behind each Stripe customer. A link is never silently changed.",
)

token_grants = Table(
    "token_grants",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "source_key",
        Text,
        nullable=False,
        unique=True,
        comment="identifies the source of the change, which counts only once",
    ),
    Column("user_id", Text, nullable=False, comment="no foreign key: the ledger outlives the user"),
    Column("kind", Text, nullable=False),
    Column(
        "amount",
        BigInteger,
        nullable=False,
        comment="tokens that the source gives or takes; the balance may change by a different number",
    ),
    Column("balance_before", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True), comment="when the balance after this change expires"),
    Column("stripe_product_id", Text),
    Column("stripe_subscription_id", Text),
    Column("stripe_invoice_id", Text),
    Column(
        "owner", Text, comment="key of the allowance: a subscription item, or a subscription and price; empty for packs"
    ),
    Column("identity", Text, comment="identifies the paid line, even if Stripe reports it under another id"),
    Column(
        "money",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="the returned money that this row accounts for; negative if it was not returned after all",
    ),
    Column("period_start", DateTime(timezone=True), comment="start of the paid line's period"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("lots", JSONB, comment="the parts of the balance after this change, by grant"),
    Column("history", JSONB, comment="the recent history of the balance, in the last row of a computation"),
    Index(None, "user_id", "id"),
    Index(None, "stripe_invoice_id"),
    schema=SCHEMA,
    comment="The ledger: every change that the daemon made to users.tokens.",
)

overrides = Table(
    "overrides",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", user_role, nullable=False),
    Column("until", DateTime(timezone=True), comment="null: until it is lifted"),
    Column("note", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
    CheckConstraint("role in ('USER', 'PREMIUM')", name="role_is_grantable"),
    schema=SCHEMA,
    comment="Roles given by an operator, regardless of Stripe.",
)

feature_overrides = Table(
    "feature_overrides",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("feature", Text, primary_key=True),
    Column("until", DateTime(timezone=True), comment="null: until it is lifted"),
    Column("note", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
    schema=SCHEMA,
    comment="Features given by an operator, regardless of Stripe.",
)

product_changes = Table(
    "product_changes",
    metadata,
    Column("product_id", Text, primary_key=True),
    Column(
        "features_read_at",
        DateTime(timezone=True),
        comment="when a pass last read its features completely; null: never",
    ),
    Column(
        "noted_at", DateTime(timezone=True), comment="since when its users wait to be computed; null: no user waits"
    ),
    Column(
        "horizon", BigInteger, comment="a transaction id: older transactions may have written without seeing the change"
    ),
    Index("ix_product_changes_noted", "noted_at", postgresql_where=text("noted_at is not null")),
    schema=SCHEMA,
    comment="Products: when their features were last read, and since when their users wait to be computed.",
)

product_change_users = Table(
    "product_change_users",
    metadata,
    Column("user_id", Text, primary_key=True, comment="no foreign key: this row is locked before the user"),
    schema=SCHEMA,
    comment="Users who are computed next, because one of their products changed.",
)

next_changes = Table(
    "next_changes",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Index(None, "due_at"),
    schema=SCHEMA,
    comment="When a user must be computed again without an event: a token period, a grace period or an override ends.",
)

held_rows = Table(
    "held_rows",
    metadata,
    Column("relation", Text, primary_key=True, comment="our name of the table"),
    Column("id", Text, primary_key=True, comment="Stripe's id of the row"),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), comment="null: a product or a price"),
    Column("reason", Text, nullable=False, comment="why the table refuses the row"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=_now),
    Index(None, "user_id"),
    schema=SCHEMA,
    comment="Rows that a table of the application refuses. They are written when the table accepts them.",
)

user_syncs = Table(
    "user_syncs",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "synced_at", DateTime(timezone=True), comment="all subscriptions were read from Stripe just after this time"
    ),
    Column(
        "leased_until", DateTime(timezone=True), comment="one process reads Stripe for this user until then at most"
    ),
    schema=SCHEMA,
    comment="On-access reads of Stripe: how fresh each user is, and a lease, so that one process reads at a time.",
)

recompute_queue = Table(
    "recompute_queue",
    metadata,
    Column("stripe_customer_id", Text, primary_key=True),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column(
        "deferred",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="true: it waits until the backfill has ended",
    ),
    Index("ix_recompute_queue_due", "requested_at", postgresql_where=text("not deferred")),
    Index("ix_recompute_queue_deferred", "stripe_customer_id", postgresql_where=text("deferred")),
    schema=SCHEMA,
    comment="Customers whose users are computed again, because an object they refer to arrived late.",
)

organization_queue = Table(
    "organization_queue",
    metadata,
    Column("organization_id", Text, primary_key=True, comment="no foreign key: Stripe's metadata may name any"),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column(
        "place", Text, nullable=False, server_default="", comment="users with ids up to this one are already computed"
    ),
    schema=SCHEMA,
    comment="Organizations whose users are computed again, because a subscription that names them changed.",
)

organization_members = Table(
    "organization_members",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("organization_id", Text, nullable=False, comment="no foreign key: it may be gone"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=_now),
    schema=SCHEMA,
    comment="The last organization whose subscription entitled a user, now or in the past.",
)

rechecks = Table(
    "rechecks",
    metadata,
    Column("object", Text, primary_key=True, comment="`user`, or the type of an object that names no customer itself"),
    Column("id", Text, primary_key=True),
    Column("noted_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("horizon", BigInteger, comment="a transaction id: older transactions may have written without seeing ours"),
    schema=SCHEMA,
    comment="Work to repeat because a concurrent transaction was invisible: users, and objects that refer to a missing object.",
)

# Reported changes of users.

_CHANGE_TYPES = (
    "access.granted", "access.revoked", "features.changed", "subscription.changed", "subscription.renewed",
    "tokens.granted", "tokens.low", "payment.failed",
)  # fmt: skip


def _change() -> tuple[Column[Any], ...]:
    return (
        Column("user_id", Text, nullable=False, comment="no foreign key: the change outlives the user"),
        Column("type", Text, nullable=False),
        Column("before", JSONB, nullable=False),
        Column("after", JSONB, nullable=False),
        Column("reason", Text, nullable=False, comment="the name of the rule, as in `why`"),
        Column(
            "sources", ARRAY(Text), nullable=False, server_default="{}", comment="the Stripe objects behind the change"
        ),
        Column("traceparent", Text, comment="the span that made it, as a W3C traceparent"),
    )


changes = Table(
    "changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="in the order of commits"),
    *_change(),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    CheckConstraint(f"type in ({', '.join(map(repr, _CHANGE_TYPES))})", name="type_is_known"),
    Index(None, "user_id", "id"),
    Index(None, "created_at"),
    schema=SCHEMA,
    comment="Changes of users, each written in the transaction that changed the user.",
)

change_drafts = Table(
    "change_drafts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *_change(),
    schema=SCHEMA,
    comment="Changes of a transaction that has not committed. A trigger moves them to `changes` at the commit.",
)

change_deliveries = Table(
    "change_deliveries",
    metadata,
    Column("change_id", BigInteger, ForeignKey("sync.changes.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Text, nullable=False),
    Column(
        "due_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=_now,
        comment="while leased: the end of the lease",
    ),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("parked", Boolean, nullable=False, server_default=text("false")),
    Column("error", Text),
    Index("ix_change_deliveries_next", "user_id", "change_id", postgresql_where=text("not parked")),
    Index("ix_change_deliveries_due", "due_at", postgresql_where=text("not parked")),
    Index("ix_change_deliveries_parked", "change_id", postgresql_where=text("parked")),
    schema=SCHEMA,
    comment="Changes that CHANGES_URL has not acknowledged.",
)
