"""A subscription entitles the users of the organization that it names: found by an index, and followed as users move.

The previous release may still run: it reads the metadata's key `organization_id` alone, and leaves the new tables be.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FOLLOW_ORGANIZATION = """
create or replace function sync.follow_organization() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into sync.alarms as a (user_id, due_at) values (new.id, now())
    on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at);
    return null;
end
$$
"""


def upgrade() -> None:
    op.create_table(
        "recompute_organizations",
        sa.Column(
            "organization_id", sa.Text(), nullable=False, comment="no foreign key: Stripe's metadata may name any"
        ),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "place", sa.Text(), server_default="", nullable=False, comment="its users up to this id are computed"
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_recompute_organizations")),
        schema="sync",
        comment="Organizations whose users are to be computed again, because a subscription that names them changed.",
    )
    # Only rows that say the other key are written; their locks are the only ones that are held.
    op.execute(
        """
        update stripe.subscriptions
        set metadata_organization_id = metadata->>'organizationId'
        where metadata_organization_id is null and metadata->>'organizationId' is not null
        """
    )
    op.create_index(
        "ix_subscriptions_metadata_organization_id",
        "subscriptions",
        ["metadata_organization_id"],
        schema="stripe",
        postgresql_where=sa.text("metadata_organization_id is not null"),
    )
    # What was mirrored before counts from now on, without anything that changes at Stripe.
    op.execute(
        """
        insert into sync.recompute_organizations (organization_id)
        select distinct metadata_organization_id
        from stripe.subscriptions
        where metadata_organization_id is not null and account = '' and not deleted
        """
    )
    # Last, for from here on nobody else writes to `users` until we commit.
    op.create_table(
        "organization_members",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("organization_id", sa.Text(), nullable=False, comment="no foreign key: it may be gone"),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_organization_members_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_organization_members")),
        schema="sync",
        comment="Users who were computed as members by an organization's subscription, now or once: the last such.",
    )
    op.execute(FOLLOW_ORGANIZATION)
    op.execute("revoke execute on function sync.follow_organization() from public")
    op.execute(
        "create trigger organization_joined after insert on public.users "
        "for each row when (new.organization_id is not null) execute function sync.follow_organization()"
    )
    op.execute(
        "create trigger organization_changed after update on public.users "
        "for each row when (old.organization_id is distinct from new.organization_id) "
        "execute function sync.follow_organization()"
    )


def downgrade() -> None:
    op.execute("drop trigger organization_changed on public.users")
    op.execute("drop trigger organization_joined on public.users")
    op.execute("drop function sync.follow_organization()")
    op.drop_index("ix_subscriptions_metadata_organization_id", table_name="subscriptions", schema="stripe")
    op.drop_table("organization_members", schema="sync")
    op.drop_table("recompute_organizations", schema="sync")
