"""What was computed while something that it names was not there yet is looked at once more."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "second_looks",
        sa.Column(
            "object", sa.Text(), nullable=False, comment="`user`, or Stripe's type of what names no customer itself"
        ),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "horizon",
            sa.BigInteger(),
            nullable=True,
            comment="transactions that may write it without having seen us are older than this",
        ),
        sa.PrimaryKeyConstraint("object", "id", name=op.f("pk_second_looks")),
        schema="sync",
        comment="Who was computed, and what was written, while something that it names had not come: looked at once more.",
    )


def downgrade() -> None:
    op.drop_table("second_looks", schema="sync")
