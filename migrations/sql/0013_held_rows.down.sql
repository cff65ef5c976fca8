set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0013 -> 0012

DROP INDEX sync.ix_held_rows_user_id;

DROP TABLE sync.held_rows;

UPDATE sync.alembic_version SET version_num='0012' WHERE sync.alembic_version.version_num = '0013';

COMMIT;
