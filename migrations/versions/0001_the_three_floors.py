"""The three floors: the inbox and its bookkeeping, the mirror, and the application's tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

USER_ROLE = postgresql.ENUM("USER", "PREMIUM", "ADMIN", "BANNED", name="user_role", create_type=False)
MEMBERSHIP_STATUS = postgresql.ENUM(
    "ACTIVE", "INACTIVE", "CANCELED", "PAST_DUE", name="membership_status", create_type=False
)

TOUCH_UPDATED_AT = """
create or replace function sync.touch_updated_at() returns trigger
language plpgsql as $$
begin
    if new.updated_at is not distinct from old.updated_at then
        new.updated_at := now();
    end if;
    return new;
end
$$
"""

TOUCHED_TABLES = (
    "organizations",
    "users",
    "accounts",
    "sessions",
    "verification_tokens",
    "stripe_products",
    "stripe_prices",
    "stripe_customers",
    "user_subscriptions",
    "payment_history",
)

# Measured: the body costs 50 us of Postgres an event with lz4, 140 as jsonb. A server built without lz4 keeps it
# uncompressed, which is as cheap in CPU.
COMPRESS_BODIES = """
do $$
begin
    alter table sync.events alter column body set compression lz4;
exception when feature_not_supported or invalid_parameter_value then
    alter table sync.events alter column body set storage external;
end
$$
"""


def upgrade() -> None:
    op.execute("create schema stripe")
    op.execute("create type user_role as enum ('USER', 'PREMIUM', 'ADMIN', 'BANNED')")
    op.execute("create type membership_status as enum ('ACTIVE', 'INACTIVE', 'CANCELED', 'PAST_DUE')")
    op.create_table(
        "organizations",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "charges",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("payment_intent", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("paid", sa.Boolean(), nullable=True),
        sa.Column("captured", sa.Boolean(), nullable=True),
        sa.Column("refunded", sa.Boolean(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("amount_refunded", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("disputed", sa.Boolean(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("payment_method", sa.Text(), nullable=True),
        sa.Column("balance_transaction", sa.Text(), nullable=True),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_charges")),
        schema="stripe",
    )
    op.create_index(op.f("ix_charges_customer"), "charges", ["customer"], unique=False, schema="stripe")
    op.create_index(op.f("ix_charges_payment_intent"), "charges", ["payment_intent"], unique=False, schema="stripe")
    op.create_index(
        "ix_charges_unsettled", "charges", ["id"], unique=False, schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.create_table(
        "checkout_sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("customer_details_email", sa.Text(), nullable=True),
        sa.Column("client_reference_id", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("payment_status", sa.Text(), nullable=True),
        sa.Column("subscription", sa.Text(), nullable=True),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("payment_intent", sa.Text(), nullable=True),
        sa.Column("setup_intent", sa.Text(), nullable=True),
        sa.Column("payment_link", sa.Text(), nullable=True),
        sa.Column("amount_total", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("metadata_user_id", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_checkout_sessions")),
        schema="stripe",
    )
    op.create_index(
        op.f("ix_checkout_sessions_customer"), "checkout_sessions", ["customer"], unique=False, schema="stripe"
    )
    op.create_index(
        op.f("ix_checkout_sessions_payment_intent"),
        "checkout_sessions",
        ["payment_intent"],
        unique=False,
        schema="stripe",
    )
    op.create_index(
        "ix_checkout_sessions_unsettled",
        "checkout_sessions",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "coupons",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("percent_off", sa.Numeric(), nullable=True),
        sa.Column("amount_off", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("duration", sa.Text(), nullable=True),
        sa.Column("duration_in_months", sa.BigInteger(), nullable=True),
        sa.Column("valid", sa.Boolean(), nullable=True),
        sa.Column("redeem_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("times_redeemed", sa.BigInteger(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_coupons")),
        schema="stripe",
    )
    op.create_index(
        "ix_coupons_unsettled", "coupons", ["id"], unique=False, schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("metadata_user_id", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("balance", sa.BigInteger(), nullable=True),
        sa.Column("delinquent", sa.Boolean(), nullable=True),
        sa.Column("invoice_settings_default_payment_method", sa.Text(), nullable=True),
        sa.Column("test_clock", sa.Text(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_customers")),
        schema="stripe",
    )
    op.create_index(op.f("ix_customers_email"), "customers", ["email"], unique=False, schema="stripe")
    op.create_index(
        op.f("ix_customers_metadata_user_id"), "customers", ["metadata_user_id"], unique=False, schema="stripe"
    )
    op.create_index(
        "ix_customers_unsettled",
        "customers",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "disputes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("charge", sa.Text(), nullable=True),
        sa.Column("payment_intent", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("evidence_details_due_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_charge_refundable", sa.Boolean(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_disputes")),
        schema="stripe",
    )
    op.create_index(op.f("ix_disputes_charge"), "disputes", ["charge"], unique=False, schema="stripe")
    op.create_index(op.f("ix_disputes_payment_intent"), "disputes", ["payment_intent"], unique=False, schema="stripe")
    op.create_index(
        "ix_disputes_unsettled",
        "disputes",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "invoice_line_items",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("price", sa.Text(), nullable=True),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("subscription", sa.Text(), nullable=True),
        sa.Column("subscription_item", sa.Text(), nullable=True),
        sa.Column("proration", sa.Boolean(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=True),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_invoice_line_items")),
        schema="stripe",
    )
    op.create_index(
        op.f("ix_invoice_line_items_invoice"), "invoice_line_items", ["invoice"], unique=False, schema="stripe"
    )
    op.create_index(
        op.f("ix_invoice_line_items_product"), "invoice_line_items", ["product"], unique=False, schema="stripe"
    )
    op.create_index(
        op.f("ix_invoice_line_items_subscription"),
        "invoice_line_items",
        ["subscription"],
        unique=False,
        schema="stripe",
    )
    op.create_index(
        "ix_invoice_line_items_unsettled",
        "invoice_line_items",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "invoice_payments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("payment_type", sa.Text(), nullable=True),
        sa.Column("payment_payment_intent", sa.Text(), nullable=True),
        sa.Column("payment_charge", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("amount_requested", sa.BigInteger(), nullable=True),
        sa.Column("amount_paid", sa.BigInteger(), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=True),
        sa.Column("status_transitions_paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_invoice_payments")),
        schema="stripe",
    )
    op.create_index(op.f("ix_invoice_payments_invoice"), "invoice_payments", ["invoice"], unique=False, schema="stripe")
    op.create_index(
        op.f("ix_invoice_payments_payment_payment_intent"),
        "invoice_payments",
        ["payment_payment_intent"],
        unique=False,
        schema="stripe",
    )
    op.create_index(
        "ix_invoice_payments_unsettled",
        "invoice_payments",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("subscription", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("billing_reason", sa.Text(), nullable=True),
        sa.Column("collection_method", sa.Text(), nullable=True),
        sa.Column("amount_due", sa.BigInteger(), nullable=True),
        sa.Column("amount_paid", sa.BigInteger(), nullable=True),
        sa.Column("amount_remaining", sa.BigInteger(), nullable=True),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("attempt_count", sa.BigInteger(), nullable=True),
        sa.Column("next_payment_attempt", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_transitions_finalized_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_transitions_paid_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_transitions_voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_transitions_marked_uncollectible_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("payment_intent", sa.Text(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_invoices")),
        schema="stripe",
    )
    op.create_index(op.f("ix_invoices_customer"), "invoices", ["customer"], unique=False, schema="stripe")
    op.create_index(op.f("ix_invoices_payment_intent"), "invoices", ["payment_intent"], unique=False, schema="stripe")
    op.create_index(op.f("ix_invoices_subscription"), "invoices", ["subscription"], unique=False, schema="stripe")
    op.create_index(
        "ix_invoices_unsettled",
        "invoices",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "other_objects",
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("object", "id", "account", name=op.f("pk_other_objects")),
        schema="stripe",
    )
    op.create_index(
        "ix_other_objects_unsettled",
        "other_objects",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "payment_intents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("amount_received", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("latest_charge", sa.Text(), nullable=True),
        sa.Column("payment_method", sa.Text(), nullable=True),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("canceled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancellation_reason", sa.Text(), nullable=True),
        sa.Column("capture_method", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_payment_intents")),
        schema="stripe",
    )
    op.create_index(op.f("ix_payment_intents_customer"), "payment_intents", ["customer"], unique=False, schema="stripe")
    op.create_index(
        "ix_payment_intents_unsettled",
        "payment_intents",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "payment_methods",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("card_brand", sa.Text(), nullable=True),
        sa.Column("card_last4", sa.Text(), nullable=True),
        sa.Column("card_exp_month", sa.BigInteger(), nullable=True),
        sa.Column("card_exp_year", sa.BigInteger(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_payment_methods")),
        schema="stripe",
    )
    op.create_index(op.f("ix_payment_methods_customer"), "payment_methods", ["customer"], unique=False, schema="stripe")
    op.create_index(
        "ix_payment_methods_unsettled",
        "payment_methods",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("interval", sa.Text(), nullable=True),
        sa.Column("interval_count", sa.BigInteger(), nullable=True),
        sa.Column("usage_type", sa.Text(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_plans")),
        schema="stripe",
    )
    op.create_index(
        "ix_plans_unsettled", "plans", ["id"], unique=False, schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.create_table(
        "prices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("unit_amount", sa.BigInteger(), nullable=True),
        sa.Column("unit_amount_decimal", sa.Numeric(), nullable=True),
        sa.Column("billing_scheme", sa.Text(), nullable=True),
        sa.Column("recurring_interval", sa.Text(), nullable=True),
        sa.Column("recurring_interval_count", sa.BigInteger(), nullable=True),
        sa.Column("recurring_trial_period_days", sa.BigInteger(), nullable=True),
        sa.Column("recurring_usage_type", sa.Text(), nullable=True),
        sa.Column("lookup_key", sa.Text(), nullable=True),
        sa.Column("nickname", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_prices")),
        schema="stripe",
    )
    op.create_index(op.f("ix_prices_product"), "prices", ["product"], unique=False, schema="stripe")
    op.create_index(
        "ix_prices_unsettled", "prices", ["id"], unique=False, schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.create_table(
        "products",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("default_price", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("unit_label", sa.Text(), nullable=True),
        sa.Column("tax_code", sa.Text(), nullable=True),
        sa.Column("updated", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_products")),
        schema="stripe",
    )
    op.create_index(
        "ix_products_unsettled",
        "products",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("charge", sa.Text(), nullable=True),
        sa.Column("payment_intent", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("failure_reason", sa.Text(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_refunds")),
        schema="stripe",
    )
    op.create_index(op.f("ix_refunds_charge"), "refunds", ["charge"], unique=False, schema="stripe")
    op.create_index(op.f("ix_refunds_payment_intent"), "refunds", ["payment_intent"], unique=False, schema="stripe")
    op.create_index(
        "ix_refunds_unsettled", "refunds", ["id"], unique=False, schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.create_table(
        "subscription_items",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("subscription", sa.Text(), nullable=True),
        sa.Column("price", sa.Text(), nullable=True),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=True),
        sa.Column("current_period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("billed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_subscription_items")),
        schema="stripe",
    )
    op.create_index(op.f("ix_subscription_items_price"), "subscription_items", ["price"], unique=False, schema="stripe")
    op.create_index(
        op.f("ix_subscription_items_product"), "subscription_items", ["product"], unique=False, schema="stripe"
    )
    op.create_index(
        op.f("ix_subscription_items_subscription"),
        "subscription_items",
        ["subscription"],
        unique=False,
        schema="stripe",
    )
    op.create_index(
        "ix_subscription_items_unsettled",
        "subscription_items",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("customer_account", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("cancel_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=True),
        sa.Column("canceled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("collection_method", sa.Text(), nullable=True),
        sa.Column("pause_collection_behavior", sa.Text(), nullable=True),
        sa.Column("pause_collection_resumes_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_details_paused_subscription_type", sa.Text(), nullable=True),
        sa.Column("billing_mode_type", sa.Text(), nullable=True),
        sa.Column("latest_invoice", sa.Text(), nullable=True),
        sa.Column("default_payment_method", sa.Text(), nullable=True),
        sa.Column("schedule", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("metadata_user_id", sa.Text(), nullable=True),
        sa.Column("metadata_organization_id", sa.Text(), nullable=True),
        sa.Column("test_clock", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column(
            "observed_in", sa.Text(), nullable=False, comment="the event, or the read, that the content came from"
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), nullable=False, comment="API major of the content; empty for a bare deletion"),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="moves with every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="may be wrong: to be asked",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_subscriptions")),
        schema="stripe",
    )
    op.create_index(op.f("ix_subscriptions_customer"), "subscriptions", ["customer"], unique=False, schema="stripe")
    op.create_index(
        op.f("ix_subscriptions_metadata_user_id"), "subscriptions", ["metadata_user_id"], unique=False, schema="stripe"
    )
    op.create_index(
        op.f("ix_subscriptions_status_created"), "subscriptions", ["status", "created"], unique=False, schema="stripe"
    )
    op.create_index(
        "ix_subscriptions_unsettled",
        "subscriptions",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "stripe_products",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_products")),
    )
    op.create_index(
        "ix_stripe_products_active", "stripe_products", ["name"], unique=False, postgresql_where=sa.text("active")
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursors")),
        schema="sync",
        comment="How far a job that reads Stripe page by page has come.",
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column(
            "object_type",
            sa.Text(),
            nullable=True,
            comment="data.object.object, or the related object's type of a thin event",
        ),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock"),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("body", sa.Text(), nullable=False, comment="as received, U+0000 left out"),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status in ('pending', 'done', 'parked')", name=op.f("ck_events_status_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        schema="sync",
        comment="The inbox: what Stripe told us, verbatim. Due is what is pending and whose next_attempt_at has passed.",
    )
    op.create_index(
        "ix_events_due",
        "events",
        ["next_attempt_at"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("ix_events_object", "events", ["object_id", "created"], unique=False, schema="sync")
    op.create_index(
        "ix_events_parked",
        "events",
        ["created"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("status = 'parked'"),
    )
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeats")),
        schema="sync",
        comment="Worker processes, each written by itself while it does work.",
    )
    op.create_table(
        "recompute",
        sa.Column("stripe_customer_id", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("stripe_customer_id", name=op.f("pk_recompute")),
        schema="sync",
        comment="Customers whose users are to be computed again, because something they refer to came late.",
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column(
            "slot", sa.DateTime(timezone=True), nullable=False, comment="the tick of the clock that this run is for"
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="the last sign of life",
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("outcome in ('done', 'failed', 'lost')", name=op.f("ck_runs_outcome_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        schema="sync",
        comment="Periodic work: what ran when, how long and with what result. A slot is claimed by inserting it.",
    )
    op.create_index("uq_runs_job_slot", "runs", ["job", "slot"], unique=True, schema="sync")
    op.create_index(
        "uq_runs_job_running",
        "runs",
        ["job"],
        unique=True,
        schema="sync",
        postgresql_where=sa.text("finished_at is null"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
        schema="sync",
        comment="What the workers count, for GET /metrics: they have no door of their own.",
    )
    op.create_table(
        "asks",
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), server_default="", nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="where it is retrieved"),
        sa.Column(
            "event_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="of the newest event; a read settles 5 s after it",
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "missing_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when Stripe first said that it has no such object",
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("object", "id", "account", name=op.f("pk_asks")),
        schema="sync",
        comment="Objects that Stripe is to be asked for: one row each, however many events made it unsettled.",
    )
    op.create_index(op.f("ix_asks_due_at"), "asks", ["due_at"], unique=False, schema="sync")
    op.create_table(
        "drift",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "fields", sa.ARRAY(sa.Text()), nullable=False, comment="what differed, at the top level of the object"
        ),
        sa.Column("behind", sa.Interval(), nullable=True, comment="how old the mirrored state was"),
        sa.Column("found_by", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift")),
        schema="sync",
        comment="What a list showed otherwise than the mirror, and was repaired.",
    )
    op.create_index(op.f("ix_drift_object_id"), "drift", ["object_id"], unique=False, schema="sync")
    op.create_table(
        "shards",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "gte",
            sa.BigInteger(),
            nullable=True,
            comment="objects created from this second on; null: from the first",
        ),
        sa.Column("lt", sa.BigInteger(), nullable=True, comment="and before this one; null: to the last"),
        sa.Column(
            "place",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="where its pass stands; null: at the beginning",
        ),
        sa.Column("tally", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["sync.runs.id"], name=op.f("fk_shards_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
        schema="sync",
        comment="The parts of a run that is too long for one worker.",
    )
    op.create_index(op.f("ix_shards_run_id"), "shards", ["run_id"], unique=False, schema="sync")
    op.create_table(
        "token_grants",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=False, comment="what was paid: the same thing never grants twice"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="no foreign key: the ledger outlives the user"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "amount",
            sa.BigInteger(),
            nullable=False,
            comment="what the source is worth; may differ from the balance's change",
        ),
        sa.Column("balance_before", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="of the balance, after this change"),
        sa.Column("stripe_product_id", sa.Text(), nullable=True),
        sa.Column("stripe_subscription_id", sa.Text(), nullable=True),
        sa.Column("stripe_invoice_id", sa.Text(), nullable=True),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True, comment="of the line that was paid"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_grants")),
        sa.UniqueConstraint("source_key", name=op.f("uq_token_grants_source_key")),
        schema="sync",
        comment="The ledger of every change the daemon made to users.tokens.",
    )
    op.create_index(
        op.f("ix_token_grants_stripe_invoice_id"), "token_grants", ["stripe_invoice_id"], unique=False, schema="sync"
    )
    op.create_index(op.f("ix_token_grants_user_id_id"), "token_grants", ["user_id", "id"], unique=False, schema="sync")
    op.create_table(
        "verification_tokens",
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("identifier", "token", name=op.f("pk_verification_tokens")),
    )
    op.create_table(
        "stripe_prices",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True, comment="recurring or one_time"),
        sa.Column("unit_amount", sa.BigInteger(), nullable=True, comment="null where tiers or decimals say the amount"),
        sa.Column("interval", sa.Text(), nullable=True),
        sa.Column("interval_count", sa.Integer(), nullable=True),
        sa.Column("trial_period_days", sa.Integer(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["stripe_products.id"], name=op.f("fk_stripe_prices_product_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_prices")),
    )
    op.create_index(op.f("ix_stripe_prices_product_id_active"), "stripe_prices", ["product_id", "active"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email_verified", sa.DateTime(timezone=True), nullable=True),
        sa.Column("image", sa.Text(), nullable=True),
        sa.Column("role", USER_ROLE, server_default="USER", nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=True),
        sa.Column("stripe_product_id", sa.Text(), nullable=True),
        sa.Column("membership_status", MEMBERSHIP_STATUS, server_default="ACTIVE", nullable=False),
        sa.Column("tokens", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tokens_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_users_organization_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["stripe_product_id"], ["stripe_products.id"], name=op.f("fk_users_stripe_product_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_index("ix_users_email_folded", "users", [sa.literal_column("lower(email)")], unique=False)
    op.create_index(op.f("ix_users_organization_id"), "users", ["organization_id"], unique=False)
    op.create_index(op.f("ix_users_role_membership_status"), "users", ["role", "membership_status"], unique=False)
    op.create_index(op.f("ix_users_stripe_product_id"), "users", ["stripe_product_id"], unique=False)
    op.create_index(
        "ix_users_tokens_expiring", "users", ["tokens_expires_at"], unique=False, postgresql_where=sa.text("tokens > 0")
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_account_id", sa.Text(), nullable=False),
        sa.Column("refresh_token", sa.Text(), nullable=True),
        sa.Column("access_token", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.Integer(), nullable=True, comment="unix seconds, as Auth.js wants it"),
        sa.Column("token_type", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=True),
        sa.Column("id_token", sa.Text(), nullable=True),
        sa.Column("session_state", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_accounts_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("provider", "provider_account_id", name=op.f("uq_accounts_provider_provider_account_id")),
    )
    op.create_index(op.f("ix_accounts_user_id"), "accounts", ["user_id"], unique=False)
    op.create_table(
        "payment_history",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("stripe_payment_intent_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stripe_product_id", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["stripe_product_id"],
            ["stripe_products.id"],
            name=op.f("fk_payment_history_stripe_product_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_payment_history_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_history")),
        sa.UniqueConstraint("stripe_payment_intent_id", name=op.f("uq_payment_history_stripe_payment_intent_id")),
    )
    op.create_index(
        op.f("ix_payment_history_stripe_product_id"), "payment_history", ["stripe_product_id"], unique=False
    )
    op.create_index(
        op.f("ix_payment_history_user_id_created_at"), "payment_history", ["user_id", "created_at"], unique=False
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("session_token", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("session_token", name=op.f("uq_sessions_session_token")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "stripe_customers",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("stripe_customer_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_stripe_customers_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_customers")),
        sa.UniqueConstraint("stripe_customer_id", name=op.f("uq_stripe_customers_stripe_customer_id")),
        sa.UniqueConstraint("user_id", name=op.f("uq_stripe_customers_user_id")),
    )
    op.create_table(
        "customer_links",
        sa.Column("stripe_customer_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True, comment="null: seen, not linked yet"),
        sa.Column("source", sa.Text(), nullable=True, comment="which rule linked it"),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(user_id is null) = (linked_at is null)", name=op.f("ck_customer_links_linked_at_tells_the_link")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_customer_links_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("stripe_customer_id", name=op.f("pk_customer_links")),
        schema="sync",
        comment="Which user a Stripe customer is. A link is never silently changed.",
    )
    op.create_index(
        "ix_customer_links_unlinked",
        "customer_links",
        ["checked_at"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("user_id is null"),
    )
    op.create_index(op.f("ix_customer_links_user_id"), "customer_links", ["user_id"], unique=False, schema="sync")
    op.create_table(
        "overrides",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("role", USER_ROLE, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True, comment="null: until it is lifted"),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role in ('USER', 'PREMIUM')", name=op.f("ck_overrides_role_is_grantable")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_overrides_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_overrides")),
        schema="sync",
        comment="Roles that an operator gave, whatever Stripe says.",
    )
    op.create_table(
        "user_subscriptions",
        sa.Column("id", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("stripe_customer_id", sa.Text(), nullable=False),
        sa.Column("stripe_subscription_id", sa.Text(), nullable=False),
        sa.Column("stripe_price_id", sa.Text(), nullable=True),
        sa.Column("stripe_product_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("current_period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_at_period_end", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("canceled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trial_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["stripe_price_id"],
            ["stripe_prices.id"],
            name=op.f("fk_user_subscriptions_stripe_price_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["stripe_product_id"],
            ["stripe_products.id"],
            name=op.f("fk_user_subscriptions_stripe_product_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_subscriptions_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_subscriptions")),
        sa.UniqueConstraint("stripe_subscription_id", name=op.f("uq_user_subscriptions_stripe_subscription_id")),
    )
    op.create_index(
        op.f("ix_user_subscriptions_status_current_period_end"),
        "user_subscriptions",
        ["status", "current_period_end"],
        unique=False,
    )
    op.create_index(
        op.f("ix_user_subscriptions_stripe_customer_id"), "user_subscriptions", ["stripe_customer_id"], unique=False
    )
    op.create_index(
        op.f("ix_user_subscriptions_stripe_price_id"), "user_subscriptions", ["stripe_price_id"], unique=False
    )
    op.create_index(
        op.f("ix_user_subscriptions_stripe_product_id_status"),
        "user_subscriptions",
        ["stripe_product_id", "status"],
        unique=False,
    )
    op.create_index(
        op.f("ix_user_subscriptions_user_id_status"), "user_subscriptions", ["user_id", "status"], unique=False
    )
    op.execute(COMPRESS_BODIES)
    op.execute(TOUCH_UPDATED_AT)
    for table in TOUCHED_TABLES:
        op.execute(
            f"create trigger touch_updated_at before update on public.{table} "
            "for each row execute function sync.touch_updated_at()"
        )


def downgrade() -> None:
    op.drop_index(op.f("ix_user_subscriptions_user_id_status"), table_name="user_subscriptions")
    op.drop_index(op.f("ix_user_subscriptions_stripe_product_id_status"), table_name="user_subscriptions")
    op.drop_index(op.f("ix_user_subscriptions_stripe_price_id"), table_name="user_subscriptions")
    op.drop_index(op.f("ix_user_subscriptions_stripe_customer_id"), table_name="user_subscriptions")
    op.drop_index(op.f("ix_user_subscriptions_status_current_period_end"), table_name="user_subscriptions")
    op.drop_table("user_subscriptions")
    op.drop_table("overrides", schema="sync")
    op.drop_index(op.f("ix_customer_links_user_id"), table_name="customer_links", schema="sync")
    op.drop_index(
        "ix_customer_links_unlinked",
        table_name="customer_links",
        schema="sync",
        postgresql_where=sa.text("user_id is null"),
    )
    op.drop_table("customer_links", schema="sync")
    op.drop_table("stripe_customers")
    op.drop_index(op.f("ix_sessions_user_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_payment_history_user_id_created_at"), table_name="payment_history")
    op.drop_index(op.f("ix_payment_history_stripe_product_id"), table_name="payment_history")
    op.drop_table("payment_history")
    op.drop_index(op.f("ix_accounts_user_id"), table_name="accounts")
    op.drop_table("accounts")
    op.drop_index("ix_users_tokens_expiring", table_name="users", postgresql_where=sa.text("tokens > 0"))
    op.drop_index(op.f("ix_users_stripe_product_id"), table_name="users")
    op.drop_index(op.f("ix_users_role_membership_status"), table_name="users")
    op.drop_index(op.f("ix_users_organization_id"), table_name="users")
    op.drop_index("ix_users_email_folded", table_name="users")
    op.drop_table("users")
    op.drop_index(op.f("ix_stripe_prices_product_id_active"), table_name="stripe_prices")
    op.drop_table("stripe_prices")
    op.drop_table("verification_tokens")
    op.drop_index(op.f("ix_token_grants_user_id_id"), table_name="token_grants", schema="sync")
    op.drop_index(op.f("ix_token_grants_stripe_invoice_id"), table_name="token_grants", schema="sync")
    op.drop_table("token_grants", schema="sync")
    op.drop_table("drift", schema="sync")
    op.drop_table("asks", schema="sync")
    op.drop_table("counters", schema="sync")
    op.drop_index(op.f("ix_shards_run_id"), table_name="shards", schema="sync")
    op.drop_table("shards", schema="sync")
    op.drop_index(
        "uq_runs_job_running", table_name="runs", schema="sync", postgresql_where=sa.text("finished_at is null")
    )
    op.drop_index("uq_runs_job_slot", table_name="runs", schema="sync")
    op.drop_table("runs", schema="sync")
    op.drop_table("recompute", schema="sync")
    op.drop_table("heartbeats", schema="sync")
    op.drop_index("ix_events_parked", table_name="events", schema="sync", postgresql_where=sa.text("status = 'parked'"))
    op.drop_index("ix_events_object", table_name="events", schema="sync")
    op.drop_index("ix_events_due", table_name="events", schema="sync", postgresql_where=sa.text("status = 'pending'"))
    op.drop_table("events", schema="sync")
    op.drop_table("cursors", schema="sync")
    op.drop_index("ix_stripe_products_active", table_name="stripe_products", postgresql_where=sa.text("active"))
    op.drop_table("stripe_products")
    op.drop_index(
        "ix_subscriptions_unsettled", table_name="subscriptions", schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.drop_index(op.f("ix_subscriptions_status_created"), table_name="subscriptions", schema="stripe")
    op.drop_index(op.f("ix_subscriptions_metadata_user_id"), table_name="subscriptions", schema="stripe")
    op.drop_index(op.f("ix_subscriptions_customer"), table_name="subscriptions", schema="stripe")
    op.drop_table("subscriptions", schema="stripe")
    op.drop_index(
        "ix_subscription_items_unsettled",
        table_name="subscription_items",
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.drop_index(op.f("ix_subscription_items_subscription"), table_name="subscription_items", schema="stripe")
    op.drop_index(op.f("ix_subscription_items_product"), table_name="subscription_items", schema="stripe")
    op.drop_index(op.f("ix_subscription_items_price"), table_name="subscription_items", schema="stripe")
    op.drop_table("subscription_items", schema="stripe")
    op.drop_index("ix_refunds_unsettled", table_name="refunds", schema="stripe", postgresql_where=sa.text("unsettled"))
    op.drop_index(op.f("ix_refunds_payment_intent"), table_name="refunds", schema="stripe")
    op.drop_index(op.f("ix_refunds_charge"), table_name="refunds", schema="stripe")
    op.drop_table("refunds", schema="stripe")
    op.drop_index(
        "ix_products_unsettled", table_name="products", schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.drop_table("products", schema="stripe")
    op.drop_index("ix_prices_unsettled", table_name="prices", schema="stripe", postgresql_where=sa.text("unsettled"))
    op.drop_index(op.f("ix_prices_product"), table_name="prices", schema="stripe")
    op.drop_table("prices", schema="stripe")
    op.drop_index("ix_plans_unsettled", table_name="plans", schema="stripe", postgresql_where=sa.text("unsettled"))
    op.drop_table("plans", schema="stripe")
    op.drop_index(
        "ix_payment_methods_unsettled",
        table_name="payment_methods",
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.drop_index(op.f("ix_payment_methods_customer"), table_name="payment_methods", schema="stripe")
    op.drop_table("payment_methods", schema="stripe")
    op.drop_index(
        "ix_payment_intents_unsettled",
        table_name="payment_intents",
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.drop_index(op.f("ix_payment_intents_customer"), table_name="payment_intents", schema="stripe")
    op.drop_table("payment_intents", schema="stripe")
    op.drop_index(
        "ix_other_objects_unsettled", table_name="other_objects", schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.drop_table("other_objects", schema="stripe")
    op.drop_index(
        "ix_invoices_unsettled", table_name="invoices", schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.drop_index(op.f("ix_invoices_subscription"), table_name="invoices", schema="stripe")
    op.drop_index(op.f("ix_invoices_payment_intent"), table_name="invoices", schema="stripe")
    op.drop_index(op.f("ix_invoices_customer"), table_name="invoices", schema="stripe")
    op.drop_table("invoices", schema="stripe")
    op.drop_index(
        "ix_invoice_payments_unsettled",
        table_name="invoice_payments",
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.drop_index(op.f("ix_invoice_payments_payment_payment_intent"), table_name="invoice_payments", schema="stripe")
    op.drop_index(op.f("ix_invoice_payments_invoice"), table_name="invoice_payments", schema="stripe")
    op.drop_table("invoice_payments", schema="stripe")
    op.drop_index(
        "ix_invoice_line_items_unsettled",
        table_name="invoice_line_items",
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.drop_index(op.f("ix_invoice_line_items_subscription"), table_name="invoice_line_items", schema="stripe")
    op.drop_index(op.f("ix_invoice_line_items_product"), table_name="invoice_line_items", schema="stripe")
    op.drop_index(op.f("ix_invoice_line_items_invoice"), table_name="invoice_line_items", schema="stripe")
    op.drop_table("invoice_line_items", schema="stripe")
    op.drop_index(
        "ix_disputes_unsettled", table_name="disputes", schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.drop_index(op.f("ix_disputes_payment_intent"), table_name="disputes", schema="stripe")
    op.drop_index(op.f("ix_disputes_charge"), table_name="disputes", schema="stripe")
    op.drop_table("disputes", schema="stripe")
    op.drop_index(
        "ix_customers_unsettled", table_name="customers", schema="stripe", postgresql_where=sa.text("unsettled")
    )
    op.drop_index(op.f("ix_customers_metadata_user_id"), table_name="customers", schema="stripe")
    op.drop_index(op.f("ix_customers_email"), table_name="customers", schema="stripe")
    op.drop_table("customers", schema="stripe")
    op.drop_index("ix_coupons_unsettled", table_name="coupons", schema="stripe", postgresql_where=sa.text("unsettled"))
    op.drop_table("coupons", schema="stripe")
    op.drop_index(
        "ix_checkout_sessions_unsettled",
        table_name="checkout_sessions",
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    op.drop_index(op.f("ix_checkout_sessions_payment_intent"), table_name="checkout_sessions", schema="stripe")
    op.drop_index(op.f("ix_checkout_sessions_customer"), table_name="checkout_sessions", schema="stripe")
    op.drop_table("checkout_sessions", schema="stripe")
    op.drop_index("ix_charges_unsettled", table_name="charges", schema="stripe", postgresql_where=sa.text("unsettled"))
    op.drop_index(op.f("ix_charges_payment_intent"), table_name="charges", schema="stripe")
    op.drop_index(op.f("ix_charges_customer"), table_name="charges", schema="stripe")
    op.drop_table("charges", schema="stripe")
    op.drop_table("organizations")
    op.execute("drop function sync.touch_updated_at()")
    op.execute("drop type membership_status")
    op.execute("drop type user_role")
    op.execute("drop schema stripe")
