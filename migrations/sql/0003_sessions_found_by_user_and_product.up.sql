set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0002 -> 0003

ALTER TABLE mirror.checkout_sessions ADD COLUMN metadata_product TEXT;

create or replace view stripe.checkout_sessions as select
    id, account, customer, customer_details_email, client_reference_id, mode, status, payment_status,
    subscription, invoice, payment_intent, setup_intent, payment_link, amount_total, currency,
    metadata_user_id, expires_at, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
, metadata_product from mirror.checkout_sessions;

CREATE INDEX ix_checkout_sessions_client_reference_id ON mirror.checkout_sessions (client_reference_id) WHERE client_reference_id is not null;

CREATE INDEX ix_checkout_sessions_metadata_product ON mirror.checkout_sessions (metadata_product) WHERE metadata_product is not null;

UPDATE sync.alembic_version SET version_num='0003' WHERE sync.alembic_version.version_num = '0002';

COMMIT;
