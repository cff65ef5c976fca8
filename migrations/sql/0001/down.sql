-- Drop everything. The schema sync stays, because it has the table of revisions. The schema analytics stays if others use it.

drop view
    analytics.churn_monthly, analytics.mrr_movements, analytics.customer_movements, analytics.customer_changes,
    analytics.subscriptions_daily, analytics.mrr_daily, analytics.subscription_mrr, analytics.subscription_periods;
do $$
begin
    if not exists (select from pg_class where relnamespace = 'analytics'::regnamespace) then
        drop schema analytics;
    end if;
exception when dependent_objects_still_exist or insufficient_privilege then
    null;
end
$$;
drop schema @{stripe}, mirror cascade;

drop table
    sync.absences, sync.accounts, sync.adoption, sync.audit_log, sync.change_deliveries, sync.change_drafts,
    sync.changes, sync.counters, sync.cursors, sync.customer_links, sync.drift, sync.erased, sync.events,
    sync.feature_overrides, sync.heartbeats, sync.held_rows, sync.minutes, sync.next_changes,
    sync.organization_members, sync.organization_queue, sync.overrides, sync.product_change_users,
    sync.product_changes, sync.rechecks, sync.recompute_queue, sync.refetch_queue, sync.runs, sync.shards,
    sync.token_grants, sync.user_syncs, sync.webhook_secrets;

drop table
    user_subscriptions, user_features, stripe_customers, sessions, payment_history, accounts, users, stripe_prices,
    verification_tokens, stripe_products, organizations;

drop function sync.touch_updated_at;
drop function public.token_balance;
drop function public.consume_tokens;
drop function public.has_feature;
drop function sync.follow_organization;
drop function sync.publish_change;
drop function sync.notice_low_tokens;
drop function sync.user_key;
drop function sync.user_keys;
drop function sync.organization_key;
drop function sync.discounted_mrr;
drop function sync.customer_row_id;
drop function sync.subscription_row_id;
drop function sync.payment_row_id;
drop function sync.price_type;
drop function sync.price_interval;
drop function sync.subscription_status;
drop function sync.payment_status;

drop type user_role, membership_status;

comment on schema sync is null;
