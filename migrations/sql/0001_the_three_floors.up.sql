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

create schema mirror;

create schema stripe;

create type public.user_role as enum ('USER', 'PREMIUM', 'ADMIN', 'BANNED');

create type public.membership_status as enum ('ACTIVE', 'INACTIVE', 'CANCELED', 'PAST_DUE');

CREATE TABLE mirror.charges (
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

CREATE INDEX ix_charges_created ON mirror.charges (account, created);

CREATE INDEX ix_charges_customer ON mirror.charges (customer);

CREATE INDEX ix_charges_payment_intent ON mirror.charges (payment_intent);

CREATE INDEX ix_charges_unsettled ON mirror.charges (id) WHERE unsettled;

COMMENT ON COLUMN mirror.charges.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.charges.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.charges.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.charges.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.charges.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.charges.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.charges.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.charges.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.charges.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.checkout_session_line_items (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    checkout_session TEXT,
    price TEXT,
    product TEXT,
    description TEXT,
    quantity BIGINT,
    amount_subtotal BIGINT,
    amount_total BIGINT,
    currency TEXT,
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
    CONSTRAINT pk_checkout_session_line_items PRIMARY KEY (id, account)
);

CREATE INDEX ix_checkout_session_line_items_checkout_session ON mirror.checkout_session_line_items (checkout_session);

CREATE INDEX ix_checkout_session_line_items_product ON mirror.checkout_session_line_items (product);

CREATE INDEX ix_checkout_session_line_items_unsettled ON mirror.checkout_session_line_items (id) WHERE unsettled;

COMMENT ON COLUMN mirror.checkout_session_line_items.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.checkout_session_line_items.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.checkout_session_line_items.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.checkout_session_line_items.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.checkout_session_line_items.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.checkout_session_line_items.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.checkout_session_line_items.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.checkout_session_line_items.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.checkout_session_line_items.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.checkout_sessions (
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

CREATE INDEX ix_checkout_sessions_created ON mirror.checkout_sessions (account, created);

CREATE INDEX ix_checkout_sessions_customer ON mirror.checkout_sessions (customer);

CREATE INDEX ix_checkout_sessions_payment_intent ON mirror.checkout_sessions (payment_intent);

CREATE INDEX ix_checkout_sessions_unsettled ON mirror.checkout_sessions (id) WHERE unsettled;

COMMENT ON COLUMN mirror.checkout_sessions.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.checkout_sessions.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.checkout_sessions.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.checkout_sessions.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.checkout_sessions.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.checkout_sessions.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.checkout_sessions.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.checkout_sessions.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.checkout_sessions.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.coupons (
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

CREATE INDEX ix_coupons_created ON mirror.coupons (account, created);

CREATE INDEX ix_coupons_unsettled ON mirror.coupons (id) WHERE unsettled;

COMMENT ON COLUMN mirror.coupons.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.coupons.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.coupons.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.coupons.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.coupons.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.coupons.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.coupons.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.coupons.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.coupons.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.customers (
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

CREATE INDEX ix_customers_created ON mirror.customers (account, created);

CREATE INDEX ix_customers_email ON mirror.customers (email);

CREATE INDEX ix_customers_metadata_user_id ON mirror.customers (metadata_user_id);

CREATE INDEX ix_customers_unsettled ON mirror.customers (id) WHERE unsettled;

COMMENT ON COLUMN mirror.customers.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.customers.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.customers.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.customers.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.customers.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.customers.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.customers.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.customers.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.customers.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.disputes (
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

CREATE INDEX ix_disputes_charge ON mirror.disputes (charge);

CREATE INDEX ix_disputes_created ON mirror.disputes (account, created);

CREATE INDEX ix_disputes_payment_intent ON mirror.disputes (payment_intent);

CREATE INDEX ix_disputes_unsettled ON mirror.disputes (id) WHERE unsettled;

COMMENT ON COLUMN mirror.disputes.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.disputes.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.disputes.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.disputes.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.disputes.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.disputes.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.disputes.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.disputes.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.disputes.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.invoice_line_items (
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

CREATE INDEX ix_invoice_line_items_invoice ON mirror.invoice_line_items (invoice);

CREATE INDEX ix_invoice_line_items_product ON mirror.invoice_line_items (product);

CREATE INDEX ix_invoice_line_items_subscription ON mirror.invoice_line_items (subscription);

CREATE INDEX ix_invoice_line_items_unsettled ON mirror.invoice_line_items (id) WHERE unsettled;

COMMENT ON COLUMN mirror.invoice_line_items.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.invoice_line_items.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.invoice_line_items.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.invoice_line_items.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.invoice_line_items.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.invoice_line_items.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.invoice_line_items.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.invoice_line_items.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.invoice_line_items.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.invoice_payments (
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

CREATE INDEX ix_invoice_payments_created ON mirror.invoice_payments (account, created);

CREATE INDEX ix_invoice_payments_invoice ON mirror.invoice_payments (invoice);

CREATE INDEX ix_invoice_payments_payment_payment_intent ON mirror.invoice_payments (payment_payment_intent);

CREATE INDEX ix_invoice_payments_unsettled ON mirror.invoice_payments (id) WHERE unsettled;

COMMENT ON COLUMN mirror.invoice_payments.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.invoice_payments.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.invoice_payments.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.invoice_payments.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.invoice_payments.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.invoice_payments.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.invoice_payments.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.invoice_payments.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.invoice_payments.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.invoices (
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

CREATE INDEX ix_invoices_created ON mirror.invoices (account, created);

CREATE INDEX ix_invoices_customer ON mirror.invoices (customer);

CREATE INDEX ix_invoices_payment_intent ON mirror.invoices (payment_intent);

CREATE INDEX ix_invoices_subscription ON mirror.invoices (subscription);

CREATE INDEX ix_invoices_unsettled ON mirror.invoices (id) WHERE unsettled;

COMMENT ON COLUMN mirror.invoices.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.invoices.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.invoices.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.invoices.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.invoices.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.invoices.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.invoices.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.invoices.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.invoices.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.objects (
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
    CONSTRAINT pk_objects PRIMARY KEY (object, id, account)
);

CREATE INDEX ix_objects_created ON mirror.objects (object, account, created);

CREATE INDEX ix_objects_unsettled ON mirror.objects (id) WHERE unsettled;

COMMENT ON COLUMN mirror.objects.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.objects.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.objects.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.objects.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.objects.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.objects.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.objects.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.objects.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.objects.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.payment_intents (
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

CREATE INDEX ix_payment_intents_created ON mirror.payment_intents (account, created);

CREATE INDEX ix_payment_intents_customer ON mirror.payment_intents (customer);

CREATE INDEX ix_payment_intents_unsettled ON mirror.payment_intents (id) WHERE unsettled;

COMMENT ON COLUMN mirror.payment_intents.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.payment_intents.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.payment_intents.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.payment_intents.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.payment_intents.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.payment_intents.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.payment_intents.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.payment_intents.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.payment_intents.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.payment_methods (
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

CREATE INDEX ix_payment_methods_created ON mirror.payment_methods (account, created);

CREATE INDEX ix_payment_methods_customer ON mirror.payment_methods (customer);

CREATE INDEX ix_payment_methods_unsettled ON mirror.payment_methods (id) WHERE unsettled;

COMMENT ON COLUMN mirror.payment_methods.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.payment_methods.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.payment_methods.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.payment_methods.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.payment_methods.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.payment_methods.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.payment_methods.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.payment_methods.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.payment_methods.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.plans (
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

CREATE INDEX ix_plans_created ON mirror.plans (account, created);

CREATE INDEX ix_plans_unsettled ON mirror.plans (id) WHERE unsettled;

COMMENT ON COLUMN mirror.plans.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.plans.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.plans.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.plans.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.plans.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.plans.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.plans.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.plans.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.plans.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.prices (
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

CREATE INDEX ix_prices_created ON mirror.prices (account, created);

CREATE INDEX ix_prices_product ON mirror.prices (product);

CREATE INDEX ix_prices_unsettled ON mirror.prices (id) WHERE unsettled;

COMMENT ON COLUMN mirror.prices.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.prices.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.prices.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.prices.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.prices.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.prices.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.prices.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.prices.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.prices.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.products (
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

CREATE INDEX ix_products_created ON mirror.products (account, created);

CREATE INDEX ix_products_unsettled ON mirror.products (id) WHERE unsettled;

COMMENT ON COLUMN mirror.products.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.products.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.products.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.products.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.products.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.products.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.products.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.products.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.products.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.refunds (
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

CREATE INDEX ix_refunds_charge ON mirror.refunds (charge);

CREATE INDEX ix_refunds_created ON mirror.refunds (account, created);

CREATE INDEX ix_refunds_payment_intent ON mirror.refunds (payment_intent);

CREATE INDEX ix_refunds_unsettled ON mirror.refunds (id) WHERE unsettled;

COMMENT ON COLUMN mirror.refunds.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.refunds.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.refunds.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.refunds.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.refunds.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.refunds.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.refunds.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.refunds.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.refunds.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.subscription_items (
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

CREATE INDEX ix_subscription_items_price ON mirror.subscription_items (price);

CREATE INDEX ix_subscription_items_product ON mirror.subscription_items (product);

CREATE INDEX ix_subscription_items_subscription ON mirror.subscription_items (subscription);

CREATE INDEX ix_subscription_items_unsettled ON mirror.subscription_items (id) WHERE unsettled;

COMMENT ON COLUMN mirror.subscription_items.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.subscription_items.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.subscription_items.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.subscription_items.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.subscription_items.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.subscription_items.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.subscription_items.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.subscription_items.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.subscription_items.unsettled IS 'uncertain: to be read again';

CREATE TABLE mirror.subscriptions (
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

CREATE INDEX ix_subscriptions_created ON mirror.subscriptions (account, created);

CREATE INDEX ix_subscriptions_customer ON mirror.subscriptions (customer);

CREATE INDEX ix_subscriptions_metadata_organization_id ON mirror.subscriptions (metadata_organization_id) WHERE metadata_organization_id is not null;

CREATE INDEX ix_subscriptions_metadata_user_id ON mirror.subscriptions (metadata_user_id);

CREATE INDEX ix_subscriptions_status_created ON mirror.subscriptions (status, created);

CREATE INDEX ix_subscriptions_unsettled ON mirror.subscriptions (id) WHERE unsettled;

COMMENT ON COLUMN mirror.subscriptions.account IS 'connected account; empty for our own';

COMMENT ON COLUMN mirror.subscriptions.created IS 'Stripe''s clock; null where the object carries none';

COMMENT ON COLUMN mirror.subscriptions.data IS 'the object as Stripe sent it';

COMMENT ON COLUMN mirror.subscriptions.observed_at IS 'Stripe''s clock, only ever raised';

COMMENT ON COLUMN mirror.subscriptions.observed_rank IS '0 created, 1 updated, 2 deleted, of observed_in';

COMMENT ON COLUMN mirror.subscriptions.observed_in IS 'the event, or the read, that brought the content';

COMMENT ON COLUMN mirror.subscriptions.shape IS 'API major version of the content; empty for a bare deletion';

COMMENT ON COLUMN mirror.subscriptions.rev IS 'raised by every event taken';

COMMENT ON COLUMN mirror.subscriptions.unsettled IS 'uncertain: to be read again';

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

CREATE TABLE sync.adoption (
    is_only BOOLEAN DEFAULT true NOT NULL,
    adopted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    tokens_since TIMESTAMP WITH TIME ZONE,
    names JSONB NOT NULL,
    CONSTRAINT pk_adoption PRIMARY KEY (is_only),
    CONSTRAINT ck_adoption_is_one_row CHECK (is_only)
);

COMMENT ON TABLE sync.adoption IS 'How an application''s existing tables were adopted; empty where the daemon made them.';

COMMENT ON COLUMN sync.adoption.is_only IS 'the table has one row at most';

COMMENT ON COLUMN sync.adoption.tokens_since IS 'older payments grant nothing: the application counted them';

COMMENT ON COLUMN sync.adoption.names IS 'tables, columns and types that have other names here';

CREATE TABLE sync.counters (
    name TEXT NOT NULL,
    value BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_counters PRIMARY KEY (name)
);

COMMENT ON TABLE sync.counters IS 'Counters of the workers, for GET /metrics: workers listen on no port.';

CREATE TABLE sync.cursors (
    name TEXT NOT NULL,
    value JSONB NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_cursors PRIMARY KEY (name)
);

COMMENT ON TABLE sync.cursors IS 'Progress of jobs that read Stripe page by page.';

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

CREATE INDEX ix_drift_object_id ON sync.drift (object_id);

COMMENT ON TABLE sync.drift IS 'Differences between Stripe''s lists and the mirror, each repaired when it was found.';

COMMENT ON COLUMN sync.drift.fields IS 'top-level fields that differed';

COMMENT ON COLUMN sync.drift.behind IS 'age of the mirrored state';

CREATE TABLE sync.erased (
    id TEXT NOT NULL,
    object TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    user_id TEXT,
    erased_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    swept_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_erased PRIMARY KEY (id, object, account)
);

CREATE INDEX ix_erased_unswept ON sync.erased (erased_at) WHERE swept_at is null;

COMMENT ON TABLE sync.erased IS 'Erased users and objects (privacy): every writer blanks these, and all that belongs to them.';

COMMENT ON COLUMN sync.erased.object IS 'Stripe''s type, or `user`';

COMMENT ON COLUMN sync.erased.user_id IS 'the user whose erasure was requested; null: an object of theirs. No foreign key';

COMMENT ON COLUMN sync.erased.swept_at IS 'since then no personal data of it is held; null: still to do';

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

CREATE INDEX ix_events_due ON sync.events (next_attempt_at) WHERE status = 'pending';

CREATE INDEX ix_events_object ON sync.events (object_id, created);

CREATE INDEX ix_events_parked ON sync.events (created) WHERE status = 'parked';

COMMENT ON TABLE sync.events IS 'The inbox: events as Stripe sent them. A pending event is due once next_attempt_at has passed.';

COMMENT ON COLUMN sync.events.account IS 'connected account; empty for our own';

COMMENT ON COLUMN sync.events.object_type IS 'data.object.object, or the related object''s type of a thin event';

COMMENT ON COLUMN sync.events.created IS 'Stripe''s clock';

COMMENT ON COLUMN sync.events.body IS 'as received, without U+0000';

CREATE TABLE sync.heartbeats (
    name TEXT NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_heartbeats PRIMARY KEY (name)
);

COMMENT ON TABLE sync.heartbeats IS 'Worker processes; each writes its own row while it works.';

CREATE TABLE sync.organization_queue (
    organization_id TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    place TEXT DEFAULT '' NOT NULL,
    CONSTRAINT pk_organization_queue PRIMARY KEY (organization_id)
);

COMMENT ON TABLE sync.organization_queue IS 'Organizations whose users are computed again, because a subscription that names them changed.';

COMMENT ON COLUMN sync.organization_queue.organization_id IS 'no foreign key: Stripe''s metadata may name any';

COMMENT ON COLUMN sync.organization_queue.place IS 'users with ids up to this one are computed';

CREATE TABLE sync.rechecks (
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    horizon BIGINT,
    CONSTRAINT pk_rechecks PRIMARY KEY (object, id)
);

COMMENT ON TABLE sync.rechecks IS 'Work to repeat because a concurrent transaction was invisible: users and objects that refer to a missing one.';

COMMENT ON COLUMN sync.rechecks.object IS '`user`, or the type of an object that names no customer itself';

COMMENT ON COLUMN sync.rechecks.horizon IS 'older transactions may have written without seeing ours';

CREATE TABLE sync.recompute_queue (
    stripe_customer_id TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_recompute_queue PRIMARY KEY (stripe_customer_id)
);

COMMENT ON TABLE sync.recompute_queue IS 'Customers whose users are computed again, because an object they refer to arrived late.';

CREATE TABLE sync.refetch_queue (
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    path TEXT NOT NULL,
    event_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    missing_at TIMESTAMP WITH TIME ZONE,
    error TEXT,
    CONSTRAINT pk_refetch_queue PRIMARY KEY (object, id, account)
);

CREATE INDEX ix_refetch_queue_due_at ON sync.refetch_queue (due_at);

COMMENT ON TABLE sync.refetch_queue IS 'Objects to read from Stripe: one row each, however many events left it unsettled.';

COMMENT ON COLUMN sync.refetch_queue.path IS 'of the GET request';

COMMENT ON COLUMN sync.refetch_queue.event_at IS 'of the newest event; a read settles 5 s later';

COMMENT ON COLUMN sync.refetch_queue.missing_at IS 'time of Stripe''s first 404 for it';

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

CREATE UNIQUE INDEX uq_runs_job_running ON sync.runs (job) WHERE finished_at is null;

CREATE UNIQUE INDEX uq_runs_job_slot ON sync.runs (job, slot);

COMMENT ON TABLE sync.runs IS 'Runs of periodic jobs: start, duration and result. A worker claims a slot by inserting it.';

COMMENT ON COLUMN sync.runs.slot IS 'the tick of the clock that this run is for';

COMMENT ON COLUMN sync.runs.seen_at IS 'the last sign of life';

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
    lots JSONB,
    CONSTRAINT pk_token_grants PRIMARY KEY (id),
    CONSTRAINT uq_token_grants_source_key UNIQUE (source_key)
);

CREATE INDEX ix_token_grants_stripe_invoice_id ON sync.token_grants (stripe_invoice_id);

CREATE INDEX ix_token_grants_user_id_id ON sync.token_grants (user_id, id);

COMMENT ON TABLE sync.token_grants IS 'The ledger: every change that the daemon made to users.tokens.';

COMMENT ON COLUMN sync.token_grants.source_key IS 'what was paid: one source grants once';

COMMENT ON COLUMN sync.token_grants.user_id IS 'no foreign key: the ledger outlives the user';

COMMENT ON COLUMN sync.token_grants.amount IS 'value of the source; may differ from the balance''s change';

COMMENT ON COLUMN sync.token_grants.expires_at IS 'of the balance, after this change';

COMMENT ON COLUMN sync.token_grants.period_start IS 'of the paid line';

COMMENT ON COLUMN sync.token_grants.lots IS 'the parts of the balance after this change, by grant';

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

CREATE INDEX ix_stripe_prices_product_id_active ON stripe_prices (product_id, active);

COMMENT ON COLUMN stripe_prices.type IS 'recurring or one_time';

COMMENT ON COLUMN stripe_prices.unit_amount IS 'null where tiers or decimals say the amount';

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

CREATE INDEX ix_shards_run_id ON sync.shards (run_id);

COMMENT ON TABLE sync.shards IS 'Parts of a run that several workers share.';

COMMENT ON COLUMN sync.shards.gte IS 'first second of `created`; null: no lower bound';

COMMENT ON COLUMN sync.shards.lt IS 'first second after the range; null: no upper bound';

COMMENT ON COLUMN sync.shards.place IS 'progress of the pass; null: not begun';

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

CREATE INDEX ix_accounts_user_id ON accounts (user_id);

COMMENT ON COLUMN accounts.expires_at IS 'unix seconds, as Auth.js wants it';

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

CREATE INDEX ix_customer_links_unlinked ON sync.customer_links (checked_at) WHERE user_id is null;

CREATE INDEX ix_customer_links_user_id ON sync.customer_links (user_id);

COMMENT ON TABLE sync.customer_links IS 'The user behind each Stripe customer. A link is never silently changed.';

COMMENT ON COLUMN sync.customer_links.user_id IS 'null: seen, not linked yet';

COMMENT ON COLUMN sync.customer_links.source IS 'the rule that linked it';

CREATE TABLE sync.next_changes (
    user_id TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_next_changes PRIMARY KEY (user_id),
    CONSTRAINT fk_next_changes_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_next_changes_due_at ON sync.next_changes (due_at);

COMMENT ON TABLE sync.next_changes IS 'When a user is to be computed again without any event: a token period, a grace or an override ends.';

CREATE TABLE sync.organization_members (
    user_id TEXT NOT NULL,
    organization_id TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_organization_members PRIMARY KEY (user_id),
    CONSTRAINT fk_organization_members_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.organization_members IS 'The last organization whose subscription entitled a user, now or in the past.';

COMMENT ON COLUMN sync.organization_members.organization_id IS 'no foreign key: it may be gone';

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

COMMENT ON TABLE sync.overrides IS 'Roles given by an operator, whatever Stripe says.';

COMMENT ON COLUMN sync.overrides.until IS 'null: until it is lifted';

CREATE TABLE sync.user_syncs (
    user_id TEXT NOT NULL,
    synced_at TIMESTAMP WITH TIME ZONE,
    leased_until TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_user_syncs PRIMARY KEY (user_id),
    CONSTRAINT fk_user_syncs_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

COMMENT ON TABLE sync.user_syncs IS 'On-access reads of Stripe: how fresh each user is, and a lease, so that one process reads at a time.';

COMMENT ON COLUMN sync.user_syncs.synced_at IS 'all subscriptions were read from Stripe just after this time';

COMMENT ON COLUMN sync.user_syncs.leased_until IS 'one process reads Stripe for this user until then at most';

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

create view stripe.charges as select "id", "account", "customer", "payment_intent", "status", "paid", "captured", "refunded", "amount", "amount_refunded", "currency", "disputed", "failure_code", "payment_method", "balance_transaction", "invoice", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.charges;

create view stripe.checkout_session_line_items as select "id", "account", "checkout_session", "price", "product", "description", "quantity", "amount_subtotal", "amount_total", "currency", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.checkout_session_line_items;

create view stripe.checkout_sessions as select "id", "account", "customer", "customer_details_email", "client_reference_id", "mode", "status", "payment_status", "subscription", "invoice", "payment_intent", "setup_intent", "payment_link", "amount_total", "currency", "metadata_user_id", "expires_at", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.checkout_sessions;

create view stripe.coupons as select "id", "account", "name", "percent_off", "amount_off", "currency", "duration", "duration_in_months", "valid", "redeem_by", "times_redeemed", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.coupons;

create view stripe.customers as select "id", "account", "email", "name", "metadata_user_id", "currency", "balance", "delinquent", "invoice_settings_default_payment_method", "test_clock", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.customers;

create view stripe.disputes as select "id", "account", "charge", "payment_intent", "status", "reason", "amount", "currency", "evidence_details_due_by", "is_charge_refundable", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.disputes;

create view stripe.invoice_line_items as select "id", "account", "invoice", "amount", "currency", "price", "product", "subscription", "subscription_item", "proration", "quantity", "period_start", "period_end", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.invoice_line_items;

create view stripe.invoice_payments as select "id", "account", "invoice", "payment_type", "payment_payment_intent", "payment_charge", "status", "amount_requested", "amount_paid", "is_default", "status_transitions_paid_at", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.invoice_payments;

create view stripe.invoices as select "id", "account", "customer", "subscription", "status", "billing_reason", "collection_method", "amount_due", "amount_paid", "amount_remaining", "total", "currency", "number", "attempt_count", "next_payment_attempt", "period_start", "period_end", "due_date", "status_transitions_finalized_at", "status_transitions_paid_at", "status_transitions_voided_at", "status_transitions_marked_uncollectible_at", "payment_intent", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.invoices;

create view stripe.other_objects as select "object", "id", "account", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.objects;

create view stripe.payment_intents as select "id", "account", "customer", "status", "amount", "amount_received", "currency", "latest_charge", "payment_method", "invoice", "canceled_at", "cancellation_reason", "capture_method", "description", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.payment_intents;

create view stripe.payment_methods as select "id", "account", "customer", "type", "card_brand", "card_last4", "card_exp_month", "card_exp_year", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.payment_methods;

create view stripe.plans as select "id", "account", "product", "active", "amount", "currency", "interval", "interval_count", "usage_type", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.plans;

create view stripe.prices as select "id", "account", "product", "active", "type", "currency", "unit_amount", "unit_amount_decimal", "billing_scheme", "recurring_interval", "recurring_interval_count", "recurring_trial_period_days", "recurring_usage_type", "lookup_key", "nickname", "metadata", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.prices;

create view stripe.products as select "id", "account", "name", "active", "description", "default_price", "metadata", "unit_label", "tax_code", "updated", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.products;

create view stripe.refunds as select "id", "account", "charge", "payment_intent", "status", "amount", "currency", "reason", "failure_reason", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.refunds;

create view stripe.subscription_items as select "id", "account", "subscription", "price", "product", "quantity", "current_period_start", "current_period_end", "billed_until", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.subscription_items;

create view stripe.subscriptions as select "id", "account", "customer", "customer_account", "status", "cancel_at", "cancel_at_period_end", "canceled_at", "ended_at", "start_date", "trial_start", "trial_end", "current_period_start", "current_period_end", "collection_method", "pause_collection_behavior", "pause_collection_resumes_at", "status_details_paused_subscription_type", "billing_mode_type", "latest_invoice", "default_payment_method", "schedule", "currency", "metadata_user_id", "metadata_organization_id", "test_clock", "metadata", "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev", "unsettled", "synced_at" from mirror.subscriptions;

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

create or replace function public.token_balance(user_id text) returns bigint
language plpgsql stable as $$
declare
    balance bigint;
begin
    select case when u.tokens_expires_at <= clock_timestamp() then 0 else u.tokens end
    into balance
    from public.users as u
    where u.id = token_balance.user_id;
    if not found then
        raise exception 'token_balance: user_id: there is no user %', coalesce(quote_literal(user_id), 'null')
            using errcode = 'no_data_found';
    end if;
    return balance;
end
$$;

create or replace function public.consume_tokens(user_id text, n bigint) returns boolean
language plpgsql as $$
begin
    if n is null or n <= 0 then
        raise exception 'consume_tokens: n: must be more than 0, and is %', coalesce(n::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    update public.users as u
    set tokens = u.tokens - n
    where u.id = consume_tokens.user_id
        and u.tokens >= n
        and (u.tokens_expires_at is null or u.tokens_expires_at > clock_timestamp());
    if found then
        return true;
    end if;
    perform from public.users as u where u.id = consume_tokens.user_id;
    if not found then
        raise exception 'consume_tokens: user_id: there is no user %', coalesce(quote_literal(user_id), 'null')
            using errcode = 'no_data_found';
    end if;
    return false;
end
$$;

create or replace function sync.follow_organization() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into sync.next_changes as a (user_id, due_at) values (new.id, now())
    on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at);
    return null;
end
$$;

revoke execute on function sync.follow_organization() from public;

create trigger touch_updated_at before update on public.organizations for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.stripe_products for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.verification_tokens for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.stripe_prices for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.users for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.accounts for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.payment_history for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.sessions for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.stripe_customers for each row execute function sync.touch_updated_at();

create trigger touch_updated_at before update on public.user_subscriptions for each row execute function sync.touch_updated_at();

create trigger organization_joined after insert on public.users for each row when (new.organization_id is not null) execute function sync.follow_organization();

create trigger organization_changed after update on public.users for each row when (old.organization_id is distinct from new.organization_id) execute function sync.follow_organization();

INSERT INTO sync.alembic_version (version_num) VALUES ('0001') RETURNING sync.alembic_version.version_num;

COMMIT;
