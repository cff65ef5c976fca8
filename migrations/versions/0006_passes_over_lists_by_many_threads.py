"""Passes over lists by many threads: shards of any list, absent objects, users who are computed after a backfill."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "absences",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), server_default="", nullable=False),
        sa.Column("list", sa.Text(), nullable=False),
        sa.Column("rev", sa.BigInteger(), nullable=False, comment="of the mirrored row, when the list did not show it"),
        sa.Column(
            "read_at",
            sa.BigInteger(),
            nullable=True,
            comment="when Stripe answered that it has no such object; null: not asked yet",
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["sync.runs.id"], name=op.f("fk_absences_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "object", "id", "account", name=op.f("pk_absences")),
        schema="sync",
        comment="Mirrored objects that a list should have shown and did not; marked deleted when the list is complete.",
    )
    op.add_column(
        "recompute_queue",
        sa.Column(
            "deferred",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="until the backfill has ended",
        ),
        schema="sync",
    )
    op.create_index(
        "ix_recompute_queue_deferred",
        "recompute_queue",
        ["stripe_customer_id"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("deferred"),
    )
    op.create_index(
        "ix_recompute_queue_due",
        "recompute_queue",
        ["requested_at"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("not deferred"),
    )
    op.add_column(
        "shards",
        sa.Column("list", sa.Text(), server_default="", nullable=False, comment="the name of one of Stripe's lists"),
        schema="sync",
    )
    op.add_column(
        "shards",
        sa.Column(
            "besides",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="of reads beside the pages",
        ),
        schema="sync",
    )
    op.add_column("shards", sa.Column("leased_by", sa.Text(), nullable=True), schema="sync")
    op.add_column(
        "shards",
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="in a row"),
        schema="sync",
    )
    op.add_column("shards", sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True), schema="sync")
    op.add_column(
        "shards",
        sa.Column("error", sa.Text(), nullable=True, comment="why the list was given up in this run"),
        schema="sync",
    )
    op.alter_column(
        "shards",
        "tally",
        existing_type=postgresql.JSONB(astext_type=sa.Text()),
        comment="of the pages, by their reader",
        existing_nullable=False,
        existing_server_default=sa.text("'{}'::jsonb"),
        schema="sync",
    )
    op.create_table_comment(
        "shards",
        "Parts of a run over Stripe's lists, by ranges of `created`, shared by threads and workers.",
        existing_comment="Parts of a run that several workers share.",
        schema="sync",
    )


def downgrade() -> None:
    op.create_table_comment(
        "shards",
        "Parts of a run that several workers share.",
        existing_comment="Parts of a run over Stripe's lists, by ranges of `created`, shared by threads and workers.",
        schema="sync",
    )
    op.alter_column(
        "shards",
        "tally",
        existing_type=postgresql.JSONB(astext_type=sa.Text()),
        comment=None,
        existing_comment="of the pages, by their reader",
        existing_nullable=False,
        existing_server_default=sa.text("'{}'::jsonb"),
        schema="sync",
    )
    op.drop_column("shards", "error", schema="sync")
    op.drop_column("shards", "retry_at", schema="sync")
    op.drop_column("shards", "failures", schema="sync")
    op.drop_column("shards", "leased_by", schema="sync")
    op.drop_column("shards", "besides", schema="sync")
    op.drop_column("shards", "list", schema="sync")
    op.drop_index(
        "ix_recompute_queue_due", table_name="recompute_queue", schema="sync", postgresql_where=sa.text("not deferred")
    )
    op.drop_index(
        "ix_recompute_queue_deferred", table_name="recompute_queue", schema="sync", postgresql_where=sa.text("deferred")
    )
    op.drop_column("recompute_queue", "deferred", schema="sync")
    op.drop_table("absences", schema="sync")
