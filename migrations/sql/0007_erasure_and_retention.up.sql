set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0006 -> 0007

CREATE TABLE sync.erased (
    id TEXT NOT NULL,
    object TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    user_id TEXT,
    erased_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    swept_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_erased PRIMARY KEY (id, object, account)
);

COMMENT ON TABLE sync.erased IS 'Who and what was erased (privacy): every writer blanks what is, or belongs to, one of these.';

COMMENT ON COLUMN sync.erased.object IS 'Stripe''s type, or `user`';

COMMENT ON COLUMN sync.erased.user_id IS 'whose erasure a person asked for; null: found to belong to them. No foreign key';

COMMENT ON COLUMN sync.erased.swept_at IS 'since when nothing personal of it is held; null: to be swept';

CREATE INDEX ix_erased_unswept ON sync.erased (erased_at) WHERE swept_at is null;

UPDATE sync.alembic_version SET version_num='0007' WHERE sync.alembic_version.version_num = '0006';

COMMIT;
