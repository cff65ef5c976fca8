-- A view for each Stripe object type: schema/views.py declares them.

create schema if not exists @{stripe};
comment on schema @{stripe} is 'Views of stripe-sync: the Stripe objects that the schema mirror holds.';

create view @{stripe}.account_capabilities as
select
    id, account, mirror.as_id(data -> 'account') as account_id,
    nullif(data -> 'future_requirements', 'null') as future_requirements, data ->> 'object' as object,
    mirror.as_boolean(data -> 'requested') as requested, mirror.as_time(data -> 'requested_at') as requested_at,
    nullif(data -> 'requirements', 'null') as requirements, data ->> 'status' as status, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'capability';

create view @{stripe}.account_persons as
select
    id, account, data ->> 'account' as account_id,
    nullif(data -> 'additional_tos_acceptances', 'null') as additional_tos_acceptances,
    nullif(data -> 'address', 'null') as address, nullif(data -> 'address_kana', 'null') as address_kana,
    nullif(data -> 'address_kanji', 'null') as address_kanji, nullif(data -> 'dob', 'null') as dob,
    data ->> 'email' as email, data ->> 'first_name' as first_name,
    data ->> 'first_name_kana' as first_name_kana, data ->> 'first_name_kanji' as first_name_kanji,
    nullif(data -> 'full_name_aliases', 'null') as full_name_aliases,
    nullif(data -> 'future_requirements', 'null') as future_requirements, data ->> 'gender' as gender,
    mirror.as_boolean(data -> 'id_number_provided') as id_number_provided,
    mirror.as_boolean(data -> 'id_number_secondary_provided') as id_number_secondary_provided,
    data ->> 'last_name' as last_name, data ->> 'last_name_kana' as last_name_kana,
    data ->> 'last_name_kanji' as last_name_kanji, data ->> 'maiden_name' as maiden_name,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'nationality' as nationality,
    data ->> 'object' as object, data ->> 'phone' as phone, data ->> 'political_exposure' as political_exposure,
    nullif(data -> 'registered_address', 'null') as registered_address,
    nullif(data -> 'relationship', 'null') as relationship,
    nullif(data -> 'requirements', 'null') as requirements,
    mirror.as_boolean(data -> 'ssn_last_4_provided') as ssn_last_4_provided,
    nullif(data -> 'us_cfpb_data', 'null') as us_cfpb_data,
    nullif(data -> 'verification', 'null') as verification, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'person';

create view @{stripe}.accounts as
select
    id, account, nullif(data -> 'business_profile', 'null') as business_profile,
    data ->> 'business_type' as business_type, nullif(data -> 'capabilities', 'null') as capabilities,
    mirror.as_boolean(data -> 'charges_enabled') as charges_enabled,
    nullif(data -> 'company', 'null') as company, nullif(data -> 'controller', 'null') as controller,
    data ->> 'country' as country, data ->> 'default_currency' as default_currency,
    mirror.as_boolean(data -> 'details_submitted') as details_submitted, data ->> 'email' as email,
    nullif(data -> 'external_accounts', 'null') as external_accounts,
    nullif(data -> 'future_requirements', 'null') as future_requirements,
    nullif(data -> 'groups', 'null') as groups, nullif(data -> 'individual', 'null') as individual,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    mirror.as_boolean(data -> 'payouts_enabled') as payouts_enabled,
    nullif(data -> 'requirements', 'null') as requirements, nullif(data -> 'settings', 'null') as settings,
    nullif(data -> 'tos_acceptance', 'null') as tos_acceptance, data ->> 'type' as type, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'account';

create view @{stripe}.active_entitlement_summaries as
select
    id, account, customer, nullif(data -> 'entitlements', 'null') as entitlements,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'entitlements.active_entitlement_summary';

create view @{stripe}.active_entitlements as
select
    id, account, mirror.as_id(data -> 'feature') as feature, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'lookup_key' as lookup_key, data ->> 'object' as object, parent as customer, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'entitlements.active_entitlement';

create view @{stripe}.apple_pay_domains as
select
    id, account, data ->> 'domain_name' as domain_name, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at
from mirror.objects
where object = 'apple_pay_domain';

create view @{stripe}.application_fee_refunds as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_id(data -> 'balance_transaction') as balance_transaction, data ->> 'currency' as currency,
    mirror.as_id(data -> 'fee') as fee, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at
from mirror.objects
where object = 'fee_refund';

create view @{stripe}.application_fees as
select
    id, account, mirror.as_id(data -> 'account') as account_id, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_bigint(data -> 'amount_refunded') as amount_refunded,
    mirror.as_id(data -> 'application') as application,
    mirror.as_id(data -> 'balance_transaction') as balance_transaction, mirror.as_id(data -> 'charge') as charge,
    data ->> 'currency' as currency, nullif(data -> 'fee_source', 'null') as fee_source,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    mirror.as_id(data -> 'originating_transaction') as originating_transaction,
    mirror.as_boolean(data -> 'refunded') as refunded, nullif(data -> 'refunds', 'null') as refunds, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'application_fee';

create view @{stripe}.applications as
select
    id, account, data ->> 'name' as name, data ->> 'object' as object, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'application';

create view @{stripe}.apps_installs as
select
    id, account, data ->> 'account' as account_id, data ->> 'app' as app,
    mirror.as_boolean(data -> 'approval_required') as approval_required, data ->> 'auth_code' as auth_code,
    data ->> 'channel' as channel,
    nullif(data -> 'content_security_policy_granted', 'null') as content_security_policy_granted,
    nullif(data -> 'content_security_policy_pending', 'null') as content_security_policy_pending,
    data ->> 'created_by' as created_by, nullif(data -> 'endpoints_granted', 'null') as endpoints_granted,
    nullif(data -> 'endpoints_pending', 'null') as endpoints_pending,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    nullif(data -> 'permissions_granted', 'null') as permissions_granted,
    nullif(data -> 'permissions_pending', 'null') as permissions_pending, data ->> 'status' as status, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'apps.install';

create view @{stripe}.balance_settings as
select
    id, account, data ->> 'object' as object, nullif(data -> 'payments', 'null') as payments, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'balance_settings';

create view @{stripe}.balance_transactions as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_time(data -> 'available_on') as available_on, data ->> 'balance_type' as balance_type,
    data ->> 'currency' as currency, data ->> 'description' as description,
    mirror.as_numeric(data -> 'exchange_rate') as exchange_rate, mirror.as_bigint(data -> 'fee') as fee,
    nullif(data -> 'fee_details', 'null') as fee_details, mirror.as_bigint(data -> 'net') as net,
    data ->> 'object' as object, data ->> 'reporting_category' as reporting_category,
    mirror.as_id(data -> 'source') as source, data ->> 'status' as status, data ->> 'type' as type,
    parent as payout, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev,
    unsettled, synced_at
from mirror.objects
where object = 'balance_transaction';

create view @{stripe}.balances as
select
    id, account, nullif(data -> 'available', 'null') as available,
    nullif(data -> 'connect_reserved', 'null') as connect_reserved,
    nullif(data -> 'instant_available', 'null') as instant_available,
    nullif(data -> 'issuing', 'null') as issuing, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, nullif(data -> 'pending', 'null') as pending,
    nullif(data -> 'refund_and_dispute_prefunding', 'null') as refund_and_dispute_prefunding, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'balance';

create view @{stripe}.bank_accounts as
select
    id, account, data ->> 'account_holder_name' as account_holder_name,
    data ->> 'account_holder_type' as account_holder_type, mirror.as_id(data -> 'account') as account_id,
    data ->> 'account_type' as account_type,
    nullif(data -> 'available_payout_methods', 'null') as available_payout_methods,
    data ->> 'bank_name' as bank_name, data ->> 'country' as country, data ->> 'currency' as currency, customer,
    mirror.as_boolean(data -> 'default_for_currency') as default_for_currency,
    data ->> 'fingerprint' as fingerprint, nullif(data -> 'future_requirements', 'null') as future_requirements,
    data ->> 'last4' as last4, nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    nullif(data -> 'requirements', 'null') as requirements, data ->> 'routing_number' as routing_number,
    data ->> 'status' as status, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at
from mirror.objects
where object = 'bank_account';

create view @{stripe}.billing_alerts as
select
    id, account, data ->> 'alert_type' as alert_type, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, data ->> 'status' as status, data ->> 'title' as title,
    nullif(data -> 'usage_threshold', 'null') as usage_threshold, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'billing.alert';

create view @{stripe}.billing_alerts_triggered as
select
    id, account, nullif(data -> 'alert', 'null') as alert, customer,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    mirror.as_bigint(data -> 'value') as value, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'billing.alert_triggered';

create view @{stripe}.billing_credit_balance_transactions as
select
    id, account, nullif(data -> 'credit', 'null') as credit,
    mirror.as_id(data -> 'credit_grant') as credit_grant, nullif(data -> 'debit', 'null') as debit,
    mirror.as_time(data -> 'effective_at') as effective_at, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, mirror.as_id(data -> 'test_clock') as test_clock, data ->> 'type' as type,
    parent as customer, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape,
    rev, unsettled, synced_at
from mirror.objects
where object = 'billing.credit_balance_transaction';

create view @{stripe}.billing_credit_grants as
select
    id, account, nullif(data -> 'amount', 'null') as amount,
    nullif(data -> 'applicability_config', 'null') as applicability_config, data ->> 'category' as category,
    customer, data ->> 'customer_account' as customer_account,
    mirror.as_time(data -> 'effective_at') as effective_at, mirror.as_time(data -> 'expires_at') as expires_at,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'name' as name, data ->> 'object' as object, mirror.as_bigint(data -> 'priority') as priority,
    mirror.as_id(data -> 'test_clock') as test_clock, mirror.as_time(data -> 'updated') as updated,
    mirror.as_time(data -> 'voided_at') as voided_at, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'billing.credit_grant';

create view @{stripe}.billing_feedback_options as
select
    id, account, data ->> 'description' as description, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, data ->> 'status' as status,
    nullif(data -> 'status_transitions', 'null') as status_transitions, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'billing.feedback_option';

create view @{stripe}.billing_meters as
select
    id, account, nullif(data -> 'customer_mapping', 'null') as customer_mapping,
    nullif(data -> 'default_aggregation', 'null') as default_aggregation,
    data ->> 'display_name' as display_name, data ->> 'event_name' as event_name,
    data ->> 'event_time_window' as event_time_window, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, data ->> 'status' as status,
    nullif(data -> 'status_transitions', 'null') as status_transitions,
    mirror.as_time(data -> 'updated') as updated, nullif(data -> 'value_settings', 'null') as value_settings,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'billing.meter';

create view @{stripe}.billing_portal_configurations as
select
    id, account, mirror.as_boolean(data -> 'active') as active,
    mirror.as_id(data -> 'application') as application,
    nullif(data -> 'business_profile', 'null') as business_profile,
    data ->> 'default_return_url' as default_return_url, nullif(data -> 'features', 'null') as features,
    mirror.as_boolean(data -> 'is_default') as is_default, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'login_page', 'null') as login_page, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'name' as name, data ->> 'object' as object, mirror.as_time(data -> 'updated') as updated, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'billing_portal.configuration';

create view @{stripe}.billing_portal_sessions as
select
    id, account, nullif(data -> 'after_expiration', 'null') as after_expiration,
    mirror.as_id(data -> 'configuration') as configuration, customer,
    data ->> 'customer_account' as customer_account, nullif(data -> 'flow', 'null') as flow,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'locale' as locale, data ->> 'object' as object,
    data ->> 'on_behalf_of' as on_behalf_of, data ->> 'return_url' as return_url, data ->> 'url' as url, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'billing_portal.session';

create view @{stripe}.cards as
select
    id, account, mirror.as_id(data -> 'account') as account_id, data ->> 'address_city' as address_city,
    data ->> 'address_country' as address_country, data ->> 'address_line1' as address_line1,
    data ->> 'address_line1_check' as address_line1_check, data ->> 'address_line2' as address_line2,
    data ->> 'address_state' as address_state, data ->> 'address_zip' as address_zip,
    data ->> 'address_zip_check' as address_zip_check, data ->> 'allow_redisplay' as allow_redisplay,
    nullif(data -> 'available_payout_methods', 'null') as available_payout_methods, data ->> 'brand' as brand,
    data ->> 'country' as country, data ->> 'currency' as currency, customer, data ->> 'cvc_check' as cvc_check,
    mirror.as_boolean(data -> 'default_for_currency') as default_for_currency,
    data ->> 'description' as description, data ->> 'dynamic_last4' as dynamic_last4,
    mirror.as_bigint(data -> 'exp_month') as exp_month, mirror.as_bigint(data -> 'exp_year') as exp_year,
    data ->> 'fingerprint' as fingerprint, data ->> 'funding' as funding, data ->> 'iin' as iin,
    data ->> 'issuer' as issuer, data ->> 'last4' as last4, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'name' as name, nullif(data -> 'networks', 'null') as networks, data ->> 'object' as object,
    data ->> 'regulated_status' as regulated_status, data ->> 'status' as status,
    data ->> 'tokenization_method' as tokenization_method, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'card';

create view @{stripe}.cash_balances as
select
    id, account, nullif(data -> 'available', 'null') as available, customer,
    data ->> 'customer_account' as customer_account, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, nullif(data -> 'settings', 'null') as settings, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'cash_balance';

create view @{stripe}.charges as
select
    id, account, amount, mirror.as_bigint(data -> 'amount_captured') as amount_captured, amount_refunded,
    mirror.as_id(data -> 'application') as application,
    mirror.as_id(data -> 'application_fee') as application_fee,
    mirror.as_bigint(data -> 'application_fee_amount') as application_fee_amount,
    data ->> 'authorization_code' as authorization_code, balance_transaction,
    nullif(data -> 'billing_details', 'null') as billing_details,
    data ->> 'calculated_statement_descriptor' as calculated_statement_descriptor, captured, currency, customer,
    data ->> 'description' as description, disputed,
    mirror.as_id(data -> 'failure_balance_transaction') as failure_balance_transaction, failure_code,
    data ->> 'failure_message' as failure_message, nullif(data -> 'fraud_details', 'null') as fraud_details,
    invoice, nullif(data -> 'level3', 'null') as level3, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    mirror.as_id(data -> 'on_behalf_of') as on_behalf_of, nullif(data -> 'outcome', 'null') as outcome, paid,
    payment_intent, payment_method, nullif(data -> 'payment_method_details', 'null') as payment_method_details,
    nullif(data -> 'presentment_details', 'null') as presentment_details,
    nullif(data -> 'radar_options', 'null') as radar_options, data ->> 'receipt_email' as receipt_email,
    data ->> 'receipt_number' as receipt_number, data ->> 'receipt_url' as receipt_url, refunded,
    nullif(data -> 'refunds', 'null') as refunds, mirror.as_id(data -> 'review') as review,
    nullif(data -> 'shipping', 'null') as shipping, nullif(data -> 'source', 'null') as source,
    mirror.as_id(data -> 'source_transfer') as source_transfer,
    data ->> 'statement_descriptor' as statement_descriptor,
    data ->> 'statement_descriptor_suffix' as statement_descriptor_suffix, status,
    mirror.as_id(data -> 'transfer') as transfer, nullif(data -> 'transfer_data', 'null') as transfer_data,
    data ->> 'transfer_group' as transfer_group, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
from mirror.charges;

create view @{stripe}.checkout_session_line_items as
select
    id, account, nullif(data -> 'adjustable_quantity', 'null') as adjustable_quantity,
    mirror.as_bigint(data -> 'amount_discount') as amount_discount, amount_subtotal,
    mirror.as_bigint(data -> 'amount_tax') as amount_tax, amount_total, checkout_session, currency, description,
    nullif(data -> 'discounts', 'null') as discounts, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, price, product, quantity, nullif(data -> 'taxes', 'null') as taxes, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.checkout_session_line_items;

create view @{stripe}.checkout_sessions as
select
    id, account, nullif(data -> 'adaptive_pricing', 'null') as adaptive_pricing,
    nullif(data -> 'after_expiration', 'null') as after_expiration,
    mirror.as_boolean(data -> 'allow_promotion_codes') as allow_promotion_codes,
    nullif(data -> 'allowed_payment_method_types', 'null') as allowed_payment_method_types,
    mirror.as_bigint(data -> 'amount_subtotal') as amount_subtotal, amount_total,
    nullif(data -> 'automatic_tax', 'null') as automatic_tax,
    data ->> 'billing_address_collection' as billing_address_collection,
    nullif(data -> 'branding_settings', 'null') as branding_settings, data ->> 'cancel_url' as cancel_url,
    client_reference_id, data ->> 'client_secret' as client_secret,
    nullif(data -> 'collected_information', 'null') as collected_information,
    nullif(data -> 'consent', 'null') as consent,
    nullif(data -> 'consent_collection', 'null') as consent_collection, currency,
    nullif(data -> 'currency_conversion', 'null') as currency_conversion,
    nullif(data -> 'custom_fields', 'null') as custom_fields,
    nullif(data -> 'custom_text', 'null') as custom_text, customer,
    data ->> 'customer_account' as customer_account, data ->> 'customer_creation' as customer_creation,
    nullif(data -> 'customer_details', 'null') as customer_details, customer_details_email,
    data ->> 'customer_email' as customer_email, nullif(data -> 'discounts', 'null') as discounts,
    nullif(data -> 'excluded_payment_method_types', 'null') as excluded_payment_method_types, expires_at,
    data ->> 'integration_identifier' as integration_identifier, invoice,
    nullif(data -> 'invoice_creation', 'null') as invoice_creation,
    nullif(data -> 'line_items', 'null') as line_items, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'locale' as locale, nullif(data -> 'managed_payments', 'null') as managed_payments,
    nullif(data -> 'metadata', 'null') as metadata, metadata_product, metadata_user_id, mode,
    nullif(data -> 'name_collection', 'null') as name_collection, data ->> 'object' as object,
    nullif(data -> 'optional_items', 'null') as optional_items, data ->> 'origin_context' as origin_context,
    payment_intent, payment_link, data ->> 'payment_method_collection' as payment_method_collection,
    nullif(data -> 'payment_method_configuration_details', 'null') as payment_method_configuration_details,
    nullif(data -> 'payment_method_options', 'null') as payment_method_options,
    nullif(data -> 'payment_method_types', 'null') as payment_method_types, payment_status,
    nullif(data -> 'permissions', 'null') as permissions,
    nullif(data -> 'phone_number_collection', 'null') as phone_number_collection,
    nullif(data -> 'presentment_details', 'null') as presentment_details,
    data ->> 'recovered_from' as recovered_from, data ->> 'redirect_on_completion' as redirect_on_completion,
    data ->> 'return_url' as return_url,
    nullif(data -> 'saved_payment_method_options', 'null') as saved_payment_method_options, setup_intent,
    nullif(data -> 'shipping_address_collection', 'null') as shipping_address_collection,
    nullif(data -> 'shipping_cost', 'null') as shipping_cost,
    nullif(data -> 'shipping_options', 'null') as shipping_options, status,
    data ->> 'submit_type' as submit_type, subscription, data ->> 'success_url' as success_url,
    nullif(data -> 'tax_id_collection', 'null') as tax_id_collection,
    nullif(data -> 'total_details', 'null') as total_details, data ->> 'ui_mode' as ui_mode,
    data ->> 'url' as url, nullif(data -> 'wallet_options', 'null') as wallet_options, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.checkout_sessions;

create view @{stripe}.climate_orders as
select
    id, account, mirror.as_bigint(data -> 'amount_fees') as amount_fees,
    mirror.as_bigint(data -> 'amount_subtotal') as amount_subtotal,
    mirror.as_bigint(data -> 'amount_total') as amount_total,
    nullif(data -> 'beneficiary', 'null') as beneficiary, mirror.as_time(data -> 'canceled_at') as canceled_at,
    data ->> 'cancellation_reason' as cancellation_reason, data ->> 'certificate' as certificate,
    mirror.as_time(data -> 'confirmed_at') as confirmed_at, data ->> 'currency' as currency,
    mirror.as_time(data -> 'delayed_at') as delayed_at, mirror.as_time(data -> 'delivered_at') as delivered_at,
    nullif(data -> 'delivery_details', 'null') as delivery_details,
    mirror.as_bigint(data -> 'expected_delivery_year') as expected_delivery_year,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    mirror.as_numeric(data -> 'metric_tons') as metric_tons, data ->> 'object' as object,
    mirror.as_id(data -> 'product') as product,
    mirror.as_time(data -> 'product_substituted_at') as product_substituted_at, data ->> 'status' as status,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'climate.order';

create view @{stripe}.climate_products as
select
    id, account, nullif(data -> 'current_prices_per_metric_ton', 'null') as current_prices_per_metric_ton,
    mirror.as_bigint(data -> 'delivery_year') as delivery_year,
    mirror.as_boolean(data -> 'livemode') as livemode,
    mirror.as_numeric(data -> 'metric_tons_available') as metric_tons_available, data ->> 'name' as name,
    data ->> 'object' as object, nullif(data -> 'suppliers', 'null') as suppliers, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'climate.product';

create view @{stripe}.climate_suppliers as
select
    id, account, data ->> 'info_url' as info_url, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'locations', 'null') as locations, data ->> 'name' as name, data ->> 'object' as object,
    data ->> 'removal_pathway' as removal_pathway, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'climate.supplier';

create view @{stripe}.country_specs as
select
    id, account, data ->> 'default_currency' as default_currency, data ->> 'object' as object,
    nullif(data -> 'supported_bank_account_currencies', 'null') as supported_bank_account_currencies,
    nullif(data -> 'supported_payment_currencies', 'null') as supported_payment_currencies,
    nullif(data -> 'supported_payment_methods', 'null') as supported_payment_methods,
    nullif(data -> 'supported_transfer_countries', 'null') as supported_transfer_countries,
    nullif(data -> 'verification_fields', 'null') as verification_fields, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'country_spec';

create view @{stripe}.coupons as
select
    id, account, amount_off, nullif(data -> 'applies_to', 'null') as applies_to, currency,
    nullif(data -> 'currency_options', 'null') as currency_options, duration, duration_in_months,
    mirror.as_boolean(data -> 'livemode') as livemode,
    mirror.as_bigint(data -> 'max_redemptions') as max_redemptions,
    nullif(data -> 'metadata', 'null') as metadata, name, data ->> 'object' as object, percent_off, redeem_by,
    times_redeemed, valid, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape,
    rev, unsettled, synced_at
from mirror.coupons;

create view @{stripe}.credit_note_lines as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount, data ->> 'description' as description,
    mirror.as_bigint(data -> 'discount_amount') as discount_amount,
    nullif(data -> 'discount_amounts', 'null') as discount_amounts,
    data ->> 'invoice_line_item' as invoice_line_item, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    nullif(data -> 'pretax_credit_amounts', 'null') as pretax_credit_amounts,
    mirror.as_bigint(data -> 'quantity') as quantity, nullif(data -> 'tax_rates', 'null') as tax_rates,
    nullif(data -> 'taxes', 'null') as taxes, data ->> 'type' as type,
    mirror.as_bigint(data -> 'unit_amount') as unit_amount,
    mirror.as_numeric(data -> 'unit_amount_decimal') as unit_amount_decimal, parent as credit_note, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'credit_note_line_item';

create view @{stripe}.credit_notes as
select
    id, account, amount, mirror.as_bigint(data -> 'amount_shipping') as amount_shipping, currency, customer,
    data ->> 'customer_account' as customer_account,
    mirror.as_id(data -> 'customer_balance_transaction') as customer_balance_transaction,
    mirror.as_bigint(data -> 'discount_amount') as discount_amount,
    nullif(data -> 'discount_amounts', 'null') as discount_amounts,
    mirror.as_time(data -> 'effective_at') as effective_at, invoice, nullif(data -> 'lines', 'null') as lines,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'memo' as memo,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'number' as number, data ->> 'object' as object,
    mirror.as_bigint(data -> 'out_of_band_amount') as out_of_band_amount, data ->> 'pdf' as pdf,
    mirror.as_bigint(data -> 'post_payment_amount') as post_payment_amount,
    mirror.as_bigint(data -> 'pre_payment_amount') as pre_payment_amount,
    nullif(data -> 'pretax_credit_amounts', 'null') as pretax_credit_amounts, data ->> 'reason' as reason,
    nullif(data -> 'refunds', 'null') as refunds, returned,
    nullif(data -> 'shipping_cost', 'null') as shipping_cost, status,
    mirror.as_bigint(data -> 'subtotal') as subtotal,
    mirror.as_bigint(data -> 'subtotal_excluding_tax') as subtotal_excluding_tax, total,
    mirror.as_bigint(data -> 'total_excluding_tax') as total_excluding_tax,
    nullif(data -> 'total_taxes', 'null') as total_taxes, type, mirror.as_time(data -> 'voided_at') as voided_at,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.credit_notes;

create view @{stripe}.customer_balance_transactions as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_id(data -> 'checkout_session') as checkout_session,
    mirror.as_id(data -> 'credit_note') as credit_note, data ->> 'currency' as currency, customer,
    data ->> 'customer_account' as customer_account, data ->> 'description' as description,
    mirror.as_bigint(data -> 'ending_balance') as ending_balance, mirror.as_id(data -> 'invoice') as invoice,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, data ->> 'type' as type, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'customer_balance_transaction';

create view @{stripe}.customer_cash_balance_transactions as
select
    id, account, nullif(data -> 'adjusted_for_overdraft', 'null') as adjusted_for_overdraft,
    nullif(data -> 'applied_to_payment', 'null') as applied_to_payment, data ->> 'currency' as currency,
    customer, data ->> 'customer_account' as customer_account,
    mirror.as_bigint(data -> 'ending_balance') as ending_balance, nullif(data -> 'funded', 'null') as funded,
    mirror.as_boolean(data -> 'livemode') as livemode, mirror.as_bigint(data -> 'net_amount') as net_amount,
    data ->> 'object' as object, nullif(data -> 'refunded_from_payment', 'null') as refunded_from_payment,
    nullif(data -> 'transferred_to_balance', 'null') as transferred_to_balance, data ->> 'type' as type,
    nullif(data -> 'unapplied_from_payment', 'null') as unapplied_from_payment, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'customer_cash_balance_transaction';

create view @{stripe}.customers as
select
    id, account, nullif(data -> 'address', 'null') as address, balance,
    data ->> 'business_name' as business_name, nullif(data -> 'cash_balance', 'null') as cash_balance, currency,
    data ->> 'customer_account' as customer_account, mirror.as_id(data -> 'default_source') as default_source,
    delinquent, data ->> 'description' as description, nullif(data -> 'discount', 'null') as discount, email,
    data ->> 'individual_name' as individual_name,
    nullif(data -> 'invoice_credit_balance', 'null') as invoice_credit_balance,
    data ->> 'invoice_prefix' as invoice_prefix, nullif(data -> 'invoice_settings', 'null') as invoice_settings,
    invoice_settings_default_payment_method, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, metadata_user_id, name,
    mirror.as_bigint(data -> 'next_invoice_sequence') as next_invoice_sequence, data ->> 'object' as object,
    data ->> 'phone' as phone, nullif(data -> 'preferred_locales', 'null') as preferred_locales,
    nullif(data -> 'shipping', 'null') as shipping, nullif(data -> 'sources', 'null') as sources,
    nullif(data -> 'subscriptions', 'null') as subscriptions, nullif(data -> 'tax', 'null') as tax,
    data ->> 'tax_exempt' as tax_exempt, nullif(data -> 'tax_ids', 'null') as tax_ids, test_clock, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.customers;

create view @{stripe}.discounts as
select
    id, account, data ->> 'checkout_session' as checkout_session, customer,
    data ->> 'customer_account' as customer_account, mirror.as_time(data -> 'end') as "end",
    data ->> 'invoice' as invoice, data ->> 'invoice_item' as invoice_item, data ->> 'object' as object,
    mirror.as_id(data -> 'promotion_code') as promotion_code, nullif(data -> 'source', 'null') as source,
    mirror.as_time(data -> 'start') as start, data ->> 'subscription' as subscription,
    data ->> 'subscription_item' as subscription_item, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'discount';

create view @{stripe}.disputes as
select
    id, account, amount, nullif(data -> 'balance_transactions', 'null') as balance_transactions, charge,
    currency, nullif(data -> 'enhanced_eligibility_types', 'null') as enhanced_eligibility_types,
    nullif(data -> 'evidence', 'null') as evidence,
    nullif(data -> 'evidence_details', 'null') as evidence_details, evidence_details_due_by,
    data ->> 'intended_submission_method' as intended_submission_method, is_charge_refundable,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'network_reason_code' as network_reason_code, data ->> 'object' as object, payment_intent,
    nullif(data -> 'payment_method_details', 'null') as payment_method_details, reason, status, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.disputes;

create view @{stripe}.entitlements_features as
select
    id, account, mirror.as_boolean(data -> 'active') as active,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'lookup_key' as lookup_key,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'name' as name, data ->> 'object' as object,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'entitlements.feature';

create view @{stripe}.exchange_rates as
select
    id, account, data ->> 'object' as object, nullif(data -> 'rates', 'null') as rates, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'exchange_rate';

create view @{stripe}.file_links as
select
    id, account, mirror.as_boolean(data -> 'expired') as expired,
    mirror.as_time(data -> 'expires_at') as expires_at, mirror.as_id(data -> 'file') as file,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, data ->> 'url' as url, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'file_link';

create view @{stripe}.files as
select
    id, account, mirror.as_time(data -> 'expires_at') as expires_at, data ->> 'filename' as filename,
    nullif(data -> 'links', 'null') as links, data ->> 'object' as object, data ->> 'purpose' as purpose,
    mirror.as_bigint(data -> 'size') as size, data ->> 'title' as title, data ->> 'type' as type,
    data ->> 'url' as url, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape,
    rev, unsettled, synced_at
from mirror.objects
where object = 'file';

create view @{stripe}.financial_connections_accounts as
select
    id, account, nullif(data -> 'account_holder', 'null') as account_holder,
    nullif(data -> 'account_numbers', 'null') as account_numbers, nullif(data -> 'balance', 'null') as balance,
    nullif(data -> 'balance_refresh', 'null') as balance_refresh, data ->> 'category' as category,
    data ->> 'display_name' as display_name, data ->> 'institution_name' as institution_name,
    data ->> 'last4' as last4, mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    mirror.as_id(data -> 'ownership') as ownership,
    nullif(data -> 'ownership_refresh', 'null') as ownership_refresh,
    nullif(data -> 'permissions', 'null') as permissions, data ->> 'status' as status,
    nullif(data -> 'status_details', 'null') as status_details, data ->> 'subcategory' as subcategory,
    nullif(data -> 'subscriptions', 'null') as subscriptions,
    nullif(data -> 'supported_payment_method_types', 'null') as supported_payment_method_types,
    nullif(data -> 'transaction_refresh', 'null') as transaction_refresh, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'financial_connections.account';

create view @{stripe}.financial_connections_authorizations as
select
    id, account, data ->> 'institution_name' as institution_name,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object, data ->> 'status' as status,
    nullif(data -> 'status_details', 'null') as status_details, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'financial_connections.authorization';

create view @{stripe}.financial_connections_transactions as
select
    id, account, data ->> 'account' as account_id, mirror.as_bigint(data -> 'amount') as amount,
    data ->> 'currency' as currency, data ->> 'description' as description,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object, data ->> 'status' as status,
    nullif(data -> 'status_transitions', 'null') as status_transitions,
    mirror.as_time(data -> 'transacted_at') as transacted_at,
    data ->> 'transaction_refresh' as transaction_refresh, mirror.as_time(data -> 'updated') as updated, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'financial_connections.transaction';

create view @{stripe}.forwarding_requests as
select
    id, account, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    data ->> 'payment_method' as payment_method, nullif(data -> 'replacements', 'null') as replacements,
    nullif(data -> 'request_context', 'null') as request_context,
    nullif(data -> 'request_details', 'null') as request_details,
    nullif(data -> 'response_details', 'null') as response_details, data ->> 'url' as url, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'forwarding.request';

create view @{stripe}.identity_verification_reports as
select
    id, account, data ->> 'client_reference_id' as client_reference_id,
    nullif(data -> 'document', 'null') as document, nullif(data -> 'email', 'null') as email,
    nullif(data -> 'id_number', 'null') as id_number, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, nullif(data -> 'options', 'null') as options,
    nullif(data -> 'phone', 'null') as phone, nullif(data -> 'selfie', 'null') as selfie,
    data ->> 'type' as type, data ->> 'verification_flow' as verification_flow,
    data ->> 'verification_session' as verification_session, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'identity.verification_report';

create view @{stripe}.identity_verification_sessions as
select
    id, account, data ->> 'client_reference_id' as client_reference_id,
    data ->> 'client_secret' as client_secret, nullif(data -> 'last_error', 'null') as last_error,
    mirror.as_id(data -> 'last_verification_report') as last_verification_report,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'options', 'null') as options,
    nullif(data -> 'provided_details', 'null') as provided_details,
    nullif(data -> 'redaction', 'null') as redaction, data ->> 'related_customer' as related_customer,
    data ->> 'related_customer_account' as related_customer_account,
    nullif(data -> 'related_person', 'null') as related_person, data ->> 'status' as status,
    data ->> 'type' as type, data ->> 'url' as url, data ->> 'verification_flow' as verification_flow,
    nullif(data -> 'verified_outputs', 'null') as verified_outputs, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'identity.verification_session';

create view @{stripe}.invoice_line_items as
select
    id, account, amount, currency, data ->> 'description' as description,
    nullif(data -> 'discount_amounts', 'null') as discount_amounts,
    mirror.as_boolean(data -> 'discountable') as discountable, nullif(data -> 'discounts', 'null') as discounts,
    invoice, mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'parent', 'null') as parent,
    nullif(data -> 'period', 'null') as period, period_end, period_start,
    nullif(data -> 'pretax_credit_amounts', 'null') as pretax_credit_amounts, price,
    nullif(data -> 'pricing', 'null') as pricing, product, proration, quantity,
    mirror.as_numeric(data -> 'quantity_decimal') as quantity_decimal, subscription, subscription_item,
    mirror.as_bigint(data -> 'subtotal') as subtotal, nullif(data -> 'taxes', 'null') as taxes, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.invoice_line_items;

create view @{stripe}.invoice_payments as
select
    id, account, amount_paid, amount_requested, data ->> 'currency' as currency, invoice, is_default,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    nullif(data -> 'payment', 'null') as payment, payment_charge, payment_payment_intent, payment_type, status,
    nullif(data -> 'status_transitions', 'null') as status_transitions, status_transitions_paid_at, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.invoice_payments;

create view @{stripe}.invoice_rendering_templates as
select
    id, account, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'nickname' as nickname, data ->> 'object' as object,
    data ->> 'status' as status, mirror.as_bigint(data -> 'version') as version, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'invoice_rendering_template';

create view @{stripe}.invoiceitems as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount, data ->> 'currency' as currency, customer,
    data ->> 'customer_account' as customer_account, mirror.as_time(data -> 'date') as date,
    data ->> 'description' as description, mirror.as_boolean(data -> 'discountable') as discountable,
    nullif(data -> 'discounts', 'null') as discounts, nullif(data -> 'frozen_fields', 'null') as frozen_fields,
    mirror.as_id(data -> 'invoice') as invoice, nullif(data -> 'invoicing_rules', 'null') as invoicing_rules,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    mirror.as_bigint(data -> 'net_amount') as net_amount, data ->> 'object' as object,
    nullif(data -> 'parent', 'null') as parent, nullif(data -> 'period', 'null') as period,
    nullif(data -> 'pricing', 'null') as pricing, mirror.as_boolean(data -> 'proration') as proration,
    nullif(data -> 'proration_details', 'null') as proration_details,
    mirror.as_bigint(data -> 'quantity') as quantity,
    mirror.as_numeric(data -> 'quantity_decimal') as quantity_decimal,
    nullif(data -> 'tax_rates', 'null') as tax_rates, mirror.as_id(data -> 'test_clock') as test_clock, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'invoiceitem';

create view @{stripe}.invoices as
select
    id, account, data ->> 'account_country' as account_country, data ->> 'account_name' as account_name,
    nullif(data -> 'account_tax_ids', 'null') as account_tax_ids, amount_due,
    mirror.as_bigint(data -> 'amount_overpaid') as amount_overpaid, amount_paid,
    mirror.as_bigint(data -> 'amount_paid_off_stripe') as amount_paid_off_stripe, amount_remaining,
    mirror.as_bigint(data -> 'amount_shipping') as amount_shipping,
    mirror.as_id(data -> 'application') as application, attempt_count,
    mirror.as_boolean(data -> 'attempted') as attempted,
    mirror.as_boolean(data -> 'auto_advance') as auto_advance,
    nullif(data -> 'automatic_tax', 'null') as automatic_tax,
    mirror.as_time(data -> 'automatically_finalizes_at') as automatically_finalizes_at, billing_reason,
    collection_method, nullif(data -> 'confirmation_secret', 'null') as confirmation_secret, currency,
    nullif(data -> 'custom_fields', 'null') as custom_fields, customer,
    data ->> 'customer_account' as customer_account,
    nullif(data -> 'customer_address', 'null') as customer_address, data ->> 'customer_email' as customer_email,
    data ->> 'customer_name' as customer_name, data ->> 'customer_phone' as customer_phone,
    nullif(data -> 'customer_shipping', 'null') as customer_shipping,
    data ->> 'customer_tax_exempt' as customer_tax_exempt,
    nullif(data -> 'customer_tax_ids', 'null') as customer_tax_ids,
    mirror.as_id(data -> 'default_payment_method') as default_payment_method,
    mirror.as_id(data -> 'default_source') as default_source,
    nullif(data -> 'default_tax_rates', 'null') as default_tax_rates, data ->> 'description' as description,
    nullif(data -> 'discounts', 'null') as discounts, due_date,
    mirror.as_time(data -> 'effective_at') as effective_at,
    mirror.as_bigint(data -> 'ending_balance') as ending_balance, data ->> 'footer' as footer,
    nullif(data -> 'from_invoice', 'null') as from_invoice, data ->> 'hosted_invoice_url' as hosted_invoice_url,
    data ->> 'invoice_pdf' as invoice_pdf, nullif(data -> 'issuer', 'null') as issuer,
    nullif(data -> 'last_finalization_error', 'null') as last_finalization_error,
    mirror.as_id(data -> 'latest_revision') as latest_revision, nullif(data -> 'lines', 'null') as lines,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    next_payment_attempt, number, data ->> 'object' as object,
    mirror.as_id(data -> 'on_behalf_of') as on_behalf_of, nullif(data -> 'parent', 'null') as parent,
    payment_intent, nullif(data -> 'payment_settings', 'null') as payment_settings,
    nullif(data -> 'payments', 'null') as payments, period_end, period_start,
    mirror.as_bigint(data -> 'post_payment_credit_notes_amount') as post_payment_credit_notes_amount,
    mirror.as_bigint(data -> 'pre_payment_credit_notes_amount') as pre_payment_credit_notes_amount,
    data ->> 'receipt_number' as receipt_number, nullif(data -> 'rendering', 'null') as rendering,
    nullif(data -> 'shipping_cost', 'null') as shipping_cost,
    nullif(data -> 'shipping_details', 'null') as shipping_details,
    mirror.as_bigint(data -> 'starting_balance') as starting_balance,
    data ->> 'statement_descriptor' as statement_descriptor, status,
    nullif(data -> 'status_details', 'null') as status_details,
    nullif(data -> 'status_transitions', 'null') as status_transitions, status_transitions_finalized_at,
    status_transitions_marked_uncollectible_at, status_transitions_paid_at, status_transitions_voided_at,
    subscription, mirror.as_bigint(data -> 'subtotal') as subtotal,
    mirror.as_bigint(data -> 'subtotal_excluding_tax') as subtotal_excluding_tax,
    mirror.as_id(data -> 'test_clock') as test_clock,
    nullif(data -> 'threshold_reason', 'null') as threshold_reason, total,
    nullif(data -> 'total_discount_amounts', 'null') as total_discount_amounts,
    mirror.as_bigint(data -> 'total_excluding_tax') as total_excluding_tax,
    nullif(data -> 'total_pretax_credit_amounts', 'null') as total_pretax_credit_amounts,
    nullif(data -> 'total_taxes', 'null') as total_taxes,
    mirror.as_time(data -> 'webhooks_delivered_at') as webhooks_delivered_at, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.invoices;

create view @{stripe}.issuing_authorizations as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    nullif(data -> 'amount_details', 'null') as amount_details,
    mirror.as_boolean(data -> 'approved') as approved, data ->> 'authorization_method' as authorization_method,
    nullif(data -> 'balance_transactions', 'null') as balance_transactions,
    nullif(data -> 'card', 'null') as card, data ->> 'card_presence' as card_presence,
    mirror.as_id(data -> 'cardholder') as cardholder, data ->> 'currency' as currency,
    nullif(data -> 'fleet', 'null') as fleet, nullif(data -> 'fraud_challenges', 'null') as fraud_challenges,
    nullif(data -> 'fuel', 'null') as fuel, mirror.as_boolean(data -> 'livemode') as livemode,
    mirror.as_bigint(data -> 'merchant_amount') as merchant_amount,
    data ->> 'merchant_currency' as merchant_currency, nullif(data -> 'merchant_data', 'null') as merchant_data,
    nullif(data -> 'metadata', 'null') as metadata, nullif(data -> 'network_data', 'null') as network_data,
    data ->> 'object' as object, nullif(data -> 'pending_request', 'null') as pending_request,
    nullif(data -> 'request_history', 'null') as request_history, data ->> 'status' as status,
    mirror.as_id(data -> 'token') as token, nullif(data -> 'transactions', 'null') as transactions,
    nullif(data -> 'treasury', 'null') as treasury,
    nullif(data -> 'verification_data', 'null') as verification_data,
    mirror.as_boolean(data -> 'verified_by_fraud_challenge') as verified_by_fraud_challenge,
    data ->> 'wallet' as wallet, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at
from mirror.objects
where object = 'issuing.authorization';

create view @{stripe}.issuing_cardholders as
select
    id, account, nullif(data -> 'billing', 'null') as billing, nullif(data -> 'company', 'null') as company,
    data ->> 'email' as email, nullif(data -> 'individual', 'null') as individual,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'name' as name, data ->> 'object' as object, data ->> 'phone_number' as phone_number,
    nullif(data -> 'preferred_locales', 'null') as preferred_locales,
    nullif(data -> 'requirements', 'null') as requirements,
    nullif(data -> 'spending_controls', 'null') as spending_controls, data ->> 'status' as status,
    data ->> 'type' as type, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at
from mirror.objects
where object = 'issuing.cardholder';

create view @{stripe}.issuing_cards as
select
    id, account, data ->> 'brand' as brand, data ->> 'cancellation_reason' as cancellation_reason,
    nullif(data -> 'cardholder', 'null') as cardholder, data ->> 'currency' as currency, data ->> 'cvc' as cvc,
    mirror.as_bigint(data -> 'exp_month') as exp_month, mirror.as_bigint(data -> 'exp_year') as exp_year,
    data ->> 'financial_account' as financial_account, data ->> 'last4' as last4,
    nullif(data -> 'latest_fraud_warning', 'null') as latest_fraud_warning,
    nullif(data -> 'lifecycle_controls', 'null') as lifecycle_controls,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'number' as number, data ->> 'object' as object,
    mirror.as_id(data -> 'personalization_design') as personalization_design,
    mirror.as_id(data -> 'replaced_by') as replaced_by,
    mirror.as_id(data -> 'replacement_for') as replacement_for,
    data ->> 'replacement_reason' as replacement_reason, data ->> 'second_line' as second_line,
    nullif(data -> 'shipping', 'null') as shipping,
    nullif(data -> 'spending_controls', 'null') as spending_controls, data ->> 'status' as status,
    data ->> 'type' as type, nullif(data -> 'wallets', 'null') as wallets, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'issuing.card';

create view @{stripe}.issuing_disputes as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    nullif(data -> 'balance_transactions', 'null') as balance_transactions, data ->> 'currency' as currency,
    nullif(data -> 'evidence', 'null') as evidence, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'loss_reason' as loss_reason, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, data ->> 'status' as status, mirror.as_id(data -> 'transaction') as transaction,
    nullif(data -> 'treasury', 'null') as treasury, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'issuing.dispute';

create view @{stripe}.issuing_personalization_designs as
select
    id, account, mirror.as_id(data -> 'card_logo') as card_logo,
    nullif(data -> 'carrier_text', 'null') as carrier_text, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'lookup_key' as lookup_key, nullif(data -> 'metadata', 'null') as metadata, data ->> 'name' as name,
    data ->> 'object' as object, mirror.as_id(data -> 'physical_bundle') as physical_bundle,
    nullif(data -> 'preferences', 'null') as preferences,
    nullif(data -> 'rejection_reasons', 'null') as rejection_reasons, data ->> 'status' as status, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'issuing.personalization_design';

create view @{stripe}.issuing_physical_bundles as
select
    id, account, nullif(data -> 'features', 'null') as features,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'name' as name, data ->> 'object' as object,
    data ->> 'status' as status, data ->> 'type' as type, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'issuing.physical_bundle';

create view @{stripe}.issuing_tokens as
select
    id, account, mirror.as_id(data -> 'card') as card, data ->> 'device_fingerprint' as device_fingerprint,
    data ->> 'last4' as last4, mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'network' as network,
    nullif(data -> 'network_data', 'null') as network_data,
    mirror.as_time(data -> 'network_updated_at') as network_updated_at, data ->> 'object' as object,
    data ->> 'status' as status, data ->> 'wallet_provider' as wallet_provider, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'issuing.token';

create view @{stripe}.issuing_transactions as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    nullif(data -> 'amount_details', 'null') as amount_details,
    mirror.as_id(data -> 'authorization') as "authorization",
    mirror.as_id(data -> 'balance_transaction') as balance_transaction, mirror.as_id(data -> 'card') as card,
    mirror.as_id(data -> 'cardholder') as cardholder, data ->> 'currency' as currency,
    mirror.as_id(data -> 'dispute') as dispute, mirror.as_boolean(data -> 'livemode') as livemode,
    mirror.as_bigint(data -> 'merchant_amount') as merchant_amount,
    data ->> 'merchant_currency' as merchant_currency, nullif(data -> 'merchant_data', 'null') as merchant_data,
    nullif(data -> 'metadata', 'null') as metadata, nullif(data -> 'network_data', 'null') as network_data,
    data ->> 'object' as object, nullif(data -> 'purchase_details', 'null') as purchase_details,
    mirror.as_id(data -> 'token') as token, nullif(data -> 'treasury', 'null') as treasury,
    data ->> 'type' as type, data ->> 'wallet' as wallet, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'issuing.transaction';

create view @{stripe}.mandates as
select
    id, account, nullif(data -> 'customer_acceptance', 'null') as customer_acceptance,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'multi_use', 'null') as multi_use,
    data ->> 'object' as object, data ->> 'on_behalf_of' as on_behalf_of,
    mirror.as_id(data -> 'payment_method') as payment_method,
    nullif(data -> 'payment_method_details', 'null') as payment_method_details,
    nullif(data -> 'single_use', 'null') as single_use, data ->> 'status' as status, data ->> 'type' as type,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'mandate';

create view @{stripe}.other_objects as
select
    object, id, account, customer, parent, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
from mirror.objects;

create view @{stripe}.payment_attempt_records as
select
    id, account, nullif(data -> 'amount', 'null') as amount,
    nullif(data -> 'amount_authorized', 'null') as amount_authorized,
    nullif(data -> 'amount_canceled', 'null') as amount_canceled,
    nullif(data -> 'amount_failed', 'null') as amount_failed,
    nullif(data -> 'amount_guaranteed', 'null') as amount_guaranteed,
    nullif(data -> 'amount_refunded', 'null') as amount_refunded,
    nullif(data -> 'amount_requested', 'null') as amount_requested, data ->> 'application' as application,
    nullif(data -> 'customer_details', 'null') as customer_details,
    data ->> 'customer_presence' as customer_presence, data ->> 'description' as description,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'payment_method_details', 'null') as payment_method_details,
    data ->> 'payment_record' as payment_record,
    nullif(data -> 'processor_details', 'null') as processor_details, data ->> 'reported_by' as reported_by,
    nullif(data -> 'shipping_details', 'null') as shipping_details, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'payment_attempt_record';

create view @{stripe}.payment_intents as
select
    id, account, nullif(data -> 'allowed_payment_method_types', 'null') as allowed_payment_method_types, amount,
    mirror.as_bigint(data -> 'amount_capturable') as amount_capturable,
    nullif(data -> 'amount_details', 'null') as amount_details, amount_received,
    mirror.as_id(data -> 'application') as application,
    mirror.as_bigint(data -> 'application_fee_amount') as application_fee_amount,
    nullif(data -> 'automatic_payment_methods', 'null') as automatic_payment_methods, canceled_at,
    cancellation_reason, capture_method, data ->> 'client_secret' as client_secret,
    data ->> 'confirmation_method' as confirmation_method, currency, customer,
    data ->> 'customer_account' as customer_account, description,
    nullif(data -> 'excluded_payment_method_types', 'null') as excluded_payment_method_types,
    nullif(data -> 'hooks', 'null') as hooks, invoice,
    nullif(data -> 'last_payment_error', 'null') as last_payment_error, latest_charge,
    mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'managed_payments', 'null') as managed_payments,
    nullif(data -> 'metadata', 'null') as metadata, nullif(data -> 'next_action', 'null') as next_action,
    data ->> 'object' as object, mirror.as_id(data -> 'on_behalf_of') as on_behalf_of,
    nullif(data -> 'payment_details', 'null') as payment_details, payment_method,
    nullif(data -> 'payment_method_configuration_details', 'null') as payment_method_configuration_details,
    nullif(data -> 'payment_method_options', 'null') as payment_method_options,
    nullif(data -> 'payment_method_types', 'null') as payment_method_types,
    mirror.as_id(data -> 'payment_record') as payment_record,
    nullif(data -> 'presentment_details', 'null') as presentment_details,
    nullif(data -> 'processing', 'null') as processing, data ->> 'receipt_email' as receipt_email,
    mirror.as_id(data -> 'review') as review, data ->> 'setup_future_usage' as setup_future_usage,
    nullif(data -> 'shipping', 'null') as shipping, mirror.as_id(data -> 'source') as source,
    data ->> 'statement_descriptor' as statement_descriptor,
    data ->> 'statement_descriptor_suffix' as statement_descriptor_suffix, status,
    nullif(data -> 'transfer_data', 'null') as transfer_data, data ->> 'transfer_group' as transfer_group,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.payment_intents;

create view @{stripe}.payment_link_line_items as
select
    id, account, nullif(data -> 'adjustable_quantity', 'null') as adjustable_quantity,
    mirror.as_bigint(data -> 'amount_discount') as amount_discount,
    mirror.as_bigint(data -> 'amount_subtotal') as amount_subtotal,
    mirror.as_bigint(data -> 'amount_tax') as amount_tax,
    mirror.as_bigint(data -> 'amount_total') as amount_total, data ->> 'currency' as currency,
    data ->> 'description' as description, nullif(data -> 'discounts', 'null') as discounts,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    nullif(data -> 'price', 'null') as price, mirror.as_bigint(data -> 'quantity') as quantity,
    nullif(data -> 'taxes', 'null') as taxes, parent as payment_link, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'item' and parent like 'plink\_%';

create view @{stripe}.payment_links as
select
    id, account, mirror.as_boolean(data -> 'active') as active,
    nullif(data -> 'after_completion', 'null') as after_completion,
    mirror.as_boolean(data -> 'allow_promotion_codes') as allow_promotion_codes,
    mirror.as_id(data -> 'application') as application,
    mirror.as_bigint(data -> 'application_fee_amount') as application_fee_amount,
    mirror.as_numeric(data -> 'application_fee_percent') as application_fee_percent,
    nullif(data -> 'automatic_tax', 'null') as automatic_tax,
    data ->> 'billing_address_collection' as billing_address_collection,
    nullif(data -> 'consent_collection', 'null') as consent_collection, data ->> 'currency' as currency,
    nullif(data -> 'custom_fields', 'null') as custom_fields,
    nullif(data -> 'custom_text', 'null') as custom_text, data ->> 'customer_creation' as customer_creation,
    data ->> 'inactive_message' as inactive_message,
    nullif(data -> 'invoice_creation', 'null') as invoice_creation,
    nullif(data -> 'line_items', 'null') as line_items, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'managed_payments', 'null') as managed_payments,
    nullif(data -> 'metadata', 'null') as metadata, nullif(data -> 'name_collection', 'null') as name_collection,
    data ->> 'object' as object, mirror.as_id(data -> 'on_behalf_of') as on_behalf_of,
    nullif(data -> 'optional_items', 'null') as optional_items,
    nullif(data -> 'payment_intent_data', 'null') as payment_intent_data,
    data ->> 'payment_method_collection' as payment_method_collection,
    nullif(data -> 'payment_method_options', 'null') as payment_method_options,
    nullif(data -> 'payment_method_types', 'null') as payment_method_types,
    nullif(data -> 'phone_number_collection', 'null') as phone_number_collection,
    nullif(data -> 'restrictions', 'null') as restrictions,
    nullif(data -> 'shipping_address_collection', 'null') as shipping_address_collection,
    nullif(data -> 'shipping_options', 'null') as shipping_options, data ->> 'submit_type' as submit_type,
    nullif(data -> 'subscription_data', 'null') as subscription_data,
    nullif(data -> 'tax_id_collection', 'null') as tax_id_collection,
    nullif(data -> 'transfer_data', 'null') as transfer_data, data ->> 'url' as url, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'payment_link';

create view @{stripe}.payment_method_configurations as
select
    id, account, nullif(data -> 'acss_debit', 'null') as acss_debit,
    mirror.as_boolean(data -> 'active') as active, nullif(data -> 'affirm', 'null') as affirm,
    nullif(data -> 'afterpay_clearpay', 'null') as afterpay_clearpay, nullif(data -> 'alipay', 'null') as alipay,
    nullif(data -> 'alma', 'null') as alma, nullif(data -> 'amazon_pay', 'null') as amazon_pay,
    nullif(data -> 'apple_pay', 'null') as apple_pay, data ->> 'application' as application,
    nullif(data -> 'au_becs_debit', 'null') as au_becs_debit, nullif(data -> 'bacs_debit', 'null') as bacs_debit,
    nullif(data -> 'bancontact', 'null') as bancontact, nullif(data -> 'billie', 'null') as billie,
    nullif(data -> 'bizum', 'null') as bizum, nullif(data -> 'blik', 'null') as blik,
    nullif(data -> 'boleto', 'null') as boleto, nullif(data -> 'card', 'null') as card,
    nullif(data -> 'cartes_bancaires', 'null') as cartes_bancaires, nullif(data -> 'cashapp', 'null') as cashapp,
    nullif(data -> 'crypto', 'null') as crypto, nullif(data -> 'customer_balance', 'null') as customer_balance,
    nullif(data -> 'eps', 'null') as eps, nullif(data -> 'fpx', 'null') as fpx,
    nullif(data -> 'giropay', 'null') as giropay, nullif(data -> 'google_pay', 'null') as google_pay,
    nullif(data -> 'grabpay', 'null') as grabpay, nullif(data -> 'ideal', 'null') as ideal,
    mirror.as_boolean(data -> 'is_default') as is_default, nullif(data -> 'jcb', 'null') as jcb,
    nullif(data -> 'kakao_pay', 'null') as kakao_pay, nullif(data -> 'klarna', 'null') as klarna,
    nullif(data -> 'konbini', 'null') as konbini, nullif(data -> 'kr_card', 'null') as kr_card,
    nullif(data -> 'link', 'null') as link, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'mb_way', 'null') as mb_way, nullif(data -> 'mobilepay', 'null') as mobilepay,
    nullif(data -> 'multibanco', 'null') as multibanco, data ->> 'name' as name,
    nullif(data -> 'naver_pay', 'null') as naver_pay,
    nullif(data -> 'nz_bank_account', 'null') as nz_bank_account, data ->> 'object' as object,
    nullif(data -> 'oxxo', 'null') as oxxo, nullif(data -> 'p24', 'null') as p24, data ->> 'parent' as parent,
    nullif(data -> 'pay_by_bank', 'null') as pay_by_bank, nullif(data -> 'payco', 'null') as payco,
    nullif(data -> 'paynow', 'null') as paynow, nullif(data -> 'paypal', 'null') as paypal,
    nullif(data -> 'paypay', 'null') as paypay, nullif(data -> 'payto', 'null') as payto,
    nullif(data -> 'pix', 'null') as pix, nullif(data -> 'promptpay', 'null') as promptpay,
    nullif(data -> 'revolut_pay', 'null') as revolut_pay, nullif(data -> 'samsung_pay', 'null') as samsung_pay,
    nullif(data -> 'satispay', 'null') as satispay, nullif(data -> 'scalapay', 'null') as scalapay,
    nullif(data -> 'sepa_debit', 'null') as sepa_debit, nullif(data -> 'sequra', 'null') as sequra,
    nullif(data -> 'sofort', 'null') as sofort, nullif(data -> 'sunbit', 'null') as sunbit,
    nullif(data -> 'swish', 'null') as swish, nullif(data -> 'twint', 'null') as twint,
    nullif(data -> 'upi', 'null') as upi, nullif(data -> 'us_bank_account', 'null') as us_bank_account,
    nullif(data -> 'wechat_pay', 'null') as wechat_pay, nullif(data -> 'zip', 'null') as zip, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'payment_method_configuration';

create view @{stripe}.payment_method_domains as
select
    id, account, nullif(data -> 'amazon_pay', 'null') as amazon_pay,
    nullif(data -> 'apple_pay', 'null') as apple_pay, data ->> 'domain_name' as domain_name,
    mirror.as_boolean(data -> 'enabled') as enabled, nullif(data -> 'google_pay', 'null') as google_pay,
    nullif(data -> 'klarna', 'null') as klarna, nullif(data -> 'link', 'null') as link,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    nullif(data -> 'paypal', 'null') as paypal, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'payment_method_domain';

create view @{stripe}.payment_methods as
select
    id, account, nullif(data -> 'acss_debit', 'null') as acss_debit, nullif(data -> 'affirm', 'null') as affirm,
    nullif(data -> 'afterpay_clearpay', 'null') as afterpay_clearpay, nullif(data -> 'alipay', 'null') as alipay,
    data ->> 'allow_redisplay' as allow_redisplay, nullif(data -> 'alma', 'null') as alma,
    nullif(data -> 'amazon_pay', 'null') as amazon_pay, nullif(data -> 'au_becs_debit', 'null') as au_becs_debit,
    nullif(data -> 'bacs_debit', 'null') as bacs_debit, nullif(data -> 'bancontact', 'null') as bancontact,
    nullif(data -> 'billie', 'null') as billie, nullif(data -> 'billing_details', 'null') as billing_details,
    nullif(data -> 'bizum', 'null') as bizum, nullif(data -> 'blik', 'null') as blik,
    nullif(data -> 'boleto', 'null') as boleto, nullif(data -> 'card', 'null') as card, card_brand,
    card_exp_month, card_exp_year, card_last4, nullif(data -> 'card_present', 'null') as card_present,
    nullif(data -> 'cashapp', 'null') as cashapp, nullif(data -> 'crypto', 'null') as crypto,
    nullif(data -> 'custom', 'null') as custom, customer, data ->> 'customer_account' as customer_account,
    nullif(data -> 'customer_balance', 'null') as customer_balance, nullif(data -> 'eps', 'null') as eps,
    nullif(data -> 'fpx', 'null') as fpx, nullif(data -> 'giropay', 'null') as giropay,
    nullif(data -> 'grabpay', 'null') as grabpay, nullif(data -> 'ideal', 'null') as ideal,
    nullif(data -> 'interac_present', 'null') as interac_present,
    nullif(data -> 'kakao_pay', 'null') as kakao_pay, nullif(data -> 'klarna', 'null') as klarna,
    nullif(data -> 'konbini', 'null') as konbini, nullif(data -> 'kr_card', 'null') as kr_card,
    nullif(data -> 'link', 'null') as link, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'mb_way', 'null') as mb_way, nullif(data -> 'metadata', 'null') as metadata,
    nullif(data -> 'mobilepay', 'null') as mobilepay, nullif(data -> 'multibanco', 'null') as multibanco,
    nullif(data -> 'naver_pay', 'null') as naver_pay,
    nullif(data -> 'nz_bank_account', 'null') as nz_bank_account, data ->> 'object' as object,
    nullif(data -> 'oxxo', 'null') as oxxo, nullif(data -> 'p24', 'null') as p24,
    nullif(data -> 'pay_by_bank', 'null') as pay_by_bank, nullif(data -> 'payco', 'null') as payco,
    nullif(data -> 'paynow', 'null') as paynow, nullif(data -> 'paypal', 'null') as paypal,
    nullif(data -> 'paypay', 'null') as paypay, nullif(data -> 'payto', 'null') as payto,
    nullif(data -> 'pix', 'null') as pix, nullif(data -> 'promptpay', 'null') as promptpay,
    nullif(data -> 'radar_options', 'null') as radar_options,
    nullif(data -> 'revolut_pay', 'null') as revolut_pay, nullif(data -> 'samsung_pay', 'null') as samsung_pay,
    nullif(data -> 'satispay', 'null') as satispay, nullif(data -> 'scalapay', 'null') as scalapay,
    nullif(data -> 'sepa_debit', 'null') as sepa_debit, nullif(data -> 'sequra', 'null') as sequra,
    nullif(data -> 'sofort', 'null') as sofort, nullif(data -> 'sunbit', 'null') as sunbit,
    nullif(data -> 'swish', 'null') as swish, nullif(data -> 'twint', 'null') as twint, type,
    nullif(data -> 'upi', 'null') as upi, nullif(data -> 'us_bank_account', 'null') as us_bank_account,
    nullif(data -> 'wechat_pay', 'null') as wechat_pay, nullif(data -> 'zip', 'null') as zip, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.payment_methods;

create view @{stripe}.payment_records as
select
    id, account, nullif(data -> 'amount', 'null') as amount,
    nullif(data -> 'amount_authorized', 'null') as amount_authorized,
    nullif(data -> 'amount_canceled', 'null') as amount_canceled,
    nullif(data -> 'amount_failed', 'null') as amount_failed,
    nullif(data -> 'amount_guaranteed', 'null') as amount_guaranteed,
    nullif(data -> 'amount_refunded', 'null') as amount_refunded,
    nullif(data -> 'amount_requested', 'null') as amount_requested, data ->> 'application' as application,
    nullif(data -> 'customer_details', 'null') as customer_details,
    data ->> 'customer_presence' as customer_presence, data ->> 'description' as description,
    data ->> 'latest_payment_attempt_record' as latest_payment_attempt_record,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'payment_method_details', 'null') as payment_method_details,
    nullif(data -> 'processor_details', 'null') as processor_details, data ->> 'reported_by' as reported_by,
    nullif(data -> 'shipping_details', 'null') as shipping_details, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'payment_record';

create view @{stripe}.payouts as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_id(data -> 'application_fee') as application_fee,
    mirror.as_bigint(data -> 'application_fee_amount') as application_fee_amount,
    mirror.as_time(data -> 'arrival_date') as arrival_date, mirror.as_boolean(data -> 'automatic') as automatic,
    mirror.as_id(data -> 'balance_transaction') as balance_transaction, data ->> 'currency' as currency,
    data ->> 'description' as description, mirror.as_id(data -> 'destination') as destination,
    mirror.as_id(data -> 'failure_balance_transaction') as failure_balance_transaction,
    data ->> 'failure_code' as failure_code, data ->> 'failure_message' as failure_message,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'method' as method, data ->> 'object' as object,
    mirror.as_id(data -> 'original_payout') as original_payout, data ->> 'payout_method' as payout_method,
    data ->> 'reconciliation_status' as reconciliation_status,
    mirror.as_id(data -> 'reversed_by') as reversed_by, data ->> 'source_type' as source_type,
    data ->> 'statement_descriptor' as statement_descriptor, data ->> 'status' as status,
    nullif(data -> 'trace_id', 'null') as trace_id, data ->> 'type' as type, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'payout';

create view @{stripe}.plans as
select
    id, account, active, amount, mirror.as_numeric(data -> 'amount_decimal') as amount_decimal,
    data ->> 'billing_scheme' as billing_scheme, currency, interval, interval_count,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'meter' as meter, data ->> 'nickname' as nickname, data ->> 'object' as object, product,
    nullif(data -> 'tiers', 'null') as tiers, data ->> 'tiers_mode' as tiers_mode,
    nullif(data -> 'transform_usage', 'null') as transform_usage,
    mirror.as_bigint(data -> 'trial_period_days') as trial_period_days, usage_type, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.plans;

create view @{stripe}.prices as
select
    id, account, active, billing_scheme, currency,
    nullif(data -> 'currency_options', 'null') as currency_options,
    nullif(data -> 'custom_unit_amount', 'null') as custom_unit_amount,
    mirror.as_boolean(data -> 'livemode') as livemode, lookup_key, metadata, nickname,
    data ->> 'object' as object, product, nullif(data -> 'recurring', 'null') as recurring, recurring_interval,
    recurring_interval_count, recurring_trial_period_days, recurring_usage_type,
    data ->> 'tax_behavior' as tax_behavior, nullif(data -> 'tiers', 'null') as tiers,
    data ->> 'tiers_mode' as tiers_mode, nullif(data -> 'transform_quantity', 'null') as transform_quantity,
    type, unit_amount, unit_amount_decimal, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
from mirror.prices;

create view @{stripe}.product_catalog_trial_offers as
select
    id, account, mirror.as_boolean(data -> 'active') as active, nullif(data -> 'duration', 'null') as duration,
    nullif(data -> 'end_behavior', 'null') as end_behavior, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'nickname' as nickname, data ->> 'object' as object, mirror.as_id(data -> 'price') as price,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'product_catalog.trial_offer';

create view @{stripe}.product_features as
select
    id, account, entitlement_feature, entitlement_feature_lookup_key,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object, product, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.product_features;

create view @{stripe}.products as
select
    id, account, active, default_price, description, nullif(data -> 'images', 'null') as images,
    mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'marketing_features', 'null') as marketing_features, metadata, name,
    data ->> 'object' as object, nullif(data -> 'package_dimensions', 'null') as package_dimensions,
    mirror.as_boolean(data -> 'shippable') as shippable, data ->> 'statement_descriptor' as statement_descriptor,
    tax_code, nullif(data -> 'tax_details', 'null') as tax_details, data ->> 'type' as type, unit_label, updated,
    data ->> 'url' as url, created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape,
    rev, unsettled, synced_at
from mirror.products;

create view @{stripe}.promotion_codes as
select
    id, account, mirror.as_boolean(data -> 'active') as active, data ->> 'code' as code, customer,
    data ->> 'customer_account' as customer_account, mirror.as_time(data -> 'expires_at') as expires_at,
    mirror.as_boolean(data -> 'livemode') as livemode,
    mirror.as_bigint(data -> 'max_redemptions') as max_redemptions,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    nullif(data -> 'promotion', 'null') as promotion, nullif(data -> 'restrictions', 'null') as restrictions,
    mirror.as_bigint(data -> 'times_redeemed') as times_redeemed, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'promotion_code';

create view @{stripe}.quote_line_items as
select
    id, account, nullif(data -> 'adjustable_quantity', 'null') as adjustable_quantity,
    mirror.as_bigint(data -> 'amount_discount') as amount_discount,
    mirror.as_bigint(data -> 'amount_subtotal') as amount_subtotal,
    mirror.as_bigint(data -> 'amount_tax') as amount_tax,
    mirror.as_bigint(data -> 'amount_total') as amount_total, data ->> 'currency' as currency,
    data ->> 'description' as description, nullif(data -> 'discounts', 'null') as discounts,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    nullif(data -> 'price', 'null') as price, mirror.as_bigint(data -> 'quantity') as quantity,
    nullif(data -> 'taxes', 'null') as taxes, parent as quote, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'item' and parent like 'qt\_%';

create view @{stripe}.quotes as
select
    id, account, mirror.as_bigint(data -> 'amount_subtotal') as amount_subtotal,
    mirror.as_bigint(data -> 'amount_total') as amount_total, mirror.as_id(data -> 'application') as application,
    mirror.as_bigint(data -> 'application_fee_amount') as application_fee_amount,
    mirror.as_numeric(data -> 'application_fee_percent') as application_fee_percent,
    nullif(data -> 'automatic_tax', 'null') as automatic_tax, data ->> 'collection_method' as collection_method,
    nullif(data -> 'computed', 'null') as computed, data ->> 'currency' as currency, customer,
    data ->> 'customer_account' as customer_account,
    nullif(data -> 'default_tax_rates', 'null') as default_tax_rates, data ->> 'description' as description,
    nullif(data -> 'discounts', 'null') as discounts, mirror.as_time(data -> 'expires_at') as expires_at,
    data ->> 'footer' as footer, nullif(data -> 'from_quote', 'null') as from_quote, data ->> 'header' as header,
    mirror.as_id(data -> 'invoice') as invoice, nullif(data -> 'invoice_settings', 'null') as invoice_settings,
    nullif(data -> 'line_items', 'null') as line_items, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'number' as number, data ->> 'object' as object,
    mirror.as_id(data -> 'on_behalf_of') as on_behalf_of, data ->> 'status' as status,
    nullif(data -> 'status_transitions', 'null') as status_transitions,
    mirror.as_id(data -> 'subscription') as subscription,
    nullif(data -> 'subscription_data', 'null') as subscription_data,
    mirror.as_id(data -> 'subscription_schedule') as subscription_schedule,
    mirror.as_id(data -> 'test_clock') as test_clock, nullif(data -> 'total_details', 'null') as total_details,
    nullif(data -> 'transfer_data', 'null') as transfer_data, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'quote';

create view @{stripe}.radar_early_fraud_warnings as
select
    id, account, mirror.as_boolean(data -> 'actionable') as actionable, mirror.as_id(data -> 'charge') as charge,
    data ->> 'fraud_type' as fraud_type, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, mirror.as_id(data -> 'payment_intent') as payment_intent, created, deleted,
    data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'radar.early_fraud_warning';

create view @{stripe}.radar_value_list_items as
select
    id, account, data ->> 'created_by' as created_by, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, data ->> 'value' as value, data ->> 'value_list' as value_list, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'radar.value_list_item';

create view @{stripe}.radar_value_lists as
select
    id, account, data ->> 'alias' as alias, data ->> 'created_by' as created_by,
    data ->> 'item_type' as item_type, nullif(data -> 'list_items', 'null') as list_items,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'name' as name, data ->> 'object' as object, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'radar.value_list';

create view @{stripe}.refunds as
select
    id, account, amount, mirror.as_id(data -> 'balance_transaction') as balance_transaction, charge, currency,
    mirror.as_id(data -> 'customer') as customer, data ->> 'customer_account' as customer_account,
    data ->> 'description' as description, nullif(data -> 'destination_details', 'null') as destination_details,
    mirror.as_id(data -> 'failure_balance_transaction') as failure_balance_transaction, failure_reason,
    data ->> 'instructions_email' as instructions_email, nullif(data -> 'metadata', 'null') as metadata,
    nullif(data -> 'next_action', 'null') as next_action, data ->> 'object' as object, payment_intent,
    mirror.as_id(data -> 'payment_method') as payment_method, data ->> 'pending_reason' as pending_reason,
    nullif(data -> 'presentment_details', 'null') as presentment_details, reason,
    data ->> 'receipt_number' as receipt_number,
    mirror.as_id(data -> 'source_transfer_reversal') as source_transfer_reversal, status,
    mirror.as_id(data -> 'transfer_reversal') as transfer_reversal, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.refunds;

create view @{stripe}.reporting_report_runs as
select
    id, account, data ->> 'error' as error, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, nullif(data -> 'parameters', 'null') as parameters,
    data ->> 'report_type' as report_type, nullif(data -> 'result', 'null') as result,
    data ->> 'status' as status, mirror.as_time(data -> 'succeeded_at') as succeeded_at, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'reporting.report_run';

create view @{stripe}.reporting_report_types as
select
    id, account, mirror.as_time(data -> 'data_available_end') as data_available_end,
    mirror.as_time(data -> 'data_available_start') as data_available_start,
    nullif(data -> 'default_columns', 'null') as default_columns,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'name' as name, data ->> 'object' as object,
    mirror.as_time(data -> 'updated') as updated, mirror.as_bigint(data -> 'version') as version, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'reporting.report_type';

create view @{stripe}.reserve_holds as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_bigint(data -> 'amount_releasable') as amount_releasable, data ->> 'created_by' as created_by,
    data ->> 'currency' as currency, data ->> 'destination' as destination,
    mirror.as_boolean(data -> 'is_releasable') as is_releasable,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, data ->> 'reason' as reason,
    nullif(data -> 'release_details', 'null') as release_details,
    nullif(data -> 'release_schedule', 'null') as release_schedule,
    mirror.as_id(data -> 'reserve_plan') as reserve_plan, mirror.as_id(data -> 'source_charge') as source_charge,
    data ->> 'source_type' as source_type, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'reserve.hold';

create view @{stripe}.reserve_plans as
select
    id, account, data ->> 'created_by' as created_by, data ->> 'currency' as currency,
    data ->> 'destination' as destination, mirror.as_time(data -> 'disabled_at') as disabled_at,
    nullif(data -> 'fixed_release', 'null') as fixed_release, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'manual_release', 'null') as manual_release, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, mirror.as_bigint(data -> 'percent') as percent,
    nullif(data -> 'rolling_release', 'null') as rolling_release, data ->> 'status' as status,
    data ->> 'type' as type, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at
from mirror.objects
where object = 'reserve.plan';

create view @{stripe}.reserve_releases as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount, data ->> 'created_by' as created_by,
    data ->> 'currency' as currency, data ->> 'destination' as destination,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, data ->> 'reason' as reason,
    mirror.as_time(data -> 'released_at') as released_at, mirror.as_id(data -> 'reserve_hold') as reserve_hold,
    mirror.as_id(data -> 'reserve_plan') as reserve_plan,
    nullif(data -> 'source_transaction', 'null') as source_transaction, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'reserve.release';

create view @{stripe}.reviews as
select
    id, account, data ->> 'billing_zip' as billing_zip, mirror.as_id(data -> 'charge') as charge,
    data ->> 'closed_reason' as closed_reason, data ->> 'ip_address' as ip_address,
    nullif(data -> 'ip_address_location', 'null') as ip_address_location,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    mirror.as_boolean(data -> 'open') as open, data ->> 'opened_reason' as opened_reason,
    mirror.as_id(data -> 'payment_intent') as payment_intent, data ->> 'reason' as reason,
    nullif(data -> 'session', 'null') as session, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'review';

create view @{stripe}.setup_attempts as
select
    id, account, mirror.as_id(data -> 'application') as application,
    mirror.as_boolean(data -> 'attach_to_self') as attach_to_self, customer,
    data ->> 'customer_account' as customer_account,
    nullif(data -> 'flow_directions', 'null') as flow_directions,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    mirror.as_id(data -> 'on_behalf_of') as on_behalf_of,
    mirror.as_id(data -> 'payment_method') as payment_method,
    nullif(data -> 'payment_method_details', 'null') as payment_method_details,
    nullif(data -> 'setup_error', 'null') as setup_error, mirror.as_id(data -> 'setup_intent') as setup_intent,
    data ->> 'status' as status, data ->> 'usage' as usage, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'setup_attempt';

create view @{stripe}.setup_intents as
select
    id, account, nullif(data -> 'allowed_payment_method_types', 'null') as allowed_payment_method_types,
    mirror.as_id(data -> 'application') as application,
    mirror.as_boolean(data -> 'attach_to_self') as attach_to_self,
    nullif(data -> 'automatic_payment_methods', 'null') as automatic_payment_methods,
    data ->> 'cancellation_reason' as cancellation_reason, data ->> 'client_secret' as client_secret, customer,
    data ->> 'customer_account' as customer_account, data ->> 'description' as description,
    nullif(data -> 'excluded_payment_method_types', 'null') as excluded_payment_method_types,
    nullif(data -> 'flow_directions', 'null') as flow_directions,
    nullif(data -> 'last_setup_error', 'null') as last_setup_error,
    mirror.as_id(data -> 'latest_attempt') as latest_attempt, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'managed_payments', 'null') as managed_payments, mirror.as_id(data -> 'mandate') as mandate,
    nullif(data -> 'metadata', 'null') as metadata, nullif(data -> 'next_action', 'null') as next_action,
    data ->> 'object' as object, mirror.as_id(data -> 'on_behalf_of') as on_behalf_of,
    mirror.as_id(data -> 'payment_method') as payment_method,
    nullif(data -> 'payment_method_configuration_details', 'null') as payment_method_configuration_details,
    nullif(data -> 'payment_method_options', 'null') as payment_method_options,
    nullif(data -> 'payment_method_types', 'null') as payment_method_types,
    mirror.as_id(data -> 'single_use_mandate') as single_use_mandate, data ->> 'status' as status,
    data ->> 'usage' as usage, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at
from mirror.objects
where object = 'setup_intent';

create view @{stripe}.shipping_rates as
select
    id, account, mirror.as_boolean(data -> 'active') as active,
    nullif(data -> 'delivery_estimate', 'null') as delivery_estimate, data ->> 'display_name' as display_name,
    nullif(data -> 'fixed_amount', 'null') as fixed_amount, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    data ->> 'tax_behavior' as tax_behavior, mirror.as_id(data -> 'tax_code') as tax_code,
    data ->> 'type' as type, created, deleted, data, observed_at, observed_rank, observed_in, content_hash,
    shape, rev, unsettled, synced_at
from mirror.objects
where object = 'shipping_rate';

create view @{stripe}.sigma_scheduled_query_runs as
select
    id, account, mirror.as_time(data -> 'data_load_time') as data_load_time,
    nullif(data -> 'error', 'null') as error, nullif(data -> 'file', 'null') as file,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    mirror.as_time(data -> 'result_available_until') as result_available_until, data ->> 'sql' as sql,
    data ->> 'status' as status, data ->> 'title' as title, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'scheduled_query_run';

create view @{stripe}.source_mandate_notifications as
select
    id, account, nullif(data -> 'acss_debit', 'null') as acss_debit,
    mirror.as_bigint(data -> 'amount') as amount, nullif(data -> 'bacs_debit', 'null') as bacs_debit,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object, data ->> 'reason' as reason,
    nullif(data -> 'sepa_debit', 'null') as sepa_debit, nullif(data -> 'source', 'null') as source,
    data ->> 'status' as status, data ->> 'type' as type, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'source_mandate_notification';

create view @{stripe}.source_transactions as
select
    id, account, nullif(data -> 'ach_credit_transfer', 'null') as ach_credit_transfer,
    mirror.as_bigint(data -> 'amount') as amount,
    nullif(data -> 'chf_credit_transfer', 'null') as chf_credit_transfer, data ->> 'currency' as currency,
    nullif(data -> 'gbp_credit_transfer', 'null') as gbp_credit_transfer,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    nullif(data -> 'paper_check', 'null') as paper_check,
    nullif(data -> 'sepa_credit_transfer', 'null') as sepa_credit_transfer, data ->> 'source' as source,
    data ->> 'status' as status, data ->> 'type' as type, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'source_transaction';

create view @{stripe}.sources as
select
    id, account, nullif(data -> 'ach_credit_transfer', 'null') as ach_credit_transfer,
    nullif(data -> 'ach_debit', 'null') as ach_debit, nullif(data -> 'acss_debit', 'null') as acss_debit,
    nullif(data -> 'alipay', 'null') as alipay, data ->> 'allow_redisplay' as allow_redisplay,
    mirror.as_bigint(data -> 'amount') as amount, nullif(data -> 'au_becs_debit', 'null') as au_becs_debit,
    nullif(data -> 'bancontact', 'null') as bancontact, nullif(data -> 'card', 'null') as card,
    nullif(data -> 'card_present', 'null') as card_present, data ->> 'client_secret' as client_secret,
    nullif(data -> 'code_verification', 'null') as code_verification, data ->> 'currency' as currency, customer,
    nullif(data -> 'eps', 'null') as eps, data ->> 'flow' as flow, nullif(data -> 'giropay', 'null') as giropay,
    nullif(data -> 'ideal', 'null') as ideal, nullif(data -> 'klarna', 'null') as klarna,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    nullif(data -> 'multibanco', 'null') as multibanco, data ->> 'object' as object,
    nullif(data -> 'owner', 'null') as owner, nullif(data -> 'p24', 'null') as p24,
    nullif(data -> 'receiver', 'null') as receiver, nullif(data -> 'redirect', 'null') as redirect,
    nullif(data -> 'sepa_credit_transfer', 'null') as sepa_credit_transfer,
    nullif(data -> 'sepa_debit', 'null') as sepa_debit, nullif(data -> 'sofort', 'null') as sofort,
    nullif(data -> 'source_order', 'null') as source_order,
    data ->> 'statement_descriptor' as statement_descriptor, data ->> 'status' as status,
    nullif(data -> 'three_d_secure', 'null') as three_d_secure, data ->> 'type' as type,
    data ->> 'usage' as usage, nullif(data -> 'wechat', 'null') as wechat, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'source';

create view @{stripe}.subscription_history as
select
    account, subscription, at, source, before, passed, rank, customer, status, paused, currency, created, ended,
    trial_end, products, amounts, months, discounts
from mirror.subscription_history;

create view @{stripe}.subscription_items as
select
    id, account, billed_until, nullif(data -> 'billing_thresholds', 'null') as billing_thresholds,
    current_period_end, current_period_start, nullif(data -> 'current_trial', 'null') as current_trial,
    nullif(data -> 'discounts', 'null') as discounts, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'plan', 'null') as plan, price, product, quantity, subscription,
    nullif(data -> 'tax_rates', 'null') as tax_rates, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.subscription_items;

create view @{stripe}.subscription_schedules as
select
    id, account, mirror.as_id(data -> 'application') as application,
    nullif(data -> 'billing_mode', 'null') as billing_mode, mirror.as_time(data -> 'canceled_at') as canceled_at,
    mirror.as_time(data -> 'completed_at') as completed_at,
    nullif(data -> 'current_phase', 'null') as current_phase, customer,
    data ->> 'customer_account' as customer_account,
    nullif(data -> 'default_settings', 'null') as default_settings, data ->> 'end_behavior' as end_behavior,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'pause_schedules', 'null') as pause_schedules,
    nullif(data -> 'phases', 'null') as phases, mirror.as_time(data -> 'released_at') as released_at,
    data ->> 'released_subscription' as released_subscription, data ->> 'status' as status,
    mirror.as_id(data -> 'subscription') as subscription, mirror.as_id(data -> 'test_clock') as test_clock,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'subscription_schedule';

create view @{stripe}.subscriptions as
select
    id, account, mirror.as_id(data -> 'application') as application,
    mirror.as_numeric(data -> 'application_fee_percent') as application_fee_percent,
    nullif(data -> 'automatic_tax', 'null') as automatic_tax,
    mirror.as_time(data -> 'billing_cycle_anchor') as billing_cycle_anchor,
    nullif(data -> 'billing_cycle_anchor_config', 'null') as billing_cycle_anchor_config,
    nullif(data -> 'billing_mode', 'null') as billing_mode, billing_mode_type,
    nullif(data -> 'billing_schedules', 'null') as billing_schedules,
    nullif(data -> 'billing_thresholds', 'null') as billing_thresholds, cancel_at, cancel_at_period_end,
    canceled_at, nullif(data -> 'cancellation_details', 'null') as cancellation_details, collection_method,
    currency, current_period_end, current_period_start, customer, customer_account,
    mirror.as_bigint(data -> 'days_until_due') as days_until_due, default_payment_method,
    mirror.as_id(data -> 'default_source') as default_source,
    nullif(data -> 'default_tax_rates', 'null') as default_tax_rates, data ->> 'description' as description,
    nullif(data -> 'discounts', 'null') as discounts, ended_at,
    nullif(data -> 'invoice_settings', 'null') as invoice_settings, nullif(data -> 'items', 'null') as items,
    latest_invoice, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'managed_payments', 'null') as managed_payments, metadata, metadata_organization_id,
    metadata_user_id,
    mirror.as_time(data -> 'next_pending_invoice_item_invoice') as next_pending_invoice_item_invoice,
    data ->> 'object' as object, mirror.as_id(data -> 'on_behalf_of') as on_behalf_of,
    nullif(data -> 'pause_collection', 'null') as pause_collection, pause_collection_behavior,
    pause_collection_resumes_at, nullif(data -> 'payment_settings', 'null') as payment_settings,
    nullif(data -> 'pending_invoice_item_interval', 'null') as pending_invoice_item_interval,
    mirror.as_id(data -> 'pending_setup_intent') as pending_setup_intent,
    nullif(data -> 'pending_update', 'null') as pending_update,
    nullif(data -> 'presentment_details', 'null') as presentment_details, schedule, start_date, status,
    nullif(data -> 'status_details', 'null') as status_details, status_details_paused_subscription_type,
    test_clock, nullif(data -> 'transfer_data', 'null') as transfer_data, trial_end,
    nullif(data -> 'trial_settings', 'null') as trial_settings, trial_start, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.subscriptions;

create view @{stripe}.tax_codes as
select
    id, account, data ->> 'description' as description, data ->> 'name' as name, data ->> 'object' as object,
    nullif(data -> 'requirements', 'null') as requirements, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'tax_code';

create view @{stripe}.tax_ids as
select
    id, account, data ->> 'country' as country, customer, data ->> 'customer_account' as customer_account,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object,
    nullif(data -> 'owner', 'null') as owner, data ->> 'type' as type, data ->> 'value' as value,
    nullif(data -> 'verification', 'null') as verification, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'tax_id';

create view @{stripe}.tax_locations as
select
    id, account, nullif(data -> 'address', 'null') as address, data ->> 'description' as description,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object, data ->> 'type' as type,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'tax.location';

create view @{stripe}.tax_rates as
select
    id, account, mirror.as_boolean(data -> 'active') as active, data ->> 'country' as country,
    data ->> 'description' as description, data ->> 'display_name' as display_name,
    mirror.as_numeric(data -> 'effective_percentage') as effective_percentage,
    nullif(data -> 'flat_amount', 'null') as flat_amount, mirror.as_boolean(data -> 'inclusive') as inclusive,
    data ->> 'jurisdiction' as jurisdiction, data ->> 'jurisdiction_level' as jurisdiction_level,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, mirror.as_numeric(data -> 'percentage') as percentage,
    data ->> 'rate_type' as rate_type, data ->> 'state' as state, data ->> 'tax_type' as tax_type, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'tax_rate';

create view @{stripe}.tax_registrations as
select
    id, account, mirror.as_time(data -> 'active_from') as active_from, data ->> 'country' as country,
    nullif(data -> 'country_options', 'null') as country_options,
    mirror.as_time(data -> 'expires_at') as expires_at, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, data ->> 'status' as status, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'tax.registration';

create view @{stripe}.tax_settings as
select
    id, account, nullif(data -> 'defaults', 'null') as defaults,
    nullif(data -> 'head_office', 'null') as head_office, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, data ->> 'status' as status,
    nullif(data -> 'status_details', 'null') as status_details, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'tax.settings';

create view @{stripe}.terminal_configurations as
select
    id, account, nullif(data -> 'bbpos_wisepad3', 'null') as bbpos_wisepad3,
    nullif(data -> 'bbpos_wisepos_e', 'null') as bbpos_wisepos_e, nullif(data -> 'cellular', 'null') as cellular,
    mirror.as_boolean(data -> 'is_account_default') as is_account_default,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'name' as name, data ->> 'object' as object,
    nullif(data -> 'offline', 'null') as offline, nullif(data -> 'reader_security', 'null') as reader_security,
    nullif(data -> 'reboot_window', 'null') as reboot_window,
    nullif(data -> 'stripe_s700', 'null') as stripe_s700, nullif(data -> 'stripe_s710', 'null') as stripe_s710,
    nullif(data -> 'stripe_t600', 'null') as stripe_t600, nullif(data -> 'tipping', 'null') as tipping,
    nullif(data -> 'verifone_m425', 'null') as verifone_m425,
    nullif(data -> 'verifone_p400', 'null') as verifone_p400,
    nullif(data -> 'verifone_p630', 'null') as verifone_p630,
    nullif(data -> 'verifone_ux700', 'null') as verifone_ux700,
    nullif(data -> 'verifone_v660p', 'null') as verifone_v660p, nullif(data -> 'wifi', 'null') as wifi, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'terminal.configuration';

create view @{stripe}.terminal_locations as
select
    id, account, nullif(data -> 'address', 'null') as address,
    nullif(data -> 'address_kana', 'null') as address_kana,
    nullif(data -> 'address_kanji', 'null') as address_kanji,
    data ->> 'configuration_overrides' as configuration_overrides, data ->> 'display_name' as display_name,
    data ->> 'display_name_kana' as display_name_kana, data ->> 'display_name_kanji' as display_name_kanji,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, data ->> 'phone' as phone, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'terminal.location';

create view @{stripe}.terminal_readers as
select
    id, account, nullif(data -> 'action', 'null') as action, data ->> 'device_sw_version' as device_sw_version,
    data ->> 'device_type' as device_type, data ->> 'ip_address' as ip_address, data ->> 'label' as label,
    mirror.as_time(data -> 'last_seen_at', 1000) as last_seen_at,
    mirror.as_boolean(data -> 'livemode') as livemode, mirror.as_id(data -> 'location') as location,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    data ->> 'serial_number' as serial_number, data ->> 'status' as status, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'terminal.reader';

create view @{stripe}.test_helpers_test_clocks as
select
    id, account, mirror.as_time(data -> 'deletes_after') as deletes_after,
    mirror.as_time(data -> 'frozen_time') as frozen_time, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'name' as name, data ->> 'object' as object, data ->> 'status' as status,
    nullif(data -> 'status_details', 'null') as status_details, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'test_helpers.test_clock';

create view @{stripe}.three_d_secure_authentications as
select
    id, account, nullif(data -> 'acquirer_details', 'null') as acquirer_details,
    mirror.as_bigint(data -> 'amount') as amount, data ->> 'challenge_url' as challenge_url,
    nullif(data -> 'channel', 'null') as channel, data ->> 'currency' as currency,
    data ->> 'directory_server' as directory_server, data ->> 'fingerprinting_url' as fingerprinting_url,
    nullif(data -> 'flow_preference', 'null') as flow_preference,
    nullif(data -> 'future_usage', 'null') as future_usage, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'message_category' as message_category, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, data ->> 'outcome' as outcome,
    nullif(data -> 'outcome_details', 'null') as outcome_details,
    mirror.as_id(data -> 'payment_method') as payment_method, data ->> 'reason' as reason,
    nullif(data -> 'shipping_address', 'null') as shipping_address, data ->> 'status' as status, created,
    deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'three_d_secure.authentication';

create view @{stripe}.topups as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_id(data -> 'balance_transaction') as balance_transaction, data ->> 'currency' as currency,
    data ->> 'description' as description,
    mirror.as_time(data -> 'expected_availability_date') as expected_availability_date,
    data ->> 'failure_code' as failure_code, data ->> 'failure_message' as failure_message,
    data ->> 'initiated_by' as initiated_by, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    mirror.as_id(data -> 'payment_method') as payment_method,
    nullif(data -> 'payment_method_options', 'null') as payment_method_options,
    nullif(data -> 'source', 'null') as source, data ->> 'statement_descriptor' as statement_descriptor,
    data ->> 'status' as status, data ->> 'transfer_group' as transfer_group, created, deleted, data,
    observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'topup';

create view @{stripe}.transfer_reversals as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_id(data -> 'balance_transaction') as balance_transaction, data ->> 'currency' as currency,
    mirror.as_id(data -> 'destination_payment_refund') as destination_payment_refund,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    mirror.as_id(data -> 'source_refund') as source_refund, mirror.as_id(data -> 'transfer') as transfer,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'transfer_reversal';

create view @{stripe}.transfers as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_bigint(data -> 'amount_reversed') as amount_reversed,
    mirror.as_id(data -> 'balance_transaction') as balance_transaction, data ->> 'currency' as currency,
    data ->> 'description' as description, mirror.as_id(data -> 'destination') as destination,
    mirror.as_id(data -> 'destination_payment') as destination_payment,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'reversals', 'null') as reversals,
    mirror.as_boolean(data -> 'reversed') as reversed,
    mirror.as_id(data -> 'source_transaction') as source_transaction, data ->> 'source_type' as source_type,
    data ->> 'transfer_group' as transfer_group, created, deleted, data, observed_at, observed_rank, observed_in,
    content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'transfer';

create view @{stripe}.treasury_credit_reversals as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount, data ->> 'currency' as currency,
    data ->> 'financial_account' as financial_account,
    data ->> 'hosted_regulatory_receipt_url' as hosted_regulatory_receipt_url,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'network' as network, data ->> 'object' as object, data ->> 'received_credit' as received_credit,
    data ->> 'status' as status, nullif(data -> 'status_transitions', 'null') as status_transitions,
    mirror.as_id(data -> 'transaction') as transaction, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.credit_reversal';

create view @{stripe}.treasury_debit_reversals as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount, data ->> 'currency' as currency,
    data ->> 'financial_account' as financial_account,
    data ->> 'hosted_regulatory_receipt_url' as hosted_regulatory_receipt_url,
    nullif(data -> 'linked_flows', 'null') as linked_flows, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'network' as network, data ->> 'object' as object,
    data ->> 'received_debit' as received_debit, data ->> 'status' as status,
    nullif(data -> 'status_transitions', 'null') as status_transitions,
    mirror.as_id(data -> 'transaction') as transaction, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.debit_reversal';

create view @{stripe}.treasury_financial_accounts as
select
    id, account, nullif(data -> 'active_features', 'null') as active_features,
    nullif(data -> 'balance', 'null') as balance, data ->> 'country' as country,
    nullif(data -> 'features', 'null') as features,
    nullif(data -> 'financial_addresses', 'null') as financial_addresses,
    mirror.as_boolean(data -> 'is_default') as is_default, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'nickname' as nickname, data ->> 'object' as object,
    nullif(data -> 'pending_features', 'null') as pending_features,
    nullif(data -> 'platform_restrictions', 'null') as platform_restrictions,
    nullif(data -> 'restricted_features', 'null') as restricted_features, data ->> 'status' as status,
    nullif(data -> 'status_details', 'null') as status_details,
    nullif(data -> 'supported_currencies', 'null') as supported_currencies, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.financial_account';

create view @{stripe}.treasury_inbound_transfers as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_boolean(data -> 'cancelable') as cancelable, data ->> 'currency' as currency,
    data ->> 'description' as description, nullif(data -> 'failure_details', 'null') as failure_details,
    data ->> 'financial_account' as financial_account,
    data ->> 'hosted_regulatory_receipt_url' as hosted_regulatory_receipt_url,
    nullif(data -> 'linked_flows', 'null') as linked_flows, mirror.as_boolean(data -> 'livemode') as livemode,
    nullif(data -> 'metadata', 'null') as metadata, data ->> 'object' as object,
    data ->> 'origin_payment_method' as origin_payment_method,
    nullif(data -> 'origin_payment_method_details', 'null') as origin_payment_method_details,
    mirror.as_boolean(data -> 'returned') as returned, data ->> 'statement_descriptor' as statement_descriptor,
    data ->> 'status' as status, nullif(data -> 'status_transitions', 'null') as status_transitions,
    mirror.as_id(data -> 'transaction') as transaction, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.inbound_transfer';

create view @{stripe}.treasury_outbound_payments as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_boolean(data -> 'cancelable') as cancelable, data ->> 'currency' as currency, customer,
    data ->> 'description' as description, data ->> 'destination_payment_method' as destination_payment_method,
    nullif(data -> 'destination_payment_method_details', 'null') as destination_payment_method_details,
    nullif(data -> 'end_user_details', 'null') as end_user_details,
    mirror.as_time(data -> 'expected_arrival_date') as expected_arrival_date,
    data ->> 'financial_account' as financial_account,
    data ->> 'hosted_regulatory_receipt_url' as hosted_regulatory_receipt_url,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'returned_details', 'null') as returned_details,
    data ->> 'statement_descriptor' as statement_descriptor, data ->> 'status' as status,
    nullif(data -> 'status_transitions', 'null') as status_transitions,
    nullif(data -> 'tracking_details', 'null') as tracking_details,
    mirror.as_id(data -> 'transaction') as transaction, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.outbound_payment';

create view @{stripe}.treasury_outbound_transfers as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    mirror.as_boolean(data -> 'cancelable') as cancelable, data ->> 'currency' as currency,
    data ->> 'description' as description, data ->> 'destination_payment_method' as destination_payment_method,
    nullif(data -> 'destination_payment_method_details', 'null') as destination_payment_method_details,
    mirror.as_time(data -> 'expected_arrival_date') as expected_arrival_date,
    data ->> 'financial_account' as financial_account,
    data ->> 'hosted_regulatory_receipt_url' as hosted_regulatory_receipt_url,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, nullif(data -> 'returned_details', 'null') as returned_details,
    data ->> 'statement_descriptor' as statement_descriptor, data ->> 'status' as status,
    nullif(data -> 'status_transitions', 'null') as status_transitions,
    nullif(data -> 'tracking_details', 'null') as tracking_details,
    mirror.as_id(data -> 'transaction') as transaction, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.outbound_transfer';

create view @{stripe}.treasury_received_credits as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount, data ->> 'currency' as currency,
    data ->> 'description' as description, data ->> 'failure_code' as failure_code,
    data ->> 'financial_account' as financial_account,
    data ->> 'hosted_regulatory_receipt_url' as hosted_regulatory_receipt_url,
    nullif(data -> 'initiating_payment_method_details', 'null') as initiating_payment_method_details,
    nullif(data -> 'linked_flows', 'null') as linked_flows, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'network' as network, data ->> 'object' as object,
    nullif(data -> 'reversal_details', 'null') as reversal_details, data ->> 'status' as status,
    mirror.as_id(data -> 'transaction') as transaction, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.received_credit';

create view @{stripe}.treasury_received_debits as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount, data ->> 'currency' as currency,
    data ->> 'description' as description, data ->> 'failure_code' as failure_code,
    data ->> 'financial_account' as financial_account,
    data ->> 'hosted_regulatory_receipt_url' as hosted_regulatory_receipt_url,
    nullif(data -> 'initiating_payment_method_details', 'null') as initiating_payment_method_details,
    nullif(data -> 'linked_flows', 'null') as linked_flows, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'network' as network, data ->> 'object' as object,
    nullif(data -> 'reversal_details', 'null') as reversal_details, data ->> 'status' as status,
    mirror.as_id(data -> 'transaction') as transaction, created, deleted, data, observed_at, observed_rank,
    observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.received_debit';

create view @{stripe}.treasury_transaction_entries as
select
    id, account, nullif(data -> 'balance_impact', 'null') as balance_impact, data ->> 'currency' as currency,
    mirror.as_time(data -> 'effective_at') as effective_at, data ->> 'financial_account' as financial_account,
    data ->> 'flow' as flow, nullif(data -> 'flow_details', 'null') as flow_details,
    data ->> 'flow_type' as flow_type, mirror.as_boolean(data -> 'livemode') as livemode,
    data ->> 'object' as object, mirror.as_id(data -> 'transaction') as transaction, data ->> 'type' as type,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'treasury.transaction_entry';

create view @{stripe}.treasury_transactions as
select
    id, account, mirror.as_bigint(data -> 'amount') as amount,
    nullif(data -> 'balance_impact', 'null') as balance_impact, data ->> 'currency' as currency,
    data ->> 'description' as description, nullif(data -> 'entries', 'null') as entries,
    data ->> 'financial_account' as financial_account, data ->> 'flow' as flow,
    nullif(data -> 'flow_details', 'null') as flow_details, data ->> 'flow_type' as flow_type,
    mirror.as_boolean(data -> 'livemode') as livemode, data ->> 'object' as object, data ->> 'status' as status,
    nullif(data -> 'status_transitions', 'null') as status_transitions, created, deleted, data, observed_at,
    observed_rank, observed_in, content_hash, shape, rev, unsettled, synced_at
from mirror.objects
where object = 'treasury.transaction';

create view @{stripe}.webhook_endpoints as
select
    id, account, data ->> 'api_version' as api_version, data ->> 'application' as application,
    data ->> 'description' as description, nullif(data -> 'enabled_events', 'null') as enabled_events,
    mirror.as_boolean(data -> 'livemode') as livemode, nullif(data -> 'metadata', 'null') as metadata,
    data ->> 'object' as object, data ->> 'secret' as secret, data ->> 'status' as status, data ->> 'url' as url,
    created, deleted, data, observed_at, observed_rank, observed_in, content_hash, shape, rev, unsettled,
    synced_at
from mirror.objects
where object = 'webhook_endpoint';
