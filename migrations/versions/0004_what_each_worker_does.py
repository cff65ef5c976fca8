"""The current work of each worker."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("heartbeats", sa.Column("lane", sa.Text(), server_default="", nullable=False), schema="sync")
    op.add_column(
        "heartbeats",
        sa.Column("task", sa.Text(), nullable=True, comment="the present one; null: waiting"),
        schema="sync",
    )
    op.add_column(
        "heartbeats",
        sa.Column("since", sa.DateTime(timezone=True), nullable=True, comment="when the present task began"),
        schema="sync",
    )
    op.create_table_comment(
        "heartbeats",
        "Child processes of workers; each writes its own row.",
        existing_comment="Worker processes; each writes its own row while it works.",
        schema="sync",
    )


def downgrade() -> None:
    op.create_table_comment(
        "heartbeats",
        "Worker processes; each writes its own row while it works.",
        existing_comment="Child processes of workers; each writes its own row.",
        schema="sync",
    )
    op.drop_column("heartbeats", "since", schema="sync")
    op.drop_column("heartbeats", "task", schema="sync")
    op.drop_column("heartbeats", "lane", schema="sync")
