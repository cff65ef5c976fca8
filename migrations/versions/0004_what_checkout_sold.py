"""What Checkout sold without an invoice: a session's line items, which no event embeds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkout_session_line_items",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account, empty for our own"
        ),
        sa.Column("checkout_session", sa.Text(), nullable=True),
        sa.Column("price", sa.Text(), nullable=True),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=True),
        sa.Column("amount_subtotal", sa.BigInteger(), nullable=True),
        sa.Column("amount_total", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=True),
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
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_checkout_session_line_items")),
        schema="stripe",
    )
    op.create_index(
        op.f("ix_checkout_session_line_items_checkout_session"),
        "checkout_session_line_items",
        ["checkout_session"],
        unique=False,
        schema="stripe",
    )
    op.create_index(
        op.f("ix_checkout_session_line_items_product"),
        "checkout_session_line_items",
        ["product"],
        unique=False,
        schema="stripe",
    )
    op.create_index(
        "ix_checkout_session_line_items_unsettled",
        "checkout_session_line_items",
        ["id"],
        unique=False,
        schema="stripe",
        postgresql_where=sa.text("unsettled"),
    )
    # Those that were paid before have never been asked for what they sold.
    op.execute(
        """
        update stripe.checkout_sessions
        set unsettled = true
        where mode = 'payment' and payment_status = 'paid' and invoice is null and not deleted
        """
    )


def downgrade() -> None:
    op.drop_table("checkout_session_line_items", schema="stripe")
