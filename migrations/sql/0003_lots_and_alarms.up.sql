set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0002 -> 0003

ALTER TABLE sync.token_grants ADD COLUMN lots JSONB;

COMMENT ON COLUMN sync.token_grants.lots IS 'what the balance consists of after this change, by grant';

CREATE TABLE sync.alarms (
    user_id TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_alarms PRIMARY KEY (user_id),
    CONSTRAINT fk_alarms_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.alarms IS 'Users whom time alone changes, and when: tokens are renewed, a grace or an override ends.';

CREATE INDEX ix_alarms_due_at ON sync.alarms (due_at);

UPDATE sync.alembic_version SET version_num='0003' WHERE sync.alembic_version.version_num = '0002';

COMMIT;
