set lock_timeout = '5s';

set statement_timeout = '15min';

set timezone = 'UTC';

create schema if not exists sync;

BEGIN;

-- Running downgrade 0001 ->

DROP INDEX ix_user_subscriptions_user_id_status;

DROP INDEX ix_user_subscriptions_stripe_product_id_status;

DROP INDEX ix_user_subscriptions_stripe_price_id;

DROP INDEX ix_user_subscriptions_stripe_customer_id;

DROP INDEX ix_user_subscriptions_status_current_period_end;

DROP TABLE user_subscriptions;

DROP TABLE sync.overrides;

DROP INDEX sync.ix_customer_links_user_id;

DROP INDEX sync.ix_customer_links_unlinked;

DROP TABLE sync.customer_links;

DROP TABLE stripe_customers;

DROP INDEX ix_sessions_user_id;

DROP TABLE sessions;

DROP INDEX ix_payment_history_user_id_created_at;

DROP INDEX ix_payment_history_stripe_product_id;

DROP TABLE payment_history;

DROP INDEX ix_accounts_user_id;

DROP TABLE accounts;

DROP INDEX ix_users_tokens_expiring;

DROP INDEX ix_users_stripe_product_id;

DROP INDEX ix_users_role_membership_status;

DROP INDEX ix_users_organization_id;

DROP INDEX ix_users_email_folded;

DROP TABLE users;

DROP INDEX ix_stripe_prices_product_id_active;

DROP TABLE stripe_prices;

DROP TABLE verification_tokens;

DROP INDEX sync.ix_token_grants_user_id_id;

DROP INDEX sync.ix_token_grants_stripe_invoice_id;

DROP TABLE sync.token_grants;

DROP TABLE sync.drift;

DROP TABLE sync.asks;

DROP TABLE sync.counters;

DROP INDEX sync.ix_shards_run_id;

DROP TABLE sync.shards;

DROP INDEX sync.uq_runs_job_running;

DROP INDEX sync.uq_runs_job_slot;

DROP TABLE sync.runs;

DROP TABLE sync.recompute;

DROP TABLE sync.heartbeats;

DROP INDEX sync.ix_events_parked;

DROP INDEX sync.ix_events_object;

DROP INDEX sync.ix_events_due;

DROP TABLE sync.events;

DROP TABLE sync.cursors;

DROP INDEX ix_stripe_products_active;

DROP TABLE stripe_products;

DROP INDEX stripe.ix_subscriptions_unsettled;

DROP INDEX stripe.ix_subscriptions_status_created;

DROP INDEX stripe.ix_subscriptions_metadata_user_id;

DROP INDEX stripe.ix_subscriptions_customer;

DROP TABLE stripe.subscriptions;

DROP INDEX stripe.ix_subscription_items_unsettled;

DROP INDEX stripe.ix_subscription_items_subscription;

DROP INDEX stripe.ix_subscription_items_product;

DROP INDEX stripe.ix_subscription_items_price;

DROP TABLE stripe.subscription_items;

DROP INDEX stripe.ix_refunds_unsettled;

DROP INDEX stripe.ix_refunds_payment_intent;

DROP INDEX stripe.ix_refunds_charge;

DROP TABLE stripe.refunds;

DROP INDEX stripe.ix_products_unsettled;

DROP TABLE stripe.products;

DROP INDEX stripe.ix_prices_unsettled;

DROP INDEX stripe.ix_prices_product;

DROP TABLE stripe.prices;

DROP INDEX stripe.ix_plans_unsettled;

DROP TABLE stripe.plans;

DROP INDEX stripe.ix_payment_methods_unsettled;

DROP INDEX stripe.ix_payment_methods_customer;

DROP TABLE stripe.payment_methods;

DROP INDEX stripe.ix_payment_intents_unsettled;

DROP INDEX stripe.ix_payment_intents_customer;

DROP TABLE stripe.payment_intents;

DROP INDEX stripe.ix_other_objects_unsettled;

DROP TABLE stripe.other_objects;

DROP INDEX stripe.ix_invoices_unsettled;

DROP INDEX stripe.ix_invoices_subscription;

DROP INDEX stripe.ix_invoices_payment_intent;

DROP INDEX stripe.ix_invoices_customer;

DROP TABLE stripe.invoices;

DROP INDEX stripe.ix_invoice_payments_unsettled;

DROP INDEX stripe.ix_invoice_payments_payment_payment_intent;

DROP INDEX stripe.ix_invoice_payments_invoice;

DROP TABLE stripe.invoice_payments;

DROP INDEX stripe.ix_invoice_line_items_unsettled;

DROP INDEX stripe.ix_invoice_line_items_subscription;

DROP INDEX stripe.ix_invoice_line_items_product;

DROP INDEX stripe.ix_invoice_line_items_invoice;

DROP TABLE stripe.invoice_line_items;

DROP INDEX stripe.ix_disputes_unsettled;

DROP INDEX stripe.ix_disputes_payment_intent;

DROP INDEX stripe.ix_disputes_charge;

DROP TABLE stripe.disputes;

DROP INDEX stripe.ix_customers_unsettled;

DROP INDEX stripe.ix_customers_metadata_user_id;

DROP INDEX stripe.ix_customers_email;

DROP TABLE stripe.customers;

DROP INDEX stripe.ix_coupons_unsettled;

DROP TABLE stripe.coupons;

DROP INDEX stripe.ix_checkout_sessions_unsettled;

DROP INDEX stripe.ix_checkout_sessions_payment_intent;

DROP INDEX stripe.ix_checkout_sessions_customer;

DROP TABLE stripe.checkout_sessions;

DROP INDEX stripe.ix_charges_unsettled;

DROP INDEX stripe.ix_charges_payment_intent;

DROP INDEX stripe.ix_charges_customer;

DROP TABLE stripe.charges;

DROP TABLE organizations;

drop function sync.touch_updated_at();

drop type membership_status;

drop type user_role;

drop schema stripe;

DELETE FROM sync.alembic_version WHERE sync.alembic_version.version_num = '0001';

COMMIT;
