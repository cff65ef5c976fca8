set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0005 -> 0004

DROP INDEX sync.ix_events_created;

DROP TABLE sync.minutes;

DROP TABLE sync.audit_log;

UPDATE sync.alembic_version SET version_num='0004' WHERE sync.alembic_version.version_num = '0005';

COMMIT;
