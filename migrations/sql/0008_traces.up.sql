set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0007 -> 0008

ALTER TABLE sync.events ADD COLUMN traceparent TEXT;

COMMENT ON COLUMN sync.events.traceparent IS 'the span that received it, as W3C Trace Context writes it';

UPDATE sync.alembic_version SET version_num='0008' WHERE sync.alembic_version.version_num = '0007';

COMMIT;
