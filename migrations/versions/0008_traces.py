"""An event remembers the span that received it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "events",
        sa.Column(
            "traceparent", sa.Text(), nullable=True, comment="the span that received it, as W3C Trace Context writes it"
        ),
        schema="sync",
    )


def downgrade() -> None:
    op.drop_column("events", "traceparent", schema="sync")
