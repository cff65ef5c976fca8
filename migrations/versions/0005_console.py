"""The console: what people did in it, totals by minute for its charts, and events by time."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        schema="sync",
        comment="Actions of people in the console.",
    )
    op.create_table(
        "minutes",
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False, comment="since the first event"),
        sa.Column("applied", sa.BigInteger(), nullable=False, comment="since the first event"),
        sa.PrimaryKeyConstraint("minute", name=op.f("pk_minutes")),
        schema="sync",
        comment="Totals of events received and applied at each minute of the last days, for charts.",
    )
    op.create_index("ix_events_created", "events", ["created", "id"], unique=False, schema="sync")


def downgrade() -> None:
    op.drop_index("ix_events_created", table_name="events", schema="sync")
    op.drop_table("minutes", schema="sync")
    op.drop_table("audit_log", schema="sync")
