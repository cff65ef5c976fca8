set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0006 -> 0005

DROP TABLE sync.user_syncs;

UPDATE sync.alembic_version SET version_num='0005' WHERE sync.alembic_version.version_num = '0006';

COMMIT;
