"""Choices for `schema.read_sdk` that the SDK does not determine: names, parents, times, and what is left out, with reasons."""

import re
from typing import Any

# Parameters that take the parent's id, each with the name of the parents' list.
PARENT_PARAMS = {
    "customer": "customers",
    "setup_intent": "setup_intents",
    "value_list": "radar_value_lists",
    "financial_account": "treasury_financial_accounts",
    "payment_record": "payment_records",
}
# Exceptions to the rules for lists: the name, a necessary parameter, or the parents' list.
LISTS: dict[str, dict[str, Any]] = {
    "/v1/customers/{customer}/payment_methods": {"name": "payment_methods"},
    "/v1/customers/{customer}/tax_ids": {"name": "tax_ids"},
    "/v1/invoices/{invoice}/lines": {"name": "invoice_line_items", "read_with": "invoices"},
    "/v1/checkout/sessions/{session}/line_items": {"read_with": "checkout_sessions"},
    "/v1/subscription_items": {"read_with": "subscriptions"},
    "/v1/credit_notes/{credit_note}/lines": {"read_with": "credit_notes"},
    "/v1/payment_links/{payment_link}/line_items": {"read_with": "payment_links"},
    "/v1/quotes/{quote}/line_items": {"read_with": "quotes"},
    "/v1/subscriptions": {"params": {"status": "all"}},
    "/v1/tax/locations": {"params": {"type": "performance"}},
    # In the SDK `customer` is optional, but Stripe requires `customer` or `customer_account`.
    "/v1/billing/credit_balance_transactions": {"parent": "customers", "param": "customer"},
    "/v1/issuing/tokens": {"parent": "issuing_cards", "param": "card"},
    "/v1/treasury/transactions": {"parent": "treasury_financial_accounts", "param": "financial_account"},
    "/v1/financial_connections/transactions": {"parent": "financial_connections_accounts", "param": "account"},
}
# Lists that read another list with a filter. This one is needed because a balance transaction does not name its payout.
FILTERED: dict[str, dict[str, Any]] = {
    "payout_balance_transactions": {
        "path": "/v1/balance_transactions",
        "objects": ["balance_transaction"],
        "parent": "payouts",
        "param": "payout",
    },
}
# Views that are not named after the type's list.
VIEWS = {
    "balance_settings": "balance_settings",
    "billing.alert_triggered": "billing_alerts_triggered",
    "bank_account": "bank_accounts",
    "card": "cards",
    "entitlements.active_entitlement": "active_entitlements",
    "entitlements.active_entitlement_summary": "active_entitlement_summaries",
    "source": "sources",
    "tax.settings": "tax_settings",
}
# Integer fields that are times, although neither their name nor their docstring shows it.
TIMES = {"billing_cycle_anchor", "end", "start", "redeem_by", "deletes_after", "next_pending_invoice_item_invoice"}
TIME_NAME = re.compile(r"(_at|_on|_date|_time|_until|_start|_end)$|^(created|date|updated|billed_until)$")
TIME_WORDS = re.compile(r"^(The )?(time|date|timestamp)\b|\bunix\b|\bepoch\b|\btimestamp\b", re.IGNORECASE)

LEFT_OUT_LISTS = {
    "/v1/events": "events are the inbox: sync.events",
    "/v1/apps/secrets": "an app's secrets don't belong in a mirror, and each scope has a separate list",
    "/v1/billing/meters/{id}/event_summaries": "totals of a customer in a span of time, computed for each request",
    "/v1/credit_notes/preview/lines": "a preview of a credit note that does not exist",
    "/v1/financial_connections/accounts/{account}/owners": "needs the id of one refresh of the owners",
    "/v1/payment_intents/{intent}/amount_details_line_items": "one request for each PaymentIntent; most have none",
    "/v1/payment_methods": "without a customer it shows only some kinds, so it is read customer by customer",
    "/v1/quotes/{quote}/computed_upfront_line_items": "computed from the quote's line items, which are mirrored",
    "/v1/sources/{source}/source_transactions": "Sources are closed to new accounts, and events report their transactions",
    "/v1/tax/calculations/{calculation}/line_items": "calculations are temporary, and Stripe lists none",
    "/v1/tax/transactions/{transaction}/line_items": "Stripe lists no tax transactions, so the parents are not known",
    "/v1/tax_ids": "the account's own tax ids; the tax ids of customers are read customer by customer",
}
_ONE_REQUEST = "made for one request or one page: Stripe does not list it and sends no events about it"
_AGGREGATE = "an aggregate that Stripe computes for each request"
LEFT_OUT_TYPES = {
    **dict.fromkeys(
        (
            "account_link", "account_session", "apps.secret", "billing.meter_event", "billing.meter_event_adjustment",
            "confirmation_token", "connect_collection_transfer", "customer_session", "ephemeral_key",
            "financial_connections.session", "funding_instructions", "login_link",
            "radar.payment_evaluation", "tax.association", "tax.calculation", "tax.calculation_line_item",
            "tax.transaction", "tax.transaction_line_item", "terminal.connection_token", "terminal.onboarding_link", "token",
        ),
        _ONE_REQUEST,
    ),
    **dict.fromkeys(
        ("billing.credit_balance_summary", "billing.meter_event_summary", "financial_connections.account_ownership",
         "financial_connections.account_owner", "treasury.financial_account_features"),
        _AGGREGATE,
    ),
    "event": "events are the inbox: sync.events",
    **dict.fromkeys(("reserve_transaction", "tax_deducted_at_source"), "only named as the source of a balance transaction"),
    "payment_intent_amount_details_line_item": LEFT_OUT_LISTS["/v1/payment_intents/{intent}/amount_details_line_items"],
}  # fmt: skip
# Events whose object type can't be determined from their name or from their thin form.
EVENT_OBJECTS = {
    "account.application.": "application",
    "account.external_account.": "bank_account",
    "billing.alert.triggered": "billing.alert_triggered",
    "billing_portal.session.": "billing_portal.session",
    "charge.dispute.": "dispute",
    "charge.refund.": "refund",
    "customer.discount.": "discount",
    "customer.source.": "source",
    "customer.subscription.": "subscription",
    "customer.tax_id.": "tax_id",
    "entitlements.active_entitlement_summary.": "entitlements.active_entitlement_summary",
    "invoice.upcoming": "invoice",
    "issuing_authorization.": "issuing.authorization",
    "issuing_card.": "issuing.card",
    "issuing_cardholder.": "issuing.cardholder",
    "issuing_dispute.": "issuing.dispute",
    "issuing_personalization_design.": "issuing.personalization_design",
    "issuing_token.": "issuing.token",
    "issuing_transaction.": "issuing.transaction",
    "sigma.scheduled_query_run.": "scheduled_query_run",
    "source.mandate_notification": "source_mandate_notification",
    "source.transaction.": "source_transaction",
}
V2 = "API v2 has other formats of pages and times, and sends no snapshot events; its accounts are in v1 too"
