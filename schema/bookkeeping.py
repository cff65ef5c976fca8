"""The tables of the schema `sync` for the mirror and for the operation of the daemon: queues, differences, progress of jobs."""

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

SCHEMA = "sync"

_now = text("now()")

# The mirror: objects to read again, and differences found.

refetch_queue = Table(
    "refetch_queue",
    metadata,
    Column("object", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("account", Text, primary_key=True, server_default=""),
    Column("path", Text, nullable=False, comment="of the GET request"),
    Column(
        "event_at",
        DateTime(timezone=True),
        nullable=False,
        comment="time of the newest event; only a read 5 s later settles the object",
    ),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("missing_at", DateTime(timezone=True), comment="time of Stripe's first 404 for it"),
    Column("error", Text),
    Index(None, "due_at"),
    Index("ix_refetch_queue_connected", "account", postgresql_where=text("account <> ''")),
    schema=SCHEMA,
    comment="Objects to read from Stripe: one row per object, however many events left it unsettled.",
)

drift = Table(
    "drift",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("object", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("account", Text, nullable=False, server_default=""),
    Column("fields", ARRAY(Text), nullable=False, comment="top-level fields that differed"),
    Column("behind", Interval, comment="age of the mirrored state"),
    Column("found_by", Text, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Index(None, "object_id"),
    schema=SCHEMA,
    comment="Differences between Stripe's lists and the mirror, each repaired when it was found.",
)

erased = Table(
    "erased",
    metadata,
    Column("id", Text, primary_key=True),
    Column("object", Text, primary_key=True, comment="Stripe's type, or `user`"),
    Column("account", Text, primary_key=True, server_default=""),
    Column(
        "user_id",
        Text,
        comment="the user of a requested erasure, empty if there is none; null: listed because it belongs to one. No foreign key",
    ),
    Column("erased_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("swept_at", DateTime(timezone=True), comment="when its stored personal data was blanked; null: not yet"),
    Index("ix_erased_unswept", "erased_at", postgresql_where=text("swept_at is null")),
    schema=SCHEMA,
    comment="Erased users and objects (privacy): every writer blanks these, and all that belongs to them.",
)

# Jobs: their runs, their progress, and the processes that do them.

cursors = Table(
    "cursors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=_now),
    schema=SCHEMA,
    comment="Progress of jobs that read Stripe page by page.",
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False, server_default=text("0")),
    schema=SCHEMA,
    comment="Counters of the workers, for GET /metrics: workers listen on no port.",
)

runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job", Text, nullable=False),
    Column("slot", DateTime(timezone=True), nullable=False, comment="the tick of the clock that this run is for"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column(
        "seen_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=_now,
        comment="when the run last reported that it is alive",
    ),
    Column("finished_at", DateTime(timezone=True)),
    Column("outcome", Text),
    Column("result", JSONB),
    Column("error", Text),
    CheckConstraint("outcome in ('done', 'failed', 'lost')", name="outcome_is_known"),
    Index("uq_runs_job_slot", "job", "slot", unique=True),
    Index("uq_runs_job_running", "job", unique=True, postgresql_where=text("finished_at is null")),
    schema=SCHEMA,
    comment="Runs of periodic jobs: start, duration and result. A worker claims a slot by inserting it.",
)

shards = Table(
    "shards",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, ForeignKey("sync.runs.id", ondelete="CASCADE"), nullable=False),
    Column("list", Text, nullable=False, server_default="", comment="the name of one of Stripe's lists"),
    Column("gte", BigInteger, comment="first second of `created`; null: no lower bound"),
    Column("lt", BigInteger, comment="first second after the range; null: no upper bound"),
    Column("place", JSONB, comment="progress of the pass; null: not begun"),
    Column(
        "tally",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="counts of the pages, written by their reader",
    ),
    Column("besides", JSONB, nullable=False, server_default=text("'{}'"), comment="counts of reads other than pages"),
    Column("leased_until", DateTime(timezone=True)),
    Column("leased_by", Text),
    Column("failures", Integer, nullable=False, server_default=text("0"), comment="consecutive failures"),
    Column("retry_at", DateTime(timezone=True)),
    Column("error", Text, comment="why the list was given up in this run"),
    Column("done", Boolean, nullable=False, server_default=text("false")),
    Index(None, "run_id"),
    schema=SCHEMA,
    comment="Parts of a run over Stripe's lists, by ranges of `created`, shared by threads and workers.",
)

absences = Table(
    "absences",
    metadata,
    Column("run_id", BigInteger, ForeignKey("sync.runs.id", ondelete="CASCADE"), primary_key=True),
    Column("object", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("account", Text, primary_key=True, server_default=""),
    Column("list", Text, nullable=False),
    Column("rev", BigInteger, nullable=False, comment="revision of the mirrored row when the list did not show it"),
    Column("read_at", BigInteger, comment="when Stripe answered that it has no such object; null: not read yet"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("leased_until", DateTime(timezone=True)),
    schema=SCHEMA,
    comment="Mirrored objects that a list should have shown but did not. They are marked deleted when the list is complete.",
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("name", Text, primary_key=True),
    Column("lane", Text, nullable=False, server_default=""),
    Column("task", Text, comment="the current task; null: waiting"),
    Column("since", DateTime(timezone=True), comment="when the current task began"),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=_now),
    schema=SCHEMA,
    comment="Child processes of workers; each writes its own row.",
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("id", Text, primary_key=True, comment="the fingerprint of the secret, which is not stored itself"),
    Column(
        "account",
        Text,
        nullable=False,
        server_default="",
        comment="the account that the settings bind it to; empty for none",
    ),
    Column("verdict", Text, comment="whether it is ours; null: not known yet, and its events are held"),
    Column("reason", Text),
    Column("judged_at", DateTime(timezone=True)),
    Column(
        "seen_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=_now,
        comment="when a web process last reported it",
    ),
    CheckConstraint("verdict in ('ours', 'assumed', 'foreign')", name="verdict_is_known"),
    schema=SCHEMA,
    comment="The webhook secrets of the web processes, and whether each belongs to our own Stripe account.",
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("status", Text, nullable=False, server_default="connected"),
    Column("last_event_at", DateTime(timezone=True), comment="Stripe's time of its newest event"),
    Column("last_pass_at", DateTime(timezone=True), comment="when it was last read from Stripe"),
    Column("events_until", BigInteger, comment="its list of events was read up to this second; null: never"),
    Column("rounds", Integer, nullable=False, server_default=text("0"), comment="how often all lists were read"),
    Column("error", Text, comment="error of the last pass"),
    Column("leased_until", DateTime(timezone=True), comment="one worker reads it until then at most"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=_now),
    CheckConstraint("status in ('connected', 'deauthorized')", name="status_is_known"),
    Index("ix_accounts_turn", "last_pass_at", postgresql_where=text("status = 'connected'")),
    schema=SCHEMA,
    comment="Connected accounts (CONNECT=on) and how far each has been read.",
)

adoption = Table(
    "adoption",
    metadata,
    Column("is_only", Boolean, primary_key=True, server_default=text("true"), comment="the table has one row at most"),
    Column("adopted_at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column(
        "tokens_since",
        DateTime(timezone=True),
        comment="earlier payments grant no tokens, because the application has granted them already",
    ),
    Column("names", JSONB, nullable=False, comment="tables, columns and types that have other names here"),
    CheckConstraint("is_only", name="is_one_row"),
    schema=SCHEMA,
    comment="How an application's existing tables were adopted; empty if the daemon created them.",
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=_now),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'")),
    schema=SCHEMA,
    comment="Actions of people in the console.",
)

minutes = Table(
    "minutes",
    metadata,
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("received", BigInteger, nullable=False, comment="since the first event"),
    Column("applied", BigInteger, nullable=False, comment="since the first event"),
    Column(
        "requests", BigInteger, nullable=False, server_default=text("0"), comment="to Stripe, since the first request"
    ),
    schema=SCHEMA,
    comment="Totals of events received and applied, and of requests to Stripe, at each minute of the last days, for charts.",
)
