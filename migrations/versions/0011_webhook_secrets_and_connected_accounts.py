"""Webhook secrets and connected accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="connected", nullable=False),
        sa.Column(
            "last_event_at", sa.DateTime(timezone=True), nullable=True, comment="Stripe's time of its newest event"
        ),
        sa.Column(
            "last_pass_at", sa.DateTime(timezone=True), nullable=True, comment="when it was last read from Stripe"
        ),
        sa.Column(
            "events_until",
            sa.BigInteger(),
            nullable=True,
            comment="its list of events was read up to this second; null: never",
        ),
        sa.Column(
            "rounds", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="how often all lists were read"
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="of the last pass"),
        sa.Column(
            "leased_until", sa.DateTime(timezone=True), nullable=True, comment="one worker reads it until then at most"
        ),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status in ('connected', 'deauthorized')", name=op.f("ck_accounts_status_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        schema="sync",
        comment="Connected accounts (CONNECT=on) and how far each has been read.",
    )
    op.create_index(
        "ix_accounts_turn",
        "accounts",
        ["last_pass_at"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("status = 'connected'"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.Text(), nullable=False, comment="a fingerprint; the secret itself is in no table"),
        sa.Column(
            "account",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="that the settings bind it to; empty for none",
        ),
        sa.Column(
            "verdict", sa.Text(), nullable=True, comment="whose it is; null: not known yet, and its events are held"
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="in a web's settings",
        ),
        sa.CheckConstraint(
            "verdict in ('ours', 'assumed', 'foreign')", name=op.f("ck_webhook_secrets_verdict_is_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_secrets")),
        schema="sync",
        comment="The webhook secrets of the web processes, and whether each is of our own Stripe account.",
    )
    op.add_column(
        "events",
        sa.Column(
            "signed_by",
            sa.Text(),
            nullable=True,
            comment="the secret of a delivery, by fingerprint, while it is not proven to be ours",
        ),
        schema="sync",
    )
    op.create_index(
        "ix_events_signed_by",
        "events",
        ["signed_by", "received_at"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("signed_by is not null"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_events_signed_by", table_name="events", schema="sync", postgresql_where=sa.text("signed_by is not null")
    )
    op.drop_column("events", "signed_by", schema="sync")
    op.drop_table("webhook_secrets", schema="sync")
    op.drop_index(
        "ix_accounts_turn", table_name="accounts", schema="sync", postgresql_where=sa.text("status = 'connected'")
    )
    op.drop_table("accounts", schema="sync")
