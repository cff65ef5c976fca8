"""Features of users, and the products whose users are to be computed."""

from textwrap import dedent

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

VIEW_COLUMNS = (
    "id, account, product, entitlement_feature, entitlement_feature_lookup_key, created, deleted, data, observed_at, "
    "observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at"
)


def upgrade() -> None:
    op.create_table(
        "product_features",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "account", sa.Text(), server_default="", nullable=False, comment="connected account; empty for our own"
        ),
        sa.Column("product", sa.Text(), nullable=True),
        sa.Column("entitlement_feature", sa.Text(), nullable=True),
        sa.Column("entitlement_feature_lookup_key", sa.Text(), nullable=True),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Stripe's clock; null where the object carries none",
        ),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the object as Stripe sent it"
        ),
        sa.Column(
            "observed_at", sa.DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"
        ),
        sa.Column(
            "observed_rank", sa.BigInteger(), nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column("observed_in", sa.Text(), nullable=False, comment="the event, or the read, that brought the content"),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column(
            "shape", sa.Text(), nullable=False, comment="API major version of the content; empty for a bare deletion"
        ),
        sa.Column(
            "rev", sa.BigInteger(), server_default=sa.text("1"), nullable=False, comment="raised by every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="uncertain: to be read again",
        ),
        sa.Column("synced_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", "account", name=op.f("pk_product_features")),
        schema="mirror",
    )
    op.create_index(op.f("ix_product_features_product"), "product_features", ["product"], unique=False, schema="mirror")
    op.create_index(
        "ix_product_features_unsettled",
        "product_features",
        ["id"],
        unique=False,
        schema="mirror",
        postgresql_where=sa.text("unsettled"),
    )
    # They were kept without the product that they belong to; the next refresh reads them.
    op.execute("delete from mirror.objects where object = 'product_feature'")
    op.execute(f"create view stripe.product_features as select {VIEW_COLUMNS} from mirror.product_features")  # noqa: S608
    op.create_table(
        "product_change_users",
        sa.Column("user_id", sa.Text(), nullable=False, comment="no foreign key: locked before the user is"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_product_change_users")),
        schema="sync",
        comment="Users who are computed next, because a product of theirs changed.",
    )
    op.create_table(
        "product_changes",
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column(
            "features_read_at", sa.DateTime(timezone=True), nullable=True, comment="first, by a pass; null: not yet"
        ),
        sa.Column(
            "noted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="its users are to be computed since then; null: none is",
        ),
        sa.Column(
            "horizon",
            sa.BigInteger(),
            nullable=True,
            comment="older transactions may have written without seeing the change",
        ),
        sa.PrimaryKeyConstraint("product_id", name=op.f("pk_product_changes")),
        schema="sync",
        comment="Products that give something else than before, whose users are still to be computed.",
    )
    op.create_index(
        "ix_product_changes_noted",
        "product_changes",
        ["noted_at"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("noted_at is not null"),
    )
    op.create_table(
        "feature_overrides",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("feature", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True, comment="null: until it is lifted"),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_feature_overrides_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "feature", name=op.f("pk_feature_overrides")),
        schema="sync",
        comment="Features given by an operator, whatever Stripe says.",
    )
    op.create_table(
        "user_features",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("feature", sa.Text(), nullable=False, comment="the lookup key of Stripe's feature"),
        sa.Column(
            "source",
            sa.Text(),
            nullable=False,
            comment="a subscription, an invoice or a Checkout session; or `override`",
        ),
        sa.Column(
            "until", sa.DateTime(timezone=True), nullable=True, comment="when it ends by itself; null: no end is known"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_features_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "feature", "source", name=op.f("pk_user_features")),
    )
    op.execute(
        dedent("""
    create or replace function public.has_feature(user_id text, feature text) returns boolean
    language plpgsql stable as $$
    begin
        return exists (
            select from public.user_features as f
            where f.user_id = has_feature.user_id and f.feature = has_feature.feature
                and (f.until is null or f.until > clock_timestamp())
                and exists (select from public.users as u where u.id = f.user_id and u.role::text <> 'BANNED')
        );
    end
    $$
    """)
    )


def downgrade() -> None:
    op.execute("drop function public.has_feature")
    op.drop_table("user_features")
    op.drop_table("feature_overrides", schema="sync")
    op.drop_index(
        "ix_product_changes_noted",
        table_name="product_changes",
        schema="sync",
        postgresql_where=sa.text("noted_at is not null"),
    )
    op.drop_table("product_changes", schema="sync")
    op.drop_table("product_change_users", schema="sync")
    op.execute("drop view stripe.product_features")
    op.drop_index(
        "ix_product_features_unsettled",
        table_name="product_features",
        schema="mirror",
        postgresql_where=sa.text("unsettled"),
    )
    op.drop_index(op.f("ix_product_features_product"), table_name="product_features", schema="mirror")
    op.drop_table("product_features", schema="mirror")
