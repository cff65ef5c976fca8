set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0010 -> 0011

CREATE TABLE sync.accounts (
    id TEXT NOT NULL,
    status TEXT DEFAULT 'connected' NOT NULL,
    last_event_at TIMESTAMP WITH TIME ZONE,
    last_pass_at TIMESTAMP WITH TIME ZONE,
    events_until BIGINT,
    rounds INTEGER DEFAULT 0 NOT NULL,
    error TEXT,
    leased_until TIMESTAMP WITH TIME ZONE,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT ck_accounts_status_is_known CHECK (status in ('connected', 'deauthorized'))
);

COMMENT ON TABLE sync.accounts IS 'Connected accounts (CONNECT=on) and how far each has been read.';

COMMENT ON COLUMN sync.accounts.last_event_at IS 'Stripe''s time of its newest event';

COMMENT ON COLUMN sync.accounts.last_pass_at IS 'when it was last read from Stripe';

COMMENT ON COLUMN sync.accounts.events_until IS 'its list of events was read up to this second; null: never';

COMMENT ON COLUMN sync.accounts.rounds IS 'how often all lists were read';

COMMENT ON COLUMN sync.accounts.error IS 'of the last pass';

COMMENT ON COLUMN sync.accounts.leased_until IS 'one worker reads it until then at most';

CREATE INDEX ix_accounts_turn ON sync.accounts (last_pass_at) WHERE status = 'connected';

CREATE TABLE sync.webhook_secrets (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    verdict TEXT,
    reason TEXT,
    judged_at TIMESTAMP WITH TIME ZONE,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhook_secrets PRIMARY KEY (id),
    CONSTRAINT ck_webhook_secrets_verdict_is_known CHECK (verdict in ('ours', 'assumed', 'foreign'))
);

COMMENT ON TABLE sync.webhook_secrets IS 'The webhook secrets of the web processes, and whether each is of our own Stripe account.';

COMMENT ON COLUMN sync.webhook_secrets.id IS 'a fingerprint; the secret itself is in no table';

COMMENT ON COLUMN sync.webhook_secrets.account IS 'that the settings bind it to; empty for none';

COMMENT ON COLUMN sync.webhook_secrets.verdict IS 'whose it is; null: not known yet, and its events are held';

COMMENT ON COLUMN sync.webhook_secrets.seen_at IS 'in a web''s settings';

ALTER TABLE sync.events ADD COLUMN signed_by TEXT;

COMMENT ON COLUMN sync.events.signed_by IS 'the secret of a delivery, by fingerprint, while it is not proven to be ours';

CREATE INDEX ix_events_signed_by ON sync.events (signed_by, received_at) WHERE signed_by is not null;

UPDATE sync.alembic_version SET version_num='0011' WHERE sync.alembic_version.version_num = '0010';

COMMIT;
