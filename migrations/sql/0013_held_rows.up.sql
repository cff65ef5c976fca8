set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0012 -> 0013

CREATE TABLE sync.held_rows (
    relation TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT,
    reason TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_held_rows PRIMARY KEY (relation, id),
    CONSTRAINT fk_held_rows_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.held_rows IS 'Rows that a table of the application refuses. They are written as soon as it takes them.';

COMMENT ON COLUMN sync.held_rows.relation IS 'our name of the table';

COMMENT ON COLUMN sync.held_rows.id IS 'Stripe''s id of the row';

COMMENT ON COLUMN sync.held_rows.user_id IS 'null: a product or a price';

COMMENT ON COLUMN sync.held_rows.reason IS 'what the table says of the row';

CREATE INDEX ix_held_rows_user_id ON sync.held_rows (user_id);

UPDATE sync.alembic_version SET version_num='0013' WHERE sync.alembic_version.version_num = '0012';

COMMIT;
