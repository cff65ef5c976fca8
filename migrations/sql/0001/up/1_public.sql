-- The application's tables.

CREATE TYPE user_role AS ENUM ('USER', 'PREMIUM', 'ADMIN', 'BANNED');
CREATE TYPE membership_status AS ENUM ('ACTIVE', 'INACTIVE', 'CANCELED', 'PAST_DUE');

CREATE TABLE organizations (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_organizations PRIMARY KEY (id)
);

CREATE TABLE stripe_products (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    active BOOLEAN DEFAULT true NOT NULL,
    metadata JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stripe_products PRIMARY KEY (id)
);
CREATE INDEX ix_stripe_products_active ON stripe_products (name) WHERE active;

CREATE TABLE verification_tokens (
    identifier TEXT NOT NULL,
    token TEXT NOT NULL,
    expires TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_verification_tokens PRIMARY KEY (identifier, token)
);

CREATE TABLE stripe_prices (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    product_id TEXT NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    currency TEXT,
    type TEXT,
    unit_amount BIGINT,
    interval TEXT,
    interval_count INTEGER,
    trial_period_days INTEGER,
    metadata JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stripe_prices PRIMARY KEY (id),
    CONSTRAINT fk_stripe_prices_product_id FOREIGN KEY(product_id) REFERENCES stripe_products (id) ON DELETE CASCADE
);
COMMENT ON COLUMN stripe_prices.type IS 'recurring or one_time';
COMMENT ON COLUMN stripe_prices.unit_amount IS 'null if tiers or decimals determine the amount';
CREATE INDEX ix_stripe_prices_product_id_active ON stripe_prices (product_id, active);

CREATE TABLE users (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    email TEXT,
    name TEXT,
    email_verified TIMESTAMP WITH TIME ZONE,
    image TEXT,
    role user_role DEFAULT 'USER' NOT NULL,
    organization_id TEXT,
    stripe_product_id TEXT,
    membership_status membership_status DEFAULT 'ACTIVE' NOT NULL,
    tokens BIGINT DEFAULT 0 NOT NULL,
    tokens_expires_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_email UNIQUE (email),
    CONSTRAINT fk_users_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id) ON DELETE SET NULL,
    CONSTRAINT fk_users_stripe_product_id FOREIGN KEY(stripe_product_id) REFERENCES stripe_products (id) ON DELETE SET NULL
);
CREATE INDEX ix_users_email_folded ON users (lower(email));
CREATE INDEX ix_users_organization_id ON users (organization_id);
CREATE INDEX ix_users_role_membership_status ON users (role, membership_status);
CREATE INDEX ix_users_stripe_product_id ON users (stripe_product_id);
CREATE INDEX ix_users_tokens_expiring ON users (tokens_expires_at) WHERE tokens > 0;

CREATE TABLE accounts (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    user_id TEXT NOT NULL,
    type TEXT NOT NULL,
    provider TEXT NOT NULL,
    provider_account_id TEXT NOT NULL,
    refresh_token TEXT,
    access_token TEXT,
    expires_at INTEGER,
    token_type TEXT,
    scope TEXT,
    id_token TEXT,
    session_state TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT uq_accounts_provider_provider_account_id UNIQUE (provider, provider_account_id),
    CONSTRAINT fk_accounts_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON COLUMN accounts.expires_at IS 'unix seconds, as Auth.js expects';
CREATE INDEX ix_accounts_user_id ON accounts (user_id);

CREATE TABLE payment_history (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    user_id TEXT NOT NULL,
    stripe_payment_intent_id TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    status TEXT NOT NULL,
    stripe_product_id TEXT,
    description TEXT,
    metadata JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_payment_history PRIMARY KEY (id),
    CONSTRAINT fk_payment_history_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_payment_history_stripe_payment_intent_id UNIQUE (stripe_payment_intent_id),
    CONSTRAINT fk_payment_history_stripe_product_id FOREIGN KEY(stripe_product_id) REFERENCES stripe_products (id) ON DELETE SET NULL
);
CREATE INDEX ix_payment_history_stripe_product_id ON payment_history (stripe_product_id);
CREATE INDEX ix_payment_history_user_id_created_at ON payment_history (user_id, created_at);

CREATE TABLE sessions (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    session_token TEXT NOT NULL,
    user_id TEXT NOT NULL,
    expires TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT uq_sessions_session_token UNIQUE (session_token),
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);

CREATE TABLE stripe_customers (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    user_id TEXT NOT NULL,
    stripe_customer_id TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stripe_customers PRIMARY KEY (id),
    CONSTRAINT uq_stripe_customers_user_id UNIQUE (user_id),
    CONSTRAINT fk_stripe_customers_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_stripe_customers_stripe_customer_id UNIQUE (stripe_customer_id)
);

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

CREATE TABLE user_subscriptions (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    user_id TEXT NOT NULL,
    stripe_customer_id TEXT NOT NULL,
    stripe_subscription_id TEXT NOT NULL,
    stripe_price_id TEXT,
    stripe_product_id TEXT,
    status TEXT NOT NULL,
    current_period_start TIMESTAMP WITH TIME ZONE,
    current_period_end TIMESTAMP WITH TIME ZONE,
    cancel_at_period_end BOOLEAN DEFAULT false NOT NULL,
    canceled_at TIMESTAMP WITH TIME ZONE,
    trial_start TIMESTAMP WITH TIME ZONE,
    trial_end TIMESTAMP WITH TIME ZONE,
    metadata JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_user_subscriptions PRIMARY KEY (id),
    CONSTRAINT fk_user_subscriptions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_user_subscriptions_stripe_subscription_id UNIQUE (stripe_subscription_id),
    CONSTRAINT fk_user_subscriptions_stripe_price_id FOREIGN KEY(stripe_price_id) REFERENCES stripe_prices (id) ON DELETE SET NULL,
    CONSTRAINT fk_user_subscriptions_stripe_product_id FOREIGN KEY(stripe_product_id) REFERENCES stripe_products (id) ON DELETE SET NULL
);
CREATE INDEX ix_user_subscriptions_status_current_period_end ON user_subscriptions (status, current_period_end);
CREATE INDEX ix_user_subscriptions_stripe_customer_id ON user_subscriptions (stripe_customer_id);
CREATE INDEX ix_user_subscriptions_stripe_price_id ON user_subscriptions (stripe_price_id);
CREATE INDEX ix_user_subscriptions_stripe_product_id_status ON user_subscriptions (stripe_product_id, status);
CREATE INDEX ix_user_subscriptions_user_id_status ON user_subscriptions (user_id, status);
