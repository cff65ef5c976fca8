set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0011 -> 0012

create or replace function sync.user_key(id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.user_keys(ids text[]) returns text[]
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.organization_key(id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.customer_row_id(stripe_id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.subscription_row_id(stripe_id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.payment_row_id(stripe_id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.follow_organization() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into sync.next_changes as a (user_id, due_at) values (new.id::text, now())
    on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at);
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
    where f.user_id = sync.user_key(now_is ->> tg_argv[0]);
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

UPDATE sync.alembic_version SET version_num='0012' WHERE sync.alembic_version.version_num = '0011';

COMMIT;
