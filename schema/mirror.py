"""The mirror's storage: tables in the schema `mirror`, named like Stripe's lists.

Each row of `tables` declares only its own columns; the key, the raw object and the bookkeeping are the same everywhere.
Columns have the names of Stripe's fields, with an underscore for the dot of a nested one. Amounts are in the currency's
smallest unit. There are no foreign keys, because Stripe does not promise to send parents first.
`worker.mirror.registry` says from which field each column is read, and `schema.views` has the views for applications.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from schema.base import metadata

SCHEMA = "mirror"


def _columns(type_: type[TypeEngine[Any]] | TypeEngine[Any]) -> Callable[..., list[Column[Any]]]:
    return lambda *names: [Column(name, type_) for name in names]


_text = _columns(Text)
_int = _columns(BigInteger)
_bool = _columns(Boolean)
_time = _columns(DateTime(timezone=True))
_decimal = _columns(Numeric)
_json = _columns(JSONB)


def _table(
    name: str,
    *columns: list[Column[Any]],
    indexes: Sequence[str | tuple[str, ...]] = (),
    sparse: Sequence[str] = (),
    listed: bool = True,
) -> Table:
    """Return a table with the common columns.

    `sparse` columns are null in most rows, and indexed where they are not. `listed` types have a list in Stripe's API,
    which passes compare with the mirror by ranges of `created`.
    """
    by_created = ("object", "account", "created") if name == "objects" else ("account", "created")
    return Table(
        name,
        metadata,
        *([Column("object", Text, primary_key=True)] if name == "objects" else []),
        Column("id", Text, primary_key=True),
        Column("account", Text, primary_key=True, server_default="", comment="connected account; empty for our own"),
        *(column for group in columns for column in group),
        Column("created", DateTime(timezone=True), comment="Stripe's clock; null where the object carries none"),
        Column("deleted", Boolean, nullable=False, server_default=text("false")),
        Column("data", JSONB, nullable=False, comment="the object as Stripe sent it"),
        Column("observed_at", DateTime(timezone=True), nullable=False, comment="Stripe's clock, only ever raised"),
        Column("observed_rank", BigInteger, nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"),
        Column("observed_in", Text, nullable=False, comment="the event, or the read, that brought the content"),
        Column("content_hash", Text, nullable=False),
        Column("shape", Text, nullable=False, comment="API major version of the content; empty for a bare deletion"),
        Column("rev", BigInteger, nullable=False, server_default=text("1"), comment="raised by every event taken"),
        Column(
            "unsettled", Boolean, nullable=False, server_default=text("false"), comment="uncertain: to be read again"
        ),
        Column("synced_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
        # With the account: a planner that has no statistics yet takes an index that serves both conditions.
        *(
            Index(f"ix_{name}_{index}", index, "account") if isinstance(index, str) else Index(None, *index)
            for index in indexes
        ),
        *(Index(f"ix_{name}_{column}", column, postgresql_where=text(f"{column} is not null")) for column in sparse),
        *([Index(f"ix_{name}_created", *by_created)] if listed else []),
        # On the id: an index on observed_at, which changes with every event, would rule out HOT updates.
        Index(f"ix_{name}_unsettled", "id", postgresql_where=text("unsettled")),
        schema=SCHEMA,
    )


tables: dict[str, Table] = {
    table.name: table
    for table in (
        _table(
            "products",
            _text("name"), _bool("active"), _text("description", "default_price"), _json("metadata"),
            _text("unit_label", "tax_code"), _time("updated"),
        ),
        _table(
            "product_features",
            _text("product", "entitlement_feature", "entitlement_feature_lookup_key"),
            indexes=("product",), listed=False,
        ),
        _table(
            "prices",
            _text("product"), _bool("active"), _text("type", "currency"), _int("unit_amount"),
            _decimal("unit_amount_decimal"), _text("billing_scheme", "recurring_interval"),
            _int("recurring_interval_count", "recurring_trial_period_days"),
            _text("recurring_usage_type", "lookup_key", "nickname"), _json("metadata"),
            indexes=("product",),
        ),
        _table(
            "plans",
            _text("product"), _bool("active"), _int("amount"), _text("currency", "interval"),
            _int("interval_count"), _text("usage_type"),
        ),
        _table(
            "coupons",
            _text("name"), _decimal("percent_off"), _int("amount_off"), _text("currency", "duration"),
            _int("duration_in_months"), _bool("valid"), _time("redeem_by"), _int("times_redeemed"),
        ),
        _table(
            "customers",
            _text("email", "name", "metadata_user_id", "currency"), _int("balance"), _bool("delinquent"),
            _text("invoice_settings_default_payment_method", "test_clock"),
            indexes=("email", "metadata_user_id"),
        ),
        _table(
            "payment_methods",
            _text("customer", "type", "card_brand", "card_last4"), _int("card_exp_month", "card_exp_year"),
            indexes=("customer",),
        ),
        _table(
            "subscriptions",
            _text("customer", "customer_account", "status"), _time("cancel_at"), _bool("cancel_at_period_end"),
            _time("canceled_at", "ended_at", "start_date", "trial_start", "trial_end"),
            _time("current_period_start", "current_period_end"),
            _text("collection_method", "pause_collection_behavior"), _time("pause_collection_resumes_at"),
            _text("status_details_paused_subscription_type", "billing_mode_type", "latest_invoice"),
            _text("default_payment_method", "schedule", "currency", "metadata_user_id", "metadata_organization_id"),
            _text("test_clock"), _json("metadata"),
            indexes=("customer", "metadata_user_id", ("status", "created")),
            sparse=("metadata_organization_id",),
        ),
        _table(
            "subscription_items",
            _text("subscription", "price", "product"), _int("quantity"),
            _time("current_period_start", "current_period_end", "billed_until"),
            indexes=("subscription", "price", "product"), listed=False,
        ),
        _table(
            "invoices",
            _text("customer", "subscription", "status", "billing_reason", "collection_method"),
            _int("amount_due", "amount_paid", "amount_remaining", "total"), _text("currency", "number"),
            _int("attempt_count"), _time("next_payment_attempt", "period_start", "period_end", "due_date"),
            _time("status_transitions_finalized_at", "status_transitions_paid_at", "status_transitions_voided_at"),
            _time("status_transitions_marked_uncollectible_at"), _text("payment_intent"),
            indexes=("customer", "subscription", "payment_intent"),
        ),
        _table(
            "invoice_line_items",
            _text("invoice"), _int("amount"), _text("currency", "price", "product", "subscription"),
            _text("subscription_item"), _bool("proration"), _int("quantity"), _time("period_start", "period_end"),
            indexes=("invoice", "product", "subscription"), listed=False,
        ),
        _table(
            "invoice_payments",
            _text("invoice", "payment_type", "payment_payment_intent", "payment_charge", "status"),
            _int("amount_requested", "amount_paid"), _bool("is_default"), _time("status_transitions_paid_at"),
            indexes=("invoice", "payment_payment_intent"),
        ),
        _table(
            "payment_intents",
            _text("customer", "status"), _int("amount", "amount_received"), _text("currency", "latest_charge"),
            _text("payment_method", "invoice"), _time("canceled_at"), _text("cancellation_reason", "capture_method"),
            _text("description"),
            indexes=("customer",),
        ),
        _table(
            "charges",
            _text("customer", "payment_intent", "status"), _bool("paid", "captured", "refunded"),
            _int("amount", "amount_refunded"), _text("currency"), _bool("disputed"),
            _text("failure_code", "payment_method", "balance_transaction", "invoice"),
            indexes=("customer", "payment_intent"),
        ),
        _table(
            "refunds",
            _text("charge", "payment_intent", "status"), _int("amount"), _text("currency", "reason", "failure_reason"),
            indexes=("charge", "payment_intent"),
        ),
        _table(
            "credit_notes",
            _text("customer", "invoice", "status", "type"), _int("amount", "total", "returned"), _text("currency"),
            indexes=("customer", "invoice"),
        ),
        _table(
            "disputes",
            _text("charge", "payment_intent", "status", "reason"), _int("amount"), _text("currency"),
            _time("evidence_details_due_by"), _bool("is_charge_refundable"),
            indexes=("charge", "payment_intent"),
        ),
        _table(
            "checkout_sessions",
            _text("customer", "customer_details_email", "client_reference_id", "mode", "status", "payment_status"),
            _text("subscription", "invoice", "payment_intent", "setup_intent", "payment_link"), _int("amount_total"),
            _text("currency", "metadata_user_id", "metadata_product"), _time("expires_at"),
            indexes=("customer", "payment_intent"), sparse=("client_reference_id", "metadata_product"),
        ),
        _table(
            "checkout_session_line_items",
            _text("checkout_session", "price", "product", "description"), _int("quantity", "amount_subtotal"),
            _int("amount_total"), _text("currency"),
            indexes=("checkout_session", "product"), listed=False,
        ),
        # `parent` is the object under whose list an object was read, if the object itself does not name it.
        _table("objects", _text("customer", "parent"), sparse=("customer", "parent")),
    )
}  # fmt: skip
