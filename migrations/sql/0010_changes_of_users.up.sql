set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0009 -> 0010

CREATE TABLE sync.change_drafts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    user_id TEXT NOT NULL,
    type TEXT NOT NULL,
    before JSONB NOT NULL,
    after JSONB NOT NULL,
    reason TEXT NOT NULL,
    sources TEXT[] DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_change_drafts PRIMARY KEY (id)
);

COMMENT ON TABLE sync.change_drafts IS 'Changes of a transaction that has not committed; a trigger moves them to `changes` when it does.';

COMMENT ON COLUMN sync.change_drafts.user_id IS 'no foreign key: the change outlives the user';

COMMENT ON COLUMN sync.change_drafts.reason IS 'the rule, as `why` names it';

COMMENT ON COLUMN sync.change_drafts.sources IS 'objects of Stripe''s behind it';

CREATE TABLE sync.changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    user_id TEXT NOT NULL,
    type TEXT NOT NULL,
    before JSONB NOT NULL,
    after JSONB NOT NULL,
    reason TEXT NOT NULL,
    sources TEXT[] DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_changes PRIMARY KEY (id),
    CONSTRAINT ck_changes_type_is_known CHECK (type in ('access.granted', 'access.revoked', 'features.changed', 'subscription.changed', 'subscription.renewed', 'tokens.granted', 'tokens.low', 'payment.failed'))
);

COMMENT ON TABLE sync.changes IS 'Changes of users, written with the change itself.';

COMMENT ON COLUMN sync.changes.id IS 'in the order of commits';

COMMENT ON COLUMN sync.changes.user_id IS 'no foreign key: the change outlives the user';

COMMENT ON COLUMN sync.changes.reason IS 'the rule, as `why` names it';

COMMENT ON COLUMN sync.changes.sources IS 'objects of Stripe''s behind it';

CREATE INDEX ix_changes_created_at ON sync.changes (created_at);

CREATE INDEX ix_changes_user_id_id ON sync.changes (user_id, id);

CREATE TABLE sync.change_deliveries (
    change_id BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    parked BOOLEAN DEFAULT false NOT NULL,
    error TEXT,
    CONSTRAINT pk_change_deliveries PRIMARY KEY (change_id),
    CONSTRAINT fk_change_deliveries_change_id FOREIGN KEY(change_id) REFERENCES sync.changes (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.change_deliveries IS 'Changes that CHANGES_URL has not acknowledged.';

COMMENT ON COLUMN sync.change_deliveries.due_at IS 'while leased, the lease''s end';

CREATE INDEX ix_change_deliveries_due ON sync.change_deliveries (due_at) WHERE not parked;

CREATE INDEX ix_change_deliveries_next ON sync.change_deliveries (user_id, change_id) WHERE not parked;

CREATE INDEX ix_change_deliveries_parked ON sync.change_deliveries (change_id) WHERE parked;

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
$$;

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
$$;

create trigger tokens_spent after update on public.users for each row when (new.tokens < old.tokens)
execute function sync.notice_low_tokens('id', 'role', 'membership_status', 'stripe_product_id', 'tokens');

create constraint trigger publish after insert on sync.change_drafts deferrable initially deferred
for each row execute function sync.publish_change();

revoke execute on function sync.publish_change(), sync.notice_low_tokens() from public;

UPDATE sync.alembic_version SET version_num='0010' WHERE sync.alembic_version.version_num = '0009';

COMMIT;
