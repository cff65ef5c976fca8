set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0003 -> 0002

DROP TABLE sync.alarms;

ALTER TABLE sync.token_grants DROP COLUMN lots;

UPDATE sync.alembic_version SET version_num='0002' WHERE sync.alembic_version.version_num = '0003';

COMMIT;
