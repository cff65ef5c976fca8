"""The ledger says what a balance consists of, and users whom time changes are found by an index."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "token_grants",
        sa.Column(
            "lots",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="what the balance consists of after this change, by grant",
        ),
        schema="sync",
    )
    op.create_table(
        "alarms",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_alarms_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_alarms")),
        schema="sync",
        comment="Users whom time alone changes, and when: tokens are renewed, a grace or an override ends.",
    )
    op.create_index(op.f("ix_alarms_due_at"), "alarms", ["due_at"], schema="sync")


def downgrade() -> None:
    op.drop_table("alarms", schema="sync")
    op.drop_column("token_grants", "lots", schema="sync")
