"""The first revision: the mirror, the inbox with the daemon's bookkeeping, and the application's tables.

The declarations are a frozen copy of `schema/` at the first release, in three parts. Later changes are later revisions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ENUM, JSONB
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable, SetColumnComment, SetTableComment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
TIME = sa.DateTime(timezone=True)
NOW = sa.text("now()")
UUID = sa.text("(gen_random_uuid())::text")
USER_ROLE = ENUM("USER", "PREMIUM", "ADMIN", "BANNED", name="user_role", create_type=False)
MEMBERSHIP_STATUS = ENUM("ACTIVE", "INACTIVE", "CANCELED", "PAST_DUE", name="membership_status", create_type=False)


# Part one: the mirror. Every table has the same key, raw object and bookkeeping around its own columns.


def _columns(type_: Any) -> Callable[..., list[sa.Column[Any]]]:
    return lambda *names: [sa.Column(name, type_) for name in names]


_text = _columns(sa.Text())
_int = _columns(sa.BigInteger())
_bool = _columns(sa.Boolean())
_time = _columns(TIME)
_decimal = _columns(sa.Numeric())
_json = _columns(JSONB())


def _mirror(
    name: str,
    *columns: list[sa.Column[Any]],
    indexes: Sequence[str | tuple[str, ...]] = (),
    sparse: Sequence[str] = (),
    listed: bool = True,
) -> None:
    by_created = ("object", "account", "created") if name == "objects" else ("account", "created")
    sa.Table(
        name,
        TABLES,
        *([sa.Column("object", sa.Text, primary_key=True)] if name == "objects" else []),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column(
            "account", sa.Text, primary_key=True, server_default="", comment="connected account; empty for our own"
        ),
        *(column for group in columns for column in group),
        sa.Column("created", TIME, comment="Stripe's clock; null where the object carries none"),
        sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("data", JSONB, nullable=False, comment="the object as Stripe sent it"),
        sa.Column("observed_at", TIME, nullable=False, comment="Stripe's clock, only ever raised"),
        sa.Column(
            "observed_rank", sa.BigInteger, nullable=False, comment="0 created, 1 updated, 2 deleted, of observed_in"
        ),
        sa.Column("observed_in", sa.Text, nullable=False, comment="the event, or the read, that brought the content"),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column(
            "shape", sa.Text, nullable=False, comment="API major version of the content; empty for a bare deletion"
        ),
        sa.Column(
            "rev", sa.BigInteger, nullable=False, server_default=sa.text("1"), comment="raised by every event taken"
        ),
        sa.Column(
            "unsettled",
            sa.Boolean,
            nullable=False,
            server_default=sa.text("false"),
            comment="uncertain: to be read again",
        ),
        sa.Column("synced_at", TIME, nullable=False, server_default=NOW),
        *(sa.Index(None, *((index,) if isinstance(index, str) else index)) for index in indexes),
        *(
            sa.Index(f"ix_{name}_{column}", column, postgresql_where=sa.text(f"{column} is not null"))
            for column in sparse
        ),
        *([sa.Index(f"ix_{name}_created", *by_created)] if listed else []),
        sa.Index(f"ix_{name}_unsettled", "id", postgresql_where=sa.text("unsettled")),
        schema="mirror",
    )


# fmt: off
_mirror(
    "products",
    _text("name"), _bool("active"), _text("description", "default_price"), _json("metadata"),
    _text("unit_label", "tax_code"), _time("updated"),
)
_mirror(
    "prices",
    _text("product"), _bool("active"), _text("type", "currency"), _int("unit_amount"),
    _decimal("unit_amount_decimal"), _text("billing_scheme", "recurring_interval"),
    _int("recurring_interval_count", "recurring_trial_period_days"),
    _text("recurring_usage_type", "lookup_key", "nickname"), _json("metadata"),
    indexes=("product",),
)
_mirror(
    "plans",
    _text("product"), _bool("active"), _int("amount"), _text("currency", "interval"),
    _int("interval_count"), _text("usage_type"),
)
_mirror(
    "coupons",
    _text("name"), _decimal("percent_off"), _int("amount_off"), _text("currency", "duration"),
    _int("duration_in_months"), _bool("valid"), _time("redeem_by"), _int("times_redeemed"),
)
_mirror(
    "customers",
    _text("email", "name", "metadata_user_id", "currency"), _int("balance"), _bool("delinquent"),
    _text("invoice_settings_default_payment_method", "test_clock"),
    indexes=("email", "metadata_user_id"),
)
_mirror(
    "payment_methods",
    _text("customer", "type", "card_brand", "card_last4"), _int("card_exp_month", "card_exp_year"),
    indexes=("customer",),
)
_mirror(
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
)
_mirror(
    "subscription_items",
    _text("subscription", "price", "product"), _int("quantity"),
    _time("current_period_start", "current_period_end", "billed_until"),
    indexes=("subscription", "price", "product"), listed=False,
)
_mirror(
    "invoices",
    _text("customer", "subscription", "status", "billing_reason", "collection_method"),
    _int("amount_due", "amount_paid", "amount_remaining", "total"), _text("currency", "number"),
    _int("attempt_count"), _time("next_payment_attempt", "period_start", "period_end", "due_date"),
    _time("status_transitions_finalized_at", "status_transitions_paid_at", "status_transitions_voided_at"),
    _time("status_transitions_marked_uncollectible_at"), _text("payment_intent"),
    indexes=("customer", "subscription", "payment_intent"),
)
_mirror(
    "invoice_line_items",
    _text("invoice"), _int("amount"), _text("currency", "price", "product", "subscription"),
    _text("subscription_item"), _bool("proration"), _int("quantity"), _time("period_start", "period_end"),
    indexes=("invoice", "product", "subscription"), listed=False,
)
_mirror(
    "invoice_payments",
    _text("invoice", "payment_type", "payment_payment_intent", "payment_charge", "status"),
    _int("amount_requested", "amount_paid"), _bool("is_default"), _time("status_transitions_paid_at"),
    indexes=("invoice", "payment_payment_intent"),
)
_mirror(
    "payment_intents",
    _text("customer", "status"), _int("amount", "amount_received"), _text("currency", "latest_charge"),
    _text("payment_method", "invoice"), _time("canceled_at"), _text("cancellation_reason", "capture_method"),
    _text("description"),
    indexes=("customer",),
)
_mirror(
    "charges",
    _text("customer", "payment_intent", "status"), _bool("paid", "captured", "refunded"),
    _int("amount", "amount_refunded"), _text("currency"), _bool("disputed"),
    _text("failure_code", "payment_method", "balance_transaction", "invoice"),
    indexes=("customer", "payment_intent"),
)
_mirror(
    "refunds",
    _text("charge", "payment_intent", "status"), _int("amount"), _text("currency", "reason", "failure_reason"),
    indexes=("charge", "payment_intent"),
)
_mirror(
    "disputes",
    _text("charge", "payment_intent", "status", "reason"), _int("amount"), _text("currency"),
    _time("evidence_details_due_by"), _bool("is_charge_refundable"),
    indexes=("charge", "payment_intent"),
)
_mirror(
    "checkout_sessions",
    _text("customer", "customer_details_email", "client_reference_id", "mode", "status", "payment_status"),
    _text("subscription", "invoice", "payment_intent", "setup_intent", "payment_link"), _int("amount_total"),
    _text("currency", "metadata_user_id"), _time("expires_at"),
    indexes=("customer", "payment_intent"),
)
_mirror(
    "checkout_session_line_items",
    _text("checkout_session", "price", "product", "description"), _int("quantity", "amount_subtotal"),
    _int("amount_total"), _text("currency"),
    indexes=("checkout_session", "product"), listed=False,
)
_mirror("objects")
# fmt: on


# Part two: the inbox and the daemon's bookkeeping.


def _sync(name: str, *columns: Any, comment: str) -> None:
    sa.Table(name, TABLES, *columns, schema="sync", comment=comment)


_sync(
    "events",
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, nullable=False, server_default="", comment="connected account; empty for our own"),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("object_type", sa.Text, comment="data.object.object, or the related object's type of a thin event"),
    sa.Column("object_id", sa.Text),
    sa.Column("livemode", sa.Boolean, nullable=False),
    sa.Column("created", TIME, nullable=False, comment="Stripe's clock"),
    sa.Column("received_at", TIME, nullable=False, server_default=NOW),
    sa.Column("body", sa.Text, nullable=False, comment="as received, without U+0000"),
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    sa.Column("outcome", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("next_attempt_at", TIME, nullable=False, server_default=NOW),
    sa.Column("last_error", sa.Text),
    sa.Column("done_at", TIME),
    sa.CheckConstraint("status in ('pending', 'done', 'parked')", name="status_is_known"),
    sa.Index("ix_events_due", "next_attempt_at", postgresql_where=sa.text("status = 'pending'")),
    sa.Index("ix_events_parked", "created", postgresql_where=sa.text("status = 'parked'")),
    sa.Index("ix_events_object", "object_id", "created"),
    comment="The inbox: events as Stripe sent them. A pending event is due once next_attempt_at has passed.",
)

# Membership: links, the ledger, and the users to compute.

_sync(
    "customer_links",
    sa.Column("stripe_customer_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), comment="null: seen, not linked yet"),
    sa.Column("source", sa.Text, comment="the rule that linked it"),
    sa.Column("linked_at", TIME),
    sa.Column("checked_at", TIME, nullable=False, server_default=NOW),
    sa.CheckConstraint("(user_id is null) = (linked_at is null)", name="linked_at_tells_the_link"),
    sa.Index(None, "user_id"),
    sa.Index("ix_customer_links_unlinked", "checked_at", postgresql_where=sa.text("user_id is null")),
    comment="The user behind each Stripe customer. A link is never silently changed.",
)

_sync(
    "token_grants",
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("source_key", sa.Text, nullable=False, unique=True, comment="what was paid: one source grants once"),
    sa.Column("user_id", sa.Text, nullable=False, comment="no foreign key: the ledger outlives the user"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column(
        "amount", sa.BigInteger, nullable=False, comment="value of the source; may differ from the balance's change"
    ),
    sa.Column("balance_before", sa.BigInteger, nullable=False),
    sa.Column("balance_after", sa.BigInteger, nullable=False),
    sa.Column("expires_at", TIME, comment="of the balance, after this change"),
    sa.Column("stripe_product_id", sa.Text),
    sa.Column("stripe_subscription_id", sa.Text),
    sa.Column("stripe_invoice_id", sa.Text),
    sa.Column("period_start", TIME, comment="of the paid line"),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Column("lots", JSONB, comment="the parts of the balance after this change, by grant"),
    sa.Index(None, "user_id", "id"),
    sa.Index(None, "stripe_invoice_id"),
    comment="The ledger: every change that the daemon made to users.tokens.",
)

_sync(
    "overrides",
    sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("role", USER_ROLE, nullable=False),
    sa.Column("until", TIME, comment="null: until it is lifted"),
    sa.Column("note", sa.Text),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.CheckConstraint("role in ('USER', 'PREMIUM')", name="role_is_grantable"),
    comment="Roles given by an operator, whatever Stripe says.",
)

_sync(
    "next_changes",
    sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("due_at", TIME, nullable=False),
    sa.Index(None, "due_at"),
    comment="When a user is to be computed again without any event: a token period, a grace or an override ends.",
)

_sync(
    "user_syncs",
    sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("synced_at", TIME, comment="all subscriptions were read from Stripe just after this time"),
    sa.Column("leased_until", TIME, comment="one process reads Stripe for this user until then at most"),
    comment="On-access reads of Stripe: how fresh each user is, and a lease, so that one process reads at a time.",
)

_sync(
    "recompute_queue",
    sa.Column("stripe_customer_id", sa.Text, primary_key=True),
    sa.Column("requested_at", TIME, nullable=False, server_default=NOW),
    comment="Customers whose users are computed again, because an object they refer to arrived late.",
)

_sync(
    "organization_queue",
    sa.Column("organization_id", sa.Text, primary_key=True, comment="no foreign key: Stripe's metadata may name any"),
    sa.Column("requested_at", TIME, nullable=False, server_default=NOW),
    sa.Column(
        "place", sa.Text, nullable=False, server_default="", comment="users with ids up to this one are computed"
    ),
    comment="Organizations whose users are computed again, because a subscription that names them changed.",
)

_sync(
    "organization_members",
    sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("organization_id", sa.Text, nullable=False, comment="no foreign key: it may be gone"),
    sa.Column("since", TIME, nullable=False, server_default=NOW),
    comment="The last organization whose subscription entitled a user, now or in the past.",
)

_sync(
    "rechecks",
    sa.Column(
        "object", sa.Text, primary_key=True, comment="`user`, or the type of an object that names no customer itself"
    ),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("noted_at", TIME, nullable=False, server_default=NOW),
    sa.Column("horizon", sa.BigInteger, comment="older transactions may have written without seeing ours"),
    comment="Work to repeat because a concurrent transaction was invisible: users and objects that refer to a missing one.",
)

# The mirror: objects to read again, and differences found.

_sync(
    "refetch_queue",
    sa.Column("object", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, primary_key=True, server_default=""),
    sa.Column("path", sa.Text, nullable=False, comment="of the GET request"),
    sa.Column("event_at", TIME, nullable=False, comment="of the newest event; a read settles 5 s later"),
    sa.Column("due_at", TIME, nullable=False, server_default=NOW),
    sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("missing_at", TIME, comment="time of Stripe's first 404 for it"),
    sa.Column("error", sa.Text),
    sa.Index(None, "due_at"),
    comment="Objects to read from Stripe: one row each, however many events left it unsettled.",
)

_sync(
    "drift",
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False, server_default=""),
    sa.Column("fields", sa.ARRAY(sa.Text), nullable=False, comment="top-level fields that differed"),
    sa.Column("behind", sa.Interval, comment="age of the mirrored state"),
    sa.Column("found_by", sa.Text, nullable=False),
    sa.Column("found_at", TIME, nullable=False, server_default=NOW),
    sa.Index(None, "object_id"),
    comment="Differences between Stripe's lists and the mirror, each repaired when it was found.",
)

_sync(
    "erased",
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("object", sa.Text, primary_key=True, comment="Stripe's type, or `user`"),
    sa.Column("account", sa.Text, primary_key=True, server_default=""),
    sa.Column(
        "user_id", sa.Text, comment="the user whose erasure was requested; null: an object of theirs. No foreign key"
    ),
    sa.Column("erased_at", TIME, nullable=False, server_default=NOW),
    sa.Column("swept_at", TIME, comment="since then no personal data of it is held; null: still to do"),
    sa.Index("ix_erased_unswept", "erased_at", postgresql_where=sa.text("swept_at is null")),
    comment="Erased users and objects (privacy): every writer blanks these, and all that belongs to them.",
)

# Jobs: their runs, their progress, and the processes that do them.

_sync(
    "cursors",
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", JSONB, nullable=False),
    sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
    comment="Progress of jobs that read Stripe page by page.",
)

_sync(
    "counters",
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    comment="Counters of the workers, for GET /metrics: workers listen on no port.",
)

_sync(
    "runs",
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("slot", TIME, nullable=False, comment="the tick of the clock that this run is for"),
    sa.Column("started_at", TIME, nullable=False, server_default=NOW),
    sa.Column("seen_at", TIME, nullable=False, server_default=NOW, comment="the last sign of life"),
    sa.Column("finished_at", TIME),
    sa.Column("outcome", sa.Text),
    sa.Column("result", JSONB),
    sa.Column("error", sa.Text),
    sa.CheckConstraint("outcome in ('done', 'failed', 'lost')", name="outcome_is_known"),
    sa.Index("uq_runs_job_slot", "job", "slot", unique=True),
    sa.Index("uq_runs_job_running", "job", unique=True, postgresql_where=sa.text("finished_at is null")),
    comment="Runs of periodic jobs: start, duration and result. A worker claims a slot by inserting it.",
)

_sync(
    "shards",
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run_id", sa.BigInteger, sa.ForeignKey("sync.runs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("gte", sa.BigInteger, comment="first second of `created`; null: no lower bound"),
    sa.Column("lt", sa.BigInteger, comment="first second after the range; null: no upper bound"),
    sa.Column("place", JSONB, comment="progress of the pass; null: not begun"),
    sa.Column("tally", JSONB, nullable=False, server_default=sa.text("'{}'")),
    sa.Column("leased_until", TIME),
    sa.Column("done", sa.Boolean, nullable=False, server_default=sa.text("false")),
    sa.Index(None, "run_id"),
    comment="Parts of a run that several workers share.",
)

_sync(
    "heartbeats",
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("seen_at", TIME, nullable=False, server_default=NOW),
    comment="Worker processes; each writes its own row while it works.",
)

_sync(
    "adoption",
    sa.Column(
        "is_only", sa.Boolean, primary_key=True, server_default=sa.text("true"), comment="the table has one row at most"
    ),
    sa.Column("adopted_at", TIME, nullable=False, server_default=NOW),
    sa.Column("tokens_since", TIME, comment="older payments grant nothing: the application counted them"),
    sa.Column("names", JSONB, nullable=False, comment="tables, columns and types that have other names here"),
    sa.CheckConstraint("is_only", name="is_one_row"),
    comment="How an application's existing tables were adopted; empty where the daemon made them.",
)

# Part three: the application's tables. Ids are text with a default; the database keeps `created_at` and `updated_at`.


def _public(name: str, *items: Any, has_id: bool = True) -> None:
    sa.Table(
        name,
        TABLES,
        *([sa.Column("id", sa.Text, primary_key=True, server_default=UUID)] if has_id else []),
        *(item for item in items if isinstance(item, sa.Column)),
        sa.Column("created_at", TIME, nullable=False, server_default=NOW),
        sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
        *(item for item in items if not isinstance(item, sa.Column)),
    )


def _required(name: str, type_: Any = sa.Text, default: Any = None) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=False, server_default=default)


def _references(name: str, table: str, on_delete: str = "SET NULL", **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, sa.ForeignKey(f"{table}.id", ondelete=on_delete), **options)


def _metadata() -> sa.Column[Any]:
    return _required("metadata", JSONB, sa.text("'{}'"))


_public("organizations", _required("name"))
_public(
    "users",
    sa.Column("email", sa.Text, unique=True),
    sa.Column("name", sa.Text),
    sa.Column("email_verified", TIME),
    sa.Column("image", sa.Text),
    _required("role", USER_ROLE, "USER"),
    _references("organization_id", "organizations"),
    _references("stripe_product_id", "stripe_products"),
    _required("membership_status", MEMBERSHIP_STATUS, "ACTIVE"),
    _required("tokens", sa.BigInteger, sa.text("0")),
    sa.Column("tokens_expires_at", TIME),
    sa.Index("ix_users_email_folded", sa.text("lower(email)")),
    sa.Index(None, "organization_id"),
    sa.Index(None, "stripe_product_id"),
    sa.Index(None, "role", "membership_status"),
    sa.Index("ix_users_tokens_expiring", "tokens_expires_at", postgresql_where=sa.text("tokens > 0")),
)
_public(
    "accounts",
    _references("user_id", "users", "CASCADE", nullable=False),
    _required("type"),
    _required("provider"),
    _required("provider_account_id"),
    sa.Column("refresh_token", sa.Text),
    sa.Column("access_token", sa.Text),
    sa.Column("expires_at", sa.Integer, comment="unix seconds, as Auth.js wants it"),
    sa.Column("token_type", sa.Text),
    sa.Column("scope", sa.Text),
    sa.Column("id_token", sa.Text),
    sa.Column("session_state", sa.Text),
    sa.UniqueConstraint("provider", "provider_account_id"),
    sa.Index(None, "user_id"),
)
_public(
    "sessions",
    sa.Column("session_token", sa.Text, nullable=False, unique=True),
    _references("user_id", "users", "CASCADE", nullable=False),
    _required("expires", TIME),
    sa.Index(None, "user_id"),
)
_public(
    "verification_tokens",
    sa.Column("identifier", sa.Text, primary_key=True),
    sa.Column("token", sa.Text, primary_key=True),
    _required("expires", TIME),
    has_id=False,
)
_public(
    "stripe_products",
    _required("name"),
    sa.Column("description", sa.Text),
    _required("active", sa.Boolean, sa.text("true")),
    _metadata(),
    sa.Index("ix_stripe_products_active", "name", postgresql_where=sa.text("active")),
)
_public(
    "stripe_prices",
    _references("product_id", "stripe_products", "CASCADE", nullable=False),
    _required("active", sa.Boolean, sa.text("true")),
    sa.Column("currency", sa.Text),
    sa.Column("type", sa.Text, comment="recurring or one_time"),
    sa.Column("unit_amount", sa.BigInteger, comment="null where tiers or decimals say the amount"),
    sa.Column("interval", sa.Text),
    sa.Column("interval_count", sa.Integer),
    sa.Column("trial_period_days", sa.Integer),
    _metadata(),
    sa.Index(None, "product_id", "active"),
)
_public(
    "stripe_customers",
    _references("user_id", "users", "CASCADE", nullable=False, unique=True),
    sa.Column("stripe_customer_id", sa.Text, nullable=False, unique=True),
)
_public(
    "user_subscriptions",
    _references("user_id", "users", "CASCADE", nullable=False),
    _required("stripe_customer_id"),
    sa.Column("stripe_subscription_id", sa.Text, nullable=False, unique=True),
    _references("stripe_price_id", "stripe_prices"),
    _references("stripe_product_id", "stripe_products"),
    _required("status"),
    sa.Column("current_period_start", TIME),
    sa.Column("current_period_end", TIME),
    _required("cancel_at_period_end", sa.Boolean, sa.text("false")),
    sa.Column("canceled_at", TIME),
    sa.Column("trial_start", TIME),
    sa.Column("trial_end", TIME),
    _metadata(),
    sa.Index(None, "user_id", "status"),
    sa.Index(None, "stripe_customer_id"),
    sa.Index(None, "stripe_price_id"),
    sa.Index(None, "stripe_product_id", "status"),
    sa.Index(None, "status", "current_period_end"),
)
_public(
    "payment_history",
    _references("user_id", "users", "CASCADE", nullable=False),
    sa.Column("stripe_payment_intent_id", sa.Text, nullable=False, unique=True),
    _required("amount", sa.BigInteger),
    _required("currency"),
    _required("status"),
    _references("stripe_product_id", "stripe_products"),
    sa.Column("description", sa.Text),
    _metadata(),
    sa.Index(None, "user_id", "created_at"),
    sa.Index(None, "stripe_product_id"),
)

# Functions and triggers.

COMPRESS_BODIES = """
do $$
begin
    alter table sync.events alter column body set compression lz4;
exception when feature_not_supported or invalid_parameter_value then
    alter table sync.events alter column body set storage external;
end
$$
"""

TOUCH_UPDATED_AT = """
create or replace function sync.touch_updated_at() returns trigger
language plpgsql as $$
begin
    if new.updated_at is not distinct from old.updated_at then
        new.updated_at := now();
    end if;
    return new;
end
$$
"""

READ_BALANCE = """
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
$$
"""

SPEND = """
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
$$
"""

FOLLOW_ORGANIZATION = """
create or replace function sync.follow_organization() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into sync.next_changes as a (user_id, due_at) values (new.id, now())
    on conflict (user_id) do update set due_at = least(a.due_at, excluded.due_at);
    return null;
end
$$
"""

TRIGGERS = (
    "create trigger organization_joined after insert on public.users "
    "for each row when (new.organization_id is not null) execute function sync.follow_organization()",
    "create trigger organization_changed after update on public.users "
    "for each row when (old.organization_id is distinct from new.organization_id) "
    "execute function sync.follow_organization()",
)


def upgrade() -> None:
    op.execute("create schema mirror")
    op.execute("create schema stripe")
    op.execute("create type public.user_role as enum ('USER', 'PREMIUM', 'ADMIN', 'BANNED')")
    op.execute("create type public.membership_status as enum ('ACTIVE', 'INACTIVE', 'CANCELED', 'PAST_DUE')")
    for table in TABLES.sorted_tables:
        op.execute(CreateTable(table))
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            op.execute(CreateIndex(index))
        if table.comment:
            op.execute(SetTableComment(table))
        for column in table.columns:
            if column.comment:
                op.execute(SetColumnComment(column))
    for table in TABLES.sorted_tables:
        if table.schema == "mirror":
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            name = "other_objects" if table.name == "objects" else table.name
            op.execute(f"create view stripe.{name} as select {columns} from mirror.{table.name}")  # noqa: S608 - names above
    op.execute(COMPRESS_BODIES)
    for function in (TOUCH_UPDATED_AT, READ_BALANCE, SPEND, FOLLOW_ORGANIZATION):
        op.execute(function)
    op.execute("revoke execute on function sync.follow_organization() from public")
    for table in TABLES.sorted_tables:
        if table.schema is None:
            op.execute(
                f"create trigger touch_updated_at before update on public.{table.name} "
                "for each row execute function sync.touch_updated_at()"
            )
    for trigger in TRIGGERS:
        op.execute(trigger)


def downgrade() -> None:
    """Drop everything but `sync.alembic_version`, where Alembic notes the step."""
    op.execute("drop schema stripe cascade")
    op.execute("drop schema mirror cascade")
    for table in reversed(TABLES.sorted_tables):
        if table.schema != "mirror":
            op.execute(DropTable(table))
    op.execute("drop function public.consume_tokens(text, bigint)")
    op.execute("drop function public.token_balance(text)")
    op.execute("drop function sync.follow_organization()")
    op.execute("drop function sync.touch_updated_at()")
    op.execute("drop type public.membership_status")
    op.execute("drop type public.user_role")
