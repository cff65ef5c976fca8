"""Rows that a table of the application refuses are held back, and named."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "held_rows",
        sa.Column("relation", sa.Text(), nullable=False, comment="our name of the table"),
        sa.Column("id", sa.Text(), nullable=False, comment="Stripe's id of the row"),
        sa.Column("user_id", sa.Text(), nullable=True, comment="null: a product or a price"),
        sa.Column("reason", sa.Text(), nullable=False, comment="what the table says of the row"),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_held_rows_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("relation", "id", name=op.f("pk_held_rows")),
        schema="sync",
        comment="Rows that a table of the application refuses. They are written as soon as it takes them.",
    )
    op.create_index(op.f("ix_held_rows_user_id"), "held_rows", ["user_id"], unique=False, schema="sync")


def downgrade() -> None:
    op.drop_index(op.f("ix_held_rows_user_id"), table_name="held_rows", schema="sync")
    op.drop_table("held_rows", schema="sync")
