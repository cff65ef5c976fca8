set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0004 -> 0005

CREATE TABLE sync.audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id)
);

COMMENT ON TABLE sync.audit_log IS 'Actions of people in the console.';

CREATE TABLE sync.minutes (
    minute TIMESTAMP WITH TIME ZONE NOT NULL,
    received BIGINT NOT NULL,
    applied BIGINT NOT NULL,
    CONSTRAINT pk_minutes PRIMARY KEY (minute)
);

COMMENT ON TABLE sync.minutes IS 'Totals of events received and applied at each minute of the last days, for charts.';

COMMENT ON COLUMN sync.minutes.received IS 'since the first event';

COMMENT ON COLUMN sync.minutes.applied IS 'since the first event';

CREATE INDEX ix_events_created ON sync.events (created, id);

UPDATE sync.alembic_version SET version_num='0005' WHERE sync.alembic_version.version_num = '0004';

COMMIT;
