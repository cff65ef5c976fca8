set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0005 -> 0004

drop trigger organization_changed on public.users;

drop trigger organization_joined on public.users;

drop function sync.follow_organization();

DROP INDEX stripe.ix_subscriptions_metadata_organization_id;

DROP TABLE sync.organization_members;

DROP TABLE sync.recompute_organizations;

UPDATE sync.alembic_version SET version_num='0004' WHERE sync.alembic_version.version_num = '0005';

COMMIT;
