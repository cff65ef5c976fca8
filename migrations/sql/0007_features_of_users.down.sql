set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0007 -> 0006

drop function public.has_feature;

DROP TABLE user_features;

DROP TABLE sync.feature_overrides;

DROP INDEX sync.ix_product_changes_noted;

DROP TABLE sync.product_changes;

DROP TABLE sync.product_change_users;

drop view stripe.product_features;

DROP INDEX mirror.ix_product_features_unsettled;

DROP INDEX mirror.ix_product_features_product;

DROP TABLE mirror.product_features;

UPDATE sync.alembic_version SET version_num='0006' WHERE sync.alembic_version.version_num = '0007';

COMMIT;
