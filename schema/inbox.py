"""The inbox and the daemon's own bookkeeping: everything in the schema `sync`."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.base import metadata
from schema.membership import user_role

SCHEMA = "sync"

_now = text("now()")

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False, server_default="", comment="connected account, empty for our own"),
    Column("type", Text, nullable=False),
    Column("object_type", Text, comment="data.object.object, or the related object's type of a thin event"),
    Column("object_id", Text),
    Column("livemode", Boolean, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False, comment="Stripe's clock"),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("body", Text, nullable=False, comment="as received, U+0000 left out"),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("outcome", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("last_error", Text),
    Column("done_at", DateTime(timezone=True)),
    CheckConstraint("status in ('pending', 'done', 'parked')", name="status_is_known"),
    Index("ix_events_due", "next_attempt_at", postgresql_where=text("status = 'pending'")),
    Index("ix_events_parked", "created", postgresql_where=text("status = 'parked'")),
    Index("ix_events_object", "object_id", "created"),
    schema=SCHEMA,
    comment="The inbox: what Stripe told us, verbatim. Due is what is pending and whose next_attempt_at has passed.",
)

customer_links = Table(
    "customer_links",
    metadata,
    Column("stripe_customer_id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), comment="null: seen, not linked yet"),
    Column("source", Text, comment="which rule linked it"),
    Column("linked_at", DateTime(timezone=True)),
    Column("checked_at", DateTime(timezone=True), nullable=False, server_default=_now),
    CheckConstraint("(user_id is null) = (linked_at is null)", name="linked_at_tells_the_link"),
    Index(None, "user_id"),
    Index("ix_customer_links_unlinked", "checked_at", postgresql_where=text("user_id is null")),
    schema=SCHEMA,
    comment="Which user a Stripe customer is. A link is never silently changed.",
)

token_grants = Table(
    "token_grants",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source_key", Text, nullable=False, unique=True, comment="what was paid: the same thing never grants twice"),
    Column("user_id", Text, nullable=False, comment="no foreign key: the ledger outlives the user"),
    Column("kind", Text, nullable=False),
    Column(
        "amount", BigInteger, nullable=False, comment="what the source is worth; may differ from the balance's change"
    ),
    Column("balance_before", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True), comment="of the balance, after this change"),
    Column("stripe_product_id", Text),
    Column("stripe_subscription_id", Text),
    Column("stripe_invoice_id", Text),
    Column("period_start", DateTime(timezone=True), comment="of the line that was paid"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("lots", JSONB, comment="what the balance consists of after this change, by grant"),
    Index(None, "user_id", "id"),
    Index(None, "stripe_invoice_id"),
    schema=SCHEMA,
    comment="The ledger of every change the daemon made to users.tokens.",
)

overrides = Table(
    "overrides",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", user_role, nullable=False),
    Column("until", DateTime(timezone=True), comment="null: until it is lifted"),
    Column("note", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_now),
    CheckConstraint("role in ('USER', 'PREMIUM')", name="role_is_grantable"),
    schema=SCHEMA,
    comment="Roles that an operator gave, whatever Stripe says.",
)

alarms = Table(
    "alarms",
    metadata,
    Column(
        "user_id",
        Text,
        ForeignKey("users.id", ondelete="CASCADE", name="fk_alarms_user_id_users"),
        primary_key=True,
    ),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Index(None, "due_at"),
    schema=SCHEMA,
    comment="Users whom time alone changes, and when: tokens are renewed, a grace or an override ends.",
)

user_syncs = Table(
    "user_syncs",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("synced_at", DateTime(timezone=True), comment="Stripe was asked for all subscriptions just after this"),
    Column("leased_until", DateTime(timezone=True), comment="somebody asks Stripe now, and until then at most"),
    schema=SCHEMA,
    comment="Users for whom Stripe was asked on access: how fresh they are, and who asks: one at a time.",
)

recompute = Table(
    "recompute",
    metadata,
    Column("stripe_customer_id", Text, primary_key=True),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=_now),
    schema=SCHEMA,
    comment="Customers whose users are to be computed again, because something they refer to came late.",
)

recompute_organizations = Table(
    "recompute_organizations",
    metadata,
    Column("organization_id", Text, primary_key=True, comment="no foreign key: Stripe's metadata may name any"),
    Column("requested_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("place", Text, nullable=False, server_default="", comment="its users up to this id are computed"),
    schema=SCHEMA,
    comment="Organizations whose users are to be computed again, because a subscription that names them changed.",
)

second_looks = Table(
    "second_looks",
    metadata,
    Column("object", Text, primary_key=True, comment="`user`, or Stripe's type of what names no customer itself"),
    Column("id", Text, primary_key=True),
    Column("noted_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("horizon", BigInteger, comment="transactions that may write it without having seen us are older than this"),
    schema=SCHEMA,
    comment="Who was computed, and what was written, while something that it names had not come: looked at once more.",
)

organization_members = Table(
    "organization_members",
    metadata,
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("organization_id", Text, nullable=False, comment="no foreign key: it may be gone"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=_now),
    schema=SCHEMA,
    comment="Users who were computed as members by an organization's subscription, now or once: the last such.",
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=_now),
    schema=SCHEMA,
    comment="How far a job that reads Stripe page by page has come.",
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False, server_default=text("0")),
    schema=SCHEMA,
    comment="What the workers count, for GET /metrics: they have no door of their own.",
)

runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job", Text, nullable=False),
    Column("slot", DateTime(timezone=True), nullable=False, comment="the tick of the clock that this run is for"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=_now, comment="the last sign of life"),
    Column("finished_at", DateTime(timezone=True)),
    Column("outcome", Text),
    Column("result", JSONB),
    Column("error", Text),
    CheckConstraint("outcome in ('done', 'failed', 'lost')", name="outcome_is_known"),
    Index("uq_runs_job_slot", "job", "slot", unique=True),
    Index("uq_runs_job_running", "job", unique=True, postgresql_where=text("finished_at is null")),
    schema=SCHEMA,
    comment="Periodic work: what ran when, how long and with what result. A slot is claimed by inserting it.",
)

shards = Table(
    "shards",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, ForeignKey("sync.runs.id", ondelete="CASCADE"), nullable=False),
    Column("gte", BigInteger, comment="objects created from this second on; null: from the first"),
    Column("lt", BigInteger, comment="and before this one; null: to the last"),
    Column("place", JSONB, comment="where its pass stands; null: at the beginning"),
    Column("tally", JSONB, nullable=False, server_default=text("'{}'")),
    Column("leased_until", DateTime(timezone=True)),
    Column("done", Boolean, nullable=False, server_default=text("false")),
    Index(None, "run_id"),
    schema=SCHEMA,
    comment="The parts of a run that is too long for one worker.",
)

asks = Table(
    "asks",
    metadata,
    Column("object", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("account", Text, primary_key=True, server_default=""),
    Column("path", Text, nullable=False, comment="where it is retrieved"),
    Column(
        "event_at", DateTime(timezone=True), nullable=False, comment="of the newest event; a read settles 5 s after it"
    ),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("missing_at", DateTime(timezone=True), comment="when Stripe first said that it has no such object"),
    Column("error", Text),
    Index(None, "due_at"),
    schema=SCHEMA,
    comment="Objects that Stripe is to be asked for: one row each, however many events made it unsettled.",
)

drift = Table(
    "drift",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("object", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("account", Text, nullable=False, server_default=""),
    Column("fields", ARRAY(Text), nullable=False, comment="what differed, at the top level of the object"),
    Column("behind", Interval, comment="how old the mirrored state was"),
    Column("found_by", Text, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Index(None, "object_id"),
    schema=SCHEMA,
    comment="What a list showed otherwise than the mirror, and was repaired.",
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("name", Text, primary_key=True),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=_now),
    schema=SCHEMA,
    comment="Worker processes, each written by itself while it does work.",
)

erased = Table(
    "erased",
    metadata,
    Column("id", Text, primary_key=True),
    Column("object", Text, primary_key=True, comment="Stripe's type, or `user`"),
    Column("account", Text, primary_key=True, server_default=""),
    Column("user_id", Text, comment="whose erasure a person asked for; null: found to belong to them. No foreign key"),
    Column("erased_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("swept_at", DateTime(timezone=True), comment="since when nothing personal of it is held; null: to be swept"),
    Index("ix_erased_unswept", "erased_at", postgresql_where=text("swept_at is null")),
    schema=SCHEMA,
    comment="Who and what was erased (privacy): every writer blanks what is, or belongs to, one of these.",
)
