"""Changes of users, told in the order of commits, and their delivery."""

from textwrap import dedent

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "change_drafts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False, comment="no foreign key: the change outlives the user"),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="the rule, as `why` names it"),
        sa.Column(
            "sources", sa.ARRAY(sa.Text()), server_default="{}", nullable=False, comment="objects of Stripe's behind it"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_drafts")),
        schema="sync",
        comment="Changes of a transaction that has not committed; a trigger moves them to `changes` when it does.",
    )
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="in the order of commits"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="no foreign key: the change outlives the user"),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, comment="the rule, as `why` names it"),
        sa.Column(
            "sources", sa.ARRAY(sa.Text()), server_default="{}", nullable=False, comment="objects of Stripe's behind it"
        ),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "type in ('access.granted', 'access.revoked', 'features.changed', 'subscription.changed', "
            "'subscription.renewed', 'tokens.granted', 'tokens.low', 'payment.failed')",
            name=op.f("ck_changes_type_is_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
        schema="sync",
        comment="Changes of users, written with the change itself.",
    )
    op.create_index(op.f("ix_changes_created_at"), "changes", ["created_at"], unique=False, schema="sync")
    op.create_index(op.f("ix_changes_user_id_id"), "changes", ["user_id", "id"], unique=False, schema="sync")
    op.create_table(
        "change_deliveries",
        sa.Column("change_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="while leased, the lease's end",
        ),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("parked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["change_id"], ["sync.changes.id"], name=op.f("fk_change_deliveries_change_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_change_deliveries")),
        schema="sync",
        comment="Changes that CHANGES_URL has not acknowledged.",
    )
    op.create_index(
        "ix_change_deliveries_due",
        "change_deliveries",
        ["due_at"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("not parked"),
    )
    op.create_index(
        "ix_change_deliveries_next",
        "change_deliveries",
        ["user_id", "change_id"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("not parked"),
    )
    op.create_index(
        "ix_change_deliveries_parked",
        "change_deliveries",
        ["change_id"],
        unique=False,
        schema="sync",
        postgresql_where=sa.text("parked"),
    )
    op.execute(
        dedent("""
    create or replace function sync.publish_change() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
    declare
        change bigint;
    begin
        perform pg_advisory_xact_lock(7165064744911531620);
        insert into sync.changes (user_id, type, before, after, reason, sources)
        values (new.user_id, new.type, new.before, new.after, new.reason, new.sources)
        returning id into change;
        delete from sync.change_drafts where id = new.id;
        perform pg_notify('stripe_sync_changes', change::text);
        return null;
    end
    $$
    """)
    )
    op.execute(
        dedent("""
    create or replace function sync.notice_low_tokens() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
    declare
        threshold bigint;
        features jsonb;
        was jsonb;
        now_is jsonb;
    begin
        select (c.value ->> 'tokens_low')::bigint into threshold from sync.cursors as c where c.name = 'changes';
        if threshold is null then
            return null;
        end if;
        was := to_jsonb(old);
        now_is := to_jsonb(new);
        if coalesce((was ->> tg_argv[4])::bigint, -1) < threshold or (now_is ->> tg_argv[4])::bigint >= threshold then
            return null;
        end if;
        select coalesce(jsonb_agg(distinct f.feature order by f.feature), '[]') into features
        from public.user_features as f
        where f.user_id = now_is ->> tg_argv[0];
        insert into sync.change_drafts (user_id, type, before, after, reason)
        values (
            now_is ->> tg_argv[0],
            'tokens.low',
            jsonb_build_object('role', was -> tg_argv[1], 'membership_status', was -> tg_argv[2],
                'stripe_product_id', was -> tg_argv[3], 'features', features, 'tokens', was -> tg_argv[4]),
            jsonb_build_object('role', now_is -> tg_argv[1], 'membership_status', now_is -> tg_argv[2],
                'stripe_product_id', now_is -> tg_argv[3], 'features', features, 'tokens', now_is -> tg_argv[4]),
            'below_threshold'
        );
        return null;
    end
    $$
    """)
    )
    op.execute(
        dedent("""
    create trigger tokens_spent after update on public.users for each row when (new.tokens < old.tokens)
    execute function sync.notice_low_tokens('id', 'role', 'membership_status', 'stripe_product_id', 'tokens')
    """)
    )
    op.execute(
        dedent("""
    create constraint trigger publish after insert on sync.change_drafts deferrable initially deferred
    for each row execute function sync.publish_change()
    """)
    )
    op.execute("revoke execute on function sync.publish_change(), sync.notice_low_tokens() from public")


def downgrade() -> None:
    op.execute("drop trigger publish on sync.change_drafts")
    op.execute("drop trigger tokens_spent on public.users")
    op.execute("drop function sync.notice_low_tokens")
    op.execute("drop function sync.publish_change")
    op.drop_index(
        "ix_change_deliveries_parked", table_name="change_deliveries", schema="sync", postgresql_where=sa.text("parked")
    )
    op.drop_index(
        "ix_change_deliveries_next",
        table_name="change_deliveries",
        schema="sync",
        postgresql_where=sa.text("not parked"),
    )
    op.drop_index(
        "ix_change_deliveries_due",
        table_name="change_deliveries",
        schema="sync",
        postgresql_where=sa.text("not parked"),
    )
    op.drop_table("change_deliveries", schema="sync")
    op.drop_index(op.f("ix_changes_user_id_id"), table_name="changes", schema="sync")
    op.drop_index(op.f("ix_changes_created_at"), table_name="changes", schema="sync")
    op.drop_table("changes", schema="sync")
    op.drop_table("change_drafts", schema="sync")
