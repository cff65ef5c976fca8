set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0004 -> 0003

COMMENT ON TABLE sync.heartbeats IS 'Worker processes; each writes its own row while it works.';

ALTER TABLE sync.heartbeats DROP COLUMN since;

ALTER TABLE sync.heartbeats DROP COLUMN task;

ALTER TABLE sync.heartbeats DROP COLUMN lane;

UPDATE sync.alembic_version SET version_num='0003' WHERE sync.alembic_version.version_num = '0004';

COMMIT;
