set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0011 -> 0010

DROP INDEX sync.ix_events_signed_by;

ALTER TABLE sync.events DROP COLUMN signed_by;

DROP TABLE sync.webhook_secrets;

DROP INDEX sync.ix_accounts_turn;

DROP TABLE sync.accounts;

UPDATE sync.alembic_version SET version_num='0010' WHERE sync.alembic_version.version_num = '0011';

COMMIT;
