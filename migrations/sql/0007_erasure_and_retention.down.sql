set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0007 -> 0006

DROP TABLE sync.erased;

UPDATE sync.alembic_version SET version_num='0006' WHERE sync.alembic_version.version_num = '0007';

COMMIT;
