"""The tables for revenue, as SQLAlchemy tables. `schema.revenue` and `schema.movements` explain them and have their SQL."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Index,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.base import metadata

_TIME = DateTime(timezone=True)

HISTORY = Table(
    "subscription_history",
    metadata,
    Column("account", Text, primary_key=True, comment="connected account; empty for our own"),
    Column("subscription", Text, primary_key=True),
    Column("at", _TIME, primary_key=True, comment="Stripe's clock: when it had this state"),
    Column("source", Text, primary_key=True, comment="the event, or the read, that showed it"),
    Column("before", Boolean, primary_key=True, comment="the state before the event, from its previous_attributes"),
    Column("passed", Boolean, nullable=False, server_default=text("false"), comment="not the last state of its second"),
    Column("rank", SmallInteger, nullable=False, comment="0 created, 1 updated, 2 deleted"),
    Column("customer", Text),
    Column("status", Text, nullable=False, comment="Stripe's status; `deleted` if the object was deleted"),
    Column("paused", Boolean, nullable=False, comment="the collection of payments is paused"),
    Column("currency", Text),
    Column("created", _TIME),
    Column("ended", _TIME),
    Column("trial_end", _TIME),
    Column("products", ARRAY(Text), nullable=False),
    Column(
        "amounts",
        ARRAY(Numeric),
        nullable=False,
        comment="of each product, per month, in minor units before discounts; null if the price does not show it",
    ),
    Column("months", Numeric, comment="the billing period of the first item"),
    Column("discounts", JSONB, comment="null if there are none"),
    Index(
        "ix_subscription_history_discounts",
        "discounts",
        postgresql_using="gin",
        postgresql_ops={"discounts": "jsonb_path_ops"},
        postgresql_where=text("discounts is not null"),
    ),
    schema="mirror",
    comment="States of subscriptions by time, for revenue.",
)

MRR = Table(
    "subscription_mrr",
    metadata,
    Column("subscription", Text, primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("since", _TIME, primary_key=True),
    Column("until", _TIME, comment="null while it continues"),
    Column("customer", Text, nullable=False, comment="empty if the subscription names none"),
    Column("currency", Text),
    Column(
        "status", Text, nullable=False, comment="Stripe's status; `paused_collection` if payments are not collected"
    ),
    Column(
        "mrr", BigInteger, nullable=False, comment="minor units per month, after discounts; 0 unless the status counts"
    ),
    Column("estimated", Boolean, nullable=False, comment="reconstructed: nothing was observed then"),
    Column("is_partial", Boolean, nullable=False, comment="a price or discount is not known, and counts as 0"),
    Column("waits", Boolean, nullable=False, comment="for a discount or coupon that is not mirrored yet"),
    Column("computed_at", _TIME, nullable=False, server_default=text("now()")),
    Index("ix_subscription_mrr_customer", "customer"),
    Index("ix_subscription_mrr_waits", "computed_at", postgresql_where=text("waits")),
    schema="mirror",
    comment="Monthly amounts of our own subscriptions by product and time, computed from their history when it changes.",
)

CUSTOMER_MOVEMENTS = Table(
    "customer_movements",
    metadata,
    Column("customer", Text, nullable=False),
    Column("currency", Text),
    Column("day", Date, nullable=False, comment="UTC"),
    Column("kind", Text, nullable=False, comment="new, expansion, contraction, churn or reactivation"),
    Column("amount", BigInteger, nullable=False, comment="change of the customer's MRR on that day, in minor units"),
    Column("products", ARRAY(Text), nullable=False),
    Column("amounts", ARRAY(BigInteger), nullable=False, comment="change of each product; they add up to `amount`"),
    Index("ix_customer_movements_customer", "customer"),
    Index("ix_customer_movements_day", "day"),
    schema="mirror",
    comment="Movements of MRR by customer and day, computed from subscription_mrr by a periodic job.",
)

DUE = Table(
    "movements_due",
    metadata,
    Column("customer", Text, nullable=False),
    Index("ix_movements_due_customer", "customer"),
    schema="mirror",
    comment="Customers whose movements must be computed again. A customer may have several rows.",
)
