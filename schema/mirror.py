"""The tables of the mirror, declared as data. They are in the schema `mirror` and named after Stripe's lists.

Each row of `tables` declares only the table's own columns. The key, the raw object and the bookkeeping are the same in all
tables. Columns are named after Stripe's fields, with underscores for dots. Amounts are in the currency's smallest unit.
There are no foreign keys, because Stripe may send an object before its parent. `worker.mirror.registry` declares the field
that each column is read from, `schema.mirror_tables` makes the tables, and `schema.views` has the views for applications.
This module does not import SQLAlchemy, which would cost a process 20 MB.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

SCHEMA = "mirror"
BEFORE = ("id", "account")
AFTER = (
    "created", "deleted", "data", "observed_at", "observed_rank", "observed_in", "content_hash", "shape", "rev",
    "unsettled", "synced_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTable:
    """A table.

    `own` has the types of the table's own columns, by name. All tables have the columns BEFORE and AFTER them. `sparse`
    columns are null in most rows, and their indexes leave nulls out. If `listed`, Stripe's API has a list of the type, and
    passes compare ranges of `created` in that list with the mirror.
    """

    name: str
    own: Mapping[str, str]
    indexes: Sequence[tuple[str, ...]]
    sparse: Sequence[str]
    listed: bool

    @property
    def is_shared(self) -> bool:
        """Whether the table has objects of many types. Its key then begins with `object`."""
        return self.name == "objects"

    @property
    def key(self) -> tuple[str, ...]:
        return (*(["object"] if self.is_shared else []), *BEFORE)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        return (*self.key, *self.own, *AFTER)

    @property
    def indexed(self) -> frozenset[str]:
        """The own columns that are in an index."""
        return frozenset(column for index in self.indexes for column in index) | frozenset(self.sparse)


def _columns(kind: str) -> Callable[..., dict[str, str]]:
    return lambda *names: dict.fromkeys(names, kind)


_text = _columns("text")
_int = _columns("bigint")
_bool = _columns("boolean")
_time = _columns("timestamptz")
_decimal = _columns("numeric")
_json = _columns("jsonb")


def _table(
    name: str,
    *columns: Mapping[str, str],
    indexes: Sequence[str | tuple[str, ...]] = (),
    sparse: Sequence[str] = (),
    listed: bool = True,
) -> MirrorTable:
    return MirrorTable(
        name=name,
        own={column: kind for group in columns for column, kind in group.items()},
        indexes=[(index,) if isinstance(index, str) else index for index in indexes],
        sparse=sparse,
        listed=listed,
    )


tables: dict[str, MirrorTable] = {
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
        # If an object does not name its parent, `parent` is the id of the parent whose list contained the object.
        _table("objects", _text("customer", "parent"), sparse=("customer", "parent")),
    )
}  # fmt: skip
