set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0006 -> 0005

COMMENT ON TABLE sync.shards IS 'Parts of a run that several workers share.';

COMMENT ON COLUMN sync.shards.tally IS NULL;

ALTER TABLE sync.shards DROP COLUMN error;

ALTER TABLE sync.shards DROP COLUMN retry_at;

ALTER TABLE sync.shards DROP COLUMN failures;

ALTER TABLE sync.shards DROP COLUMN leased_by;

ALTER TABLE sync.shards DROP COLUMN besides;

ALTER TABLE sync.shards DROP COLUMN list;

DROP INDEX sync.ix_recompute_queue_due;

DROP INDEX sync.ix_recompute_queue_deferred;

ALTER TABLE sync.recompute_queue DROP COLUMN deferred;

DROP TABLE sync.absences;

UPDATE sync.alembic_version SET version_num='0005' WHERE sync.alembic_version.version_num = '0006';

COMMIT;
