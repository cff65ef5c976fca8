set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0007 -> 0008

CREATE TABLE sync.second_looks (
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    horizon BIGINT,
    CONSTRAINT pk_second_looks PRIMARY KEY (object, id)
);

COMMENT ON TABLE sync.second_looks IS 'Who was computed, and what was written, while something that it names had not come: looked at once more.';

COMMENT ON COLUMN sync.second_looks.object IS '`user`, or Stripe''s type of what names no customer itself';

COMMENT ON COLUMN sync.second_looks.horizon IS 'transactions that may write it without having seen us are older than this';

UPDATE sync.alembic_version SET version_num='0008' WHERE sync.alembic_version.version_num = '0007';

COMMIT;
