-- Functions and triggers.

create or replace function sync.touch_updated_at() returns trigger
language plpgsql as $$
begin
    if new.updated_at is not distinct from old.updated_at then
        new.updated_at := now();
    end if;
    return new;
end
$$;

create or replace function public.token_balance(user_id text) returns bigint
language plpgsql stable as $$
declare
    balance bigint;
begin
    select case when u.tokens_expires_at <= clock_timestamp() then 0 else u.tokens end
    into balance
    from public.users as u
    where u.id = token_balance.user_id;
    if not found then
        raise exception 'token_balance: user_id: there is no user %', coalesce(quote_literal(user_id), 'null')
            using errcode = 'no_data_found';
    end if;
    return balance;
end
$$;

create or replace function public.consume_tokens(user_id text, n bigint) returns boolean
language plpgsql as $$
begin
    if n is null or n <= 0 then
        raise exception 'consume_tokens: n: must be more than 0, and is %', coalesce(n::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    update public.users as u
    set tokens = u.tokens - n
    where u.id = consume_tokens.user_id
        and u.tokens >= n
        and (u.tokens_expires_at is null or u.tokens_expires_at > clock_timestamp());
    if found then
        return true;
    end if;
    perform from public.users as u where u.id = consume_tokens.user_id;
    if not found then
        raise exception 'consume_tokens: user_id: there is no user %', coalesce(quote_literal(user_id), 'null')
            using errcode = 'no_data_found';
    end if;
    return false;
end
$$;

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
$$;

create or replace function sync.follow_organization() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into sync.next_changes as a (user_id, due_at) values (new.id::text, now())
    on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at);
    return null;
end
$$;

create or replace function sync.publish_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    change bigint;
begin
    perform pg_advisory_xact_lock(7165064744911531620);
    insert into sync.changes (user_id, type, before, after, reason, sources, traceparent)
    values (new.user_id, new.type, new.before, new.after, new.reason, new.sources, new.traceparent)
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

create or replace function sync.user_key(id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.user_keys(ids text[]) returns text[]
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.organization_key(id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.discounted_mrr(products text[], amounts numeric[], months numeric, discounts jsonb)
returns numeric[]
language plpgsql immutable as $$
declare
    discount jsonb;
    off numeric;
    total numeric;
begin
    for discount in select value from jsonb_array_elements(discounts) loop
        if discount->>'percent_off' is not null then
            off := greatest(1 - (discount->>'percent_off')::numeric / 100, 0);
        else
            select sum(u.amount) into total
            from unnest(products, amounts) as u (product, amount)
            where coalesce(discount->'products' ? u.product, true);
            off := case when total > 0
                then greatest(1 - (discount->>'amount_off')::numeric / months / total, 0)
                else 1 end;
        end if;
        select array_agg(
            case when coalesce(discount->'products' ? u.product, true) then u.amount * off else u.amount end
            order by u.number
        )
        into amounts
        from unnest(products, amounts) with ordinality as u (product, amount, number);
    end loop;
    return amounts;
end
$$;

create or replace function sync.customer_row_id(stripe_id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.subscription_row_id(stripe_id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.payment_row_id(stripe_id text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.price_type(word text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.price_interval(word text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.subscription_status(word text) returns text
language sql immutable parallel safe as $$ select $1 $$;

create or replace function sync.payment_status(word text) returns text
language sql immutable parallel safe as $$ select $1 $$;

revoke execute on function sync.follow_organization(), sync.publish_change(), sync.notice_low_tokens() from public;

create trigger touch_updated_at before update on public.organizations for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.users for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.accounts for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.sessions for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.verification_tokens for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.stripe_products for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.stripe_prices for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.stripe_customers for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.user_subscriptions for each row execute function sync.touch_updated_at();
create trigger touch_updated_at before update on public.payment_history for each row execute function sync.touch_updated_at();
create trigger organization_joined after insert on public.users for each row when (new.organization_id is not null) execute function sync.follow_organization();
create trigger organization_changed after update on public.users for each row when (old.organization_id is distinct from new.organization_id) execute function sync.follow_organization();
create trigger tokens_spent after update on public.users for each row when (new.tokens < old.tokens) execute function sync.notice_low_tokens('id', 'role', 'membership_status', 'stripe_product_id', 'tokens');
create constraint trigger publish after insert on sync.change_drafts deferrable initially deferred for each row execute function sync.publish_change();
