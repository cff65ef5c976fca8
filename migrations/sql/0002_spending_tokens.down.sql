set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0002 -> 0001

drop function public.consume_tokens(text, int);

drop function public.token_balance(text);

UPDATE sync.alembic_version SET version_num='0001' WHERE sync.alembic_version.version_num = '0002';

COMMIT;
