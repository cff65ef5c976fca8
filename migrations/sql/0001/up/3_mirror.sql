-- Stripe's objects as they were observed, and the functions that read their fields.

create schema mirror;

create or replace function mirror.as_id(value jsonb) returns text
language sql immutable parallel safe
return case jsonb_typeof(value) when 'object' then value ->> 'id' else value #>> '{}' end;

create or replace function mirror.as_boolean(value jsonb) returns boolean
language sql immutable parallel safe
return case jsonb_typeof(value) when 'boolean' then value::boolean end;

create or replace function mirror.as_bigint(value jsonb) returns bigint
language sql immutable parallel safe
return case jsonb_typeof(value)
    when 'number' then
        case
            when value::numeric % 1 = 0 and value::numeric between -9223372036854775808 and 9223372036854775807
            then value::bigint
        end
end;

create or replace function mirror.as_numeric(value jsonb) returns numeric
language sql immutable parallel safe
return case jsonb_typeof(value)
    when 'number' then value::numeric
    when 'string' then case when value #>> '{}' ~ '^[+-]?\d{1,99}(\.\d{1,99})?$' then (value #>> '{}')::numeric end
end;

create or replace function mirror.as_time(value jsonb, per_second integer default 1) returns timestamptz
language sql immutable parallel safe
return case jsonb_typeof(value)
    when 'number' then
        case
            when abs(value::numeric / per_second) < 100000000000
            then to_timestamp((value::numeric / per_second)::double precision)
        end
end;

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
COMMENT ON COLUMN mirror.charges.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.charges.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.charges.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.charges.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.charges.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.charges.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.charges.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.charges.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.charges.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_charges_created ON mirror.charges (account, created);
CREATE INDEX ix_charges_customer ON mirror.charges (customer, account);
CREATE INDEX ix_charges_payment_intent ON mirror.charges (payment_intent, account);
CREATE INDEX ix_charges_unsettled ON mirror.charges (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.checkout_session_line_items.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.checkout_session_line_items.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.checkout_session_line_items.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.checkout_session_line_items.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.checkout_session_line_items.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.checkout_session_line_items.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.checkout_session_line_items.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.checkout_session_line_items.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.checkout_session_line_items.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_checkout_session_line_items_checkout_session ON mirror.checkout_session_line_items (checkout_session, account);
CREATE INDEX ix_checkout_session_line_items_product ON mirror.checkout_session_line_items (product, account);
CREATE INDEX ix_checkout_session_line_items_unsettled ON mirror.checkout_session_line_items (id) WHERE unsettled;

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
    metadata_product TEXT,
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
COMMENT ON COLUMN mirror.checkout_sessions.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.checkout_sessions.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.checkout_sessions.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.checkout_sessions.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.checkout_sessions.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.checkout_sessions.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.checkout_sessions.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.checkout_sessions.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.checkout_sessions.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_checkout_sessions_client_reference_id ON mirror.checkout_sessions (client_reference_id) WHERE client_reference_id is not null;
CREATE INDEX ix_checkout_sessions_created ON mirror.checkout_sessions (account, created);
CREATE INDEX ix_checkout_sessions_customer ON mirror.checkout_sessions (customer, account);
CREATE INDEX ix_checkout_sessions_metadata_product ON mirror.checkout_sessions (metadata_product) WHERE metadata_product is not null;
CREATE INDEX ix_checkout_sessions_payment_intent ON mirror.checkout_sessions (payment_intent, account);
CREATE INDEX ix_checkout_sessions_unsettled ON mirror.checkout_sessions (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.coupons.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.coupons.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.coupons.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.coupons.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.coupons.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.coupons.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.coupons.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.coupons.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.coupons.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_coupons_created ON mirror.coupons (account, created);
CREATE INDEX ix_coupons_unsettled ON mirror.coupons (id) WHERE unsettled;

CREATE TABLE mirror.credit_notes (
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    invoice TEXT,
    status TEXT,
    type TEXT,
    amount BIGINT,
    total BIGINT,
    returned BIGINT,
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
    CONSTRAINT pk_credit_notes PRIMARY KEY (id, account)
);
COMMENT ON COLUMN mirror.credit_notes.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.credit_notes.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.credit_notes.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.credit_notes.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.credit_notes.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.credit_notes.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.credit_notes.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.credit_notes.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.credit_notes.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_credit_notes_created ON mirror.credit_notes (account, created);
CREATE INDEX ix_credit_notes_customer ON mirror.credit_notes (customer, account);
CREATE INDEX ix_credit_notes_invoice ON mirror.credit_notes (invoice, account);
CREATE INDEX ix_credit_notes_unsettled ON mirror.credit_notes (id) WHERE unsettled;

CREATE TABLE mirror.customer_movements (
    customer TEXT NOT NULL,
    currency TEXT,
    day DATE NOT NULL,
    kind TEXT NOT NULL,
    amount BIGINT NOT NULL,
    products TEXT[] NOT NULL,
    amounts BIGINT[] NOT NULL
);
COMMENT ON TABLE mirror.customer_movements IS 'Movements of MRR by customer and day, computed from subscription_mrr by a periodic job.';
COMMENT ON COLUMN mirror.customer_movements.day IS 'UTC';
COMMENT ON COLUMN mirror.customer_movements.kind IS 'new, expansion, contraction, churn or reactivation';
COMMENT ON COLUMN mirror.customer_movements.amount IS 'change of the customer''s MRR on that day, in minor units';
COMMENT ON COLUMN mirror.customer_movements.amounts IS 'change of each product; they add up to `amount`';
CREATE INDEX ix_customer_movements_customer ON mirror.customer_movements (customer);
CREATE INDEX ix_customer_movements_day ON mirror.customer_movements (day);

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
COMMENT ON COLUMN mirror.customers.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.customers.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.customers.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.customers.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.customers.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.customers.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.customers.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.customers.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.customers.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_customers_created ON mirror.customers (account, created);
CREATE INDEX ix_customers_email ON mirror.customers (email, account);
CREATE INDEX ix_customers_metadata_user_id ON mirror.customers (metadata_user_id, account);
CREATE INDEX ix_customers_unsettled ON mirror.customers (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.disputes.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.disputes.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.disputes.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.disputes.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.disputes.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.disputes.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.disputes.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.disputes.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.disputes.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_disputes_charge ON mirror.disputes (charge, account);
CREATE INDEX ix_disputes_created ON mirror.disputes (account, created);
CREATE INDEX ix_disputes_payment_intent ON mirror.disputes (payment_intent, account);
CREATE INDEX ix_disputes_unsettled ON mirror.disputes (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.invoice_line_items.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.invoice_line_items.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.invoice_line_items.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.invoice_line_items.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.invoice_line_items.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.invoice_line_items.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.invoice_line_items.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.invoice_line_items.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.invoice_line_items.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_invoice_line_items_invoice ON mirror.invoice_line_items (invoice, account);
CREATE INDEX ix_invoice_line_items_product ON mirror.invoice_line_items (product, account);
CREATE INDEX ix_invoice_line_items_subscription ON mirror.invoice_line_items (subscription, account);
CREATE INDEX ix_invoice_line_items_unsettled ON mirror.invoice_line_items (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.invoice_payments.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.invoice_payments.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.invoice_payments.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.invoice_payments.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.invoice_payments.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.invoice_payments.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.invoice_payments.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.invoice_payments.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.invoice_payments.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_invoice_payments_created ON mirror.invoice_payments (account, created);
CREATE INDEX ix_invoice_payments_invoice ON mirror.invoice_payments (invoice, account);
CREATE INDEX ix_invoice_payments_payment_payment_intent ON mirror.invoice_payments (payment_payment_intent, account);
CREATE INDEX ix_invoice_payments_unsettled ON mirror.invoice_payments (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.invoices.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.invoices.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.invoices.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.invoices.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.invoices.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.invoices.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.invoices.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.invoices.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.invoices.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_invoices_created ON mirror.invoices (account, created);
CREATE INDEX ix_invoices_customer ON mirror.invoices (customer, account);
CREATE INDEX ix_invoices_payment_intent ON mirror.invoices (payment_intent, account);
CREATE INDEX ix_invoices_subscription ON mirror.invoices (subscription, account);
CREATE INDEX ix_invoices_unsettled ON mirror.invoices (id) WHERE unsettled;

CREATE TABLE mirror.movements_due (
    customer TEXT NOT NULL
);
COMMENT ON TABLE mirror.movements_due IS 'Customers whose movements must be computed again. A customer may have several rows.';
CREATE INDEX ix_movements_due_customer ON mirror.movements_due (customer);

CREATE TABLE mirror.objects (
    object TEXT NOT NULL,
    id TEXT NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    customer TEXT,
    parent TEXT,
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
COMMENT ON COLUMN mirror.objects.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.objects.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.objects.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.objects.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.objects.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.objects.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.objects.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.objects.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.objects.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_objects_created ON mirror.objects (object, account, created);
CREATE INDEX ix_objects_customer ON mirror.objects (customer) WHERE customer is not null;
CREATE INDEX ix_objects_parent ON mirror.objects (parent) WHERE parent is not null;
CREATE INDEX ix_objects_unsettled ON mirror.objects (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.payment_intents.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.payment_intents.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.payment_intents.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.payment_intents.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.payment_intents.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.payment_intents.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.payment_intents.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.payment_intents.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.payment_intents.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_payment_intents_created ON mirror.payment_intents (account, created);
CREATE INDEX ix_payment_intents_customer ON mirror.payment_intents (customer, account);
CREATE INDEX ix_payment_intents_unsettled ON mirror.payment_intents (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.payment_methods.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.payment_methods.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.payment_methods.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.payment_methods.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.payment_methods.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.payment_methods.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.payment_methods.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.payment_methods.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.payment_methods.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_payment_methods_created ON mirror.payment_methods (account, created);
CREATE INDEX ix_payment_methods_customer ON mirror.payment_methods (customer, account);
CREATE INDEX ix_payment_methods_unsettled ON mirror.payment_methods (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.plans.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.plans.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.plans.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.plans.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.plans.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.plans.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.plans.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.plans.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.plans.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_plans_created ON mirror.plans (account, created);
CREATE INDEX ix_plans_unsettled ON mirror.plans (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.prices.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.prices.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.prices.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.prices.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.prices.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.prices.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.prices.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.prices.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.prices.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_prices_created ON mirror.prices (account, created);
CREATE INDEX ix_prices_product ON mirror.prices (product, account);
CREATE INDEX ix_prices_unsettled ON mirror.prices (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.product_features.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.product_features.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.product_features.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.product_features.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.product_features.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.product_features.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.product_features.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.product_features.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_product_features_product ON mirror.product_features (product, account);
CREATE INDEX ix_product_features_unsettled ON mirror.product_features (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.products.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.products.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.products.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.products.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.products.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.products.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.products.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.products.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.products.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_products_created ON mirror.products (account, created);
CREATE INDEX ix_products_unsettled ON mirror.products (id) WHERE unsettled;

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
COMMENT ON COLUMN mirror.refunds.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.refunds.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.refunds.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.refunds.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.refunds.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.refunds.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.refunds.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.refunds.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.refunds.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_refunds_charge ON mirror.refunds (charge, account);
CREATE INDEX ix_refunds_created ON mirror.refunds (account, created);
CREATE INDEX ix_refunds_payment_intent ON mirror.refunds (payment_intent, account);
CREATE INDEX ix_refunds_unsettled ON mirror.refunds (id) WHERE unsettled;

CREATE TABLE mirror.subscription_history (
    account TEXT NOT NULL,
    subscription TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    source TEXT NOT NULL,
    before BOOLEAN NOT NULL,
    passed BOOLEAN DEFAULT false NOT NULL,
    rank SMALLINT NOT NULL,
    customer TEXT,
    status TEXT NOT NULL,
    paused BOOLEAN NOT NULL,
    currency TEXT,
    created TIMESTAMP WITH TIME ZONE,
    ended TIMESTAMP WITH TIME ZONE,
    trial_end TIMESTAMP WITH TIME ZONE,
    products TEXT[] NOT NULL,
    amounts NUMERIC[] NOT NULL,
    months NUMERIC,
    discounts JSONB,
    CONSTRAINT pk_subscription_history PRIMARY KEY (account, subscription, at, source, before)
);
COMMENT ON TABLE mirror.subscription_history IS 'States of subscriptions by time, for revenue.';
COMMENT ON COLUMN mirror.subscription_history.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.subscription_history.at IS 'Stripe''s clock: when it had this state';
COMMENT ON COLUMN mirror.subscription_history.source IS 'the event, or the read, that showed it';
COMMENT ON COLUMN mirror.subscription_history.before IS 'the state before the event, from its previous_attributes';
COMMENT ON COLUMN mirror.subscription_history.passed IS 'not the last state of its second';
COMMENT ON COLUMN mirror.subscription_history.rank IS '0 created, 1 updated, 2 deleted';
COMMENT ON COLUMN mirror.subscription_history.status IS 'Stripe''s status; `deleted` if the object was deleted';
COMMENT ON COLUMN mirror.subscription_history.paused IS 'the collection of payments is paused';
COMMENT ON COLUMN mirror.subscription_history.amounts IS 'of each product, per month, in minor units before discounts; null if the price does not show it';
COMMENT ON COLUMN mirror.subscription_history.months IS 'the billing period of the first item';
COMMENT ON COLUMN mirror.subscription_history.discounts IS 'null if there are none';
CREATE INDEX ix_subscription_history_discounts ON mirror.subscription_history USING gin (discounts jsonb_path_ops) WHERE discounts is not null;

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
COMMENT ON COLUMN mirror.subscription_items.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.subscription_items.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.subscription_items.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.subscription_items.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.subscription_items.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.subscription_items.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.subscription_items.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.subscription_items.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.subscription_items.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_subscription_items_price ON mirror.subscription_items (price, account);
CREATE INDEX ix_subscription_items_product ON mirror.subscription_items (product, account);
CREATE INDEX ix_subscription_items_subscription ON mirror.subscription_items (subscription, account);
CREATE INDEX ix_subscription_items_unsettled ON mirror.subscription_items (id) WHERE unsettled;

CREATE TABLE mirror.subscription_mrr (
    subscription TEXT NOT NULL,
    product_id TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    customer TEXT NOT NULL,
    currency TEXT,
    status TEXT NOT NULL,
    mrr BIGINT NOT NULL,
    estimated BOOLEAN NOT NULL,
    is_partial BOOLEAN NOT NULL,
    waits BOOLEAN NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_subscription_mrr PRIMARY KEY (subscription, product_id, since)
);
COMMENT ON TABLE mirror.subscription_mrr IS 'Monthly amounts of our own subscriptions by product and time, computed from their history when it changes.';
COMMENT ON COLUMN mirror.subscription_mrr.until IS 'null while it continues';
COMMENT ON COLUMN mirror.subscription_mrr.customer IS 'empty if the subscription names none';
COMMENT ON COLUMN mirror.subscription_mrr.status IS 'Stripe''s status; `paused_collection` if payments are not collected';
COMMENT ON COLUMN mirror.subscription_mrr.mrr IS 'minor units per month, after discounts; 0 unless the status counts';
COMMENT ON COLUMN mirror.subscription_mrr.estimated IS 'reconstructed: nothing was observed then';
COMMENT ON COLUMN mirror.subscription_mrr.is_partial IS 'a price or discount is not known, and counts as 0';
COMMENT ON COLUMN mirror.subscription_mrr.waits IS 'for a discount or coupon that is not mirrored yet';
CREATE INDEX ix_subscription_mrr_customer ON mirror.subscription_mrr (customer);
CREATE INDEX ix_subscription_mrr_waits ON mirror.subscription_mrr (computed_at) WHERE waits;

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
COMMENT ON COLUMN mirror.subscriptions.account IS 'connected account; empty for our own';
COMMENT ON COLUMN mirror.subscriptions.created IS 'Stripe''s clock; null if the object has none';
COMMENT ON COLUMN mirror.subscriptions.data IS 'the object as Stripe sent it';
COMMENT ON COLUMN mirror.subscriptions.observed_at IS 'Stripe''s clock; it never decreases';
COMMENT ON COLUMN mirror.subscriptions.observed_rank IS '0: a creation, 1: an update or a read, 2: a deletion';
COMMENT ON COLUMN mirror.subscriptions.observed_in IS 'the event or read that showed the content';
COMMENT ON COLUMN mirror.subscriptions.shape IS 'API major version of the content; empty if only the deletion is known';
COMMENT ON COLUMN mirror.subscriptions.rev IS 'raised by every event or read that is applied';
COMMENT ON COLUMN mirror.subscriptions.unsettled IS 'uncertain, and will be read again';
CREATE INDEX ix_subscriptions_created ON mirror.subscriptions (account, created);
CREATE INDEX ix_subscriptions_customer ON mirror.subscriptions (customer, account);
CREATE INDEX ix_subscriptions_metadata_organization_id ON mirror.subscriptions (metadata_organization_id) WHERE metadata_organization_id is not null;
CREATE INDEX ix_subscriptions_metadata_user_id ON mirror.subscriptions (metadata_user_id, account);
CREATE INDEX ix_subscriptions_status_created ON mirror.subscriptions (status, created);
CREATE INDEX ix_subscriptions_unsettled ON mirror.subscriptions (id) WHERE unsettled;
