set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0004 -> 0005

CREATE TABLE sync.recompute_organizations (
    organization_id TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    place TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_recompute_organizations PRIMARY KEY (organization_id)
);

COMMENT ON TABLE sync.recompute_organizations IS 'Organizations whose users are to be computed again, because a subscription that names them changed.';

COMMENT ON COLUMN sync.recompute_organizations.organization_id IS 'no foreign key: Stripe''s metadata may name any';

COMMENT ON COLUMN sync.recompute_organizations.place IS 'its users up to this id are computed';

update stripe.subscriptions
        set metadata_organization_id = metadata->>'organizationId'
        where metadata_organization_id is null and metadata->>'organizationId' is not null;

CREATE INDEX ix_subscriptions_metadata_organization_id ON stripe.subscriptions (metadata_organization_id) WHERE metadata_organization_id is not null;

insert into sync.recompute_organizations (organization_id)
        select distinct metadata_organization_id
        from stripe.subscriptions
        where metadata_organization_id is not null and account = '' and not deleted;

CREATE TABLE sync.organization_members (
    user_id TEXT NOT NULL,
    organization_id TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_organization_members PRIMARY KEY (user_id),
    CONSTRAINT fk_organization_members_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.organization_members IS 'Users who were computed as members by an organization''s subscription, now or once: the last such.';

COMMENT ON COLUMN sync.organization_members.organization_id IS 'no foreign key: it may be gone';

create or replace function sync.follow_organization() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into sync.alarms as a (user_id, due_at) values (new.id, now())
    on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at);
    return null;
end
$$;

revoke execute on function sync.follow_organization() from public;

create trigger organization_joined after insert on public.users for each row when (new.organization_id is not null) execute function sync.follow_organization();

create trigger organization_changed after update on public.users for each row when (old.organization_id is distinct from new.organization_id) execute function sync.follow_organization();

UPDATE sync.alembic_version SET version_num='0005' WHERE sync.alembic_version.version_num = '0004';

COMMIT;
