"""Checkout sessions are found by the user and the product that they name."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("checkout_sessions", sa.Column("metadata_product", sa.Text(), nullable=True), schema="mirror")
    op.create_index(
        "ix_checkout_sessions_client_reference_id",
        "checkout_sessions",
        ["client_reference_id"],
        unique=False,
        schema="mirror",
        postgresql_where=sa.text("client_reference_id is not null"),
    )
    op.create_index(
        "ix_checkout_sessions_metadata_product",
        "checkout_sessions",
        ["metadata_product"],
        unique=False,
        schema="mirror",
        postgresql_where=sa.text("metadata_product is not null"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_checkout_sessions_metadata_product",
        table_name="checkout_sessions",
        schema="mirror",
        postgresql_where=sa.text("metadata_product is not null"),
    )
    op.drop_index(
        "ix_checkout_sessions_client_reference_id",
        table_name="checkout_sessions",
        schema="mirror",
        postgresql_where=sa.text("client_reference_id is not null"),
    )
    op.drop_column("checkout_sessions", "metadata_product", schema="mirror")
