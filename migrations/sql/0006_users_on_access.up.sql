set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0005 -> 0006

CREATE TABLE sync.user_syncs (
    user_id TEXT NOT NULL,
    synced_at TIMESTAMP WITH TIME ZONE,
    leased_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_user_syncs PRIMARY KEY (user_id),
    CONSTRAINT fk_user_syncs_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.user_syncs IS 'Users for whom Stripe was asked on access: how fresh they are, and who asks: one at a time.';

COMMENT ON COLUMN sync.user_syncs.synced_at IS 'Stripe was asked for all subscriptions just after this';

COMMENT ON COLUMN sync.user_syncs.leased_until IS 'somebody asks Stripe now, and until then at most';

UPDATE sync.alembic_version SET version_num='0006' WHERE sync.alembic_version.version_num = '0005';

COMMIT;
