"""The ledger names the allowance and the money of each row; credit notes have a table."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "credit_notes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account; empty for our own"
        ),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("returned", sa.BigInteger(), nullable=True),
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
        sa.Column("observed_in", sa.Text(), nullable=False, comment="the event, or the read, that brought the content"),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column(
            "shape", sa.Text(), nullable=False, comment="API major version of the content; empty for a bare deletion"
        ),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="raised by every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="uncertain: to be read again",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_credit_notes")),
        schema="mirror",
    )
    op.create_index("ix_credit_notes_created", "credit_notes", ["account", "created"], unique=False, schema="mirror")
    op.create_index(op.f("ix_credit_notes_customer"), "credit_notes", ["customer"], unique=False, schema="mirror")
    op.create_index(op.f("ix_credit_notes_invoice"), "credit_notes", ["invoice"], unique=False, schema="mirror")
    op.create_index(
        "ix_credit_notes_unsettled",
        "credit_notes",
        ["id"],
        unique=False,
        schema="mirror",
        postgresql_where=sa.text("unsettled"),
    )
    op.add_column(
        "token_grants",
        sa.Column(
            "owner",
            sa.Text(),
            nullable=True,
            comment="the allowance: a subscription item, or a subscription and price; empty for packs",
        ),
        schema="sync",
    )
    op.add_column(
        "token_grants",
        sa.Column("identity", sa.Text(), nullable=True, comment="of the paid line: the same under another id"),
        schema="sync",
    )
    op.add_column(
        "token_grants",
        sa.Column(
            "money",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="of the bill that this row takes back for",
        ),
        schema="sync",
    )
    op.execute(
        """
        create view stripe.credit_notes as
        select id, account, customer, invoice, status, type, amount, total, returned, currency, created, deleted, data,
            observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
        from mirror.credit_notes
        """
    )


def downgrade() -> None:
    op.execute("drop view stripe.credit_notes")
    op.drop_column("token_grants", "money", schema="sync")
    op.drop_column("token_grants", "identity", schema="sync")
    op.drop_column("token_grants", "owner", schema="sync")
    op.drop_index(
        "ix_credit_notes_unsettled", table_name="credit_notes", schema="mirror", postgresql_where=sa.text("unsettled")
    )
    op.drop_index(op.f("ix_credit_notes_invoice"), table_name="credit_notes", schema="mirror")
    op.drop_index(op.f("ix_credit_notes_customer"), table_name="credit_notes", schema="mirror")
    op.drop_index("ix_credit_notes_created", table_name="credit_notes", schema="mirror")
    op.drop_table("credit_notes", schema="mirror")
