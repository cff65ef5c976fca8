"""What was erased stays erased: a list that every writer honours."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erased",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False, comment="Stripe's type, or `user`"),
        sa.Column("account", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "user_id",
            sa.Text(),
            nullable=True,
            comment="whose erasure a person asked for; null: found to belong to them. No foreign key",
        ),
        sa.Column("erased_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "swept_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when nothing personal of it is held; null: to be swept",
        ),
        sa.PrimaryKeyConstraint("id", "object", "account", name=op.f("pk_erased")),
        schema="sync",
        comment="Who and what was erased (privacy): every writer blanks what is, or belongs to, one of these.",
    )
    op.create_index(
        "ix_erased_unswept", "erased", ["erased_at"], schema="sync", postgresql_where=sa.text("swept_at is null")
    )


def downgrade() -> None:
    op.drop_table("erased", schema="sync")
