set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0009 -> 0008

drop view stripe.account_capabilities;

drop view stripe.account_persons;

drop view stripe.accounts;

drop view stripe.active_entitlement_summaries;

drop view stripe.active_entitlements;

drop view stripe.apple_pay_domains;

drop view stripe.application_fee_refunds;

drop view stripe.application_fees;

drop view stripe.applications;

drop view stripe.apps_installs;

drop view stripe.balance_settings;

drop view stripe.balance_transactions;

drop view stripe.balances;

drop view stripe.bank_accounts;

drop view stripe.billing_alerts;

drop view stripe.billing_alerts_triggered;

drop view stripe.billing_credit_balance_transactions;

drop view stripe.billing_credit_grants;

drop view stripe.billing_feedback_options;

drop view stripe.billing_meters;

drop view stripe.billing_portal_configurations;

drop view stripe.billing_portal_sessions;

drop view stripe.cards;

drop view stripe.cash_balances;

drop view stripe.charges;

drop view stripe.checkout_session_line_items;

drop view stripe.checkout_sessions;

drop view stripe.climate_orders;

drop view stripe.climate_products;

drop view stripe.climate_suppliers;

drop view stripe.country_specs;

drop view stripe.coupons;

drop view stripe.credit_note_lines;

drop view stripe.credit_notes;

drop view stripe.customer_balance_transactions;

drop view stripe.customer_cash_balance_transactions;

drop view stripe.customers;

drop view stripe.discounts;

drop view stripe.disputes;

drop view stripe.entitlements_features;

drop view stripe.exchange_rates;

drop view stripe.file_links;

drop view stripe.files;

drop view stripe.financial_connections_accounts;

drop view stripe.financial_connections_authorizations;

drop view stripe.financial_connections_transactions;

drop view stripe.forwarding_requests;

drop view stripe.identity_verification_reports;

drop view stripe.identity_verification_sessions;

drop view stripe.invoice_line_items;

drop view stripe.invoice_payments;

drop view stripe.invoice_rendering_templates;

drop view stripe.invoiceitems;

drop view stripe.invoices;

drop view stripe.issuing_authorizations;

drop view stripe.issuing_cardholders;

drop view stripe.issuing_cards;

drop view stripe.issuing_disputes;

drop view stripe.issuing_personalization_designs;

drop view stripe.issuing_physical_bundles;

drop view stripe.issuing_tokens;

drop view stripe.issuing_transactions;

drop view stripe.mandates;

drop view stripe.other_objects;

drop view stripe.payment_attempt_records;

drop view stripe.payment_intents;

drop view stripe.payment_link_line_items;

drop view stripe.payment_links;

drop view stripe.payment_method_configurations;

drop view stripe.payment_method_domains;

drop view stripe.payment_methods;

drop view stripe.payment_records;

drop view stripe.payouts;

drop view stripe.plans;

drop view stripe.prices;

drop view stripe.product_catalog_trial_offers;

drop view stripe.product_features;

drop view stripe.products;

drop view stripe.promotion_codes;

drop view stripe.quote_line_items;

drop view stripe.quotes;

drop view stripe.radar_early_fraud_warnings;

drop view stripe.radar_value_list_items;

drop view stripe.radar_value_lists;

drop view stripe.refunds;

drop view stripe.reporting_report_runs;

drop view stripe.reporting_report_types;

drop view stripe.reserve_holds;

drop view stripe.reserve_plans;

drop view stripe.reserve_releases;

drop view stripe.reviews;

drop view stripe.setup_attempts;

drop view stripe.setup_intents;

drop view stripe.shipping_rates;

drop view stripe.sigma_scheduled_query_runs;

drop view stripe.source_mandate_notifications;

drop view stripe.source_transactions;

drop view stripe.sources;

drop view stripe.subscription_items;

drop view stripe.subscription_schedules;

drop view stripe.subscriptions;

drop view stripe.tax_codes;

drop view stripe.tax_ids;

drop view stripe.tax_locations;

drop view stripe.tax_rates;

drop view stripe.tax_registrations;

drop view stripe.tax_settings;

drop view stripe.terminal_configurations;

drop view stripe.terminal_locations;

drop view stripe.terminal_readers;

drop view stripe.test_helpers_test_clocks;

drop view stripe.three_d_secure_authentications;

drop view stripe.topups;

drop view stripe.transfer_reversals;

drop view stripe.transfers;

drop view stripe.treasury_credit_reversals;

drop view stripe.treasury_debit_reversals;

drop view stripe.treasury_financial_accounts;

drop view stripe.treasury_inbound_transfers;

drop view stripe.treasury_outbound_payments;

drop view stripe.treasury_outbound_transfers;

drop view stripe.treasury_received_credits;

drop view stripe.treasury_received_debits;

drop view stripe.treasury_transaction_entries;

drop view stripe.treasury_transactions;

drop view stripe.webhook_endpoints;

create view stripe.charges as
SELECT id, account, customer, payment_intent, status, paid, captured, refunded, amount, amount_refunded,
    currency, disputed, failure_code, payment_method, balance_transaction, invoice, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at FROM
    mirror.charges;

create view stripe.checkout_session_line_items as
SELECT id, account, checkout_session, price, product, description, quantity, amount_subtotal, amount_total,
    currency, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev,
    unsettled, synced_at FROM mirror.checkout_session_line_items;

create view stripe.checkout_sessions as
SELECT id, account, customer, customer_details_email, client_reference_id, mode, status, payment_status,
    subscription, invoice, payment_intent, setup_intent, payment_link, amount_total, currency,
    metadata_user_id, expires_at, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at, metadata_product FROM mirror.checkout_sessions;

create view stripe.coupons as
SELECT id, account, name, percent_off, amount_off, currency, duration, duration_in_months, valid, redeem_by,
    times_redeemed, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev,
    unsettled, synced_at FROM mirror.coupons;

create view stripe.credit_notes as
SELECT id, account, customer, invoice, status, type, amount, total, returned, currency, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at FROM
    mirror.credit_notes;

create view stripe.customers as
SELECT id, account, email, name, metadata_user_id, currency, balance, delinquent,
    invoice_settings_default_payment_method, test_clock, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at FROM mirror.customers;

create view stripe.disputes as
SELECT id, account, charge, payment_intent, status, reason, amount, currency, evidence_details_due_by,
    is_charge_refundable, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at FROM mirror.disputes;

create view stripe.invoice_line_items as
SELECT id, account, invoice, amount, currency, price, product, subscription, subscription_item, proration,
    quantity, period_start, period_end, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at FROM mirror.invoice_line_items;

create view stripe.invoice_payments as
SELECT id, account, invoice, payment_type, payment_payment_intent, payment_charge, status, amount_requested,
    amount_paid, is_default, status_transitions_paid_at, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at FROM mirror.invoice_payments;

create view stripe.invoices as
SELECT id, account, customer, subscription, status, billing_reason, collection_method, amount_due,
    amount_paid, amount_remaining, total, currency, number, attempt_count, next_payment_attempt, period_start,
    period_end, due_date, status_transitions_finalized_at, status_transitions_paid_at,
    status_transitions_voided_at, status_transitions_marked_uncollectible_at, payment_intent, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
    FROM mirror.invoices;

create view stripe.other_objects as
SELECT object, id, account, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at FROM mirror.objects;

create view stripe.payment_intents as
SELECT id, account, customer, status, amount, amount_received, currency, latest_charge, payment_method,
    invoice, canceled_at, cancellation_reason, capture_method, description, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at FROM
    mirror.payment_intents;

create view stripe.payment_methods as
SELECT id, account, customer, type, card_brand, card_last4, card_exp_month, card_exp_year, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at FROM
    mirror.payment_methods;

create view stripe.plans as
SELECT id, account, product, active, amount, currency, "interval", interval_count, usage_type, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
    FROM mirror.plans;

create view stripe.prices as
SELECT id, account, product, active, type, currency, unit_amount, unit_amount_decimal, billing_scheme,
    recurring_interval, recurring_interval_count, recurring_trial_period_days, recurring_usage_type,
    lookup_key, nickname, metadata, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at FROM mirror.prices;

create view stripe.product_features as
SELECT id, account, product, entitlement_feature, entitlement_feature_lookup_key, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at FROM
    mirror.product_features;

create view stripe.products as
SELECT id, account, name, active, description, default_price, metadata, unit_label, tax_code, updated,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at FROM mirror.products;

create view stripe.refunds as
SELECT id, account, charge, payment_intent, status, amount, currency, reason, failure_reason, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
    FROM mirror.refunds;

create view stripe.subscription_items as
SELECT id, account, subscription, price, product, quantity, current_period_start, current_period_end,
    billed_until, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev,
    unsettled, synced_at FROM mirror.subscription_items;

create view stripe.subscriptions as
SELECT id, account, customer, customer_account, status, cancel_at, cancel_at_period_end, canceled_at,
    ended_at, start_date, trial_start, trial_end, current_period_start, current_period_end, collection_method,
    pause_collection_behavior, pause_collection_resumes_at, status_details_paused_subscription_type,
    billing_mode_type, latest_invoice, default_payment_method, schedule, currency, metadata_user_id,
    metadata_organization_id, test_clock, metadata, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at FROM mirror.subscriptions;

comment on schema stripe is null;

DROP INDEX mirror.ix_objects_parent;

ALTER TABLE mirror.objects DROP COLUMN parent;

DROP INDEX mirror.ix_objects_customer;

ALTER TABLE mirror.objects DROP COLUMN customer;

drop function mirror.as_id(jsonb);

drop function mirror.as_boolean(jsonb);

drop function mirror.as_bigint(jsonb);

drop function mirror.as_numeric(jsonb);

drop function mirror.as_time(jsonb, integer);

UPDATE sync.alembic_version SET version_num='0008' WHERE sync.alembic_version.version_num = '0009';

COMMIT;
