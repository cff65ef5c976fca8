set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0005 -> 0006

CREATE TABLE sync.absences (
    run_id BIGINT NOT NULL,
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    list TEXT NOT NULL,
    rev BIGINT NOT NULL,
    read_at BIGINT,
    attempts INTEGER DEFAULT 0 NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_absences PRIMARY KEY (run_id, object, id, account),
    CONSTRAINT fk_absences_run_id FOREIGN KEY(run_id) REFERENCES sync.runs (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.absences IS 'Mirrored objects that a list should have shown and did not; marked deleted when the list is complete.';

COMMENT ON COLUMN sync.absences.rev IS 'of the mirrored row, when the list did not show it';

COMMENT ON COLUMN sync.absences.read_at IS 'when Stripe answered that it has no such object; null: not asked yet';

ALTER TABLE sync.recompute_queue ADD COLUMN deferred BOOLEAN DEFAULT false NOT NULL;

COMMENT ON COLUMN sync.recompute_queue.deferred IS 'until the backfill has ended';

CREATE INDEX ix_recompute_queue_deferred ON sync.recompute_queue (stripe_customer_id) WHERE deferred;

CREATE INDEX ix_recompute_queue_due ON sync.recompute_queue (requested_at) WHERE not deferred;

ALTER TABLE sync.shards ADD COLUMN list TEXT DEFAULT '' NOT NULL;

COMMENT ON COLUMN sync.shards.list IS 'the name of one of Stripe''s lists';

ALTER TABLE sync.shards ADD COLUMN besides JSONB DEFAULT '{}' NOT NULL;

COMMENT ON COLUMN sync.shards.besides IS 'of reads beside the pages';

ALTER TABLE sync.shards ADD COLUMN leased_by TEXT;

ALTER TABLE sync.shards ADD COLUMN failures INTEGER DEFAULT 0 NOT NULL;

COMMENT ON COLUMN sync.shards.failures IS 'in a row';

ALTER TABLE sync.shards ADD COLUMN retry_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE sync.shards ADD COLUMN error TEXT;

COMMENT ON COLUMN sync.shards.error IS 'why the list was given up in this run';

COMMENT ON COLUMN sync.shards.tally IS 'of the pages, by their reader';

COMMENT ON TABLE sync.shards IS 'Parts of a run over Stripe''s lists, by ranges of `created`, shared by threads and workers.';

UPDATE sync.alembic_version SET version_num='0006' WHERE sync.alembic_version.version_num = '0005';

COMMIT;
