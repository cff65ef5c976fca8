"""On access: when Stripe was last asked for all of a user's subscriptions, and whether somebody asks now."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_syncs",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "synced_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe was asked for all subscriptions just after this",
        ),
        sa.Column(
            "leased_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="somebody asks Stripe now, and until then at most",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_syncs_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_syncs")),
        schema="sync",
        comment="Users for whom Stripe was asked on access: how fresh they are, and who asks: one at a time.",
    )


def downgrade() -> None:
    op.drop_table("user_syncs", schema="sync")
