set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0002 -> 0001

drop view stripe.credit_notes;

ALTER TABLE sync.token_grants DROP COLUMN money;

ALTER TABLE sync.token_grants DROP COLUMN identity;

ALTER TABLE sync.token_grants DROP COLUMN owner;

DROP INDEX mirror.ix_credit_notes_unsettled;

DROP INDEX mirror.ix_credit_notes_invoice;

DROP INDEX mirror.ix_credit_notes_customer;

DROP INDEX mirror.ix_credit_notes_created;

DROP TABLE mirror.credit_notes;

UPDATE sync.alembic_version SET version_num='0001' WHERE sync.alembic_version.version_num = '0002';

COMMIT;
