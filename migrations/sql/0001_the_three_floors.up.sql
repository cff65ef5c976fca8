set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

CREATE TABLE sync.alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

create schema stripe;

create type user_role as enum ('USER', 'PREMIUM', 'ADMIN', 'BANNED');

create type membership_status as enum ('ACTIVE', 'INACTIVE', 'CANCELED', 'PAST_DUE');

CREATE TABLE organizations (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_organizations PRIMARY KEY (id)
);

CREATE TABLE stripe.charges (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    payment_intent TEXT,
    status TEXT,
    paid BOOLEAN,
    captured BOOLEAN,
    refunded BOOLEAN,
    amount BIGINT,
    amount_refunded BIGINT,
    currency TEXT,
    disputed BOOLEAN,
    failure_code TEXT,
    payment_method TEXT,
    balance_transaction TEXT,
    invoice TEXT,
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
    CONSTRAINT pk_charges PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.charges.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.charges.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.charges.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.charges.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.charges.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.charges.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.charges.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.charges.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.charges.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_charges_customer ON stripe.charges (customer);

CREATE INDEX ix_charges_payment_intent ON stripe.charges (payment_intent);

CREATE INDEX ix_charges_unsettled ON stripe.charges (id) WHERE unsettled;

CREATE TABLE stripe.checkout_sessions (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    customer_details_email TEXT,
    client_reference_id TEXT,
    mode TEXT,
    status TEXT,
    payment_status TEXT,
    subscription TEXT,
    invoice TEXT,
    payment_intent TEXT,
    setup_intent TEXT,
    payment_link TEXT,
    amount_total BIGINT,
    currency TEXT,
    metadata_user_id TEXT,
    expires_at TIMESTAMP WITH TIME ZONE,
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
    CONSTRAINT pk_checkout_sessions PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.checkout_sessions.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.checkout_sessions.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.checkout_sessions.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.checkout_sessions.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.checkout_sessions.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.checkout_sessions.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.checkout_sessions.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.checkout_sessions.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.checkout_sessions.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_checkout_sessions_customer ON stripe.checkout_sessions (customer);

CREATE INDEX ix_checkout_sessions_payment_intent ON stripe.checkout_sessions (payment_intent);

CREATE INDEX ix_checkout_sessions_unsettled ON stripe.checkout_sessions (id) WHERE unsettled;

CREATE TABLE stripe.coupons (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    name TEXT,
    percent_off NUMERIC,
    amount_off BIGINT,
    currency TEXT,
    duration TEXT,
    duration_in_months BIGINT,
    valid BOOLEAN,
    redeem_by TIMESTAMP WITH TIME ZONE,
    times_redeemed BIGINT,
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
    CONSTRAINT pk_coupons PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.coupons.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.coupons.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.coupons.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.coupons.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.coupons.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.coupons.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.coupons.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.coupons.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.coupons.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_coupons_unsettled ON stripe.coupons (id) WHERE unsettled;

CREATE TABLE stripe.customers (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    email TEXT,
    name TEXT,
    metadata_user_id TEXT,
    currency TEXT,
    balance BIGINT,
    delinquent BOOLEAN,
    invoice_settings_default_payment_method TEXT,
    test_clock TEXT,
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
    CONSTRAINT pk_customers PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.customers.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.customers.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.customers.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.customers.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.customers.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.customers.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.customers.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.customers.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.customers.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_customers_email ON stripe.customers (email);

CREATE INDEX ix_customers_metadata_user_id ON stripe.customers (metadata_user_id);

CREATE INDEX ix_customers_unsettled ON stripe.customers (id) WHERE unsettled;

CREATE TABLE stripe.disputes (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    charge TEXT,
    payment_intent TEXT,
    status TEXT,
    reason TEXT,
    amount BIGINT,
    currency TEXT,
    evidence_details_due_by TIMESTAMP WITH TIME ZONE,
    is_charge_refundable BOOLEAN,
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
    CONSTRAINT pk_disputes PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.disputes.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.disputes.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.disputes.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.disputes.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.disputes.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.disputes.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.disputes.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.disputes.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.disputes.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_disputes_charge ON stripe.disputes (charge);

CREATE INDEX ix_disputes_payment_intent ON stripe.disputes (payment_intent);

CREATE INDEX ix_disputes_unsettled ON stripe.disputes (id) WHERE unsettled;

CREATE TABLE stripe.invoice_line_items (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    invoice TEXT,
    amount BIGINT,
    currency TEXT,
    price TEXT,
    product TEXT,
    subscription TEXT,
    subscription_item TEXT,
    proration BOOLEAN,
    quantity BIGINT,
    period_start TIMESTAMP WITH TIME ZONE,
    period_end TIMESTAMP WITH TIME ZONE,
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
    CONSTRAINT pk_invoice_line_items PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.invoice_line_items.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.invoice_line_items.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.invoice_line_items.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.invoice_line_items.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.invoice_line_items.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.invoice_line_items.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.invoice_line_items.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.invoice_line_items.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.invoice_line_items.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_invoice_line_items_invoice ON stripe.invoice_line_items (invoice);

CREATE INDEX ix_invoice_line_items_product ON stripe.invoice_line_items (product);

CREATE INDEX ix_invoice_line_items_subscription ON stripe.invoice_line_items (subscription);

CREATE INDEX ix_invoice_line_items_unsettled ON stripe.invoice_line_items (id) WHERE unsettled;

CREATE TABLE stripe.invoice_payments (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    invoice TEXT,
    payment_type TEXT,
    payment_payment_intent TEXT,
    payment_charge TEXT,
    status TEXT,
    amount_requested BIGINT,
    amount_paid BIGINT,
    is_default BOOLEAN,
    status_transitions_paid_at TIMESTAMP WITH TIME ZONE,
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
    CONSTRAINT pk_invoice_payments PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.invoice_payments.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.invoice_payments.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.invoice_payments.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.invoice_payments.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.invoice_payments.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.invoice_payments.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.invoice_payments.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.invoice_payments.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.invoice_payments.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_invoice_payments_invoice ON stripe.invoice_payments (invoice);

CREATE INDEX ix_invoice_payments_payment_payment_intent ON stripe.invoice_payments (payment_payment_intent);

CREATE INDEX ix_invoice_payments_unsettled ON stripe.invoice_payments (id) WHERE unsettled;

CREATE TABLE stripe.invoices (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    subscription TEXT,
    status TEXT,
    billing_reason TEXT,
    collection_method TEXT,
    amount_due BIGINT,
    amount_paid BIGINT,
    amount_remaining BIGINT,
    total BIGINT,
    currency TEXT,
    number TEXT,
    attempt_count BIGINT,
    next_payment_attempt TIMESTAMP WITH TIME ZONE,
    period_start TIMESTAMP WITH TIME ZONE,
    period_end TIMESTAMP WITH TIME ZONE,
    due_date TIMESTAMP WITH TIME ZONE,
    status_transitions_finalized_at TIMESTAMP WITH TIME ZONE,
    status_transitions_paid_at TIMESTAMP WITH TIME ZONE,
    status_transitions_voided_at TIMESTAMP WITH TIME ZONE,
    status_transitions_marked_uncollectible_at TIMESTAMP WITH TIME ZONE,
    payment_intent TEXT,
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
    CONSTRAINT pk_invoices PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.invoices.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.invoices.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.invoices.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.invoices.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.invoices.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.invoices.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.invoices.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.invoices.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.invoices.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_invoices_customer ON stripe.invoices (customer);

CREATE INDEX ix_invoices_payment_intent ON stripe.invoices (payment_intent);

CREATE INDEX ix_invoices_subscription ON stripe.invoices (subscription);

CREATE INDEX ix_invoices_unsettled ON stripe.invoices (id) WHERE unsettled;

CREATE TABLE stripe.other_objects (
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
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
    CONSTRAINT pk_other_objects PRIMARY KEY (object, id, account)
);

COMMENT ON COLUMN stripe.other_objects.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.other_objects.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.other_objects.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.other_objects.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.other_objects.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.other_objects.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.other_objects.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.other_objects.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.other_objects.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_other_objects_unsettled ON stripe.other_objects (id) WHERE unsettled;

CREATE TABLE stripe.payment_intents (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    status TEXT,
    amount BIGINT,
    amount_received BIGINT,
    currency TEXT,
    latest_charge TEXT,
    payment_method TEXT,
    invoice TEXT,
    canceled_at TIMESTAMP WITH TIME ZONE,
    cancellation_reason TEXT,
    capture_method TEXT,
    description TEXT,
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
    CONSTRAINT pk_payment_intents PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.payment_intents.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.payment_intents.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.payment_intents.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.payment_intents.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.payment_intents.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.payment_intents.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.payment_intents.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.payment_intents.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.payment_intents.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_payment_intents_customer ON stripe.payment_intents (customer);

CREATE INDEX ix_payment_intents_unsettled ON stripe.payment_intents (id) WHERE unsettled;

CREATE TABLE stripe.payment_methods (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    type TEXT,
    card_brand TEXT,
    card_last4 TEXT,
    card_exp_month BIGINT,
    card_exp_year BIGINT,
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
    CONSTRAINT pk_payment_methods PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.payment_methods.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.payment_methods.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.payment_methods.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.payment_methods.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.payment_methods.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.payment_methods.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.payment_methods.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.payment_methods.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.payment_methods.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_payment_methods_customer ON stripe.payment_methods (customer);

CREATE INDEX ix_payment_methods_unsettled ON stripe.payment_methods (id) WHERE unsettled;

CREATE TABLE stripe.plans (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    product TEXT,
    active BOOLEAN,
    amount BIGINT,
    currency TEXT,
    interval TEXT,
    interval_count BIGINT,
    usage_type TEXT,
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
    CONSTRAINT pk_plans PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.plans.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.plans.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.plans.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.plans.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.plans.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.plans.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.plans.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.plans.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.plans.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_plans_unsettled ON stripe.plans (id) WHERE unsettled;

CREATE TABLE stripe.prices (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    product TEXT,
    active BOOLEAN,
    type TEXT,
    currency TEXT,
    unit_amount BIGINT,
    unit_amount_decimal NUMERIC,
    billing_scheme TEXT,
    recurring_interval TEXT,
    recurring_interval_count BIGINT,
    recurring_trial_period_days BIGINT,
    recurring_usage_type TEXT,
    lookup_key TEXT,
    nickname TEXT,
    metadata JSONB,
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
    CONSTRAINT pk_prices PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.prices.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.prices.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.prices.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.prices.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.prices.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.prices.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.prices.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.prices.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.prices.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_prices_product ON stripe.prices (product);

CREATE INDEX ix_prices_unsettled ON stripe.prices (id) WHERE unsettled;

CREATE TABLE stripe.products (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    name TEXT,
    active BOOLEAN,
    description TEXT,
    default_price TEXT,
    metadata JSONB,
    unit_label TEXT,
    tax_code TEXT,
    updated TIMESTAMP WITH TIME ZONE,
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
    CONSTRAINT pk_products PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.products.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.products.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.products.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.products.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.products.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.products.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.products.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.products.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.products.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_products_unsettled ON stripe.products (id) WHERE unsettled;

CREATE TABLE stripe.refunds (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    charge TEXT,
    payment_intent TEXT,
    status TEXT,
    amount BIGINT,
    currency TEXT,
    reason TEXT,
    failure_reason TEXT,
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
    CONSTRAINT pk_refunds PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.refunds.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.refunds.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.refunds.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.refunds.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.refunds.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.refunds.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.refunds.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.refunds.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.refunds.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_refunds_charge ON stripe.refunds (charge);

CREATE INDEX ix_refunds_payment_intent ON stripe.refunds (payment_intent);

CREATE INDEX ix_refunds_unsettled ON stripe.refunds (id) WHERE unsettled;

CREATE TABLE stripe.subscription_items (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    subscription TEXT,
    price TEXT,
    product TEXT,
    quantity BIGINT,
    current_period_start TIMESTAMP WITH TIME ZONE,
    current_period_end TIMESTAMP WITH TIME ZONE,
    billed_until TIMESTAMP WITH TIME ZONE,
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
    CONSTRAINT pk_subscription_items PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.subscription_items.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.subscription_items.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.subscription_items.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.subscription_items.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.subscription_items.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.subscription_items.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.subscription_items.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.subscription_items.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.subscription_items.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_subscription_items_price ON stripe.subscription_items (price);

CREATE INDEX ix_subscription_items_product ON stripe.subscription_items (product);

CREATE INDEX ix_subscription_items_subscription ON stripe.subscription_items (subscription);

CREATE INDEX ix_subscription_items_unsettled ON stripe.subscription_items (id) WHERE unsettled;

CREATE TABLE stripe.subscriptions (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    customer_account TEXT,
    status TEXT,
    cancel_at TIMESTAMP WITH TIME ZONE,
    cancel_at_period_end BOOLEAN,
    canceled_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    start_date TIMESTAMP WITH TIME ZONE,
    trial_start TIMESTAMP WITH TIME ZONE,
    trial_end TIMESTAMP WITH TIME ZONE,
    current_period_start TIMESTAMP WITH TIME ZONE,
    current_period_end TIMESTAMP WITH TIME ZONE,
    collection_method TEXT,
    pause_collection_behavior TEXT,
    pause_collection_resumes_at TIMESTAMP WITH TIME ZONE,
    status_details_paused_subscription_type TEXT,
    billing_mode_type TEXT,
    latest_invoice TEXT,
    default_payment_method TEXT,
    schedule TEXT,
    currency TEXT,
    metadata_user_id TEXT,
    metadata_organization_id TEXT,
    test_clock TEXT,
    metadata JSONB,
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
    CONSTRAINT pk_subscriptions PRIMARY KEY (id, account)
);

COMMENT ON COLUMN stripe.subscriptions.account IS 'connected account, empty for our own';

COMMENT ON COLUMN stripe.subscriptions.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN stripe.subscriptions.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN stripe.subscriptions.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN stripe.subscriptions.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN stripe.subscriptions.observed_in IS 'the event, or the read, that the content came from';

COMMENT ON COLUMN stripe.subscriptions.shape IS 'API major of the content; empty for a bare deletion';

COMMENT ON COLUMN stripe.subscriptions.rev IS 'moves with every event taken';

COMMENT ON COLUMN stripe.subscriptions.unsettled IS 'may be wrong: to be asked';

CREATE INDEX ix_subscriptions_customer ON stripe.subscriptions (customer);

CREATE INDEX ix_subscriptions_metadata_user_id ON stripe.subscriptions (metadata_user_id);

CREATE INDEX ix_subscriptions_status_created ON stripe.subscriptions (status, created);

CREATE INDEX ix_subscriptions_unsettled ON stripe.subscriptions (id) WHERE unsettled;

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

CREATE TABLE sync.cursors (
    name TEXT NOT NULL,
    value JSONB NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_cursors PRIMARY KEY (name)
);

COMMENT ON TABLE sync.cursors IS 'How far a job that reads Stripe page by page has come.';

CREATE TABLE sync.events (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    type TEXT NOT NULL,
    object_type TEXT,
    object_id TEXT,
    livemode BOOLEAN NOT NULL,
    created TIMESTAMP WITH TIME ZONE NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    body TEXT NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    outcome TEXT,
    attempts INTEGER DEFAULT 0 NOT NULL,
    next_attempt_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_error TEXT,
    done_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT ck_events_status_is_known CHECK (status in ('pending', 'done', 'parked'))
);

COMMENT ON TABLE sync.events IS 'The inbox: what Stripe told us, verbatim. Due is what is pending and whose next_attempt_at has passed.';

COMMENT ON COLUMN sync.events.account IS 'connected account, empty for our own';

COMMENT ON COLUMN sync.events.object_type IS 'data.object.object, or the related object''s type of a thin event';

COMMENT ON COLUMN sync.events.created IS 'Stripe''s clock';

COMMENT ON COLUMN sync.events.body IS 'as received, U+0000 left out';

CREATE INDEX ix_events_due ON sync.events (next_attempt_at) WHERE status = 'pending';

CREATE INDEX ix_events_object ON sync.events (object_id, created);

CREATE INDEX ix_events_parked ON sync.events (created) WHERE status = 'parked';

CREATE TABLE sync.heartbeats (
    name TEXT NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_heartbeats PRIMARY KEY (name)
);

COMMENT ON TABLE sync.heartbeats IS 'Worker processes, each written by itself while it does work.';

CREATE TABLE sync.recompute (
    stripe_customer_id TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_recompute PRIMARY KEY (stripe_customer_id)
);

COMMENT ON TABLE sync.recompute IS 'Customers whose users are to be computed again, because something they refer to came late.';

CREATE TABLE sync.runs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    job TEXT NOT NULL,
    slot TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    result JSONB,
    error TEXT,
    CONSTRAINT pk_runs PRIMARY KEY (id),
    CONSTRAINT ck_runs_outcome_is_known CHECK (outcome in ('done', 'failed', 'lost'))
);

COMMENT ON TABLE sync.runs IS 'Periodic work: what ran when, how long and with what result. A slot is claimed by inserting it.';

COMMENT ON COLUMN sync.runs.slot IS 'the tick of the clock that this run is for';

COMMENT ON COLUMN sync.runs.seen_at IS 'the last sign of life';

CREATE UNIQUE INDEX uq_runs_job_slot ON sync.runs (job, slot);

CREATE UNIQUE INDEX uq_runs_job_running ON sync.runs (job) WHERE finished_at is null;

CREATE TABLE sync.counters (
    name TEXT NOT NULL,
    value BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_counters PRIMARY KEY (name)
);

COMMENT ON TABLE sync.counters IS 'What the workers count, for GET /metrics: they have no door of their own.';

CREATE TABLE sync.asks (
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    path TEXT NOT NULL,
    event_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    missing_at TIMESTAMP WITH TIME ZONE,
    error TEXT,
    CONSTRAINT pk_asks PRIMARY KEY (object, id, account)
);

COMMENT ON TABLE sync.asks IS 'Objects that Stripe is to be asked for: one row each, however many events made it unsettled.';

COMMENT ON COLUMN sync.asks.path IS 'where it is retrieved';

COMMENT ON COLUMN sync.asks.event_at IS 'of the newest event; a read settles 5 s after it';

COMMENT ON COLUMN sync.asks.missing_at IS 'when Stripe first said that it has no such object';

CREATE INDEX ix_asks_due_at ON sync.asks (due_at);

CREATE TABLE sync.drift (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    object TEXT NOT NULL,
    object_id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    fields TEXT[] NOT NULL,
    behind INTERVAL,
    found_by TEXT NOT NULL,
    found_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_drift PRIMARY KEY (id)
);

COMMENT ON TABLE sync.drift IS 'What a list showed otherwise than the mirror, and was repaired.';

COMMENT ON COLUMN sync.drift.fields IS 'what differed, at the top level of the object';

COMMENT ON COLUMN sync.drift.behind IS 'how old the mirrored state was';

CREATE INDEX ix_drift_object_id ON sync.drift (object_id);

CREATE TABLE sync.shards (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    run_id BIGINT NOT NULL,
    gte BIGINT,
    lt BIGINT,
    place JSONB,
    tally JSONB DEFAULT '{}' NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    done BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_shards PRIMARY KEY (id),
    CONSTRAINT fk_shards_run_id FOREIGN KEY(run_id) REFERENCES sync.runs (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.shards IS 'The parts of a run that is too long for one worker.';

COMMENT ON COLUMN sync.shards.gte IS 'objects created from this second on; null: from the first';

COMMENT ON COLUMN sync.shards.lt IS 'and before this one; null: to the last';

COMMENT ON COLUMN sync.shards.place IS 'where its pass stands; null: at the beginning';

CREATE INDEX ix_shards_run_id ON sync.shards (run_id);

CREATE TABLE sync.token_grants (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    source_key TEXT NOT NULL,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount BIGINT NOT NULL,
    balance_before BIGINT NOT NULL,
    balance_after BIGINT NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    stripe_product_id TEXT,
    stripe_subscription_id TEXT,
    stripe_invoice_id TEXT,
    period_start TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_token_grants PRIMARY KEY (id),
    CONSTRAINT uq_token_grants_source_key UNIQUE (source_key)
);

COMMENT ON TABLE sync.token_grants IS 'The ledger of every change the daemon made to users.tokens.';

COMMENT ON COLUMN sync.token_grants.source_key IS 'what was paid: the same thing never grants twice';

COMMENT ON COLUMN sync.token_grants.user_id IS 'no foreign key: the ledger outlives the user';

COMMENT ON COLUMN sync.token_grants.amount IS 'what the source is worth; may differ from the balance''s change';

COMMENT ON COLUMN sync.token_grants.expires_at IS 'of the balance, after this change';

COMMENT ON COLUMN sync.token_grants.period_start IS 'of the line that was paid';

CREATE INDEX ix_token_grants_stripe_invoice_id ON sync.token_grants (stripe_invoice_id);

CREATE INDEX ix_token_grants_user_id_id ON sync.token_grants (user_id, id);

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

COMMENT ON COLUMN stripe_prices.unit_amount IS 'null where tiers or decimals say the amount';

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
    tokens INTEGER DEFAULT 0 NOT NULL,
    tokens_expires_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT fk_users_organization_id FOREIGN KEY(organization_id) REFERENCES organizations (id) ON DELETE SET NULL,
    CONSTRAINT fk_users_stripe_product_id FOREIGN KEY(stripe_product_id) REFERENCES stripe_products (id) ON DELETE SET NULL,
    CONSTRAINT uq_users_email UNIQUE (email)
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
    CONSTRAINT fk_accounts_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_accounts_provider_provider_account_id UNIQUE (provider, provider_account_id)
);

COMMENT ON COLUMN accounts.expires_at IS 'unix seconds, as Auth.js wants it';

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
    CONSTRAINT fk_payment_history_stripe_product_id FOREIGN KEY(stripe_product_id) REFERENCES stripe_products (id) ON DELETE SET NULL,
    CONSTRAINT fk_payment_history_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_payment_history_stripe_payment_intent_id UNIQUE (stripe_payment_intent_id)
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
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_sessions_session_token UNIQUE (session_token)
);

CREATE INDEX ix_sessions_user_id ON sessions (user_id);

CREATE TABLE stripe_customers (
    id TEXT DEFAULT (gen_random_uuid())::text NOT NULL,
    user_id TEXT NOT NULL,
    stripe_customer_id TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_stripe_customers PRIMARY KEY (id),
    CONSTRAINT fk_stripe_customers_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_stripe_customers_stripe_customer_id UNIQUE (stripe_customer_id),
    CONSTRAINT uq_stripe_customers_user_id UNIQUE (user_id)
);

CREATE TABLE sync.customer_links (
    stripe_customer_id TEXT NOT NULL,
    user_id TEXT,
    source TEXT,
    linked_at TIMESTAMP WITH TIME ZONE,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_customer_links PRIMARY KEY (stripe_customer_id),
    CONSTRAINT ck_customer_links_linked_at_tells_the_link CHECK ((user_id is null) = (linked_at is null)),
    CONSTRAINT fk_customer_links_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.customer_links IS 'Which user a Stripe customer is. A link is never silently changed.';

COMMENT ON COLUMN sync.customer_links.user_id IS 'null: seen, not linked yet';

COMMENT ON COLUMN sync.customer_links.source IS 'which rule linked it';

CREATE INDEX ix_customer_links_unlinked ON sync.customer_links (checked_at) WHERE user_id is null;

CREATE INDEX ix_customer_links_user_id ON sync.customer_links (user_id);

CREATE TABLE sync.overrides (
    user_id TEXT NOT NULL,
    role user_role NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    note TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_overrides PRIMARY KEY (user_id),
    CONSTRAINT ck_overrides_role_is_grantable CHECK (role in ('USER', 'PREMIUM')),
    CONSTRAINT fk_overrides_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.overrides IS 'Roles that an operator gave, whatever Stripe says.';

COMMENT ON COLUMN sync.overrides.until IS 'null: until it is lifted';

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
    CONSTRAINT fk_user_subscriptions_stripe_price_id FOREIGN KEY(stripe_price_id) REFERENCES stripe_prices (id) ON DELETE SET NULL,
    CONSTRAINT fk_user_subscriptions_stripe_product_id FOREIGN KEY(stripe_product_id) REFERENCES stripe_products (id) ON DELETE SET NULL,
    CONSTRAINT fk_user_subscriptions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_user_subscriptions_stripe_subscription_id UNIQUE (stripe_subscription_id)
);

CREATE INDEX ix_user_subscriptions_status_current_period_end ON user_subscriptions (status, current_period_end);

CREATE INDEX ix_user_subscriptions_stripe_customer_id ON user_subscriptions (stripe_customer_id);

CREATE INDEX ix_user_subscriptions_stripe_price_id ON user_subscriptions (stripe_price_id);

CREATE INDEX ix_user_subscriptions_stripe_product_id_status ON user_subscriptions (stripe_product_id, status);

CREATE INDEX ix_user_subscriptions_user_id_status ON user_subscriptions (user_id, status);

do $$
begin
    alter table sync.events alter column body set compression lz4;
exception when feature_not_supported or invalid_parameter_value then
    alter table sync.events alter column body set storage external;
end
$$;

create or replace function sync.touch_updated_at() returns trigger
language plpgsql as $$
begin
    if new.updated_at is not distinct from old.updated_at then
        new.updated_at := now();
    end if;
    return new;
end
$$;

create trigger touch_updated_at before update on public.organizations for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.users for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.accounts for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.sessions for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.verification_tokens for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.stripe_products for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.stripe_prices for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.stripe_customers for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.user_subscriptions for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.payment_history for each row execute function sync.touch_updated_at();

INSERT INTO sync.alembic_version (version_num) VALUES ('0001') RETURNING sync.alembic_version.version_num;

COMMIT;
