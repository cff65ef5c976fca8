set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0001 -> 0002

CREATE TABLE mirror.credit_notes (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    invoice TEXT,
    status TEXT,
    type TEXT,
    amount BIGINT,
    total BIGINT,
    returned BIGINT,
    currency TEXT,
    created TIMESTAMP WITH TIME ZONE,
    deleted BOOLEAN DEFAULT false NOT NULL,
    data JSONB NOT NULL,
    observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    observed_rank BIGINT NOT NULL,
    observed_in TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    shape TEXT NOT NULL,
    rev BIGINT DEFAULT 1 NOT NULL,
    unsettled BOOLEAN DEFAULT false NOT NULL,
    synced_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_credit_notes PRIMARY KEY (id, account)
);

COMMENT ON COLUMN mirror.credit_notes.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.credit_notes.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.credit_notes.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.credit_notes.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.credit_notes.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.credit_notes.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.credit_notes.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.credit_notes.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.credit_notes.unsettled IS 'uncertain: to be read again';

CREATE INDEX ix_credit_notes_created ON mirror.credit_notes (account, created);

CREATE INDEX ix_credit_notes_customer ON mirror.credit_notes (customer);

CREATE INDEX ix_credit_notes_invoice ON mirror.credit_notes (invoice);

CREATE INDEX ix_credit_notes_unsettled ON mirror.credit_notes (id) WHERE unsettled;

ALTER TABLE sync.token_grants ADD COLUMN owner TEXT;

COMMENT ON COLUMN sync.token_grants.owner IS 'the allowance: a subscription item, or a subscription and price; empty for packs';

ALTER TABLE sync.token_grants ADD COLUMN identity TEXT;

COMMENT ON COLUMN sync.token_grants.identity IS 'of the paid line: the same under another id';

ALTER TABLE sync.token_grants ADD COLUMN money BIGINT DEFAULT 0 NOT NULL;

COMMENT ON COLUMN sync.token_grants.money IS 'of the bill that this row takes back for';

create view stripe.credit_notes as
        select id, account, customer, invoice, status, type, amount, total, returned, currency, created, deleted, data,
            observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
        from mirror.credit_notes;

UPDATE sync.alembic_version SET version_num='0002' WHERE sync.alembic_version.version_num = '0001';

COMMIT;
