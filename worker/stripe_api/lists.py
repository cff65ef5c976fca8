"""Every list of Stripe's that a mirror can read, one row of data each, for the pinned API version.

A list is named after its path (`/v1/checkout/sessions`: `checkout_sessions`). Lists under a parent are read parent by
parent: `parent` names the list of the parents, and the path or a parameter takes the parent's id. Two kinds of list are
left out: those that other rows bring whole (`subscription_items`, `invoices/{id}/lines`, `checkout/sessions/{id}/line_items`),
and static catalogues that are the same for every account (country specs, exchange rates, tax codes).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeList:
    """One list.

    `object`: the type of what it lists, None where that is mixed. `by_created`: whether Stripe filters it by `created`, so
    that ranges of it can be read side by side. `parent_param`: the parameter that takes the parent's id; None where
    `{parent}` in the path does. `parent_field`: the object's field that holds it. `parent_having`: a field that only parents
    with such children have. `after`: lists that are better read before, because these objects refer to theirs.
    """

    name: str
    path: str
    object: str | None
    by_created: bool = True
    params: Mapping[str, str] = field(default_factory=lambda: _NONE)
    parent: str | None = None
    parent_param: str | None = None
    parent_field: str | None = None
    parent_having: str | None = None
    after: tuple[str, ...] = ()

    def request(self, parent: str | None) -> tuple[str, dict[str, str]]:
        """The path and the parameters that ask for the list, of one parent where it has parents."""
        if parent is None:
            return self.path, dict(self.params)
        if self.parent_param is not None:
            return self.path, {**self.params, self.parent_param: parent}
        return self.path.replace("{parent}", parent), dict(self.params)


def _list(path: str, *, by_created: bool = True, after: tuple[str, ...] = (), **params: str) -> StripeList:
    words = path.removeprefix("/v1/")
    object_ = words.removeprefix("sigma/").removesuffix("s").replace("/", ".")
    return StripeList(
        name=words.replace("/", "_"), path=path, object=object_, by_created=by_created, params=params, after=after
    )


def _under(
    parent: str,
    name: str,
    object_: str | None,
    path: str,
    *,
    param: str | None = None,
    field: str | None = None,
    having: str | None = None,
) -> StripeList:
    return StripeList(
        name=name,
        path=path,
        object=object_,
        by_created=False,
        parent=parent,
        parent_param=param,
        parent_field=field,
        parent_having=having,
        after=(parent,),
    )


def _of_account(name: str) -> StripeList:
    object_ = f"treasury.{name.removesuffix('ies') + 'y' if name.endswith('ies') else name.removesuffix('s')}"
    path = f"/v1/treasury/{name}"
    return _under("treasury_financial_accounts", f"treasury_{name}", object_, path, param="financial_account")


# The order matters to people and to users' access: first what memberships are computed from, parents before children.
LISTS: dict[str, StripeList] = {
    row.name: row
    for row in (
        _list("/v1/products"),
        _list("/v1/prices"),
        _list("/v1/plans"),
        _list("/v1/coupons"),
        _list("/v1/customers"),
        _list("/v1/subscriptions", status="all"),
        _list("/v1/invoices"),
        _list("/v1/payment_intents"),
        _list("/v1/charges"),
        _list("/v1/checkout/sessions"),
        _list("/v1/invoice_payments", after=("invoices",)),
        _list("/v1/refunds", after=("invoices", "charges", "payment_intents")),
        _list("/v1/disputes", after=("invoices", "charges", "payment_intents")),
        _list("/v1/credit_notes", after=("invoices",)),
        _under(
            "customers", "payment_methods", "payment_method", "/v1/customers/{parent}/payment_methods", field="customer"
        ),
        _list("/v1/invoiceitems"),
        _list("/v1/promotion_codes"),
        _list("/v1/setup_intents"),
        _list("/v1/subscription_schedules"),
        _list("/v1/quotes", by_created=False),
        _list("/v1/payment_links", by_created=False),
        _list("/v1/entitlements/features", by_created=False),
        _under("products", "product_features", "product_feature", "/v1/products/{parent}/features", field="product"),
        _list("/v1/tax_rates"),
        _list("/v1/shipping_rates"),
        _list("/v1/balance_transactions"),
        _list("/v1/payouts", by_created=False),
        _list("/v1/transfers"),
        _list("/v1/topups"),
        _list("/v1/application_fees"),
        _list("/v1/reviews"),
        _list("/v1/radar/early_fraud_warnings"),
        _list("/v1/radar/value_lists"),
        _list("/v1/files"),
        _list("/v1/file_links"),
        _list("/v1/accounts"),
        _list("/v1/webhook_endpoints", by_created=False),
        _list("/v1/billing/meters", by_created=False),
        _list("/v1/billing/credit_grants", by_created=False),
        _list("/v1/billing/alerts", by_created=False),
        _list("/v1/billing_portal/configurations", by_created=False),
        _list("/v1/invoice_rendering_templates", by_created=False),
        _list("/v1/payment_method_configurations", by_created=False),
        _list("/v1/payment_method_domains", by_created=False),
        _list("/v1/tax/registrations", by_created=False),
        _list("/v1/product_catalog/trial_offers"),
        _list("/v1/identity/verification_sessions"),
        _list("/v1/identity/verification_reports"),
        _list("/v1/financial_connections/accounts", by_created=False),
        _list("/v1/forwarding/requests"),
        _list("/v1/reporting/report_runs"),
        _list("/v1/reporting/report_types", by_created=False),
        _list("/v1/sigma/scheduled_query_runs", by_created=False),
        _list("/v1/terminal/configurations", by_created=False),
        _list("/v1/terminal/locations", by_created=False),
        _list("/v1/terminal/readers", by_created=False),
        _list("/v1/test_helpers/test_clocks", by_created=False),
        _list("/v1/apps/installs"),
        _list("/v1/climate/orders", by_created=False),
        _list("/v1/climate/products", by_created=False),
        _list("/v1/climate/suppliers", by_created=False),
        _list("/v1/issuing/cardholders"),
        _list("/v1/issuing/cards"),
        _list("/v1/issuing/authorizations"),
        _list("/v1/issuing/transactions"),
        _list("/v1/issuing/disputes"),
        _list("/v1/issuing/personalization_designs", by_created=False),
        _list("/v1/issuing/physical_bundles", by_created=False),
        _list("/v1/three_d_secure/authentications"),
        _list("/v1/treasury/financial_accounts"),
        _under("customers", "tax_ids", "tax_id", "/v1/customers/{parent}/tax_ids"),
        _under(
            "customers",
            "customer_balance_transactions",
            "customer_balance_transaction",
            "/v1/customers/{parent}/balance_transactions",
        ),
        _under("customers", "customer_sources", None, "/v1/customers/{parent}/sources", having="default_source"),
        _under(
            "customers",
            "customer_cash_balance_transactions",
            "customer_cash_balance_transaction",
            "/v1/customers/{parent}/cash_balance_transactions",
            having="cash_balance",
        ),
        _under(
            "customers",
            "entitlements_active_entitlements",
            "entitlements.active_entitlement",
            "/v1/entitlements/active_entitlements",
            param="customer",
        ),
        _under(
            "customers",
            "billing_credit_balance_transactions",
            "billing.credit_balance_transaction",
            "/v1/billing/credit_balance_transactions",
            param="customer",
        ),
        _under("setup_intents", "setup_attempts", "setup_attempt", "/v1/setup_attempts", param="setup_intent"),
        _under("credit_notes", "credit_note_lines", "credit_note_line_item", "/v1/credit_notes/{parent}/lines"),
        _under("transfers", "transfer_reversals", "transfer_reversal", "/v1/transfers/{parent}/reversals"),
        _under("application_fees", "application_fee_refunds", "fee_refund", "/v1/application_fees/{parent}/refunds"),
        _under("payment_links", "payment_link_line_items", "item", "/v1/payment_links/{parent}/line_items"),
        _under("quotes", "quote_line_items", "item", "/v1/quotes/{parent}/line_items"),
        _under("accounts", "account_persons", "person", "/v1/accounts/{parent}/persons"),
        _under("accounts", "account_external_accounts", None, "/v1/accounts/{parent}/external_accounts"),
        _under("accounts", "account_capabilities", "capability", "/v1/accounts/{parent}/capabilities"),
        _under(
            "radar_value_lists",
            "radar_value_list_items",
            "radar.value_list_item",
            "/v1/radar/value_list_items",
            param="value_list",
        ),
        _under("issuing_cards", "issuing_tokens", "issuing.token", "/v1/issuing/tokens", param="card"),
        _under(
            "financial_connections_accounts",
            "financial_connections_transactions",
            "financial_connections.transaction",
            "/v1/financial_connections/transactions",
            param="account",
        ),
        _of_account("credit_reversals"),
        _of_account("debit_reversals"),
        _of_account("inbound_transfers"),
        _of_account("outbound_payments"),
        _of_account("outbound_transfers"),
        _of_account("received_credits"),
        _of_account("received_debits"),
        _of_account("transactions"),
        _of_account("transaction_entries"),
    )
}
