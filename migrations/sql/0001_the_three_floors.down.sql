set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0001 ->

drop schema stripe cascade;

drop schema mirror cascade;

DROP TABLE user_subscriptions;

DROP TABLE sync.user_syncs;

DROP TABLE sync.overrides;

DROP TABLE sync.organization_members;

DROP TABLE sync.next_changes;

DROP TABLE sync.customer_links;

DROP TABLE stripe_customers;

DROP TABLE sessions;

DROP TABLE payment_history;

DROP TABLE accounts;

DROP TABLE users;

DROP TABLE sync.shards;

DROP TABLE stripe_prices;

DROP TABLE verification_tokens;

DROP TABLE sync.token_grants;

DROP TABLE sync.runs;

DROP TABLE sync.refetch_queue;

DROP TABLE sync.recompute_queue;

DROP TABLE sync.rechecks;

DROP TABLE sync.organization_queue;

DROP TABLE sync.heartbeats;

DROP TABLE sync.events;

DROP TABLE sync.erased;

DROP TABLE sync.drift;

DROP TABLE sync.cursors;

DROP TABLE sync.counters;

DROP TABLE sync.adoption;

DROP TABLE stripe_products;

DROP TABLE organizations;

drop function public.consume_tokens(text, bigint);

drop function public.token_balance(text);

drop function sync.follow_organization();

drop function sync.touch_updated_at();

drop type public.membership_status;

drop type public.user_role;

DELETE FROM sync.alembic_version WHERE sync.alembic_version.version_num = '0001';

COMMIT;
