set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0003 -> 0004

CREATE TABLE stripe.checkout_session_line_items (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    checkout_session TEXT,
    price TEXT,
    product TEXT,
    description TEXT,
    quantity BIGINT,
    amount_subtotal BIGINT,
    amount_total BIGINT,
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
    CONSTRAINT pk_checkout_session_line_items PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.checkout_session_line_items.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.checkout_session_line_items.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.checkout_session_line_items.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.checkout_session_line_items.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.checkout_session_line_items.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.checkout_session_line_items.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.checkout_session_line_items.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.checkout_session_line_items.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.checkout_session_line_items.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_checkout_session_line_items_checkout_session ON stripe.checkout_session_line_items (checkout_session);

CREATE INDEX ix_checkout_session_line_items_product ON stripe.checkout_session_line_items (product);

CREATE INDEX ix_checkout_session_line_items_unsettled ON stripe.checkout_session_line_items (id) WHERE unsettled;

update stripe.checkout_sessions
        set unsettled = true
        where mode = 'payment' and payment_status = 'paid' and invoice is null and not deleted;

UPDATE sync.alembic_version SET version_num='0004' WHERE sync.alembic_version.version_num = '0003';

COMMIT;
