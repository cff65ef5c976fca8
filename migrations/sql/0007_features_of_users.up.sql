set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running upgrade 0006 -> 0007

CREATE TABLE mirror.product_features (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    product TEXT,
    entitlement_feature TEXT,
    entitlement_feature_lookup_key TEXT,
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
    CONSTRAINT pk_product_features PRIMARY KEY (id, account)
);

COMMENT ON COLUMN mirror.product_features.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.product_features.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.product_features.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.product_features.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.product_features.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.product_features.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.product_features.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.product_features.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.product_features.unsettled IS 'uncertain: to be read again';

CREATE INDEX ix_product_features_product ON mirror.product_features (product);

CREATE INDEX ix_product_features_unsettled ON mirror.product_features (id) WHERE unsettled;

delete from mirror.objects where object = 'product_feature';

create view stripe.product_features as select id, account, product, entitlement_feature, entitlement_feature_lookup_key, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at from mirror.product_features;

CREATE TABLE sync.product_change_users (
    user_id TEXT NOT NULL,
    CONSTRAINT pk_product_change_users PRIMARY KEY (user_id)
);

COMMENT ON TABLE sync.product_change_users IS 'Users who are computed next, because a product of theirs changed.';

COMMENT ON COLUMN sync.product_change_users.user_id IS 'no foreign key: locked before the user is';

CREATE TABLE sync.product_changes (
    product_id TEXT NOT NULL,
    features_read_at TIMESTAMP WITH TIME ZONE,
    noted_at TIMESTAMP WITH TIME ZONE,
    horizon BIGINT,
    CONSTRAINT pk_product_changes PRIMARY KEY (product_id)
);

COMMENT ON TABLE sync.product_changes IS 'Products that give something else than before, whose users are still to be computed.';

COMMENT ON COLUMN sync.product_changes.features_read_at IS 'first, by a pass; null: not yet';

COMMENT ON COLUMN sync.product_changes.noted_at IS 'its users are to be computed since then; null: none is';

COMMENT ON COLUMN sync.product_changes.horizon IS 'older transactions may have written without seeing the change';

CREATE INDEX ix_product_changes_noted ON sync.product_changes (noted_at) WHERE noted_at is not null;

CREATE TABLE sync.feature_overrides (
    user_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    note TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_feature_overrides PRIMARY KEY (user_id, feature),
    CONSTRAINT fk_feature_overrides_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.feature_overrides IS 'Features given by an operator, whatever Stripe says.';

COMMENT ON COLUMN sync.feature_overrides.until IS 'null: until it is lifted';

CREATE TABLE user_features (
    user_id TEXT NOT NULL,
    feature TEXT NOT NULL,
    source TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_user_features PRIMARY KEY (user_id, feature, source),
    CONSTRAINT fk_user_features_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON COLUMN user_features.feature IS 'the lookup key of Stripe''s feature';

COMMENT ON COLUMN user_features.source IS 'a subscription, an invoice or a Checkout session; or `override`';

COMMENT ON COLUMN user_features.until IS 'when it ends by itself; null: no end is known';

create or replace function public.has_feature(user_id text, feature text) returns boolean
language plpgsql stable as $$
begin
    return exists (
        select from public.user_features as f
        where f.user_id = has_feature.user_id and f.feature = has_feature.feature
            and (f.until is null or f.until > clock_timestamp())
            and exists (select from public.users as u where u.id = f.user_id and u.role::text <> 'BANNED')
    );
end
$$;

UPDATE sync.alembic_version SET version_num='0007' WHERE sync.alembic_version.version_num = '0006';

COMMIT;
