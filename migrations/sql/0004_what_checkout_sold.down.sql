set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0004 -> 0003

DROP TABLE stripe.checkout_session_line_items;

UPDATE sync.alembic_version SET version_num='0003' WHERE sync.alembic_version.version_num = '0004';

COMMIT;
