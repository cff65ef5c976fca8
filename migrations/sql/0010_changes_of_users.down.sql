set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0010 -> 0009

drop trigger publish on sync.change_drafts;

drop trigger tokens_spent on public.users;

drop function sync.notice_low_tokens;

drop function sync.publish_change;

DROP INDEX sync.ix_change_deliveries_parked;

DROP INDEX sync.ix_change_deliveries_next;

DROP INDEX sync.ix_change_deliveries_due;

DROP TABLE sync.change_deliveries;

DROP INDEX sync.ix_changes_user_id_id;

DROP INDEX sync.ix_changes_created_at;

DROP TABLE sync.changes;

DROP TABLE sync.change_drafts;

UPDATE sync.alembic_version SET version_num='0009' WHERE sync.alembic_version.version_num = '0010';

COMMIT;
