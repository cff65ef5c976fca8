set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0008 -> 0007

ALTER TABLE sync.events DROP COLUMN traceparent;

UPDATE sync.alembic_version SET version_num='0007' WHERE sync.alembic_version.version_num = '0008';

COMMIT;
