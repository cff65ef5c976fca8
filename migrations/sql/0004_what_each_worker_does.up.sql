set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0003 -> 0004

ALTER TABLE sync.heartbeats ADD COLUMN lane TEXT DEFAULT '' NOT NULL;

ALTER TABLE sync.heartbeats ADD COLUMN task TEXT;

COMMENT ON COLUMN sync.heartbeats.task IS 'the present one; null: waiting';

ALTER TABLE sync.heartbeats ADD COLUMN since TIMESTAMP WITH TIME ZONE;

COMMENT ON COLUMN sync.heartbeats.since IS 'when the present task began';

COMMENT ON TABLE sync.heartbeats IS 'Child processes of workers; each writes its own row.';

UPDATE sync.alembic_version SET version_num='0004' WHERE sync.alembic_version.version_num = '0003';

COMMIT;
