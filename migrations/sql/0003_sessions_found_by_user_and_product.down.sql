set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0003 -> 0002

DROP INDEX mirror.ix_checkout_sessions_metadata_product;

DROP INDEX mirror.ix_checkout_sessions_client_reference_id;

ALTER TABLE mirror.checkout_sessions DROP COLUMN metadata_product;

UPDATE sync.alembic_version SET version_num='0002' WHERE sync.alembic_version.version_num = '0003';

COMMIT;
