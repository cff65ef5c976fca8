set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0014 -> 0013

drop view analytics.churn_monthly;

drop view analytics.subscriptions_daily;

drop view analytics.mrr_movements;

drop view analytics.customer_movements;

drop view analytics.mrr_daily;

drop view analytics.subscription_mrr;

drop view analytics.subscription_periods;

do $$
begin
    if not exists (select from pg_class where relnamespace = 'analytics'::regnamespace) then
        drop schema analytics;
    end if;
exception when dependent_objects_still_exist or insufficient_privilege then
    null;
end
$$;

drop function sync.discounted_mrr(text[], numeric[], numeric, jsonb);

drop view stripe.subscription_history;

DROP TABLE mirror.subscription_mrr;

DROP TABLE mirror.subscription_history;

UPDATE sync.alembic_version SET version_num='0013' WHERE sync.alembic_version.version_num = '0014';

COMMIT;
