set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0003 -> 0002

drop view stripe.checkout_sessions;

DROP INDEX mirror.ix_checkout_sessions_metadata_product;

DROP INDEX mirror.ix_checkout_sessions_client_reference_id;

ALTER TABLE mirror.checkout_sessions DROP COLUMN metadata_product;

create view stripe.checkout_sessions as select
    id, account, customer, customer_details_email, client_reference_id, mode, status, payment_status,
    subscription, invoice, payment_intent, setup_intent, payment_link, amount_total, currency,
    metadata_user_id, expires_at, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
 from mirror.checkout_sessions;

UPDATE sync.alembic_version SET version_num='0002' WHERE sync.alembic_version.version_num = '0003';

COMMIT;
