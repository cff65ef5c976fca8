"""Checkout sessions are found by the user and the product that they name."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

VIEW_COLUMNS = """
    id, account, customer, customer_details_email, client_reference_id, mode, status, payment_status,
    subscription, invoice, payment_intent, setup_intent, payment_link, amount_total, currency,
    metadata_user_id, expires_at, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
"""


def upgrade() -> None:
    op.add_column("checkout_sessions", sa.Column("metadata_product", sa.Text(), nullable=True), schema="mirror")
    # In place, with the new column last, so that what was granted on the view stays granted.
    op.execute(
        f"create or replace view stripe.checkout_sessions as select {VIEW_COLUMNS}, metadata_product"  # noqa: S608
        " from mirror.checkout_sessions"
    )
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
    op.execute("drop view stripe.checkout_sessions")
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
    op.execute(f"create view stripe.checkout_sessions as select {VIEW_COLUMNS} from mirror.checkout_sessions")  # noqa: S608
